#!/usr/bin/env python3
"""Spark and Ray beside plain processes on the same documents, for docs/collections.md.

    python scripts/bench/clusters.py MEDNER MODEL DOCUMENTS.jsonl --count 20000 --systems processes spark ray

Documents are repeated with distinct ids. Every system has two workers of one thread each: two shards of `medner annotate`,
two executors of Spark (processes of their own), two actors of Ray. Prints for each the time from when the engine is ready,
the CPU time of all its processes, which means more on a busy machine, the peak memory of a worker with all its processes,
and how many documents have other mentions than the first system found.

`--kill` ends an executor and a Python worker of Spark, or an actor of Ray, in the middle (SIGKILL). `--lengths` replaces the
texts by texts of 1 to that many characters.
"""

import argparse
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SOURCE = Path(__file__).parents[2] / "python/src"
sys.path.insert(0, str(SOURCE))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medner")
    parser.add_argument("model")
    parser.add_argument("documents", help="JSON lines with a text each")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--systems", nargs="+", default=["processes", "spark", "ray"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--records", type=int, help="spark.sql.execution.arrow.maxRecordsPerBatch")
    parser.add_argument("--lengths", type=int)
    parser.add_argument("--kill", action="store_true")
    return parser.parse_args()


def write_notes(options: argparse.Namespace, folder: Path) -> None:
    """The notes as Parquet files, written file by file."""
    folder.mkdir()
    with open(options.documents, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    all_texts, random_ = " ".join(texts), random.Random(1)

    def text(at: int) -> str:
        if options.lengths is None:
            return texts[at % len(texts)]
        # As many of each order of magnitude.
        length = int(options.lengths ** random_.random())
        begin = random_.randrange(len(all_texts))
        return (all_texts[begin:] + all_texts * (length // len(all_texts) + 1))[:length]

    each = -(-options.count // options.files)
    for number in range(options.files):
        ids = range(number * each, min((number + 1) * each, options.count))
        table = pa.table({"id": [str(at) for at in ids], "note": [text(at) for at in ids]})
        pq.write_table(table, folder / f"notes-{number:04}.parquet")


class Watch(threading.Thread):
    """Adds up CPU time and memory of each process whose command has a name, with those below it; and kills some, once."""

    def __init__(self, name: str, victims: list[str]) -> None:
        super().__init__(daemon=True)
        self.root, self.victims = name, victims
        self.peak_mb, self.killed, self.done = 0.0, 0, threading.Event()
        self.cpu: dict[int, float] = {}
        self.begun = self.cpu_before = 0.0
        self.first_seen: float | None = None

    def begin(self) -> None:
        """What is before is the engine's start."""
        self.look()
        self.begun, self.cpu_before = time.monotonic(), sum(self.cpu.values())

    def run(self) -> None:
        while not self.done.wait(0.3):
            self.look()

    def look(self) -> None:
        rows: dict[int, tuple[int, float, float, str]] = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                stat = (place / "stat").read_text().rpartition(")")[2].split()
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            cpu = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            rows[int(place.name)] = int(stat[1]), cpu, int(stat[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6, command

        def root_of(pid: int) -> int | None:
            """The worker that it belongs to, 0 for the engine, None for a process of somebody else."""
            while pid in rows and pid != os.getpid():
                if self.root in rows[pid][3]:
                    return pid
                pid = rows[pid][0]
            return 0 if pid == os.getpid() else None

        sizes: dict[int, float] = {}
        for pid, (_, cpu, mb, _) in rows.items():
            if (root := root_of(pid)) is not None and pid != os.getpid():
                self.cpu[pid] = cpu
                if root:
                    sizes[root] = sizes.get(root, 0.0) + mb
        self.peak_mb = max([self.peak_mb, *sizes.values()])
        works = any(" worker " in rows[pid][3] or " annotate " in rows[pid][3] for pid in self.cpu if pid in rows)
        if works and self.first_seen is None:
            self.first_seen = time.monotonic()
        # The engine has begun, and is busy.
        if self.first_seen is not None and self.victims and time.monotonic() - self.first_seen > 8 * (self.killed + 1):
            found = [pid for pid in self.cpu if pid in rows and self.victims[0] in rows[pid][3]]
            if found:
                os.kill(found[-1], signal.SIGKILL)
                self.victims.pop(0)
                self.killed += 1


def processes(options, notes, out, watch):
    def shard(number):
        command = [options.medner, "annotate", notes, "--model", options.model, "--out", out, "--shard", f"{number}/2"]
        command += ["--text-column", "note", "--id-column", "id", "--precision", options.precision, "--quiet", "--no-run"]
        return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})

    watch.begin()
    assert [shard.wait() for shard in [shard(0), shard(1)]] == [0, 0]


def found_by_processes(out):
    for part in sorted(out.glob("part-*.jsonl")):
        with open(part, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield row["id"], row["mentions"], None


def spark(options, notes, out, watch):
    import pyspark.sql

    import medner.spark

    os.environ |= {"SPARK_WORKER_DIR": str(out.parent / "executors"), "PYSPARK_PYTHON": sys.executable}
    builder = pyspark.sql.SparkSession.builder.master("local-cluster[2,1,2048]")
    settings = {
        "spark.ui.enabled": "false",
        "spark.executor.memory": "1g",
        "spark.executorEnv.PYTHONPATH": str(SOURCE),
        "spark.executorEnv.MEDNER_PROGRAM": options.medner,
        # A task for each file, as tables on a cluster have.
        "spark.sql.files.openCostInBytes": "128m",
    }
    if options.records is not None:
        settings["spark.sql.execution.arrow.maxRecordsPerBatch"] = str(options.records)
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    # Executors are there.
    session.range(2).repartition(2).count()
    watch.begin()
    frame = session.read.parquet(str(notes))
    found = medner.spark.annotate(frame, options.model, text="note", id="id", precision=options.precision)
    found.drop("note").write.parquet(str(out))
    watch.look()
    session.stop()


def ray(options, notes, out, watch):
    import ray

    import medner.ray

    variables = {"PYTHONPATH": str(SOURCE), "MEDNER_PROGRAM": options.medner}
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": variables})
    # Ray's newer reader starts a process for every few files, each of which takes two seconds of CPU time.
    ray.data.DataContext.get_current().use_datasource_v2 = False
    watch.begin()
    # Ray reads small files as one block, which one actor would take.
    dataset = ray.data.read_parquet(str(notes)).repartition(options.files)
    found = medner.ray.annotate(
        dataset, options.model, text="note", id="id", precision=options.precision, concurrency=2
    )
    found.drop_columns(["note"]).write_parquet(str(out))
    watch.look()
    ray.shutdown()


def found_in_parquet(out):
    for part in sorted(out.glob("*.parquet")):
        for batch in pq.ParquetFile(part).iter_batches(1000, columns=["id", "mentions", "error"]):
            for row in batch.to_pylist():
                yield row["id"], row["mentions"], row["error"]


SYSTEMS = {
    "processes": (processes, found_by_processes, " annotate ", []),
    "spark": (spark, found_in_parquet, "CoarseGrainedExecutorBackend", ["CoarseGrainedExecutorBackend", "pyspark.daemon"]),
    "ray": (ray, found_in_parquet, "ray::MapWorker", ["ray::MapWorker"]),
}


def main() -> None:
    options = arguments()
    options.medner, options.model = (os.path.abspath(path) for path in (options.medner, options.model))
    os.environ["MEDNER_PROGRAM"] = options.medner
    folder = Path(tempfile.mkdtemp(prefix="clusters-"))
    try:
        write_notes(options, folder / "notes")
        first: dict[str, tuple] = {}
        print("| system | s | CPU s | documents/CPU s | MB of a worker | killed | lost | twice | errors | other mentions |", flush=True)
        print("|---|---|---|---|---|---|---|---|---|---|")
        for number in range(options.rounds):
            for name in options.systems:
                run, read, root, victims = SYSTEMS[name]
                watch = Watch(root, list(victims) if options.kill else [])
                watch.start()
                out = folder / f"{name}-{number}"
                run(options, folder / "notes", out, watch)
                seconds = time.monotonic() - watch.begun
                watch.done.set()
                watch.join()
                cpu = sum(watch.cpu.values()) - watch.cpu_before
                seen: dict[str, tuple] = {}
                rows = errors = 0
                for key, mentions, error in read(out):
                    rows += 1
                    errors += error is not None
                    # Equal to the last bit: JSON holds decimals, Parquet numbers of 32 bits.
                    number_of = lambda m: (m["start"], m["end"], m["type"], *struct.pack("f", m["confidence"]))  # noqa: E731
                    seen[key] = tuple(map(number_of, mentions or ()))
                first = first or seen
                differing = sum(first.get(key) != value for key, value in seen.items())
                print(
                    f"| {name} | {seconds:.1f} | {cpu:.1f} | {options.count / cpu:.1f} | {watch.peak_mb:.0f} | {watch.killed} "
                    f"| {options.count - len(seen)} | {rows - len(seen)} | {errors} | {differing} |",
                    flush=True,
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
