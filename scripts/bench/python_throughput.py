"""Throughput of the Python package beside that of `medner annotate` on the same documents, in turn.

Arguments: the program, a model's folder, JSON lines of documents, how many documents (they are repeated with distinct ids),
how many rounds, and, optionally, a Python with transformers, whose pipeline then annotates the documents once, without
repetition. Each time includes the start of the program and the load of the model, but not those of transformers. Prints ratios
of elapsed time, and of CPU time of both processes, which means more on a busy machine.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

program, model, documents, count, rounds, *transformers = sys.argv[1:]
os.environ["MEDNER_PROGRAM"] = program
sys.path.insert(0, str(Path(__file__).parents[2] / "python/src"))

import pandas as pd  # noqa: E402
import polars as pl  # noqa: E402

import medner  # noqa: E402

texts = [json.loads(line)["text"] for line in open(documents, encoding="utf-8")]
texts = [texts[at % len(texts)] for at in range(int(count))]


def binary(folder):
    path = Path(folder, "in.jsonl")
    path.write_text("".join(json.dumps({"id": str(at), "text": text}) + "\n" for at, text in enumerate(texts)))
    begin = time.monotonic()
    command = [program, "annotate", path, "--model", model, "--out", Path(folder, "out.jsonl"), "--quiet", "--no-run"]
    subprocess.run(command, check=True)
    return time.monotonic() - begin


def frame_of(kind):
    def measured(_):
        frame = kind({"text": texts})
        begin = time.monotonic()
        with medner.load(model) as loaded:
            found = loaded.annotate(frame)
        assert len(found) == len(texts)
        return time.monotonic() - begin

    return measured


def strings(_):
    begin = time.monotonic()
    with medner.load(model) as loaded:
        assert len(loaded.annotate(texts)) == len(texts)
    return time.monotonic() - begin


systems = {"medner annotate": binary, "pandas": frame_of(pd.DataFrame), "polars": frame_of(pl.DataFrame), "list": strings}


def cpu():
    """Seconds of this process and of those that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


pipeline = None
if transformers:
    peer = [*transformers, Path(__file__).with_name("peer.py"), "annotate", "pipeline", model, documents]
    answer = json.loads(subprocess.run(peer, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    pipeline = answer["documents"] / answer["seconds"], answer["documents"] / answer["cpu_seconds"]
    print(f"pipeline in {answer['precision']}: {pipeline[0]:.1f} documents/s, {pipeline[1]:.1f} by CPU time", file=sys.stderr)

times = {name: [] for name in systems}
for _ in range(int(rounds)):
    for name, measure in systems.items():
        with tempfile.TemporaryDirectory() as folder:
            before = cpu()
            elapsed = measure(folder)
            times[name].append((elapsed, cpu() - before))
        print(f"{name}: {elapsed:.2f} s, CPU {times[name][-1][1]:.2f} s", file=sys.stderr)
for name, own in times.items():
    pairs = list(zip(times["medner annotate"], own))
    by_time, by_cpu = (sorted(base[at] / ours[at] for base, ours in pairs)[len(pairs) // 2] for at in (0, 1))
    rates = [len(texts) / min(seconds) for seconds in zip(*own)]
    print(f"{name}: {rates[0]:.1f} documents/s at best; throughput {by_time:.3f} of the program's, by CPU time {by_cpu:.3f} (medians)")
    if pipeline:
        print(f"  {rates[0] / pipeline[0]:.1f} times the pipeline's, by CPU time {rates[1] / pipeline[1]:.1f}")
