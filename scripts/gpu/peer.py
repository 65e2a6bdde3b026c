#!/usr/bin/env python3
"""What a user would write with torch and transformers, for `run.py`. The last line on stdout is JSON.

    python peer.py --device cuda:0 rate
    python peer.py --device cuda:0 encoder FROM TO SHAPE_AS_JSON
    python peer.py --device cuda:0 train ENCODER DOCUMENTS.jsonl --tokens N --batch-tokens N --seconds X
    python peer.py --device cuda:0 annotate MODEL DOCUMENTS.jsonl --documents N
    python peer.py --device cuda:0 hold FILE --leave-gb X

On a CPU everything runs with small numbers, so that it can be rehearsed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

Result = dict[str, Any]


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def median_seconds(device: str, work: Any, repeats: int) -> float:
    """The median time of some work after three warm-ups."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        wait(device)
        begin = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def rate(args: argparse.Namespace) -> Result:
    """The matrix rate on random numbers, which zeros would overstate, and the bandwidth of a copy."""
    device: str = args.device
    on_card = device != "cpu"
    found: Result = {"torch": torch.__version__, "cuda": torch.cuda.is_available(), "python": sys.version.split()[0]}
    if on_card:
        properties = torch.cuda.get_device_properties(device)
        found.update(card=properties.name, memory_gb=properties.total_memory / 1e9)
        found.update(capability=f"{properties.major}.{properties.minor}", multiprocessors=properties.multi_processor_count)
    size = 8192 if on_card else 512
    for name, kind in [("bf16", torch.bfloat16), ("fp16", torch.float16)]:
        left, right = (torch.randn(size, size, device=device, dtype=torch.float32).to(kind) for _ in range(2))
        seconds = median_seconds(device, lambda left=left, right=right: left @ right, 20 if on_card else 3)
        found[f"{name}_tflops"] = 2 * size**3 / seconds / 1e12
    numbers = torch.randn(2**30 if on_card else 2**20, device=device)
    copy = torch.empty_like(numbers)
    seconds = median_seconds(device, lambda: copy.copy_(numbers), 10)
    found["copy_tb_per_second"] = 2 * 4 * numbers.numel() / seconds / 1e12
    return found


def encoder(args: argparse.Namespace) -> Result:
    """Random weights in other shapes, with the vocabulary of another encoder."""
    from transformers import BertConfig, BertModel

    config = BertConfig.from_pretrained(args.source, **json.loads(args.shape))
    torch.manual_seed(1)
    model = BertModel(config, add_pooling_layer=False)  # type: ignore[no-untyped-call]
    model.save_pretrained(args.out)
    for path in Path(args.source).iterdir():
        if path.name.startswith(("tokenizer", "vocab", "special_tokens")):
            shutil.copy(path, args.out)
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def train(args: argparse.Namespace) -> Result:
    """Steps with autocast to bf16 and fused AdamW, over full rows, which need no padding."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    device: str = args.device
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    texts = [json.loads(line)["text"] for line in open(args.documents, encoding="utf-8")]
    ids = [piece for row in tokenizer(texts, add_special_tokens=False)["input_ids"] for piece in row]
    room = args.tokens - 2
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    rows = [[first, *ids[at : at + room], last] for at in range(0, len(ids) - room, room)]
    model = AutoModelForTokenClassification.from_pretrained(args.encoder, num_labels=5, dtype=torch.float32)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
    count = max(1, args.batch_tokens // args.tokens)

    def step(at: int) -> torch.Tensor:
        batch = [rows[(at * count + row) % len(rows)] for row in range(count)]
        input_ids = torch.tensor(batch)
        labels = input_ids % 5
        if device != "cpu":
            input_ids, labels = (tensor.pin_memory().to(device, non_blocking=True) for tensor in (input_ids, labels))
        with torch.autocast(device.split(":")[0], dtype=torch.bfloat16):
            loss: torch.Tensor = model(input_ids=input_ids, labels=labels).loss
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    warm = 10 if device != "cpu" else 1
    for at in range(warm):
        step(at)
    wait(device)
    begin, at = time.perf_counter(), warm
    while time.perf_counter() - begin < args.seconds:
        loss = step(at)
        at += 1
        if at % 4 == 0:
            loss.item()
    wait(device)
    seconds, steps = time.perf_counter() - begin, at - warm
    found: Result = {"tokens_per_second": steps * count * args.tokens / seconds, "step_ms": 1e3 * seconds / steps}
    found["tokens_per_step"] = count * args.tokens
    if device != "cpu":
        found["torch_peak_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return found


def annotate(args: argparse.Namespace) -> Result:
    """The pipeline, with the batch that is the fastest of a few on the first documents."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    device: str = args.device
    kind = torch.bfloat16 if device != "cpu" else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(args.model, model_max_length=512)
    model = AutoModelForTokenClassification.from_pretrained(args.model, dtype=kind).eval()
    texts = [json.loads(line)["text"] for line in open(args.source, encoding="utf-8")][: args.documents]
    find = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first", device=device)

    def seconds_of(texts: list[str], batch: int) -> float:
        wait(device)
        begin = time.perf_counter()
        find(texts, batch_size=batch)
        wait(device)
        return time.perf_counter() - begin

    sizes = [16, 64] if device != "cpu" else [4]
    some = texts[: max(1, len(texts) // 8)]
    find(some[:8], batch_size=8)
    trials = {size: seconds_of(some, size) for size in sizes}
    best = min(trials, key=lambda size: trials[size])
    seconds = seconds_of(texts, best)
    tokens = sum(len(row) for row in tokenizer(texts, truncation=True)["input_ids"])
    return {"documents_per_second": len(texts) / seconds, "batch": best, "tokens": tokens, "documents": len(texts)}


def hold(args: argparse.Namespace) -> Result:
    """Holds all but some of the card's memory for a minute."""
    free, _ = torch.cuda.mem_get_info(args.device)
    kept = torch.empty(max(0, int(free - args.leave_gb * 1e9)), dtype=torch.uint8, device=args.device)
    Path(args.file).write_text(str(kept.numel()), encoding="utf-8")
    time.sleep(60)
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", required=True)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("rate")
    sub = what.add_parser("encoder")
    for name in ("source", "out", "shape"):
        sub.add_argument(name)
    sub = what.add_parser("train")
    for name in ("encoder", "documents"):
        sub.add_argument(name)
    for name in ("--tokens", "--batch-tokens"):
        sub.add_argument(name, type=int, required=True)
    sub.add_argument("--seconds", type=float, default=5.0)
    sub = what.add_parser("annotate")
    for name in ("model", "source"):
        sub.add_argument(name)
    sub.add_argument("--documents", type=int, default=500)
    sub = what.add_parser("hold")
    sub.add_argument("file")
    sub.add_argument("--leave-gb", type=float, required=True)
    args = parser.parse_args()
    checks = {"rate": rate, "encoder": encoder, "train": train, "annotate": annotate, "hold": hold}
    print(json.dumps(checks[args.what](args)))


if __name__ == "__main__":
    main()
