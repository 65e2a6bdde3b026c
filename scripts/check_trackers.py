#!/usr/bin/env python3
"""Sends runs to a real MLflow server, which is killed in between, and to TensorBoard, and reads both back.

`cargo xtask check trackers` brings what it needs and runs it. By hand it needs a Python environment with
scripts/trackers-requirements.txt, a built `medner`, and the encoder that it trains:

    OMP_NUM_THREADS=1 python3 scripts/check_trackers.py --medner target/release/medner --work /tmp/check-trackers

1. A training on the sample with both trackers; the server is killed with SIGKILL while it runs, and started again after
   its end; `medner runs sync` sends the rest.
2. The same, but the training is killed in an epoch, what there is is sent, and it is resumed to its end.

After each, MLflow's own client and TensorBoard's own reader must give exactly what the run folder says: every value,
once. With --golden it prints the events that crates/ner-track/tests/golden/events.hex holds, written by TensorBoard.
"""

import argparse
import atexit
import io
import json
import math
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

STEP_METRICS = {"train/loss": "loss", "train/learning_rate": "learning_rate", "train/gradient_norm": "gradient_norm"}
SCORES = ["precision", "recall", "f1"]
SPEED = "train/tokens_per_second"


def expected_points(run):
    """{metric: {step: value}} of a run folder, and how often a speed was measured again is not among them."""
    points = {}

    def add(key, step, value):
        if value is not None and math.isfinite(value):
            assert step not in points.setdefault(key, {}), f"{key} at {step} is in metrics.jsonl twice"
            points[key][step] = value

    def add_scores(split, scores, step):
        groups = {"": scores["overall"], "macro/": scores.get("macro", {}), "weighted/": scores.get("weighted", {})}
        groups |= {f"type/{name}/": values for name, values in scores["per_type"].items()}
        for prefix, values in groups.items():
            for score in SCORES:
                add(f"{split}/{prefix}{score}", step, values.get(score))

    epoch = 0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        if line["kind"] == "step":
            for key, field in STEP_METRICS.items():
                add(key, line["step"], line[field])
        elif line["kind"] == "epoch":
            epoch = line["epoch"]
            add("train/epoch_loss", epoch, line["loss"])
            add(SPEED, epoch, line["tokens"] / line["train_ms"] * 1e3)
            add_scores("dev", line["dev"], epoch)
    if (run / "scores.json").exists():
        add_scores("test", json.loads((run / "scores.json").read_text())["test"], epoch)
    return points


def expected_parameters(run):
    record = json.loads((run / "run.json").read_text())
    parameters = {}

    def add(key, value):
        if isinstance(value, dict):
            for name, inner in value.items():
                add(f"{key}.{name}", inner)
        elif value is not None:
            key = key.removeprefix("plan.") if key.startswith("plan.recipe.") else key
            parameters[key] = value

    for part in ["plan", "labels", "device", "compute", "threads", "encoder", "corpus"]:
        add(part, record[part])
    return parameters


