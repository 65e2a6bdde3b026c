#!/usr/bin/env python3
"""medner on a machine with an NVIDIA card: correctness, speed and memory, as one JSON. Run it from a bundle
(`cargo xtask gpu-bundle`), on a machine whose Python has torch:

    python3 run.py [--out DIR] [--seconds 470] [--only NAME,…] [--without-card] [--slack X]

Each check stands alone and has a time limit: one that fails is recorded, and the next goes on. DIR/results.json is
written after every check, DIR/log.txt holds what all programs said. `--without-card` rehearses everything on a CPU with
small numbers. The exit code is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Result = dict[str, Any]

#: Shapes of an encoder, as transformers writes them.
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
#: All that dropout would draw is off: it draws other numbers on a card.
WITHOUT_CHANCE = "dropout = 0.0\nr_drop = 0.0\n"
#: What `peer.py` does: a label for each token, one pass, no average, all parameters trained.
AS_THE_PEER = """head = "token"
r_drop = 0.0
dropout = 0.1
attention_dropout = 0.1
token_masking = 0.0
ema_decay = 0.0
thresholds = false
freeze_embeddings = false
"""
HEADS = ["span", "crf", "multilabel", "token"]
TYPES = ["Chemical", "Disease"]


class Failed(Exception):
    """A check found something wrong."""


def torch_folder() -> Path:
    """The package torch of this Python, found without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{sys.executable} has no torch")
    return Path(next(iter(spec.submodule_search_locations)))


def library_path(torch: Path) -> str:
    """Where the libraries of torch and those of NVIDIA that it needs lie."""
    folders = [torch / "lib", *sorted(torch.parent.glob("nvidia/*/lib"))]
    return os.pathsep.join(str(folder) for folder in folders if folder.is_dir())


