#!/usr/bin/env python3
"""Work of base size that a card makes cheap: rows of the accuracy table. Run it after `run.py`, on the same machine:

    python3 base.py [--out DIR] [--seconds 400] [--parts /tmp/medner-gpu] [--without-card]

It takes what parts are there (`receive.py`): `mpnet`, the base encoder; `text`, to train encoders further on;
`corpora`, with `drugprot` and `biored`. Its rows stand in the order of what they promise; a row begins only if its
time is left, and is interrupted at the end of all time. DIR/base.json is written after each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run import Bench, Failed, train_once

Result = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--parts", type=Path, default=Path("/tmp/medner-gpu"))
    parser.add_argument("--without-card", action="store_true")
    args = parser.parse_args()
    bench = Bench(args.out.resolve(), args.seconds, not args.without_card)
    mpnet, text, corpora = (args.parts / name for name in ("mpnet", "text", "corpora"))
    few = ["--epochs", "1"] if args.without_card else []
    auxiliary: list[object] = []
    for name in ("drugprot", "biored"):
        if (corpora / name).is_dir():
            (bench.corpora / name).symlink_to(corpora / name)
            auxiliary += ["--auxiliary", name]
    results: dict[str, Result] = {}

    def train(encoder: Path, *words: object) -> Callable[[float], Result]:
        runs = bench.work / f"base-{len(results)}-{time.monotonic_ns()}"
        command = [*few, *words, "--device", bench.device]
        return lambda limit: train_once(bench, runs, *command, limit=limit, encoder=encoder)

    def pretrain(encoder: Path, name: str, seconds: float) -> Callable[[float], Result]:
        def work(limit: float) -> Result:
            runs = bench.work / f"pretrained-{name}"
            amount = ["--steps", "3"] if args.without_card else ["--hours", min(seconds, limit - 40) / 3600]
            command = ["pretrain", text, "--encoder", encoder, *amount, "--exclude", "bc5cdr", "--whole-words"]
            words = ["--device", bench.device, "--runs", runs, "--format", "json"]
            out, _, took = bench.run(bench.medner, *command, *words, limit=limit)
            (model,) = runs.glob("*/*/model")
            model.rename(bench.work / name)
            return {"seconds": took, "outcome": json.loads(out)}

        return work

    #: Name, what it needs, the work, and how many seconds it may take.
    rows: list[tuple[str, list[Path], Callable[[float], Result], float]] = [
        ("mpnet", [mpnet], train(mpnet), 120),
        ("mpnet, drugprot and biored", [mpnet, corpora], train(mpnet, *auxiliary), 200),
        ("minilm further", [text], pretrain(bench.minilm, "minilm-further", 90), 140),
        ("minilm further, trained", [bench.work / "minilm-further"], train(bench.work / "minilm-further"), 60),
        ("mpnet further", [mpnet, text], pretrain(mpnet, "mpnet-further", 150), 200),
        ("mpnet further, trained", [bench.work / "mpnet-further"], train(bench.work / "mpnet-further"), 120),
    ]
    for name, needs, work, seconds in rows:
        begin = time.monotonic()
        if missing := [str(path) for path in needs if not path.exists()]:
            results[name] = {"outcome": f"not begun: {', '.join(missing)} is not there"}
        elif bench.left() < min(60.0, seconds / 2):
            results[name] = {"outcome": "not begun: no time is left"}
        else:
            try:
                results[name] = {"outcome": "done", **work(seconds)}
            except (Failed, OSError, ValueError, KeyError) as error:
                results[name] = {"outcome": "failed", "error": str(error)[:4000]}
        results[name]["took"] = round(time.monotonic() - begin, 1)
        print(name, json.dumps(results[name])[:500], flush=True)
        (bench.out / "base.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    shutil.rmtree(bench.work, ignore_errors=True)
    return 0 if all(result["outcome"] != "failed" for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
