"""Spark with executors as processes of their own. Needs PySpark and Java: `cargo xtask check cluster` has the first."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest

import medner
from medner import _program
from processes import descendants

pyspark = pytest.importorskip("pyspark", reason="SKIPPED: Spark is not tested, for PySpark is not installed")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("SKIPPED: Spark is not tested, for there is no Java: install Java 17", allow_module_level=True)

TEXT = "Naloxone reverses the effect of clonidine. No hypotension was seen."


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two executors, each a process with one core. Their program dies on texts with POISON."""
    place = tmp_path_factory.mktemp("spark")
    environment = {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(place / "scratch"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        builder = pyspark.sql.SparkSession.builder.master("local-cluster[2,1,1024]")
        for name, value in {
            "spark.ui.enabled": "false",
            "spark.executor.memory": "1g",
            "spark.executorEnv.PYTHONPATH": str(Path(medner.__file__).parents[1]),
            "spark.executorEnv.MEDNER_PROGRAM": str(Path(__file__).with_name("fragile.py")),
            "spark.executorEnv.FRAGILE_PROGRAM": _program.find(),
            # Small, so that a test of a few texts has several batches.
            "spark.sql.execution.arrow.maxRecordsPerBatch": "7",
            "spark.sql.warehouse.dir": str(place / "warehouse"),
        }.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        # A local cluster ignores SPARK_WORKER_DIR.
        session.medner_logs = Path(pyspark.__file__).parent / "work" / session.sparkContext.applicationId
        yield session
        session.stop()
        shutil.rmtree(session.medner_logs)


def test_the_mentions_are_those_of_one_process(spark: Any, folder: str, apart: medner.Model) -> None:
    texts = [f"{TEXT} Naloxone {number}." for number in range(100)]
    given = [(f"n{at}", text, at % 3) for at, text in enumerate(texts)]
    notes = spark.createDataFrame(given, "id string, `the.note` string, n int")
    found = medner.spark.annotate(notes.repartition(5), folder, text="the.note", id="id")
    assert found.columns == ["id", "the.note", "n", "mentions", "error"]
    assert [field.dataType for field in found.schema.fields[:3]] == [field.dataType for field in notes.schema.fields]
    rows = sorted(found.collect(), key=lambda row: int(row.id[1:]))
    assert [(row["the.note"], row.n, row.error) for row in rows] == [(text, at % 3, None) for at, text in enumerate(texts)]
    mentions = [[mention.asDict(recursive=True) for mention in row.mentions] for row in rows]
    assert mentions == [[mention.to_dict() for mention in found] for found in apart.annotate(texts)]
    flat = found.selectExpr("id", "inline(mentions)").where("type = 'Disease' AND assertion.value = 'absent'")
    assert flat.count() == 100


def test_bad_texts_are_rows_and_no_log_has_text(spark: Any, folder: str) -> None:
    notes = spark.createDataFrame(
        [(1, TEXT), (2, None), (3, f"{TEXT} POISON"), (4, "z" * 2001), (5, "")], "id int, note string"
    )
    broken = spark.sql("SELECT 6 AS id, CAST(X'4E616C6F786F6E65EDA0BD' AS string) AS note")
    found = medner.spark.annotate(notes.union(broken).coalesce(1), folder, text="note", id="id", max_bytes=2000)
    errors = {row.id: row.error for row in found.drop("note").collect()}
    assert errors.pop(3).startswith("the worker ended while it annotated this text alone")
    assert errors.pop(4) == "the text has 2,001 bytes, more than max_bytes=2,000"
    assert errors.pop(6) == "the text is no UTF-8 at byte 8"
    assert errors == {1: None, 2: None, 5: None}
    logs = "".join(path.read_text(errors="replace") for path in spark.medner_logs.rglob("std*"))
    assert "document 3: the worker ended" in logs and "Naloxone" not in logs and "zzz" not in logs


def test_sql(spark: Any, folder: str, apart: medner.Model) -> None:
    medner.spark.register(spark, "mentions_of", folder)
    texts = [f"{TEXT} {number}" for number in range(20)]
    notes = spark.createDataFrame(list(enumerate([*texts, None])), "id int, note string")
    notes.createOrReplaceTempView("notes")
    query = "SELECT id, f.mentions, f.error FROM (SELECT id, mentions_of(note) AS f FROM notes) ORDER BY id"
    found = spark.sql(query).collect()
    mentions = [[mention.asDict(recursive=True) for mention in row.mentions] for row in found[:-1]]
    assert mentions == [[mention.to_dict() for mention in found] for found in apart.annotate(texts)]
    assert found[-1].mentions is None and found[-1].error is None


def test_killed_python_workers_and_executors_lose_nothing(spark: Any, folder: str) -> None:
    """The first Python worker and the first executor that are seen at work are killed."""
    notes = spark.range(0, 240, 1, 12).selectExpr("id", f"concat('{TEXT * 20} Naloxone ', id) AS note")
    found = medner.spark.annotate(notes, folder, text="note")
    expected = found.selectExpr("id", "size(mentions) AS size").collect()
    killed: list[str] = []

    def kill() -> None:
        for name in ("pyspark.daemon", "CoarseGrainedExecutorBackend"):
            while name not in killed:
                # One that is just listed may be gone.
                with suppress(IndexError, ProcessLookupError):
                    os.kill(descendants(name)[-1], signal.SIGKILL)
                    killed.append(name)
                time.sleep(0.01)
            time.sleep(0.5)

    thread = Thread(target=kill, daemon=True)
    thread.start()
    again = found.selectExpr("id", "size(mentions) AS size").collect()
    thread.join(60)
    assert len(killed) == 2, killed
    assert sorted(again) == sorted(expected) and len(again) == 240


def test_columns_and_models_are_checked_before_a_job(spark: Any, folder: str, tmp_path: Path) -> None:
    notes = spark.createDataFrame([(1, "fever")], "id int, note string")
    with pytest.raises(ValueError, match="no column 'text': name another one with text=…; there are 'id', 'note'"):
        medner.spark.annotate(notes, folder)
    with pytest.raises(TypeError, match="'id' has the type int, not string"):
        medner.spark.annotate(notes, folder, text="id")
    with pytest.raises(ValueError, match="a column 'mentions' already"):
        medner.spark.annotate(notes.withColumnRenamed("id", "Mentions"), folder, text="note")
    with pytest.raises(medner.ModelError, match="no model nonesuch"):
        medner.spark.annotate(notes, "nonesuch", text="note")
    # What the executors lack when they begin.
    place = tmp_path / "moved" / "model"
    shutil.copytree(folder, place)
    found = medner.spark.annotate(notes, place, text="note")
    shutil.rmtree(place)
    with pytest.raises(Exception, match="cannot load the model: .*no model .*moved"):
        found.collect()


def test_the_schema_is_the_package_s(spark: Any, folder: str) -> None:
    notes = spark.createDataFrame([(1, "fever")], "id int, note string")
    found = medner.spark.annotate(notes, folder, text="note", mentions="m", error="e")
    if hasattr(found, "toArrow"):
        mention = found.toArrow().schema.field("m").type.value_type
        expected = medner.MENTIONS_SCHEMA.field("mentions").type.value_type
        assert [field.name for field in mention] == [field.name for field in expected]
        assert mention.field("confidence").type == pa.float32() and mention.field("start").type == pa.int64()
