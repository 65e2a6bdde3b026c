#!/usr/bin/env python3
"""What a user would write with transformers or ONNX Runtime instead of medner; `peers.py` runs and times it.

    python peer.py train ENCODER TRAIN.conll TEST.conll OUT.conll --epochs N
    python peer.py annotate pipeline|batched|onnx-fp32|onnx-int8|openvino MODEL DOCUMENTS.jsonl
    python peer.py latency pipeline|onnx-fp32|onnx-int8 MODEL TEXTS.jsonl --requests N
    python peer.py tokenise ENCODER DOCUMENTS.jsonl
    python peer.py first MODEL TEXT

The last line on stdout is a JSON object. Seconds are of the work alone: imports, loading and export are not in them.
transformers computes in fp32 or in bf16 by autocast, whichever is faster on this CPU in a short trial before the clock
starts: CPUs without bf16 instructions emulate it at a tenth of the speed.
"""

import argparse
import contextlib
import json
import os
import random
import sys
import time
import warnings

warnings.filterwarnings("ignore")
BATCH = 32
POOL = 50


def sentences(path):
    """Words and tags of each sentence of a CoNLL file with the tag in its last column."""
    found, words = [], []
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line and not line.startswith("-DOCSTART-"):
            columns = line.split("\t") if "\t" in line else line.split(" ")
            words.append((columns[0], columns[-1]))
        elif words:
            found.append(words)
            words = []
    return found + [words] if words else found


def documents(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def by_length(rows, size):
    rows = sorted(rows, key=lambda row: len(row[0]))
    return [rows[at:at + size] for at in range(0, len(rows), size)]


def padded(rows, fill, torch, step=1):
    """`step` rounds the width up."""
    width = -(-max(map(len, rows)) // step) * step
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


def best_precision(torch, work):
    """The faster of fp32 and bf16: a function that makes its context, and its name."""
    contexts = {"fp32": contextlib.nullcontext, "bf16": lambda: torch.autocast("cpu", dtype=torch.bfloat16)}
    seconds = {}
    for name, context in contexts.items():
        with context():
            work()
            begin = time.perf_counter()
            work()
            work()
        seconds[name] = time.perf_counter() - begin
    name = min(seconds, key=seconds.get)
    return contexts[name], name


def train(args):
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, get_linear_schedule_with_warmup

    torch.manual_seed(1)
    random.seed(1)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    data, test = sentences(args.train), sentences(args.test)
    labels = ["O"] + sorted({tag for sentence in data for _, tag in sentence} - {"O"})
    number = {label: at for at, label in enumerate(labels)}

    def encode(sentence):
        pieces = tokenizer([word for word, _ in sentence], is_split_into_words=True, truncation=True, max_length=512)
        targets, firsts, before = [], [], None
        for at, word in enumerate(pieces.word_ids()):
            first = word is not None and word != before
            targets.append(number[sentence[word][1]] if first else -100)
            if first:
                firsts.append(at)
            before = word
        return pieces["input_ids"], targets, firsts

    tokenizer("once, so that the tokenizer is ready")
    begin = time.perf_counter()
    rows = [encode(sentence) for sentence in data]
    prepare_seconds = time.perf_counter() - begin
    model = AutoModelForTokenClassification.from_pretrained(args.encoder, num_labels=len(labels))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.01, fused=True)
    steps = (len(rows) // BATCH + 1) * args.epochs
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)

    def loss_of(batch):
        input_ids = padded([row[0] for row in batch], tokenizer.pad_token_id, torch)
        mask = padded([[1] * len(row[0]) for row in batch], 0, torch)
        return model(input_ids=input_ids, attention_mask=mask, labels=padded([row[1] for row in batch], -100, torch)).loss, mask

    def trial():
        loss_of(rows[:BATCH])[0].backward()
        model.zero_grad()

    precision, name = best_precision(torch, trial)
    tokens, begin, busy = 0, time.perf_counter(), time.process_time()
    for _ in range(args.epochs):
        random.shuffle(rows)
        pools = [rows[at:at + BATCH * POOL] for at in range(0, len(rows), BATCH * POOL)]
        batches = [batch for pool in pools for batch in by_length(pool, BATCH)]
        random.shuffle(batches)
        for batch in batches:
            with precision():
                loss, mask = loss_of(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            tokens += int(mask.sum())
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy

    model.eval()
    with open(args.out, "w", encoding="utf-8") as out, torch.no_grad():
        for sentence in test:
            pieces, _, firsts = encode(sentence)
            best = model(input_ids=torch.tensor([pieces])).logits[0].argmax(-1)
            # A word behind the 512th token has no prediction.
            tags = [labels[best[at]] for at in firsts] + ["O"] * (len(sentence) - len(firsts))
            out.writelines(f"{word}\t{tag}\n" for (word, _), tag in zip(sentence, tags))
            out.write("\n")
    return {"seconds": seconds, "cpu_seconds": busy, "tokens": tokens, "threads": torch.get_num_threads(), "prepare_seconds": prepare_seconds,
            "precision": name}


def annotate(args):
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(args.model, model_max_length=512)
    model = AutoModelForTokenClassification.from_pretrained(args.model).eval()
    texts = [document["text"] for document in documents(args.documents)]
    if args.how == "pipeline":
        finder = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first")
        precision, name = best_precision(torch, lambda: finder(texts[0]))
        begin, busy = time.perf_counter(), time.process_time()
        with precision():
            mentions = sum(len(finder(text)) for text in texts)
        seconds, busy = time.perf_counter() - begin, time.process_time() - busy
        tokens = sum(len(tokenizer(text, truncation=True)["input_ids"]) for text in texts)
        return {"seconds": seconds, "cpu_seconds": busy, "tokens": tokens, "documents": len(texts), "mentions": mentions,
                "precision": name}

    logits, name = logits_by(args.how, model, tokenizer, texts, torch)

    def run(texts):
        begin, busy, tokens = time.perf_counter(), time.process_time(), 0
        # Each width is a shape to compile for OpenVINO; with widths as they come it took minutes.
        step = 32 if args.how == "openvino" else 1
        rows = [(ids, at) for at, ids in enumerate(tokenizer(texts, truncation=True)["input_ids"])]
        for batch in by_length(rows, 16):
            input_ids = padded([row[0] for row in batch], tokenizer.pad_token_id, torch, step)
            mask = padded([[1] * len(row[0]) for row in batch], 0, torch, step)
            tokens += int(mask.sum())
            logits(input_ids, mask).argmax(-1)
        return {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - busy, "tokens": tokens,
                "documents": len(texts), "precision": name}

    # Also the second time: OpenVINO compiles for each shape.
    run(texts if args.how == "openvino" else texts[:64])
    return run(texts)


def logits_by(how, model, tokenizer, texts, torch):
    """A function of token ids and attention mask, and the name of its precision."""
    if how == "batched":
        example = tokenizer(texts[:16], return_tensors="pt", padding=True, truncation=True)
        ids, mask = example["input_ids"], example["attention_mask"]
        with torch.inference_mode():
            precision, name = best_precision(torch, lambda: model(input_ids=ids, attention_mask=mask))

        def logits(ids, mask):
            with torch.inference_mode(), precision():
                return model(input_ids=ids, attention_mask=mask).logits

        return logits, name

    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="medner-bench-"))
    example = tokenizer(texts[:2], return_tensors="pt", padding=True, truncation=True)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in names + ["logits"]}
    torch.onnx.export(model, tuple(example[name] for name in names), folder / "model.onnx", input_names=names,
                      output_names=["logits"], dynamic_axes=axes, dynamo=False, opset_version=17)
    feed = lambda ids, mask: dict(zip(names, (ids.numpy(), mask.numpy(), torch.zeros_like(mask).numpy())))
    if how == "openvino":
        import openvino

        # Its default is bf16 on CPUs that have it, which it emulates if oneDNN may not use these instructions.
        limited = {"INFERENCE_PRECISION_HINT": "f32"} if "ONEDNN_MAX_CPU_ISA" in os.environ else {}
        compiled = openvino.Core().compile_model(folder / "model.onnx", "CPU", {"PERFORMANCE_HINT": "LATENCY", **limited})
        kind = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return lambda ids, mask: compiled(feed(ids, mask))["logits"], {"f32": "fp32"}.get(kind, kind)

    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = folder / "model.onnx"
    if how == "onnx-int8":
        quantize_dynamic(file, folder / "int8.onnx", weight_type=QuantType.QInt8)
        file = folder / "int8.onnx"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["logits"], feed(ids, mask))[0], how.removeprefix("onnx-")


