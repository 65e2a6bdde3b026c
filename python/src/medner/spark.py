"""Spark: ``medner.spark.annotate(df, model="/models/i2b2", text="note", id="note_id")``, and a function for SQL.

Each Python worker of an executor loads the model once and keeps it for the next tasks. Spark moves texts and mentions
only; the model must be under the same name on the driver and on every executor, which compare its checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._cluster import MAX_BYTES, Columns, ModelName, Settings, annotated, required
from ._model import MENTIONS_SCHEMA

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["annotate", "register"]


def annotate(
    df: DataFrame,
    model: ModelName,
    text: str = "text",
    id: str | None = None,
    mentions: str = "mentions",
    error: str = "error",
    max_bytes: int = MAX_BYTES,
    exact: bool | None = None,
    **options: Any,
) -> DataFrame:
    """The data frame with two more columns: ``mentions``, an array of structs, and ``error``.

    A missing text has neither. A text that cannot be annotated has an ``error``, and never fails its job.

    Args:
        df: any data frame.
        model: as in :func:`medner.load`; executors must see it, too.
        text: the column of texts.
        id: the column by which executors' logs name documents that have an error; they name none without it.
        mentions: the name of the column of mentions.
        error: the name of the column of errors.
        max_bytes: a text of more bytes (UTF-8) gets an error.
        exact: let no digit depend on the texts beside it; by default on CPUs. ``precision="auto"`` then prefers int8.
        options: those of :func:`medner.load`, except ``threads``: ``spark.task.cpus`` decides.

    Raises:
        ModelError: if the driver cannot load the model.
        ValueError: if a column is missing, or a new one is there already.
        TypeError: if the texts are no strings.

    >>> found = annotate(notes, "i2b2", text="note", id="note_id")  # doctest: +SKIP
    >>> found.selectExpr("note_id", "inline(mentions)").write.parquet("mentions")  # doctest: +SKIP
    """
    types = _require().sql.types
    columns = Columns(text, id, mentions, error, max_bytes)
    is_exact = str(df.sparkSession.conf.get("spark.sql.caseSensitive")).lower() == "true"
    columns.check(df.columns, str.__eq__ if is_exact else lambda one, other: one.lower() == other.lower())
    kind = df.schema[text].dataType
    if not isinstance(kind, types.StringType):
        raise TypeError(f"the column {text!r} has the type {kind.simpleString()}, not string: name another column")
    settings = Settings.of(model, options, exact)
    added = [field.with_name(name) for field, name in zip(MENTIONS_SCHEMA, (mentions, error))]
    schema = types.StructType([*df.schema.fields, *map(_field, added)])

    names = df.columns

    def annotate_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _in_task(settings, (batch.rename_columns(names) for batch in batches), columns)

    # mapInArrow takes a dot in a name for a field of a struct.
    plain = df.toDF(*(f"column{at}" for at in range(len(names))))
    return plain.mapInArrow(annotate_partition, schema)


def register(
    spark: SparkSession,
    name: str,
    model: ModelName,
    max_bytes: int = MAX_BYTES,
    exact: bool | None = None,
    **options: Any,
) -> Any:
    """Registers a function for SQL: ``name(text)`` is a struct of ``mentions`` and ``error``. Returns it, for columns.

    Arguments and errors are those of :func:`annotate`.

    >>> register(spark, "mentions_of", "i2b2")  # doctest: +SKIP
    >>> spark.sql("SELECT note_id, inline(mentions_of(note).mentions) FROM notes")  # doctest: +SKIP
    """
    pyspark = _require()
    settings = Settings.of(model, options, exact)
    columns = Columns("text", None, "mentions", "error", max_bytes)
    result = pyspark.sql.types.StructType(list(map(_field, MENTIONS_SCHEMA)))

    def structs(texts: Iterator[pa.Array]) -> Iterator[pa.Array]:
        batches = (pa.record_batch([column], names=["text"]) for column in texts)
        for batch in _in_task(settings, batches, columns):
            yield batch.select(["mentions", "error"]).to_struct_array()

    functions = pyspark.sql.functions
    if hasattr(functions, "arrow_udf"):
        function = functions.arrow_udf(structs, result, functions.ArrowUDFType.SCALAR_ITER)
    else:
        # Before PySpark 4.1.
        def frames(texts: Any) -> Any:
            for column in structs(pa.array(series, pa.string(), from_pandas=True) for series in texts):
                yield pa.Table.from_struct_array(column).to_pandas()

        function = functions.pandas_udf(frames, result, functions.PandasUDFType.SCALAR_ITER)
    return spark.udf.register(name, function)


def _require() -> Any:
    return required("spark", "PySpark", "pyspark.sql.functions", "pyspark.sql.types")


def _in_task(settings: Settings, batches: Iterator[pa.RecordBatch], columns: Columns) -> Iterator[pa.RecordBatch]:
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None, "this runs on executors"
    with settings.opened(context.cpus()) as model:
        yield from annotated(model, batches, columns)


def _field(field: pa.Field) -> Any:
    from pyspark.sql.types import StructField

    # Nullable throughout: DataFrame.toArrow fails on a missing struct whose fields are not.
    return StructField(field.name, _type(field.type), True)


def _type(kind: pa.DataType) -> Any:
    from pyspark.sql import types

    if pa.types.is_list(kind):
        return types.ArrayType(_type(kind.value_type), True)
    if pa.types.is_struct(kind):
        return types.StructType([_field(kind.field(at)) for at in range(kind.num_fields)])
    plain = {
        pa.string(): types.StringType(),
        pa.int64(): types.LongType(),
        pa.float32(): types.FloatType(),
        pa.bool_(): types.BooleanType(),
    }
    return plain[kind]