class Server:
    """An MLflow server on this machine, with a database and files that outlive it."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None
        # A check that fails leaves no server behind.
        atexit.register(self.kill)

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        log = open(self.folder / "server.log", "a")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        sys.exit(f"no server; see {self.folder}/server.log")

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


def read_back(server, run, status):
    """Compares what MLflow's client and TensorBoard's reader give with the run folder; returns counts."""
    from mlflow.tracking import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("bc5cdr")
    found = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{run.name}'")
    assert len(found) == 1, f"{len(found)} runs are called {run.name}"
    at_server = found[0]
    assert at_server.info.status == status, at_server.info.status

    wanted = {key: v if isinstance(v, str) else None for key, v in expected_parameters(run).items()}
    parameters = at_server.data.params
    assert parameters.keys() == wanted.keys(), parameters.keys() ^ wanted.keys()
    for key, value in expected_parameters(run).items():
        text = parameters[key]
        assert text == value if isinstance(value, str) else json.loads(text) == value, (key, text, value)

    points = expected_points(run)
    assert at_server.data.metrics.keys() == points.keys(), at_server.data.metrics.keys() ^ points.keys()
    count = 0
    for key, values in points.items():
        history = client.get_metric_history(at_server.info.run_id, key)
        assert len(history) == len(values), f"{key}: {len(history)} values, not {len(values)}"
        for metric in history:
            # Exactly, but for speeds: that of an epoch that was made again is the first one's.
            assert key == SPEED or metric.value == values[metric.step], (key, metric, values[metric.step])
        count += len(history)

    files = ["run.json", "metrics.jsonl"] + (["scores.json"] if (run / "scores.json").exists() else [])
    folder = server.folder / "downloaded" / run.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    assert sorted(file.path for file in client.list_artifacts(at_server.info.run_id)) == sorted(files)
    for name in files:
        got = Path(client.download_artifacts(at_server.info.run_id, name, str(folder)))
        assert got.read_bytes() == (run / name).read_bytes(), f"{name} differs"

    reader = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    assert set(reader.Tags()["scalars"]) == points.keys(), set(reader.Tags()["scalars"]) ^ points.keys()
    single = lambda value: struct.unpack("f", struct.pack("f", value))[0]
    scalars = 0
    for key, values in points.items():
        events = reader.Scalars(key)
        assert [event.step for event in events] == sorted(values), key
        assert all(event.value == single(values[event.step]) for event in events), key
        scalars += len(events)
    (text,) = reader.Tensors("configuration")
    assert "recipe.seed" in text.tensor_proto.string_val[0].decode()
    return {"parameters": len(parameters), "metrics": len(points), "values": count, "files": len(files), "scalars": scalars}


def golden():
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.summary.writer.record_writer import RecordWriter

    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    text = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[b"| a |"])
    text = Summary.Value(tag="configuration", tensor=text, metadata=metadata)
    loss = Summary.Value(tag="train/loss", simple_value=0.1)
    events = [
        Event(wall_time=1_500_000_000.25, file_version="brain.Event:2"),
        Event(wall_time=1_500_000_000.25, summary=Summary(value=[text])),
        Event(wall_time=1_500_000_001.5, step=300, summary=Summary(value=[loss])),
    ]
    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString())
    print("\n".join(textwrap.wrap(file.getvalue().hex(), 80)))


class Bench:
    def __init__(self, arguments):
        self.medner, self.encoder = str(arguments.medner.absolute()), arguments.encoder
        self.runs = arguments.work / "runs"
        self.server = Server(arguments.work / "mlflow")
        self.environment = os.environ | {"MLFLOW_TRACKING_URI": self.server.uri}
        # A proxy must not come between us and this machine.
        self.environment |= {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}

    def train(self, *more, epochs=2):
        before = set(self.runs.glob("bc5cdr/*"))
        command = [self.medner, "train", "bc5cdr", "--runs", str(self.runs), *more]
        if "--resume" not in more:
            command += ["--sample", "--encoder", self.encoder, "--epochs", str(epochs)]
            command += ["--track", "mlflow", "--track", "tensorboard"]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)
        while "--resume" not in more and not set(self.runs.glob("bc5cdr/*")) - before:
            assert process.poll() is None, "the training has failed"
            time.sleep(0.05)
        new = set(self.runs.glob("bc5cdr/*")) - before
        return process, new.pop() if new else None

    def sync(self, *runs):
        command = [self.medner, "runs", "sync", *runs, "--runs", str(self.runs)]
        subprocess.run(command, env=self.environment, check=True, stdout=sys.stderr)

    def sent(self):
        """Values at the server, all runs together, as its database has them."""
        import sqlite3

        with sqlite3.connect(f"file:{self.server.folder}/mlflow.db?mode=ro", uri=True) as database:
            return database.execute("select count(*) from metrics").fetchone()[0]

    def wait_for(self, process, what):
        while not what():
            assert process.poll() is None, "the training ended too soon"
            time.sleep(0.1)


def steps(run):
    file = run / "metrics.jsonl"
    return file.read_text().count('"kind":"step"') if file.exists() else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medner", type=Path, default=Path("target/release/medner"))
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--work", type=Path, default=Path("/tmp/check-trackers"))
    parser.add_argument("--golden", action="store_true")
    arguments = parser.parse_args()
    if arguments.golden:
        return golden()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work = arguments.work.absolute()
    bench = Bench(arguments)
    server = bench.server
    server.start()

    print("1. the server is killed in the middle of a training")
    process, run = bench.train()
    bench.wait_for(process, lambda: bench.sent() > 20)
    server.kill()
    there = bench.sent()
    at = steps(run)
    assert process.wait() == 0, "the training failed"
    print(f"   killed at step {at} of {steps(run)}, with {there} values sent; the training ended well")
    server.start()
    bench.sync(run.name)
    print("  ", figures := read_back(server, run, "FINISHED"))
    assert bench.sent() == figures["values"]
    bench.sync("--all")
    assert bench.sent() == figures["values"], "a second sync sent something"

    print("2. a training is killed in its second epoch, and resumed")
    process, second = bench.train(epochs=3)
    epoch = lambda: (second / "state" / "epoch-1").exists()
    bench.wait_for(process, epoch)
    first_epoch = steps(second)
    bench.wait_for(process, lambda: steps(second) > first_epoch + 10)
    time.sleep(3)
    process.kill()
    process.wait()
    killed_at = steps(second)
    bench.sync(second.name)
    before = read_back(server, second, "KILLED")
    process, _ = bench.train("--resume", second.name)
    assert process.wait() == 0, "the resumed training failed"
    print(f"   killed at step {killed_at} of {steps(second)}, with {before['values']} values sent")
    print("  ", figures_2 := read_back(server, second, "FINISHED"))
    bench.sync("--all")
    assert bench.sent() == figures["values"] + figures_2["values"]
    assert read_back(server, run, "FINISHED") == figures
    server.kill()
    print("nothing is lost, and nothing is there twice")


if __name__ == "__main__":
    main()
