"""Texts in every form as requests: columns of strings, cut where `medner annotate` ends a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ._errors import TextError


@dataclass
class Chunk:
    """Texts of one request."""

    #: The number of its first text.
    first: int
    #: Parts of columns, in order.
    pieces: list[pa.Array] = field(default_factory=list)
    #: Whatever the caller wants back with each piece.
    labels: list[Any] = field(default_factory=list)
    rows: int = 0

    def body(self) -> pa.Buffer:
        """The request."""
        sink = pa.BufferOutputStream()
        schema = pa.schema([pa.field("text", self.pieces[0].type)])
        with pa.ipc.new_stream(sink, schema) as writer:
            for piece in self.pieces:
                writer.write_batch(pa.record_batch([piece], schema=schema))
        return sink.getvalue()

    def halves(self) -> tuple[Chunk, Chunk]:
        """Its first half and the rest."""
        column = pa.chunked_array(self.pieces)
        half = self.rows // 2
        one, other = column.slice(0, half), column.slice(half)
        return (
            Chunk(self.first, one.chunks, [None] * one.num_chunks, half),
            Chunk(self.first + half, other.chunks, [None] * other.num_chunks, self.rows - half),
        )


class Cutter:
    """Cuts texts into chunks by the worker's own limits of a batch: these many bytes of text or rows end it."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.bytes = limits["bytes"]
        self.rows = limits["rows"]

    def columns(self, columns: Iterable[tuple[Any, pa.Array]]) -> Iterator[Chunk]:
        """Chunks of columns. Each piece has the label of its column and the offset in it."""
        chunk, size, first = Chunk(0), 0, 0
        for label, column in columns:
            column = strings(column)
            lengths = pc.fill_null(pc.call_function("binary_length", [column]), 0).to_pylist()
            start = 0
            for at, length in enumerate(lengths, 1):
                size += length
                if size >= self.bytes or chunk.rows + at - start >= self.rows:
                    self._add(chunk, label, column, start, at)
                    yield chunk
                    first += chunk.rows
                    chunk, size, start = Chunk(first), 0, at
            if start < len(column):
                self._add(chunk, label, column, start, len(column))
            elif not lengths:
                # An empty batch has its place in the answer.
                self._add(chunk, label, column, 0, 0)
        if chunk.pieces:
            yield chunk

    @staticmethod
    def _add(chunk: Chunk, label: Any, column: pa.Array, start: int, end: int) -> None:
        chunk.pieces.append(column.slice(start, end - start))
        chunk.labels.append((label, start))
        chunk.rows += end - start

    def strings(self, texts: Iterable[str | None]) -> Iterator[tuple[Chunk, list[str | None]]]:
        """Chunks of strings, each with its strings. Takes no more of an iterator than a chunk at a time."""
        taken: list[str | None] = []
        size, first = 0, 0

        def chunk() -> tuple[Chunk, list[str | None]]:
            return Chunk(first, [pa.array(taken, pa.large_string())], [None], len(taken)), taken

        for row, text in enumerate(texts):
            size += length_of(text, row)
            taken.append(text)
            if size >= self.bytes or len(taken) >= self.rows:
                yield chunk()
                first += len(taken)
                taken, size = [], 0
        if taken:
            yield chunk()


def length_of(text: object, row: int) -> int:
    """Bytes of a text in UTF-8.

    Raises:
        TextError: if it has no UTF-8, or is no text.
    """
    if text is None:
        return 0
    if not isinstance(text, str):
        raise TextError(f"row {row} is {type(text).__name__}, not a string or None", row)
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise TextError(
            f"the text of row {row} has a lone surrogate at character {error.start}, which is no character: "
            "it comes from a wrong decoding; repair it with "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')",
            row,
        ) from None


def strings(column: pa.Array) -> pa.Array:
    """A column of strings as the worker takes it.

    Raises:
        TypeError: if it holds something else.
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    is_view = kind in (getattr(pa, "string_view", lambda: None)(),)
    if is_view or pa.types.is_null(kind):
        return column.cast(pa.large_string())
    if pa.types.is_dictionary(kind):
        return strings(column.dictionary_decode())
    raise TypeError(f"the texts have the type {kind}, not string; name another column, or convert it")


def column_of(values: Iterable[object]) -> pa.Array:
    """Python objects, such as those of a pandas column, as a column. NaN and NA are missing.

    Raises:
        TextError: if one is no text.
    """
    checked: list[str | None] = []
    for row, value in enumerate(values):
        # NaN is not equal to itself, and pandas.NA cannot be compared.
        if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
            checked.append(None)
            continue
        length_of(value, row)
        assert isinstance(value, str)
        checked.append(value)
    return pa.array(checked, pa.large_string())
