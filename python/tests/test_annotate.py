"""Every kind of input, against the program's own `annotate`."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import medner
from medner import _program

TEXT = "Naloxone 🙂 reverses the hypotensive effect of clonidine. No hypotension was seen."


@pytest.fixture(scope="module")
def documents(folder: str, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What `medner annotate` says of the same texts: the reference for all of these tests."""
    place = tmp_path_factory.mktemp("reference")
    medner.convert(sample, place / "corpus.jsonl", to="jsonl")
    rows = map(json.loads, (place / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    # Without the corpus's passages, which a string has not.
    plain = [json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows]
    (place / "texts.jsonl").write_text("".join(plain), encoding="utf-8")
    arguments = ["annotate", str(place / "texts.jsonl"), "--model", folder, "--quiet", "--no-run"]
    return [json.loads(line) for line in _program.run(arguments).splitlines()]


def texts_of(documents: list[dict[str, Any]]) -> list[str]:
    return [document["text"] for document in documents]


def canonical(value: Any) -> Any:
    """Confidences as the bits of an f32; missing, null, false and empty are the same."""
    if isinstance(value, float):
        return struct.pack("<f", value).hex()
    if isinstance(value, dict):
        found = {key: canonical(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in (None, False, [])}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    return value


def expected(documents: list[dict[str, Any]]) -> Any:
    return canonical([document["mentions"] for document in documents])


def test_lists_equal_the_program_bit_for_bit(model: medner.Model, documents: list[dict[str, Any]]) -> None:
    found = model.annotate(texts_of(documents))
    assert canonical([[mention.to_dict() for mention in mentions] for mentions in found]) == expected(documents)
    assert sum(map(len, found)) > 100
    for mentions in found:
        for mention in mentions:
            assert mentions.text[mention.start : mention.end] == mention.text


def test_one_text(model: medner.Model) -> None:
    found = model(TEXT)
    assert found.text == TEXT and found.error is None
    first = found[0]
    assert (first.start, first.end, first.text, first.type) == (0, 8, "Naloxone", "Chemical")
    assert 0.0 < first.confidence <= 1.0
    # The emoji is one character of Python's strings.
    assert all(TEXT[mention.start : mention.end] == mention.text for mention in found)
    absent = [mention for mention in found if mention.assertion is not None and mention.assertion.value == "absent"]
    assert [(mention.text, mention.assertion.cue.text) for mention in absent if mention.assertion and mention.assertion.cue] == [
        ("hypotension", "No")
    ]
    assert "<mark" in found._repr_html_()
    assert model("") == []


def test_mentions_are_linked_to_a_vocabulary(folder: str, tmp_path: Path) -> None:
    names = "id\tname\tsynonyms\nD009270\tnaloxone\tNarcan\nD007022\thypotension\tlow blood pressure\n"
    (tmp_path / "names.tsv").write_text(names, encoding="utf-8")
    _program.run(["vocabulary", "build", str(tmp_path / "names.tsv"), "--out", str(tmp_path / "names.voc"), "--quiet"])
    with medner.load(folder, vocabulary=tmp_path / "names.voc", candidates=2) as linking:
        first = linking(TEXT)[0]
        assert [(concept.id, concept.name, concept.score) for concept in first.concepts] == [("D009270", "naloxone", 1.0)]
        assert first.to_dict()["concepts"][0]["vocabulary"] == "names"
    with medner.load(folder, vocabulary={"Disease": tmp_path / "names.voc"}) as linking:
        assert linking(TEXT)[0].concepts == ()
    with pytest.raises(medner.ModelError, match="names"):
        medner.load(folder, vocabulary=tmp_path / "names.tsv")


def test_generators_are_lazy_and_bounded(model: medner.Model) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield TEXT * 20

    stream = model.annotate(endless())
    for number, mentions in enumerate(stream):
        assert len(mentions) > 10
        if number == 80:
            break
    # What was taken ahead is a few requests, however long the stream is.
    assert taken < 80 + 4 * (1 << 17) // len(TEXT * 20)
    stream.close()
    assert model("fever and aspirin") is not None


def test_errors_of_generators_come_through(model: medner.Model) -> None:
    def broken() -> Iterator[str]:
        yield TEXT
        raise RuntimeError("mine")

    stream = model.annotate(broken())
    # What came before is not lost.
    assert next(stream) == model(TEXT)
    with pytest.raises(RuntimeError, match="mine"):
        next(stream)
    assert model(TEXT)


def test_whatever_is_wrong_with_a_text_its_row_says_so(model: medner.Model) -> None:
    given: Any = [TEXT, "x \ud800", 5, float("nan"), None]
    kept = model.annotate(given, errors="keep")
    assert [None if found is None else found.error and found.error[:12] for found in kept] == [
        None,
        "it has a lon",
        "it is int, n",
        None,
        None,
    ]
    assert kept[0] and kept[3] is None
    frame = model.annotate(pd.DataFrame({"text": pd.Series([TEXT, "x \ud800", 5, None], dtype=object)}))
    assert [error if pd.isna(error) else error[:12] for error in frame["error"]] == [pd.NA, "it has a lon", "it is int, n", pd.NA]
    assert len(frame["mentions"][0]) == len(model(TEXT)) and frame["mentions"][1:].isna().all()
    bytes_ = pa.array([b"fever", b"fever \xff", None], pa.binary())
    raw = pa.Array.from_buffers(pa.string(), 3, bytes_.buffers())
    table = model.annotate(pa.table({"text": raw}))
    assert table.column("error").to_pylist() == [None, "the text is no UTF-8 at byte 6", None]
    with pytest.raises(medner.TextError, match="row 1 cannot be annotated: the text is no UTF-8"):
        model.annotate(raw)


def test_frames_without_texts_and_of_subclasses(model: medner.Model) -> None:
    class Notes(pd.DataFrame):  # type: ignore[misc]
        pass

    for missing in (pd.DataFrame({"text": [float("nan")] * 2}), pd.DataFrame({"text": []})):
        assert model.annotate(missing)["mentions"].isna().all()
    found: Any = model.annotate(Notes({"text": [TEXT]}, index=["a"]))
    assert isinstance(found, pd.DataFrame) and found.index.equals(pd.Index(["a"]))
    with pytest.raises(ValueError, match="the same column"):
        model.annotate(pd.DataFrame({"text": [TEXT]}), mentions="x", error="x")


def test_pandas(model: medner.Model, documents: list[dict[str, Any]]) -> None:
    texts = texts_of(documents)
    frame = pd.DataFrame({"n": range(len(texts) + 2), "note": [None, *texts, float("nan")]}).set_index("n", drop=False)
    frame.index = pd.Index(range(100, 100 + len(frame)))
    found = model.annotate(frame, text="note", mentions="found", error="why")
    assert list(found.columns) == ["n", "note", "found", "why"] and list(frame.columns) == ["n", "note"]
    assert found.index.equals(frame.index)
    rows = [list(row) if row is not pd.NA and row is not None else None for row in found["found"]]
    assert rows[0] is None and rows[-1] is None and found["why"].isna().all()
    assert canonical(rows[1:-1]) == expected(documents)
    exploded = found[["n", "found"]].explode("found")
    assert len(exploded) == sum(len(document["mentions"]) or 1 for document in documents) + 2
    column = model.annotate(frame["note"])
    assert isinstance(column, pd.Series) and column.index.equals(frame.index)
    for dtype in ["string", pd.ArrowDtype(pa.string()), "category"]:
        again = model.annotate(pd.DataFrame({"text": pd.Series(texts[:3], dtype=dtype)}))
        # In a smaller batch, the last digits of a confidence may differ.
        assert [len(row) for row in again["mentions"]] == [len(document["mentions"]) for document in documents[:3]]


def test_polars(model: medner.Model, documents: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame({"text": [*texts_of(documents), None]})
    found = model.annotate(frame)
    assert found.columns == ["text", "mentions", "error"]
    rows = found["mentions"].to_list()
    assert rows[-1] is None and canonical(rows[:-1]) == expected(documents)
    assert isinstance(model.annotate(frame["text"]), pl.Series)
    with pytest.raises(TypeError, match="collect"):
        model.annotate(frame.lazy())


def test_arrow(model: medner.Model, documents: list[dict[str, Any]]) -> None:
    texts = texts_of(documents)
    for kind in [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]:
        column = pa.array(texts, pa.string()).cast(kind) if kind != pa.string_view() else pa.array(texts, kind)
        table = pa.table({"id": range(len(texts)), "text": column})
        # Batches of the input may be of any size.
        pieces = [table.slice(at, 7) for at in range(0, len(texts), 7)]
        parts = [batch for piece in pieces for batch in piece.to_batches()]
        table = pa.Table.from_batches([parts[0].slice(0, 0), *parts])
        found = model.annotate(table)
        assert found.schema.names == ["id", "text", "mentions", "error"]
        assert found.schema.field("mentions").type == medner.MENTIONS_SCHEMA.field("mentions").type
        assert canonical(found["mentions"].to_pylist()) == expected(documents)
        assert found["id"].to_pylist() == list(range(len(texts)))
    batch = table.combine_chunks().to_batches()[0]
    assert isinstance(model.annotate(batch), pa.RecordBatch)
    assert model.annotate(batch.slice(0, 0)).num_rows == 0
    assert isinstance(model.annotate(table["text"]), pa.ChunkedArray)
    assert len(model.annotate(pa.array(["fever"]))) == 1
    assert model.annotate(table.slice(0, 0)).num_rows == 0


def test_streams_of_arrow(model: medner.Model, documents: list[dict[str, Any]]) -> None:
    schema = pa.schema({"text": pa.string()})
    taken = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        for document in documents:
            taken += 1
            yield pa.record_batch([[document["text"]]], schema=schema)

    reader = model.annotate(pa.RecordBatchReader.from_batches(schema, batches()))
    assert isinstance(reader, pa.RecordBatchReader) and taken == 0
    assert canonical(reader.read_all()["mentions"].to_pylist()) == expected(documents)

    class Stream:
        """Any library with the PyCapsule interface."""

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.table({"text": ["fever"]}).__arrow_c_stream__(requested_schema)

    assert model.annotate(Stream()).read_all().num_rows == 1


def test_columns_are_named_and_checked(model: medner.Model) -> None:
    with pytest.raises(ValueError, match="no column 'text': .* it has 'note'"):
        model.annotate(pd.DataFrame({"note": ["fever"]}))
    with pytest.raises(ValueError, match="has a column 'mentions' already"):
        model.annotate(pl.DataFrame({"text": ["fever"], "mentions": [1]}))
    with pytest.raises(TypeError, match="int64, not string"):
        model.annotate(pa.table({"text": [1]}))
    with pytest.raises(medner.TextError, match="row 1 cannot be annotated: it is int"):
        model.annotate(pd.Series(["fever", 3]))
    with pytest.raises(TypeError, match="model\\(text\\)"):
        model.annotate("fever")
    with pytest.raises(TypeError, match="takes a string"):
        model(["fever"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="names of columns"):
        model.annotate(["fever"], text="note")
    with pytest.raises(ValueError, match="no effect on tables"):
        model.annotate(pa.table({"text": ["fever"]}), errors="keep")


def test_options_of_load(folder: str) -> None:
    with medner.load(folder, threshold={"Disease": 1.0}, all_spans=True, assertion=False, threads=1) as model:
        found = model(TEXT)
        assert {mention.below_threshold for mention in found if mention.type == "Disease"} == {True}
        assert not any(mention.assertion or mention.below_threshold for mention in found if mention.type == "Chemical")
        assert model.info["threads"] == 1
        assert model.types == ["Chemical", "Disease"]
    with pytest.raises(medner.ModelError, match="no model nonesuch"):
        medner.load("nonesuch")
    with pytest.raises(medner.ModelError, match="no model finds the type Diseese"):
        medner.load(folder, threshold={"Diseese": 0.5})
    with pytest.raises(medner.ModelError, match="device"):
        medner.load(folder, device="tpu")
