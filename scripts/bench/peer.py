#!/usr/bin/env python3
"""What a user would write with transformers or ONNX Runtime instead of medner; `peers.py` runs and times it.

    python peer.py train ENCODER TRAIN.conll TEST.conll OUT.conll --epochs N
    python peer.py annotate pipeline|batched|int8 MODEL DOCUMENTS.jsonl
    python peer.py tokenise ENCODER DOCUMENTS.jsonl
    python peer.py first MODEL TEXT

The last line on stdout is a JSON object. Seconds are of the work alone: imports, loading and export are not in them.
"""

import argparse
import json
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


def padded(rows, fill, torch):
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


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
    tokens, begin = 0, time.perf_counter()
    for _ in range(args.epochs):
        random.shuffle(rows)
        pools = [rows[at:at + BATCH * POOL] for at in range(0, len(rows), BATCH * POOL)]
        batches = [batch for pool in pools for batch in by_length(pool, BATCH)]
        random.shuffle(batches)
        for batch in batches:
            input_ids = padded([row[0] for row in batch], tokenizer.pad_token_id, torch)
            mask = padded([[1] * len(row[0]) for row in batch], 0, torch)
            targets = padded([row[1] for row in batch], -100, torch)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(input_ids=input_ids, attention_mask=mask, labels=targets).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            tokens += int(mask.sum())
    seconds = time.perf_counter() - begin

    model.eval()
    with open(args.out, "w", encoding="utf-8") as out, torch.no_grad():
        for sentence in test:
            pieces, _, firsts = encode(sentence)
            best = model(input_ids=torch.tensor([pieces])).logits[0].argmax(-1)
            # A word behind the 512th token has no prediction.
            tags = [labels[best[at]] for at in firsts] + ["O"] * (len(sentence) - len(firsts))
            out.writelines(f"{word}\t{tag}\n" for (word, _), tag in zip(sentence, tags))
            out.write("\n")
    return {"seconds": seconds, "tokens": tokens, "threads": torch.get_num_threads(), "prepare_seconds": prepare_seconds}


def annotate(args):
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(args.model, model_max_length=512)
    model = AutoModelForTokenClassification.from_pretrained(args.model).eval()
    texts = [document["text"] for document in documents(args.documents)]
    if args.how == "pipeline":
        finder = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first")
        finder(texts[0])
        begin = time.perf_counter()
        mentions = sum(len(finder(text)) for text in texts)
        seconds = time.perf_counter() - begin
        tokens = sum(len(tokenizer(text, truncation=True)["input_ids"]) for text in texts)
        return {"seconds": seconds, "tokens": tokens, "documents": len(texts), "mentions": mentions}

    if args.how == "int8":
        import tempfile
        from pathlib import Path

        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        folder = Path(tempfile.mkdtemp(prefix="medner-bench-"))
        example = tokenizer(texts[:2], return_tensors="pt", padding=True, truncation=True)
        names = ["input_ids", "attention_mask", "token_type_ids"]
        axes = {name: {0: "batch", 1: "tokens"} for name in names + ["logits"]}
        torch.onnx.export(model, tuple(example[name] for name in names), folder / "model.onnx", input_names=names,
                          output_names=["logits"], dynamic_axes=axes, dynamo=False, opset_version=17)
        quantize_dynamic(folder / "model.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8)
        session = onnxruntime.InferenceSession(str(folder / "int8.onnx"), providers=["CPUExecutionProvider"])

    def run():
        begin, tokens = time.perf_counter(), 0
        rows = [(ids, at) for at, ids in enumerate(tokenizer(texts, truncation=True)["input_ids"])]
        for batch in by_length(rows, 16):
            input_ids = padded([row[0] for row in batch], tokenizer.pad_token_id, torch)
            mask = padded([[1] * len(row[0]) for row in batch], 0, torch)
            tokens += int(mask.sum())
            if args.how == "int8":
                feed = dict(zip(names, (input_ids.numpy(), mask.numpy(), torch.zeros_like(mask).numpy())))
                session.run(["logits"], feed)[0].argmax(-1)
            else:
                with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                    model(input_ids=input_ids, attention_mask=mask).logits.argmax(-1)
        return {"seconds": time.perf_counter() - begin, "tokens": tokens, "documents": len(texts)}

    run()
    return run()


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
    sub.add_argument("how", choices=["pipeline", "batched", "int8"])
    for name in ["model", "documents"]:
        sub.add_argument(name)
    sub = what.add_parser("tokenise")
    for name in ["encoder", "documents"]:
        sub.add_argument(name)
    sub = what.add_parser("first")
    for name in ["model", "text"]:
        sub.add_argument(name)
    args = parser.parse_args()
    print(json.dumps({"train": train, "annotate": annotate, "tokenise": tokenise, "first": first}[args.what](args)))


if __name__ == "__main__":
    sys.exit(main())
