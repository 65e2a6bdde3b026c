"""What Spark and Ray share: settings that mean the same on every machine, and tables whose bad texts are rows."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ._errors import MednerError, ModelError
from ._model import MENTIONS_SCHEMA, Model, arguments_of, environment_of, load
from ._texts import Faults, strings, without

ModelName = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

#: Bytes of the longest text that is annotated: a thousand pages.
MAX_BYTES = 5_000_000

#: Documents with errors that a task names in the log.
_NAMED = 20
_LOG = logging.getLogger("medner")


def required(extra: str, title: str, *modules: str) -> Any:
    """The package that an extra installs, with these of its modules.

    Raises:
        MednerError: if it is missing.
    """
    try:
        package, *_ = map(importlib.import_module, [modules[0].partition(".")[0], *modules])
    except ImportError as error:
        raise MednerError(f"medner.{extra} needs {title} ({error}): pip install 'medner[{extra}]'") from None
    return package


@dataclass(frozen=True)
class Settings:
    """A model and its options as a cluster's machines get them: names and checksums, no weights."""

    #: The worker's.
    arguments: tuple[str, ...]
    #: What decides the mentions, as JSON: checksums, precision, thresholds, the version of medner.
    identity: str

    @classmethod
    def of(cls, model: ModelName, options: Mapping[str, Any], exact: bool | None = None) -> Settings:
        """Checks the options of :func:`medner.load` and loads the model once, on this machine's CPU.

        ``device`` is ``cpu`` by default. The precision ``auto`` becomes what it means on this machine. With ``exact``,
        the default on CPUs, no text affects another one. (A GPU would be slow with the few rows of one text.)

        Raises:
            ModelError: if the model is missing or cannot be loaded.
        """
        if "threads" in options:
            raise TypeError("threads has no effect here: the CPUs of a task or actor decide")
        bound = inspect.signature(load).bind(model, **{"device": "cpu", **options})
        bound.apply_defaults()
        given = bound.arguments
        given["exact"] = given["device"] == "cpu" if exact is None else exact
        if given["device"] == "auto":
            raise ValueError("device='auto' lets results depend on the machine: name 'cpu' or 'cuda'")
        on_cpu = given["device"] == "cpu"
        # A machine without a GPU prepares work for those with one.
        here, _ = arguments_of(**given if on_cpu else {**given, "device": "cpu", "precision": "auto"})
        with Model([*here, "--identify"], {}) as loaded:
            hello = loaded.info
        identity = dict(hello["identity"])
        # On every GPU, `auto` is bf16.
        precisions = identity["precision"] if on_cpu else ["bf16"]
        if given["precision"] == "auto" and len(set(precisions)) == 1:
            given["precision"] = precisions[0]
        if not on_cpu:
            del identity["precision"]
        given["runs"] = hello["runs"]
        if given["categories"] is None:
            # A corpus means its newest run, which may be another one tomorrow. (Tables of categories use these names.)
            wanted = [model] if isinstance(model, (str, os.PathLike)) else list(model)
            names = [found["name"] for found in identity["models"]]
            given["model"] = [path if os.path.isdir(path) else name for path, name in zip(wanted, names)]
        return cls((*arguments_of(**given)[0], "--identify"), json.dumps(identity, sort_keys=True))

    def check(self, hello: Mapping[str, Any]) -> None:
        """Compares a worker with the one that loaded the model first.

        Raises:
            ModelError: if it would find other mentions.
        """
        first = json.loads(self.identity)
        differing = [name for name in first if hello["identity"].get(name) != first[name]]
        if differing:
            listed = "; ".join(f"{name} {hello['identity'].get(name)} instead of {first[name]}" for name in differing)
            raise ModelError(f"{platform.node()} has not what the job was prepared with: {listed}")

    @contextmanager
    def opened(self, threads: int) -> Iterator[Model]:
        """The model in this process. It stays loaded for the next task with these settings.

        Raises:
            ModelError: if the model is missing here, or is another one.
        """
        key = (self, threads)
        with _LOCK:
            held = _HELD.get(key)
            if held is None:
                for other in [other for other, held in _HELD.items() if held.users == 0]:
                    _HELD.pop(other).model.close()
                held = _Held(Model(self.arguments, environment_of(threads), self.check))
                try:
                    held.model.info  # noqa: B018
                except ModelError as error:
                    raise ModelError(
                        f"{platform.node()} cannot load the model: {error}\n"
                        "Every machine needs the model under the same name: a folder that all of them see, or a hub id"
                    ) from None
                _HELD[key] = held
            held.users += 1
        try:
            yield held.model
        finally:
            with _LOCK:
                held.users -= 1


