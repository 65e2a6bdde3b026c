"""Texts in every form as requests: columns of strings, cut where `medner annotate` ends a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Why texts cannot be annotated, by row.
Faults = dict[int, str]


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

    def strings(self, texts: Iterable[object]) -> Iterator[tuple[Chunk, Taken]]:
        """Chunks of strings, each with what it was made of. Takes no more of an iterator than a chunk at a time. If the
        iterator fails, what it gave before comes first."""
        taken = Taken(0)
        size = 0
        failure: Exception | None = None
        try:
            for text in texts:
                size += taken.add(text)
                if size >= self.bytes or len(taken.texts) >= self.rows:
                    yield taken.chunk(), taken
                    taken, size = Taken(taken.first + len(taken.texts)), 0
        except Exception as error:
            failure = error
        if taken.texts:
            yield taken.chunk(), taken
        if failure is not None:
            raise failure


class Taken:
    """Texts as they were given, those that can be sent, and why others cannot, by row from the first."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.texts: list[object] = []
        self.sound: list[str | None] = []
        self.faults: Faults = {}

    def add(self, text: object) -> int:
        """Its bytes in UTF-8."""
        size, fault = size_of(text)
        if fault is not None:
            self.faults[len(self.texts)] = fault
        self.texts.append(text)
        self.sound.append(text if isinstance(text, str) and fault is None else None)
        return size

    def chunk(self) -> Chunk:
        return Chunk(self.first, [pa.array(self.sound, pa.large_string())], [None], len(self.sound))


def is_missing(text: object) -> bool:
    """Whether it is ``None``, NaN or pandas' NA. NaN is not equal to itself, and NA cannot be compared."""
    return text is None or type(text).__name__ in ("NAType", "NaTType") or (isinstance(text, float) and text != text)


def size_of(text: object) -> tuple[int, str | None]:
    """Its bytes in UTF-8, and why it cannot be annotated; a missing text can be."""
    if is_missing(text):
        return 0, None
    if not isinstance(text, str):
        return 0, f"it is {type(text).__name__}, not a string or None"
    if text.isascii():
        return len(text), None
    try:
        return len(text.encode()), None
    except UnicodeEncodeError as error:
        return 0, (
            f"it has a lone surrogate at character {error.start}, which is no character: it comes from a wrong decoding; "
            "repair it with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        )


def strings(column: pa.Array) -> pa.Array:
    """A column of strings as the worker takes it. A column of missing values may have any type.

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
    if 0 < len(column) == column.null_count:
        return pa.nulls(len(column), pa.large_string())
    raise TypeError(f"the texts have the type {kind}, not string; name another column, or convert it")


def sound(column: pa.Array) -> tuple[pa.Array, Faults]:
    """The column with texts that are no UTF-8 as missing ones, and what is wrong with these."""
    faults: Faults = {}
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raw = column.cast(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary())
        for row, value in enumerate(raw):
            try:
                str(value.as_buffer() if value.is_valid else b"", "utf-8")
            except UnicodeDecodeError as error:
                faults[row] = f"the text is no UTF-8 at byte {error.start}"
    return without(column, faults), faults


def without(column: pa.Array, faults: Faults) -> pa.Array:
    """The column with missing texts in place of those with faults."""
    if not faults:
        return column
    # Their bytes are left out, too: the worker reads all.
    return column.take(pa.array([None if row in faults else row for row in range(len(column))], pa.int64()))


def column_of(values: Iterable[object]) -> tuple[pa.Array, Faults]:
    """Python objects, such as those of a pandas column, as a column, and which of them cannot be annotated."""
    taken = Taken(0)
    for value in values:
        taken.add(value)
    return pa.array(taken.sound, pa.large_string()), taken.faults
