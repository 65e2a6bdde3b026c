"""Ray Data with two actors. Needs Ray: `cargo xtask check cluster` has it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest

import medner
from medner import _program
from processes import descendants

pytest.importorskip("ray.data", reason="SKIPPED: Ray is not tested, for it is not installed")
import ray  # noqa: E402

TEXT = "Naloxone reverses the effect of clonidine. No hypotension was seen."


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """CPUs for two actors and what else Ray does. The program of the actors dies on texts with POISON."""
    variables = {
        "PYTHONPATH": str(Path(medner.__file__).parents[1]),
        "MEDNER_PROGRAM": str(Path(__file__).with_name("fragile.py")),
        "FRAGILE_PROGRAM": _program.find(),
    }
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": variables})
    yield
    ray.shutdown()


def dataset(texts: Sequence[str | None], blocks: int) -> Any:
    table = pa.table({"id": pa.array(range(len(texts))), "note": pa.array(texts, pa.string())})
    return ray.data.from_arrow(table).repartition(blocks).materialize()


def spans(mentions: Any) -> Any:
    return mentions and [(mention["start"], mention["end"], mention["type"]) for mention in mentions]


def by_id(found: Any) -> list[dict[str, Any]]:
    return sorted(found.take_all(), key=lambda row: int(row["id"]))


def test_the_mentions_are_those_of_one_process(folder: str, apart: medner.Model) -> None:
    texts = [f"{TEXT} Naloxone {number}." for number in range(100)]
    found = medner.ray.annotate(dataset(texts, 4), folder, text="note", id="id", concurrency=2).materialize()
    assert found.schema().names == ["id", "note", "mentions", "error"]
    rows = by_id(found)
    assert [(row["note"], row["error"]) for row in rows] == [(text, None) for text in texts]
    assert [list(row["mentions"]) for row in rows] == [
        [mention.to_dict() for mention in mentions] for mentions in apart.annotate(texts)
    ]


def test_bad_texts_are_rows(folder: str) -> None:
    texts = [TEXT, None, f"{TEXT} POISON", "z" * 2001, ""]
    actor = {"model": folder, "text": "note", "max_bytes": 2000}
    found = by_id(
        dataset(texts, 1).map_batches(
            medner.ray.Annotator, fn_constructor_kwargs=actor, batch_format="pyarrow", concurrency=1
        )
    )
    assert [row["error"] and row["error"][:26] for row in found] == [
        None,
        None,
        "the worker ended while it ",
        "the text has 2,001 bytes, ",
        None,
    ]
    assert [row["mentions"] is None for row in found] == [False, True, True, True, False]


def test_a_killed_actor_loses_nothing(folder: str) -> None:
    texts = [f"{TEXT * 20} Naloxone {number}." for number in range(240)]
    notes = dataset(texts, 12)
    expected = [(row["id"], spans(row["mentions"])) for row in by_id(medner.ray.annotate(notes, folder, text="note"))]
    old = {*descendants("worker --quiet"), *descendants("ray::MapWorker")}
    killed: list[int] = []

    def kill() -> None:
        # An actor of the second job whose program runs.
        while not killed:
            actors = set(descendants("ray::MapWorker")) - old
            if actors and set(descendants("worker --quiet")) - old:
                # One that is just listed may be gone.
                with suppress(ProcessLookupError):
                    os.kill(min(actors), signal.SIGKILL)
                    killed.append(min(actors))
            time.sleep(0.02)

    thread = Thread(target=kill, daemon=True)
    thread.start()
    found = by_id(medner.ray.annotate(notes, folder, text="note", concurrency=2))
    thread.join(60)
    assert killed
    assert [(row["id"], spans(row["mentions"])) for row in found] == expected


def test_columns_are_checked_before_a_job(folder: str) -> None:
    notes = dataset(["fever"], 1)
    with pytest.raises(ValueError, match="no column 'text'"):
        medner.ray.annotate(notes, folder)
    with pytest.raises(TypeError, match="int64, not string"):
        medner.ray.annotate(notes, folder, text="id")
    with pytest.raises(ValueError, match="a column 'note' already"):
        medner.ray.annotate(notes, folder, text="note", mentions="note")