@dataclass
class _Held:
    model: Model
    users: int = 0


_HELD: dict[tuple[Settings, int], _Held] = {}
_LOCK = threading.Lock()


def _renew() -> None:
    """In a forked child."""
    global _LOCK
    _LOCK = threading.Lock()
    _HELD.clear()


os.register_at_fork(after_in_child=_renew)


@dataclass(frozen=True)
class Columns:
    """Names of columns, and the bytes of the longest text that is annotated."""

    text: str
    id: str | None
    mentions: str
    error: str
    max_bytes: int

    def check(self, names: Sequence[str], is_same: Callable[[str, str], bool] = str.__eq__) -> None:
        """Checks them against the names of a table's columns.

        Raises:
            ValueError: if one is missing, there twice, or taken.
        """
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes is {self.max_bytes}; it must be at least 1")
        if self.mentions == self.error:
            raise ValueError("mentions and error name the same column")
        for option, name in (("text", self.text), ("id", self.id)):
            if name is not None and list(names).count(name) != 1:
                raise ValueError(
                    f"there is {'no' if name not in names else 'more than one'} column {name!r}: name another one with "
                    f"{option}=…; there are {', '.join(map(repr, names))}"
                )
        for option, name in (("mentions", self.mentions), ("error", self.error)):
            if any(is_same(name, other) for other in names):
                raise ValueError(f"there is a column {name!r} already: choose another name with {option}=…")

    def added(self, schema: pa.Schema) -> pa.Schema:
        """A table's schema with the new columns."""
        for name, field in zip((self.mentions, self.error), MENTIONS_SCHEMA):
            schema = schema.append(field.with_name(name))
        return schema


def annotated(model: Model, batches: Iterable[pa.RecordBatch], columns: Columns) -> Iterator[pa.RecordBatch]:
    """The batches with mentions and errors, in smaller batches. Whatever is wrong with a text, its row says so."""

    def texts() -> Iterator[tuple[pa.RecordBatch, pa.Array, Faults]]:
        for batch in batches:
            yield batch, *_short(strings(batch.column(columns.text)), columns.max_bytes)

    failed = 0
    for batch, offset, answer in model._columns(texts(), survive=True):
        part = batch.slice(offset, answer.num_rows)
        mentions, errors = answer.columns
        if errors.null_count < len(errors):
            ids = part.column(columns.id) if columns.id is not None else None
            for row, error in enumerate(errors.to_pylist()):
                failed += error is not None
                if error is not None and ids is not None and failed <= _NAMED:
                    _LOG.warning("document %s: %s", ids[row].as_py(), error)
        yield pa.RecordBatch.from_arrays([*part.columns, mentions, errors], schema=columns.added(batch.schema))
    if failed:
        _LOG.warning("%d texts of this task could not be annotated; the column %s says why", failed, columns.error)


def _short(column: pa.Array, max_bytes: int) -> tuple[pa.Array, Faults]:
    """The texts with those of more bytes as missing ones, and what is wrong with these."""
    lengths = pc.call_function("binary_length", [column])
    rows = pc.call_function("indices_nonzero", [pc.fill_null(pc.greater(lengths, max_bytes), False)]).to_pylist()
    faults = {row: f"the text has {lengths[row].as_py():,} bytes, more than max_bytes={max_bytes:,}" for row in rows}
    return without(column, faults), faults