class Bench:
    """The machine, the bundle and the time that is left."""

    def __init__(self, out: Path, seconds: float, card: bool, slack: float = 1.0) -> None:
        self.begin, self.seconds, self.card, self.out = time.monotonic(), seconds, card, out
        self.slack = slack
        out.mkdir(parents=True, exist_ok=True)
        self.log_lock = threading.Lock()
        (out / "log.txt").write_bytes(b"")
        self.work = Path(tempfile.mkdtemp(prefix="medner-gpu-"))
        with tarfile.open(HERE / "bundle.tar.xz") as archive:
            archive.extractall(self.work, filter="data")
        self.medner = self.work / "medner"
        self.minilm = self.work / "minilm"
        planes = (self.minilm / "model.planes").read_bytes()
        weights = bytearray(len(planes))
        weights[0::2], weights[1::2] = planes[: len(planes) // 2], planes[len(planes) // 2 :]
        (self.minilm / "model.safetensors").write_bytes(weights)
        self.corpora = self.work / "corpora"
        self.device = "cuda:0" if card else "cpu"
        self.environment = dict(os.environ)
        self.environment.update(
            LD_LIBRARY_PATH=library_path(torch_folder()),
            MEDNER_CORPORA=str(self.corpora),
            HF_HUB_OFFLINE="1",
            TOKENIZERS_PARALLELISM="true",
            PYTHONWARNINGS="ignore",
        )
        self.environment.pop("OMP_NUM_THREADS", None)

    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.begin)

    def log(self, text: str) -> None:
        with self.log_lock, open(self.out / "log.txt", "a", encoding="utf-8") as log:
            log.write(text if text.endswith("\n") else text + "\n")

    def run(
        self,
        *command: object,
        limit: float = 60.0,
        threads: int | None = None,
        hide_card: bool = False,
        may_fail: bool = False,
        until: Callable[[], bool] | None = None,
    ) -> tuple[str, str, float]:
        """Runs a program: its stdout, its stderr and its seconds. `until` is asked five times a second whether to
        interrupt it, which is no failure."""
        limit = min(limit * self.slack, self.left())
        if limit < 1:
            raise Failed("no time is left")
        environment = dict(self.environment)
        if hide_card:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        words = [str(word) for word in command]
        begin = time.monotonic()
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=self.work, start_new_session=True
        )
        parts: dict[str, bytes] = {}
        pipes = {"out": process.stdout, "err": process.stderr}

        def read(name: str) -> None:
            pipe = pipes[name]
            parts[name] = pipe.read() if pipe else b""

        readers = [threading.Thread(target=read, args=(name,), daemon=True) for name in pipes]
        for reader in readers:
            reader.start()
        stopped, timed_out = False, False
        while process.poll() is None:
            if time.monotonic() - begin > limit:
                timed_out = True
                os.killpg(process.pid, signal.SIGKILL)
            elif until is not None and not stopped and until():
                stopped = True
                os.kill(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        for reader in readers:
            reader.join(5)
        seconds = time.monotonic() - begin
        out, err = (parts.get(name, b"").decode(errors="replace") for name in ("out", "err"))
        self.log(f"$ {' '.join(words)}   # {process.returncode}, {seconds:.1f} s\n{out[-1500:]}\n{err[-3000:]}")
        if timed_out:
            raise Failed(f"{words[0]} {words[1]}: not done after {limit:.0f} s")
        if process.returncode != 0 and not may_fail and not stopped:
            raise Failed(f"{words[0]} {words[1]}: exit code {process.returncode}: {err[-600:]}")
        return out, err, seconds

    def peer(self, *words: object, limit: float = 60.0) -> Result:
        """`peer.py` in a process of its own; its last line is JSON."""
        out, _, _ = self.run(sys.executable, HERE / "peer.py", "--device", self.device, *words, limit=limit)
        found: Result = json.loads(out.strip().splitlines()[-1])
        return found

    def recipe(self, name: str, text: str) -> Path:
        path = self.work / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    @contextlib.contextmanager
    def memory(self, into: Result) -> Iterator[None]:
        """Samples the memory and the load of the card while the body runs."""
        if not self.card:
            yield
            return
        query = ["nvidia-smi", "--query-gpu=memory.used,utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
        process = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            yield
        finally:
            process.terminate()
            text, _ = process.communicate()
            samples = [[float(number) for number in re.findall(r"[\d.]+", line)] for line in text.splitlines()]
            samples = [sample for sample in samples if len(sample) == 2]
            if samples:
                loads = sorted(load for _, load in samples)
                into["peak_memory_mb"] = max(memory for memory, _ in samples)
                into["median_load_percent"] = loads[len(loads) // 2]


def only_run(runs: Path) -> Path:
    """The folder of the one run in a store."""
    folders = [path.parent for path in runs.glob("*/*/run.json")]
    if len(folders) != 1:
        raise Failed(f"{runs} holds {len(folders)} runs")
    return folders[0]


def metrics(runs: Path, kind: str) -> list[Result]:
    """The lines of a kind in metrics.jsonl, as far as they are there."""
    found: list[Result] = []
    for path in runs.glob("*/*/metrics.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                entry = json.loads(line)
                if entry.get("kind") == kind:
                    found.append(entry)
    return found


def flops_per_token(shape: dict[str, int], tokens: int) -> float:
    """Of a forward pass over rows of `tokens`: the products with weights, and those of attention."""
    hidden, wide = shape["hidden_size"], shape["intermediate_size"]
    weights = 4 * hidden * hidden + 2 * hidden * wide
    return shape["num_hidden_layers"] * (2.0 * weights + 4.0 * tokens * hidden)


# ---------------------------------------------------------------------------------------------------------------------
# The checks. Each gets the bench and the results so far, and returns what it found.


def machine(bench: Bench, _results: Result) -> Result:
    """The card, its matrix rate and its bandwidth, by torch."""
    found = bench.peer("rate", limit=60)
    found["cores"] = os.cpu_count()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        smi = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=10, check=False)
        bench.log(smi.stdout)
    if bench.card and not found["cuda"]:
        raise Failed("torch sees no CUDA device")
    return found


def doctor(bench: Bench, _results: Result) -> Result:
    """Whether medner sees the card."""
    out, _, seconds = bench.run(bench.medner, "doctor", "--format", "json", limit=60, may_fail=True)
    notes = {finding["what"]: finding["note"] for finding in json.loads(out)["findings"]}
    found: Result = {"seconds": seconds, "notes": {what: notes.get(what) for what in ("libtorch", "CUDA", "threads")}}
    _, err, _ = bench.run(bench.medner, "annotate", "--device", "cuda:7", "--model", bench.minilm, may_fail=True)
    found["absent_device"] = err.strip()[-300:]
    if bench.card and "libtorch finds no CUDA" in str(notes):
        raise Failed(str(notes))
    return found


def tests(bench: Bench, _results: Result) -> Result:
    """The tests that compare the card with the CPU: states, gradients, updates."""
    if not bench.card:
        bench.environment["MEDNER_TEST_CARD"] = "cpu"
    command = [bench.work / "tests", "card_", "--nocapture", "--test-threads=1"]
    out, err, seconds = bench.run(*command, limit=90, may_fail=True)
    lines = [line for line in out.splitlines() if line.startswith("test ")]
    found = {"seconds": seconds, "lines": lines, "skipped": err.count("SKIPPED") + out.count("SKIPPED")}
    if sum(line.endswith("ok") for line in lines) < 2 or any(line.endswith("FAILED") for line in lines) or found["skipped"]:
        raise Failed(json.dumps(found) + err[-3000:])
    return found


def train_once(
    bench: Bench, runs: Path, *words: object, limit: float, encoder: Path | None = None, **options: Any
) -> Result:
    """A training on BC5CDR, or on its sample in a rehearsal."""
    sample = [] if bench.card else ["--sample"]
    command = ["train", "bc5cdr", *sample, "--encoder", encoder or bench.minilm, "--runs", runs, "--format", "json"]
    _, _, seconds = bench.run(bench.medner, *command, *words, limit=limit, **options)
    folder, epochs, steps = only_run(runs), metrics(runs, "epoch"), metrics(runs, "step")
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    states = sorted(folder.glob("state/*/progress.json"))
    count = max(1, len(steps) // 10)
    return {
        "seconds": seconds,
        "train_seconds": sum(epoch["train_ms"] for epoch in epochs) / 1e3,
        "tokens": sum(epoch["tokens"] for epoch in epochs),
        "steps": len(steps),
        "skipped_steps": sum(step["skipped"] for step in steps),
        "first_loss": sum(step["loss"] for step in steps[:count]) / count,
        "last_loss": sum(step["loss"] for step in steps[-count:]) / count,
        "dev_f1": 100 * (scores["dev"]["overall"]["f1"] or 0.0),
        "test_f1": 100 * (scores["test"]["overall"]["f1"] or 0.0),
        "loss_scale": json.loads(states[-1].read_text(encoding="utf-8"))["loss_scale"] if states else None,
        "compute": json.loads((folder / "run.json").read_text(encoding="utf-8"))["compute"],
    }


def epoch(bench: Bench, results: Result) -> Result:
    """An epoch of each head in bf16 and fp16 on the card, and meanwhile in bf16 on the CPU: without chance, so that
    all should end near each other."""
    recipe = bench.recipe("without-chance", WITHOUT_CHANCE)
    heads = HEADS if bench.card else ["span"]
    on_cpu: Result = {}
    cores = os.cpu_count() or 1

    def reference(head: str) -> None:
        try:
            runs = bench.work / f"epoch-cpu-{head}"
            words = ["--head", head, "--epochs", "1", "--config", recipe, "--device", "cpu"]
            words += [] if bench.card else ["--precision", "fp32"]
            on_cpu[head] = train_once(bench, runs, *words, limit=150, hide_card=True, threads=max(1, cores // 5))
        except (Failed, OSError, ValueError, KeyError) as error:
            on_cpu[head] = {"error": str(error)}

    threads = [threading.Thread(target=reference, args=(head,)) for head in heads]
    for thread in threads:
        thread.start()
    found: Result = {}
    wrong: list[str] = []
    for precision in ["bf16", "fp16"] if bench.card else ["fp32"]:
        for head in heads:
            name = f"{head}-{precision}"
            words = ["--head", head, "--epochs", "1", "--config", recipe, "--precision", precision]
            words += ["--device", bench.device]
            try:
                found[name] = train_once(bench, bench.work / f"epoch-{name}", *words, limit=60)
            except (Failed, OSError, ValueError, KeyError) as error:
                found[name] = {"error": str(error)}
                wrong.append(f"{name}: {error}")
    for thread in threads:
        thread.join()
    found["cpu"] = on_cpu
    for head in heads:
        for name in [name for name in found if name.startswith(f"{head}-")]:
            ours, theirs = found[name], on_cpu.get(head, {})
            if "error" in ours or "error" in theirs:
                wrong += [f"{head} on the CPU: {theirs['error']}"] if "error" in theirs else []
                continue
            ours["apart_from_cpu"] = ours["test_f1"] - theirs["test_f1"]
            if not ours["last_loss"] < ours["first_loss"]:
                wrong.append(f"{name}: the loss does not fall")
            if abs(ours["apart_from_cpu"]) > 0.5:
                wrong.append(f"{name}: F1 {ours['test_f1']:.2f}, on the CPU {theirs['test_f1']:.2f}")
            if name.endswith("fp16") and ours["skipped_steps"] > 0.1 * ours["steps"]:
                wrong.append(f"{name}: {ours['skipped_steps']} of {ours['steps']} steps overflowed")
    results["epoch"] = found
    if wrong:
        raise Failed("; ".join(wrong))
    return found


def resume(bench: Bench, _results: Result) -> Result:
    """A training that begins on the CPU and goes on on the card, and the reverse, on the sample."""
    found: Result = {}
    for name, first_hidden in [("cpu, then card", True), ("card, then cpu", False)]:
        runs = bench.work / f"resume-{'cpu' if first_hidden else 'card'}"
        command = ["train", "bc5cdr", "--sample", "--encoder", bench.minilm, "--runs", runs, "--epochs", "3"]
        bench.run(
            bench.medner, *command, limit=60, hide_card=first_hidden, until=lambda: bool(metrics(runs, "epoch"))
        )
        before = json.loads((only_run(runs) / "run.json").read_text(encoding="utf-8"))["device"]
        words = ["train", "bc5cdr", "--resume", "latest", "--runs", runs]
        _, err, _ = bench.run(bench.medner, *words, limit=60, hide_card=not first_hidden)
        epochs = metrics(runs, "epoch")
        found[name] = {
            "device": before,
            "dev_f1": [100 * (epoch["dev"]["overall"]["f1"] or 0.0) for epoch in epochs],
            "loss": [epoch["loss"] for epoch in epochs],
        }
        if [epoch["epoch"] for epoch in epochs] != [1, 2, 3] or "resuming after epoch" not in err:
            raise Failed(f"{name}: {found[name]}: {err[-500:]}")
        if not epochs[2]["loss"] < epochs[0]["loss"]:
            raise Failed(f"{name}: the loss does not go on falling: {found[name]}")
    return found


def memory(bench: Bench, _results: Result) -> Result:
    """The error when the card's memory is full: another program holds all but a little of it."""
    if not bench.card:
        return {"skipped": "no card"}
    ready = bench.work / "held"
    holder = subprocess.Popen(
        [sys.executable, HERE / "peer.py", "--device", bench.device, "hold", str(ready), "--leave-gb", "2.5"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=bench.environment,
    )  # fmt: skip
    try:
        while not ready.exists() and bench.left() > 30 and holder.poll() is None:
            time.sleep(0.2)
        recipe = bench.recipe("large", "batch_tokens = 200000\nshortest_crop = 500\nlongest_crop = 500\n")
        runs = bench.work / "memory"
        command = ["train", "bc5cdr", "--encoder", bench.minilm, "--runs", runs, "--epochs", "1", "--config", recipe]
        _, err, _ = bench.run(bench.medner, *command, "--device", bench.device, limit=60, may_fail=True)
    finally:
        holder.terminate()
        holder.wait(30)
    message = err.strip()[-1500:]
    if "out of memory" not in message or "batch_tokens" not in message or "panicked" in message:
        raise Failed(f"no clear error: {message}")
    return {"message": message}


def long_documents(bench: Bench, folder: Path, words: int) -> Path:
    """A corpus of long documents made of BC5CDR's training split, as files for a description of its own: what fills
    rows of 512 tokens. Development and test splits are one document each, since nothing is scored."""
    folder.mkdir(parents=True, exist_ok=True)
    source = bench.work / "train.jsonl"
    if not source.exists():
        gold = bench.corpora / "bc5cdr/CDR_TrainingSet.PubTator.txt"
        bench.run(bench.medner, "convert", gold, source, "--to", "jsonl", "--lenient")
    texts = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    documents: list[Result] = []
    text = ""
    spans: list[Result] = []
    for document in texts[:-2]:
        for span in document["spans"]:
            start, end = (span[name] + len(text) for name in ("start", "end"))
            spans.append({"start": start, "end": end, "label": span["label"]})
        text += document["text"] + " "
        if len(text.split()) >= words:
            documents.append({"id": str(len(documents)), "text": text, "spans": spans})
            text, spans = "", []

    def write(name: str, some: list[Result]) -> None:
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in some), encoding="utf-8")

    write("train.jsonl", documents)
    # Two documents of their own, since medner refuses splits without mentions.
    for name, document in zip(("dev.jsonl", "test.jsonl"), texts[-2:], strict=True):
        write(name, [{key: document[key] for key in ("id", "text", "spans")}])
    splits = ", ".join(f'{split} = {{ file = "{split}.jsonl" }}' for split in ("train", "dev", "test"))
    description = f'name = "long"\nformat = "jsonl"\nentity_types = {json.dumps(TYPES)}\nsplits = {{ {splits} }}\n'
    (folder / "dataset.toml").write_text(description, encoding="utf-8")
    return folder / "dataset.toml"


def base_encoder(bench: Bench) -> Path:
    """An encoder of BERT-base shapes with MiniLM's vocabulary and random weights."""
    folder = bench.work / "base"
    if not (folder / "model.safetensors").exists():
        small = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
        shape = BASE if bench.card else small
        bench.peer("encoder", bench.minilm, folder, json.dumps(shape), limit=60)
    return folder


def shape_of(encoder: Path) -> dict[str, int]:
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    return {name: config[name] for name in BASE}


def training(bench: Bench, results: Result) -> Result:
    """Training beside transformers: tokens a second without padding, share of the matrix rate, memory."""
    corpus = long_documents(bench, bench.work / "long", 1500)
    rate = results.get("machine", {}).get("bf16_tflops") or 0.0
    found: Result = {}
    wrong: list[str] = []
    batch = 16384 if bench.card else 1024
    for name, encoder in [("base", base_encoder(bench)), ("minilm", bench.minilm)]:
        for tokens in (512, 128):
            entry: Result = found.setdefault(f"{name}-{tokens}", {})
            ours: Result = {}
            theirs: Result = {}
            try:
                crop = tokens - 2
                text = f"{AS_THE_PEER}batch_tokens = {batch}\nmax_tokens = {tokens}\noverlap = 16\n"
                text += f"shortest_crop = {crop}\nlongest_crop = {crop}\nepochs = 1\n"
                ours = trained(bench, f"{name}-{tokens}", corpus, encoder, text)
                with bench.memory(theirs):
                    texts = bench.work / "long/train.jsonl"
                    words = ["train", encoder, texts, "--tokens", tokens, "--batch-tokens", batch, "--seconds", 5]
                    theirs.update(bench.peer(*words, limit=50))
                flops = 3 * flops_per_token(shape_of(encoder), tokens)
                for side in (ours, theirs):
                    side["tflops"] = side["tokens_per_second"] * flops / 1e12
                    side["share_of_matrix_rate"] = side["tflops"] / rate if rate else None
                entry["ratio"] = ours["tokens_per_second"] / theirs["tokens_per_second"]
            except (Failed, OSError, ValueError, KeyError) as error:
                wrong.append(f"{name}-{tokens}: {error}")
                entry["error"] = str(error)
            entry.update(medner=ours, transformers=theirs)
            results["training"] = found
    if wrong:
        raise Failed("; ".join(wrong))
    return found


def trained(bench: Bench, name: str, corpus: Path, encoder: Path, recipe: str) -> Result:
    """Steps of medner until a few seconds are over: their rate without the first ones, which warm up."""
    runs, began = bench.work / f"training-{name}", time.monotonic()
    warm, most = (10, 6.0) if bench.card else (1, 4.0)

    def enough() -> bool:
        steps = metrics(runs, "step")
        return len(steps) > warm + 2 and sum(step["elapsed_ms"] for step in steps[warm:]) > most * 1e3

    found: Result = {}
    with bench.memory(found):
        command = ["train", corpus, "--encoder", encoder, "--runs", runs, "--epochs", "200"]
        config = bench.recipe(name, recipe)
        precision = "bf16" if bench.card else "fp32"
        words = ["--config", config, "--device", bench.device, "--precision", precision]
        bench.run(bench.medner, *command, *words, limit=50, until=enough)
    steps = metrics(runs, "step")[warm:]
    seconds = sum(step["elapsed_ms"] for step in steps) / 1e3
    found["tokens_per_second"] = sum(step["tokens"] for step in steps) / seconds
    found["step_ms"] = 1e3 * seconds / len(steps)
    found["tokens_per_step"] = sum(step["tokens"] for step in steps) / len(steps)
    found["process_seconds"] = time.monotonic() - began
    return found


def token_model(bench: Bench, name: str, encoder: Path) -> Path:
    """A model with the head `token`, which transformers opens, too."""
    runs = bench.work / f"model-{name}"
    if not runs.exists():
        recipe = bench.recipe(f"model-{name}", AS_THE_PEER + "batch_tokens = 4096\nepochs = 1\nmax_tokens = 512\n")
        sample = [] if bench.card else ["--sample"]
        command = ["train", "bc5cdr", *sample, "--encoder", encoder, "--runs", runs, "--config", recipe]
        bench.run(bench.medner, *command, "--device", bench.device, limit=60)
    return only_run(runs) / "model"


def annotation(bench: Bench, results: Result) -> Result:
    """Annotation beside transformers' pipeline in bf16, with the same model: documents and tokens a second."""
    rate = results.get("machine", {}).get("bf16_tflops") or 0.0
    gold = bench.corpora / "bc5cdr/CDR_TestSet.PubTator.txt"
    source = bench.work / "test.jsonl"
    bench.run(bench.medner, "convert", gold, source, "--to", "jsonl", "--lenient")
    texts = [json.loads(line)["text"] for line in source.read_text(encoding="utf-8").splitlines()]
    copies = (4, 40) if bench.card else (1, 2)
    if not bench.card:
        texts = texts[:20]
    files: list[Path] = []
    for many in copies:
        path = bench.work / f"texts-{many}.jsonl"
        lines = (json.dumps({"id": f"{copy}-{at}", "text": text}) for copy in range(many) for at, text in enumerate(texts))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files.append(path)
    found: Result = {}
    wrong: list[str] = []
    for name, encoder in [("base", base_encoder(bench)), ("minilm", bench.minilm)]:
        entry: Result = found.setdefault(name, {})
        try:
            model = token_model(bench, name, encoder)
            ours: Result = {}
            seconds: list[float] = []
            precision = "bf16" if bench.card else "fp32"
            with bench.memory(ours):
                for file in files:
                    command = ["annotate", file, "--model", model, "--out", bench.work / "found.jsonl", "--no-run"]
                    words = ["--device", bench.device, "--precision", precision, "--no-assertion", "--no-long-forms"]
                    seconds.append(bench.run(bench.medner, *command, *words, limit=60)[2])
            documents = len(texts) * (copies[1] - copies[0])
            ours.update(seconds=seconds, documents_per_second=documents / (seconds[1] - seconds[0]))
            theirs: Result = {}
            with bench.memory(theirs):
                theirs.update(bench.peer("annotate", model, files[0], "--documents", min(1000, len(texts)), limit=60))
            per_token = flops_per_token(shape_of(encoder), theirs["tokens"] // theirs["documents"])
            for side in (ours, theirs):
                side["tokens_per_second"] = side["documents_per_second"] * theirs["tokens"] / theirs["documents"]
                side["tflops"] = side["tokens_per_second"] * per_token / 1e12
                side["share_of_matrix_rate"] = side["tflops"] / rate if rate else None
            entry.update(medner=ours, transformers=theirs)
            entry["ratio"] = ours["documents_per_second"] / theirs["documents_per_second"]
        except (Failed, OSError, ValueError, KeyError, ZeroDivisionError) as error:
            wrong.append(f"{name}: {error}")
            entry["error"] = str(error)
        results["annotation"] = found
    if wrong:
        raise Failed("; ".join(wrong))
    return found


def default(bench: Bench, _results: Result) -> Result:
    """The default recipe, whole, on the card."""
    words = ["--device", bench.device] + ([] if bench.card else ["--epochs", "1"])
    return train_once(bench, bench.work / "default", *words, limit=120)


#: Name, check, and how many seconds must be left for it to begin.
CHECKS: list[tuple[str, Callable[[Bench, Result], Result], float]] = [
    ("machine", machine, 10),
    ("doctor", doctor, 10),
    ("tests", tests, 20),
    ("epoch", epoch, 60),
    ("training", training, 60),
    ("annotation", annotation, 60),
    ("memory", memory, 40),
    ("resume", resume, 40),
    ("default", default, 60),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--seconds", type=float, default=470.0, help="after which no check begins")
    parser.add_argument("--only", default="", help="names of checks, with commas")
    parser.add_argument("--without-card", action="store_true", help="rehearse on a CPU")
    parser.add_argument("--slack", type=float, default=1.0, help="factor on all limits, for a machine that others use")
    parser.add_argument("--keep", action="store_true", help="keep the folder of intermediate files")
    args = parser.parse_args()
    names = [name for name, _, _ in CHECKS]
    only = [name for name in args.only.split(",") if name] or names
    if unknown := [name for name in only if name not in names]:
        sys.exit(f"no check is called {', '.join(unknown)}: choose from {', '.join(names)}")
    bench = Bench(args.out.resolve(), args.seconds, not args.without_card, args.slack)
    results: Result = {}
    status: dict[str, Result] = {}

    def save() -> None:
        text = json.dumps({"status": status, "seconds": time.monotonic() - bench.begin, **results}, indent=1)
        draft = bench.out / "results.json.new"
        draft.write_text(text, encoding="utf-8")
        draft.rename(bench.out / "results.json")

    save()
    for name, check, least in CHECKS:
        if name not in only:
            continue
        begin = time.monotonic()
        if bench.left() < least:
            status[name] = {"outcome": "not begun: no time is left"}
        else:
            try:
                results[name] = check(bench, results)
                status[name] = {"outcome": "passed"}
            except Failed as error:
                status[name] = {"outcome": "failed", "error": str(error)[:4000]}
            except Exception:  # whatever it is, the next check goes on
                status[name] = {"outcome": "failed", "error": traceback.format_exc()[-4000:]}
        status[name]["seconds"] = round(time.monotonic() - begin, 1)
        print(name, json.dumps(status[name])[:600], flush=True)
        save()
    if not args.keep:
        shutil.rmtree(bench.work, ignore_errors=True)
    print(f"wrote {bench.out / 'results.json'}")
    return 0 if all(entry["outcome"] == "passed" for entry in status.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
