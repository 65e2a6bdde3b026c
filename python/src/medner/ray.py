"""Ray Data: ``medner.ray.annotate(dataset, model="/models/i2b2", text="note", concurrency=8)``.

Each actor loads the model once. The model must be under the same name on the driver and on every node, which compare
its checksum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._cluster import MAX_BYTES, Columns, ModelName, Settings, annotated, required
from ._texts import strings

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["Annotator", "annotate"]


class Annotator:
    """An actor for ``map_batches`` with ``batch_format="pyarrow"``: adds the columns ``mentions`` and ``error``.

    :func:`annotate` starts such actors and checks the model first. By itself, an actor takes the model that it finds,
    and computes on its GPU if ``num_gpus`` gave it one, else on its CPUs.

    >>> dataset.map_batches(  # doctest: +SKIP
    ...     Annotator, fn_constructor_kwargs={"model": "/models/i2b2", "text": "note"}, batch_format="pyarrow",
    ...     num_cpus=2, concurrency=8)
    """

    def __init__(
        self,
        model: ModelName | Settings,
        text: str = "text",
        id: str | None = None,
        mentions: str = "mentions",
        error: str = "error",
        max_bytes: int = MAX_BYTES,
        exact: bool | None = None,
        **options: Any,
    ) -> None:
        given = _require().get_runtime_context().get_assigned_resources()
        if not isinstance(model, Settings):
            model = Settings.of(model, {"device": "cuda" if given.get("GPU") else "cpu", **options}, exact)
        self._columns = Columns(text, id, mentions, error, max_bytes)
        # A task of a fraction of a CPU has one thread.
        self._opened = model.opened(max(1, int(given.get("CPU", 1))))
        self._model = self._opened.__enter__()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The batch with mentions and errors.

        Raises:
            ValueError: if a column is missing, or a new one is there already.
            TypeError: if the texts are no strings.
        """
        if not isinstance(batch, pa.Table):
            raise TypeError(f"the batch is {type(batch).__name__}: pass batch_format='pyarrow' to map_batches")
        self._columns.check(batch.column_names)
        found = annotated(self._model, batch.to_batches(), self._columns)
        return pa.Table.from_batches(found, self._columns.added(batch.schema))


def annotate(
    dataset: Dataset,
    model: ModelName,
    text: str = "text",
    id: str | None = None,
    mentions: str = "mentions",
    error: str = "error",
    max_bytes: int = MAX_BYTES,
    exact: bool | None = None,
    *,
    concurrency: int | tuple[int, int] = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    batch_size: int = 1024,
    **options: Any,
) -> Dataset:
    """The dataset with two more columns: ``mentions``, a list of structs, and ``error``.

    A missing text has neither. A text that cannot be annotated has an ``error``, and never fails the job.

    Args:
        dataset: any dataset. It needs more blocks than actors (``repartition``).
        model: as in :func:`medner.load`; all nodes must see it.
        text: the column of texts.
        id: the column by which actors' logs name documents that have an error; they name none without it.
        mentions: the name of the column of mentions.
        error: the name of the column of errors.
        max_bytes: a text of more bytes (UTF-8) gets an error.
        exact: let no digit depend on the texts beside it; by default on CPUs. ``precision="auto"`` then prefers int8.
        concurrency: the number of actors, or the least and the most.
        num_cpus: CPUs of an actor, which are the threads of its model. Ray needs others to read and write.
        num_gpus: GPUs of an actor; with one, ``device`` is ``cuda`` by default.
        batch_size: rows that an actor takes at a time. The model makes its own batches of them, by tokens.
        options: those of :func:`medner.load`, except ``threads``.

    Raises:
        ModelError: if this machine cannot load the model.
        ValueError: if a column is missing, or a new one is there already.
        TypeError: if the texts are no strings.

    >>> annotate(notes, "i2b2", text="note", concurrency=8).write_parquet("found")  # doctest: +SKIP
    """
    _require()
    columns = Columns(text, id, mentions, error, max_bytes)
    # Ray reads a block for it if it must. A dataset without rows has none.
    schema = dataset.schema()
    if schema is not None:
        columns.check(schema.names)
        kind = dict(zip(schema.names, schema.types))[text]
        if isinstance(kind, pa.DataType):
            strings(pa.array([], kind))
    settings = Settings.of(model, {"device": "cuda" if num_gpus else "cpu", **options}, exact)
    return dataset.map_batches(
        Annotator,
        fn_constructor_args=(settings, text, id, mentions, error, max_bytes),
        batch_format="pyarrow",
        batch_size=batch_size,
        num_cpus=num_cpus,
        num_gpus=num_gpus or None,
        compute=_actors(concurrency),
    )


def _actors(concurrency: int | tuple[int, int]) -> Any:
    """So many actors, or as many as Ray finds useful between two numbers."""
    strategy = _require().data.ActorPoolStrategy
    if isinstance(concurrency, int):
        return strategy(size=concurrency)
    least, most = concurrency
    return strategy(min_size=least, max_size=most)


def _require() -> Any:
    return required("ray", "Ray", "ray.data")
