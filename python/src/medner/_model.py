"""Models: load one, and annotate anything that holds texts."""

from __future__ import annotations

import logging
import os
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pyarrow as pa
import pyarrow.compute as pc

from ._errors import TextError, WorkerError
from ._mentions import Mention, Mentions
from ._texts import Chunk, Cutter, Faults, column_of, sound, strings
from ._worker import Ended, Request, Worker

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    Frame = TypeVar("Frame", pd.DataFrame, pl.DataFrame, pa.Table, pa.RecordBatch, pa.RecordBatchReader)

#: Requests of one caller on their way: one is computed, the others wait at the worker, so that it never waits.
AHEAD = 3

#: Refuses a worker by its first frame.
Check = Callable[[Mapping[str, Any]], None]

_LOG = logging.getLogger("medner")

Errors = Literal["raise", "keep"]


class _Host:
    """The worker of a model in this process: starts it when it is needed, and again after it ended."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], check: Check | None) -> None:
        self.arguments = arguments
        self.environment = environment
        self.check = check
        self.lock = threading.Lock()
        self.worker: Worker | None = None
        _HOSTS.add(self)

    def running(self) -> Worker:
        """The worker. The lock is held."""
        if self.worker is None or not self.worker.alive:
            self.worker = Worker(self.arguments, self.environment)
            if self.check is not None:
                try:
                    self.check(self.worker.hello)
                except BaseException:
                    self.worker.kill()
                    raise
            for line in self.worker.warnings():
                warnings.warn(f"medner: {line}", stacklevel=4)
        return self.worker

    def submit(self, owner: object, chunk: Chunk) -> Request:
        request = Request(owner, chunk.first, chunk.rows, chunk.body())
        with self.lock:
            self.running().submit(request)
        return request

    def wait(self, request: Request) -> pa.RecordBatch:
        with self.lock:
            while True:
                worker = self.running()
                try:
                    if isinstance(request.error, Ended):
                        worker.submit(request)
                    return worker.wait(request)
                except Ended:
                    continue

    def alone(self, chunk: Chunk) -> pa.RecordBatch:
        """The answer to a chunk that a worker has to itself, so that nothing else can end it."""
        with self.lock:
            if self.worker is not None and self.worker.alive and not self.worker.is_idle:
                # Its callers send their requests again.
                self.worker.kill()
            request = Request(self, chunk.first, chunk.rows, chunk.body())
            worker = self.running()
            worker.submit(request)
            return worker.wait(request)

    def abandon(self, owner: object) -> None:
        with self.lock:
            if self.worker is not None and self.worker.alive:
                self.worker.abandon(owner)

    def close(self) -> None:
        with self.lock:
            if self.worker is not None and self.worker.alive:
                self.worker.close()
            self.worker = None


_HOSTS: weakref.WeakSet[_Host] = weakref.WeakSet()


def _renew_all() -> None:
    """In a forked child: another thread may have held a lock, and the workers belong to the parent."""
    for host in list(_HOSTS):
        host.lock = threading.Lock()
        host.worker = None


os.register_at_fork(after_in_child=_renew_all)


class Model:
    """A model, or several together. :func:`medner.load` makes it.

    Calls from several threads are safe and take turns. Another process (forked or spawned) that gets the model starts a
    worker of its own at its first call.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], check: Check | None = None
    ) -> None:
        self._host = _Host(tuple(arguments), dict(environment), check)
        weakref.finalize(self, _Host.close, self._host)

    def __reduce__(self) -> tuple[Any, ...]:
        return Model, (self._host.arguments, self._host.environment, self._host.check)

    def __repr__(self) -> str:
        return f"<medner.Model {' '.join(self._host.arguments)}>"

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker. The next call starts one again."""
        self._host.close()

    @property
    def info(self) -> dict[str, Any]:
        """The models with their types, categories and assertable types; device, threads, and the version of medner."""
        with self._host.lock:
            return dict(self._host.running().hello)

    @property
    def types(self) -> list[str]:
        """The entity types that it finds."""
        return list(dict.fromkeys(name for model in self.info["models"] for name in model["types"]))

    @property
    def pid(self) -> int:
        """The process of the worker."""
        with self._host.lock:
            return self._host.running().pid

    def __call__(self, text: str) -> Mentions:
        """The mentions in one text.

        >>> found = model("Naloxone reverses the effect of clonidine. No hypotension was seen.")
        >>> [(mention.text, mention.type) for mention in found]
        [('Naloxone', 'Chemical'), ('clonidine', 'Chemical'), ('hypotension', 'Disease')]
        >>> found[-1].assertion.value
        'absent'

        Raises:
            TextError: if the text cannot be annotated.
            WorkerError: if the worker ended.
        """
        if not isinstance(text, str):
            raise TypeError(f"model(…) takes a string, not {type(text).__name__}; for many texts there is annotate")
        (mentions,) = self._strings([text], "raise")
        assert mentions is not None
        return mentions

    # Lists come first: without stubs, the classes of tables are types of anything.
    @overload
    def annotate(self, texts: list[str], *, errors: Errors = ...) -> list[Mentions]: ...
    @overload
    def annotate(
        self, texts: list[str | None] | tuple[str | None, ...], *, errors: Errors = ...
    ) -> list[Mentions | None]: ...
    @overload
    def annotate(self, texts: Iterator[str], *, errors: Errors = ...) -> Generator[Mentions, None, None]: ...
    @overload
    def annotate(
        self, texts: Iterator[str | None], *, errors: Errors = ...
    ) -> Generator[Mentions | None, None, None]: ...
    @overload
    def annotate(self, texts: Frame, text: str = ..., mentions: str = ..., error: str = ...) -> Frame: ...
    @overload
    def annotate(
        self, texts: Any, text: str = ..., mentions: str = ..., error: str = ..., errors: Errors = ...
    ) -> Any: ...

    def annotate(
        self,
        texts: Any,
        text: str = "text",
        mentions: str = "mentions",
        error: str = "error",
        errors: Errors = "raise",
    ) -> Any:
        """Annotates many texts, and answers in kind.

        ============================================  ============================================================
        list or tuple of strings                      list of :class:`Mentions`
        generator or other iterable                   generator of :class:`Mentions`, in constant memory
        ``pandas.DataFrame``, ``polars.DataFrame``,   the same with two more columns: ``mentions``, and ``error``
        ``pyarrow.Table`` or ``RecordBatch``          for what could not be annotated
        ``pyarrow.RecordBatchReader``, and whatever   ``pyarrow.RecordBatchReader`` with these columns, in constant
        has ``__arrow_c_stream__``                    memory
        column (pandas or polars Series, pyarrow      column of mentions; what cannot be annotated is an exception
        Array or ChunkedArray)
        ============================================  ============================================================

        A missing text (``None``, NaN) has no mentions: ``None``. ``text``, ``mentions`` and ``error`` name the columns.
        ``errors="keep"`` returns a text of a list or iterable that cannot be annotated as :class:`Mentions` with an
        ``error``. A generator gives answers when a batch is full, so a slow source of short texts waits: some 3,000 texts
        or 400 KB are on their way. If the source fails, the answers to what it gave come first.

        >>> model.annotate(["No hypotension was seen.", None])
        [[Mention(start=3, end=14, text='hypotension', type='Disease', ...)], None]

        Raises:
            TextError: if a text cannot be annotated; it names the row.
            WorkerError: if the worker ended.
        """
        if errors not in ("raise", "keep"):
            raise ValueError(f"errors is {errors!r}; choose 'raise' or 'keep'")
        if isinstance(texts, (str, bytes)):
            raise TypeError("annotate takes many texts; for one there is model(text)")
        if type(texts).__name__ == "LazyFrame":
            raise TypeError("a LazyFrame has no rows yet: collect it first, or annotate its batches")
        names = (text, mentions, error)
        # Also those of subclasses, without importing either library.
        bases = {(base.__module__.partition(".")[0], base.__name__) for base in type(texts).__mro__}
        module = next((name for name in ("pandas", "polars") if any(name == base for base, _ in bases)), "")
        is_column = isinstance(texts, (pa.Array, pa.ChunkedArray)) or (module, "Series") in bases
        is_table = isinstance(texts, (pa.Table, pa.RecordBatch)) or hasattr(texts, "__arrow_c_stream__")
        is_table = is_table or ("pandas", "DataFrame") in bases
        if errors != "raise" and (is_column or is_table):
            raise ValueError("errors='keep' has no effect on tables, which have a column for errors, nor on columns")
        if not is_table or is_column:
            given = [name for name, default in zip(names, ("text", "mentions", "error")) if name != default]
            if given:
                raise ValueError(f"{given} are names of columns, and {type(texts).__name__} has none")
        if is_column:
            return self._column(texts, module)
        if module == "pandas" and is_table:
            return self._pandas(texts, names)
        if module == "polars" and is_table:
            return self._polars(texts, names)
        if isinstance(texts, pa.RecordBatch):
            reader = self._reader(pa.RecordBatchReader.from_batches(texts.schema, [texts]), names)
            return pa.concat_batches(list(reader))
        if isinstance(texts, pa.Table):
            return self._reader(texts.to_reader(), names).read_all()
        if is_table:
            if not isinstance(texts, pa.RecordBatchReader):
                texts = pa.RecordBatchReader.from_stream(texts)
            return self._reader(texts, names)
        if isinstance(texts, (list, tuple)):
            return list(self._strings(texts, errors))
        if isinstance(texts, Iterable):
            return self._strings(texts, errors)
        raise TypeError(f"cannot annotate {type(texts).__name__}: it is neither a table nor an iterable of strings")

    # What all of the above comes to.

    def _answers(
        self, chunks: Iterable[tuple[Chunk, Any]], survive: bool = False
    ) -> Iterator[tuple[Chunk, Any, pa.RecordBatch]]:
        """Sends chunks and yields their answers in order. With ``survive``, a text on which the worker dies has an
        error as its answer, and the others theirs."""
        owner = object()
        waiting: deque[tuple[Chunk, Any, Request]] = deque()
        ended = False

        def first() -> tuple[Chunk, Any, pa.RecordBatch]:
            chunk, label, request = waiting[0]
            try:
                answer = self._host.wait(request)
            except WorkerError as death:
                if not survive:
                    raise
                # The chunks behind it are sent again when their turn comes.
                for _, _, other in waiting:
                    if isinstance(other.error, WorkerError):
                        other.error = Ended()
                _LOG.warning("%s; medner annotates its texts apart", str(death).splitlines()[0])
                answer = self._apart(chunk)
            waiting.popleft()
            return chunk, label, answer

        failure: Exception | None = None
        source = iter(chunks)
        try:
            while True:
                try:
                    chunk, label = next(source)
                except StopIteration:
                    break
                except Exception as error:
                    # What the texts before it gave comes first.
                    failure = error
                    break
                waiting.append((chunk, label, self._host.submit(owner, chunk)))
                while waiting and (len(waiting) >= AHEAD or waiting[0][2].done):
                    yield first()
            while waiting:
                yield first()
            ended = True
            if failure is not None:
                raise failure
        finally:
            # An exception, Ctrl-C, or a caller that wants no more.
            if not ended:
                self._host.abandon(owner)

    def _apart(self, chunk: Chunk) -> pa.RecordBatch:
        """The answer to a chunk that a worker had when it died: by halves, until the text is found on which it dies.

        Raises:
            WorkerError: if the worker dies on any text: the machine is at fault then.
        """
        for _ in range(2):
            try:
                return self._host.alone(chunk)
            except WorkerError:
                if chunk.rows > 1:
                    return pa.concat_batches([self._apart(half) for half in chunk.halves()])
        # The worker died on this text alone, twice. On a machine without memory it dies on this one, too.
        self._host.alone(Chunk(0, [pa.array(["."])], [None], 1))
        error = "the worker ended while it annotated this text alone, and again in a second attempt"
        return pa.RecordBatch.from_pylist([{"mentions": None, "error": error}], schema=_answer_schema())

    def _cutter(self) -> Cutter:
        return Cutter(self.info["batch"])

    def _strings(self, texts: Iterable[object], errors: Errors) -> Iterator[Mentions | None]:
        for _, taken, answer in self._answers(self._cutter().strings(texts)):
            rows = zip(taken.sound, answer.column("mentions").to_pylist(), answer.column("error").to_pylist())
            for at, (text, mentions, error) in enumerate(rows):
                error = taken.faults.get(at, error)
                if error is not None and errors == "keep":
                    given = taken.texts[at]
                    yield Mentions(given if isinstance(given, str) else "", error=error)
                elif error is not None:
                    raise _fault(taken.first + at, error)
                else:
                    yield None if text is None else Mentions(text, map(Mention.from_dict, mentions))

    def _columns(
        self, columns: Iterable[tuple[Any, pa.Array, Faults]], survive: bool = False
    ) -> Iterator[tuple[Any, int, pa.RecordBatch]]:
        """For each piece of a column: the column's label, the piece's offset in it, and the answer. Texts with faults are
        missing in the column; the answer says what is wrong."""

        def prepared() -> Iterator[tuple[tuple[Any, Faults], pa.Array]]:
            for label, column, faults in columns:
                column, more = sound(strings(column))
                yield (label, {**more, **faults}), column

        chunks = ((chunk, None) for chunk in self._cutter().columns(prepared()))
        for chunk, _, answer in self._answers(chunks, survive):
            at = 0
            for piece, ((label, faults), offset) in zip(chunk.pieces, chunk.labels):
                yield label, offset, _with_faults(answer.slice(at, len(piece)), faults, offset)
                at += len(piece)

    def _reader(self, reader: pa.RecordBatchReader, names: tuple[str, str, str]) -> pa.RecordBatchReader:
        text, *added = names
        _check_names(reader.schema.names, names)
        place = reader.schema.get_field_index(text)
        fields = [field.with_name(name) for field, name in zip(_answer_schema(), added)]
        schema = reader.schema
        for field in fields:
            schema = schema.append(field)

        def batches() -> Iterator[pa.RecordBatch]:
            columns: Any = ((batch, batch.column(place), {}) for batch in reader)
            for batch, offset, answer in self._columns(columns):
                part = batch.slice(offset, answer.num_rows)
                yield pa.RecordBatch.from_arrays([*part.columns, *answer.columns], schema=schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _chunked(self, column: pa.ChunkedArray, faults: Faults | None = None) -> pa.Table:
        """``faults`` are those of a column with one chunk."""
        answers = [answer for _, _, answer in self._columns((None, chunk, faults or {}) for chunk in column.chunks)]
        return pa.Table.from_batches(answers, schema=_answer_schema())

    def _column(self, column: Any, module: str) -> Any:
        faults: Faults = {}
        if module == "pandas":
            texts, faults = _pandas_texts(column)
        elif module == "polars":
            texts = _chunked_array(column.to_arrow())
        else:
            texts = _chunked_array(column)
        answer = self._chunked(texts, faults)
        for row, error in enumerate(answer.column("error").to_pylist()):
            if error is not None:
                raise _fault(row, error)
        found = answer.column("mentions")
        if module == "pandas":
            return _pandas_column(found, column.index, "mentions")
        if module == "polars":
            import polars

            return polars.Series("mentions", found)
        return found.combine_chunks() if isinstance(column, pa.Array) else found

    def _pandas(self, frame: Any, names: tuple[str, str, str]) -> Any:
        text, *added = names
        _check_names(list(frame.columns), names)
        answer = self._chunked(*_pandas_texts(frame[text]))
        columns = {name: _pandas_column(column, frame.index, name) for name, column in zip(added, answer.columns)}
        return frame.assign(**columns)

    def _polars(self, frame: Any, names: tuple[str, str, str]) -> Any:
        import polars

        text, *added = names
        _check_names(frame.columns, names)
        answer = self._chunked(_chunked_array(frame.get_column(text).to_arrow()))
        return frame.with_columns(polars.Series(name, column) for name, column in zip(added, answer.columns))


def _answer_schema() -> pa.Schema:
    return MENTIONS_SCHEMA


def _struct(**fields: pa.DataType | tuple[pa.DataType, bool]) -> pa.DataType:
    """Fields that are never missing, unless their type stands in a tuple with ``True``."""
    made = (pa.field(name, *(kind if isinstance(kind, tuple) else (kind, False))) for name, kind in fields.items())
    return pa.struct(list(made))


_PART = _struct(start=pa.int64(), end=pa.int64(), text=pa.string())
_ASSERTION = _struct(value=pa.string(), historical=pa.bool_(), cue=(_PART, True), confidence=pa.float32())
_CANDIDATE = {"id": pa.string(), "name": pa.string(), "score": pa.float32()}
_CONCEPT = _struct(
    **_CANDIDATE,
    vocabulary=pa.string(),
    system=(pa.string(), True),
    text=pa.string(),
    others=pa.list_(pa.field("item", _struct(**_CANDIDATE), False)),
)
_MENTION = _struct(
    start=pa.int64(),
    end=pa.int64(),
    text=pa.string(),
    type=pa.string(),
    category=(pa.string(), True),
    confidence=pa.float32(),
    models=pa.list_(pa.field("item", pa.string(), False)),
    below_threshold=pa.bool_(),
    assertion=(_ASSERTION, True),
    section=(_struct(name=pa.string(), loinc=(pa.string(), True)), True),
    long_form=(_PART, True),
    concepts=pa.list_(pa.field("item", _CONCEPT, False)),
)

#: The columns that are added to a table. A test compares it with the program's.
MENTIONS_SCHEMA: pa.Schema = pa.schema(
    [pa.field("mentions", pa.list_(pa.field("item", _MENTION, False))), pa.field("error", pa.string())]
)


def _fault(row: int, error: str) -> TextError:
    return TextError(f"the text of row {row} cannot be annotated: {error}", row)


def _with_faults(answer: pa.RecordBatch, faults: Faults, offset: int) -> pa.RecordBatch:
    own = [faults.get(row) for row in range(offset, offset + answer.num_rows)] if faults else []
    if not any(own):
        return answer
    mentions, errors = answer.columns
    return pa.RecordBatch.from_arrays([mentions, pc.coalesce(pa.array(own, errors.type), errors)], schema=answer.schema)


def _check_names(columns: Sequence[Any], names: tuple[str, str, str]) -> None:
    text, *added = names
    if added[0] == added[1]:
        raise ValueError("mentions and error name the same column")
    if list(columns).count(text) != 1:
        raise ValueError(
            f"the table has {'no' if text not in columns else 'more than one'} column {text!r}: name the column of texts "
            f"with text=…; it has {', '.join(map(repr, columns))}"
        )
    for name, option in zip(added, ("mentions", "error")):
        if name in columns:
            raise ValueError(f"the table has a column {name!r} already: choose another name with {option}=…")


def _chunked_array(column: Any) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _pandas_texts(series: Any) -> tuple[pa.ChunkedArray, Faults]:
    """Without copies where pandas holds the strings as Arrow does."""
    if str(series.dtype) != "object" and len(series):
        try:
            return _chunked_array(pa.array(series, from_pandas=True)), {}
        except (UnicodeEncodeError, pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    column, faults = column_of(series)
    return _chunked_array(column), faults


def _pandas_column(column: pa.ChunkedArray, index: Any, name: str) -> Any:
    import pandas

    return pandas.Series(pandas.arrays.ArrowExtensionArray(column), index=index, name=name)


def load(
    model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    runs: str | os.PathLike[str] | None = None,
    threshold: float | Mapping[str, float] | None = None,
    all_spans: bool = False,
    assertion: bool = True,
    assert_types: Sequence[str] = (),
    long_forms: bool = True,
    vocabulary: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    candidates: int = 1,
    link_threshold: float | None = None,
    categories: str | os.PathLike[str] | None = None,
    ensemble: bool = False,
    exact: bool = False,
) -> Model:
    """Loads a model, or several that annotate together.

    Args:
        model: a corpus (its newest run), a run (id, ``DATASET/ID`` or folder), the folder of any token-classification
            model, or a hub id (``owner/name``, ``owner/name@revision``); or a list of these.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16``, ``int8`` or ``fp16``.
        threads: threads of the CPU; all cores by default.
        runs: the folder of runs; by default ``experiments/runs`` of the checkout, or of the current folder.
        threshold: the least confidence (0 to 1) of all types, or of each: ``{"Disease": 0.8}``.
        all_spans: keep mentions below the threshold, marked ``below_threshold``.
        assertion: whether mentions of problems and diseases get an assertion, and mentions a section.
        assert_types: more types that get an assertion.
        long_forms: whether abbreviations get their long form.
        vocabulary: a file of ``medner vocabulary build`` that mentions are linked to, or one for each type:
            ``{"Disease": "doid.voc"}``.
        candidates: the number of candidate concepts of a mention; the first one is its concept.
        link_threshold: the least score (0 to 1) of a link.
        categories: a TOML file of categories by type.
        ensemble: use several models of the same types as one.
        exact: let no digit depend on the texts beside it. ``precision="auto"`` then prefers int8.

    Raises:
        ModelError: if a model is missing or cannot be loaded.

    >>> model = load("bc5cdr")  # doctest: +SKIP
    >>> model("Aspirin relieved the fever.")  # doctest: +SKIP
    [Mention(start=0, end=7, text='Aspirin', type='Chemical', ...), Mention(start=21, end=26, text='fever', ...)]
    """
    given = dict(locals())
    loaded = Model(*arguments_of(**given))
    # Errors of the model come here, and not with the first text.
    loaded.info  # noqa: B018
    return loaded


def arguments_of(
    *,
    model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    device: str,
    precision: str,
    threads: int | None,
    runs: str | os.PathLike[str] | None,
    threshold: float | Mapping[str, float] | None,
    all_spans: bool,
    assertion: bool,
    assert_types: Sequence[str],
    long_forms: bool,
    vocabulary: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None,
    candidates: int,
    link_threshold: float | None,
    categories: str | os.PathLike[str] | None,
    ensemble: bool,
    exact: bool,
) -> tuple[list[str], dict[str, str]]:
    """The worker's arguments and environment for the options of :func:`load`."""
    if not isinstance(model, (str, os.PathLike, Sequence)):
        raise TypeError(f"a model is named by a string or a path, not by {type(model).__name__}")
    wanted = [model] if isinstance(model, (str, os.PathLike)) else list(model)
    if not wanted:
        raise ValueError("name at least one model")
    # Another process may run in another folder.
    arguments = [f"--model={_absolute(name)}" for name in wanted]
    arguments += [f"--device={device}", f"--precision={precision}"]
    if runs is not None:
        arguments.append(f"--runs={os.path.abspath(runs)}")
    if isinstance(threshold, Mapping):
        arguments += [f"--threshold={name}={least}" for name, least in threshold.items()]
    elif threshold is not None:
        arguments.append(f"--threshold={threshold}")
    if categories is not None:
        arguments.append(f"--categories={os.path.abspath(categories)}")
    arguments += [f"--assert={name}" for name in assert_types]
    if isinstance(vocabulary, Mapping):
        arguments += [f"--vocabulary={name}={os.path.abspath(path)}" for name, path in vocabulary.items()]
    elif vocabulary is not None:
        arguments.append(f"--vocabulary={os.path.abspath(vocabulary)}")
    if candidates != 1:
        arguments.append(f"--candidates={candidates}")
    if link_threshold is not None:
        arguments.append(f"--link-threshold={link_threshold}")
    flags = [
        (all_spans, "--all-spans"),
        (not assertion, "--no-assertion"),
        (not long_forms, "--no-long-forms"),
        (ensemble, "--ensemble"),
        (exact, "--apart"),
    ]
    arguments += [flag for wanted_, flag in flags if wanted_]
    return arguments, {} if threads is None else environment_of(threads)


def environment_of(threads: int) -> dict[str, str]:
    """Tells a worker its number of threads."""
    if threads < 1:
        raise ValueError(f"threads is {threads}; it must be at least 1")
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}


def _absolute(model: str | os.PathLike[str]) -> str:
    name = os.fspath(model)
    return os.path.abspath(name) if os.path.isdir(name) else name