def latency(args):
    """Milliseconds of each request, one text at a time, for each text."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(args.model, model_max_length=512)
    model = AutoModelForTokenClassification.from_pretrained(args.model).eval()
    texts = [document["text"] for document in documents(args.documents)]
    if args.how == "pipeline":
        # Windows of 512 tokens, since the pipeline would cut the rest off.
        finder = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first", stride=64)
        precision, _ = best_precision(torch, lambda: finder(texts[0]))

        def find(text):
            with precision():
                finder(text)
    else:
        logits, _ = logits_by(args.how, model, tokenizer, texts, torch)

        def find(text):
            rows = tokenizer(text, truncation=True, stride=64, return_overflowing_tokens=True)["input_ids"]
            mask = padded([[1] * len(row) for row in rows], 0, torch)
            logits(padded(rows, tokenizer.pad_token_id, torch), mask).argmax(-1)

    found = []
    for text in texts:
        find(text)
        times = []
        for _ in range(args.requests):
            begin = time.perf_counter()
            find(text)
            times.append((time.perf_counter() - begin) * 1e3)
        found.append(times)
    return {"ms": found}


def tokenise(args):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    texts = [document["text"] for document in documents(args.documents)]
    tokenizer(texts[:8])
    begin = time.perf_counter()
    tokenizer(texts, return_offsets_mapping=True)
    return {"seconds": time.perf_counter() - begin, "documents": len(texts)}


def first(args):
    from transformers import pipeline

    found = pipeline("token-classification", model=args.model, aggregation_strategy="first")(args.text)
    return {"mentions": len(found)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    sub = what.add_parser("train")
    for name in ["encoder", "train", "test", "out"]:
        sub.add_argument(name)
    sub.add_argument("--epochs", type=int, default=1)
    sub.add_argument("--learning-rate", type=float, default=3e-4)
    sub = what.add_parser("annotate")
    sub.add_argument("how", choices=["pipeline", "batched", "onnx-fp32", "onnx-int8", "openvino"])
    for name in ["model", "documents"]:
        sub.add_argument(name)
    sub = what.add_parser("latency")
    sub.add_argument("how", choices=["pipeline", "onnx-fp32", "onnx-int8"])
    for name in ["model", "documents"]:
        sub.add_argument(name)
    sub.add_argument("--requests", type=int, default=50)
    sub = what.add_parser("tokenise")
    for name in ["encoder", "documents"]:
        sub.add_argument(name)
    sub = what.add_parser("first")
    for name in ["model", "text"]:
        sub.add_argument(name)
    args = parser.parse_args()
    print(json.dumps({"train": train, "annotate": annotate, "latency": latency, "tokenise": tokenise, "first": first}[args.what](args)))


if __name__ == "__main__":
    sys.exit(main())
