"""What Spark and Ray share, without either: no text fails a task, and a machine with another model does."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import medner
from medner import _program
from medner._cluster import Columns, Settings, annotated

FRAGILE = Path(__file__).with_name("fragile.py")
TEXT = "Naloxone reverses the effect of clonidine."
COLUMNS = Columns("note", "id", "mentions", "error", 2000)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program dies on texts with POISON."""
    monkeypatch.setenv("FRAGILE_PROGRAM", _program.find())
    monkeypatch.setenv("MEDNER_PROGRAM", str(FRAGILE))


def batches(texts: list[Any], rows: int = 3, kind: pa.DataType | None = None) -> Iterator[pa.RecordBatch]:
    for at in range(0, len(texts), rows):
        part = texts[at : at + rows]
        column = part if isinstance(texts, pa.Array) else pa.array(part, kind or pa.string())
        yield pa.record_batch([pa.array(range(at, at + len(part))), column], names=["id", "note"])


def rows(model: medner.Model, texts: Any, columns: Columns = COLUMNS) -> list[dict[str, Any]]:
    return [row for batch in annotated(model, batches(texts), columns) for row in batch.to_pylist()]


def test_a_text_that_kills_the_worker_is_a_row(
    fragile: None, folder: str, apart: medner.Model, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [f"{TEXT} Naloxone {number}." for number in range(40)]
    expected = rows(apart, texts)
    for place in (0, 17, 39):
        texts[place] = expected[place]["note"] = f"{TEXT} POISON {place}"
        expected[place] |= {
            "mentions": None,
            "error": "the worker ended while it annotated this text alone, and again in a second attempt",
        }
    # Another number of threads than other tests have, so that none of their workers is there.
    with Settings.of(folder, {}).opened(3) as dying, caplog.at_level(logging.WARNING):
        found = rows(dying, texts)
        assert spans(found) == spans(expected)
        assert [(row["id"], row["error"]) for row in found] == [(row["id"], row["error"]) for row in expected]
    assert "document 17: the worker ended" in caplog.text and "Naloxone" not in caplog.text


def spans(found: list[dict[str, Any]]) -> list[Any]:
    return [
        row["mentions"] and [(mention["start"], mention["end"], mention["type"]) for mention in row["mentions"]]
        for row in found
    ]


def test_no_digit_depends_on_the_texts_beside(folder: str, apart: medner.Model) -> None:
    texts = [TEXT * length for length in (1, 7, 2, 30, 1, 12)]
    alone = [rows(apart, [text])[0]["mentions"] for text in texts]
    assert [row["mentions"] for row in rows(apart, texts)] == alone
    with Settings.of(folder, {}).opened(2) as faster:
        assert [row["mentions"] for row in rows(faster, texts)] == alone


def test_a_machine_that_kills_every_worker_fails_the_task(
    fragile: None, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAGILE_POISON", "text")  # The name of the column in every request.
    with Settings.of(folder, {}).opened(4) as dying, pytest.raises(medner.WorkerError, match="SIGKILL"):
        rows(dying, [TEXT])


def test_texts_that_cannot_be_sent_are_rows(model: medner.Model) -> None:
    # As Spark makes them of bytes: a lone surrogate, and half a character.
    raw = [TEXT.encode(), b"fever \xed\xa0\xbd", None, b"\xc3", ("x" * 2001).encode(), b""]
    column = pa.Array.from_buffers(pa.string(), len(raw), pa.array(raw, pa.binary()).buffers())
    found = pa.Table.from_batches(annotated(model, batches(column), COLUMNS))
    assert found["error"].to_pylist() == [
        None,
        "the text is no UTF-8 at byte 6",
        None,
        "the text is no UTF-8 at byte 0",
        "the text has 2,001 bytes, more than max_bytes=2,000",
        None,
    ]
    mentions = found["mentions"].to_pylist()
    assert len(mentions[0]) == 2 and mentions[1:] == [None, None, None, None, []]


def test_every_machine_must_have_the_same_model(folder: str, tmp_path: Path) -> None:
    place = tmp_path / "run" / "model"
    shutil.copytree(folder, place)
    settings = Settings.of(place, {"threshold": 0.5})
    assert json.loads(settings.identity)["precision"][0] in str(settings.arguments)
    with settings.opened(1) as first:
        assert first.info["threads"] == 1 and len(first(TEXT)) > 0
    # The cache knows it.
    with settings.opened(1) as again:
        assert again is first
    with pytest.raises(medner.ModelError, match="threshold 0.5 instead of 0.25"):
        replace(settings, identity=settings.identity.replace('"threshold": 0.5', '"threshold": 0.25')).check(first.info)
    weights = next(place.glob("*.safetensors"))
    # The last number of the file, which is a weight's.
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    first.close()
    with pytest.raises(medner.ModelError, match="prepared with: sha256_of_models"):
        first(TEXT)
    shutil.rmtree(place)
    with pytest.raises(medner.ModelError, match="(?s)cannot load the model: .*a folder that all of them see"):
        with settings.opened(2):
            pass


def test_options_are_checked_before_a_job(folder: str) -> None:
    with pytest.raises(TypeError, match="threads has no effect"):
        Settings.of(folder, {"threads": 2})
    with pytest.raises(TypeError, match="unexpected keyword"):
        Settings.of(folder, {"treshold": 0.5})
    with pytest.raises(ValueError, match="name 'cpu' or 'cuda'"):
        Settings.of(folder, {"device": "auto"})
    with pytest.raises(medner.ModelError, match="no model nonesuch"):
        Settings.of("nonesuch", {})
    # A machine without a GPU prepares a job for those with one.
    cuda = Settings.of(folder, {"device": "cuda", "precision": "fp16"})
    assert {"--device=cuda", "--precision=fp16"} <= set(cuda.arguments)
    with pytest.raises(ValueError, match="more than one column 'note'"):
        COLUMNS.check(["id", "note", "note"])
    with pytest.raises(ValueError, match="no column 'id': name another one with id=…; there are 'note'"):
        COLUMNS.check(["note"])
    with pytest.raises(ValueError, match="a column 'error' already"):
        COLUMNS.check(["id", "note", "error"])


def test_neither_engine_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys, medner; assert medner.spark and medner.ray; assert not {'pyspark', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
