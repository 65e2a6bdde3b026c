"""Writes adamw.json beside it: five steps of PyTorch's AdamW, which the unit tests of src/optimizer.rs compare with.

Made with torch 2.11.0 (CPU), Python 3.11: python make_golden.py
"""

import json
import math
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
RATES = [1e-2, 2e-2, 1.5e-2, 1e-2, 5e-3]
WEIGHT_DECAY = 0.1
SIZES = {"dense.weight": [3, 4], "dense.bias": [4]}


def numbers(size, seed, scale):
    count = math.prod(size)
    return [round(scale * math.sin(seed + 1.7 * at), 4) for at in range(count)]


start = {name: numbers(size, 1, 0.5) for name, size in SIZES.items()}
# Gradients of very different sizes, one of them 0.
gradients = [{name: numbers(size, 10 * step + 3, [1, 1e-2, 5, 0, 1e-4][step]) for name, size in SIZES.items()}
             for step in range(len(RATES))]
tensors = {name: torch.nn.Parameter(torch.tensor(start[name]).view(SIZES[name])) for name in SIZES}
groups = [{"params": [tensors["dense.weight"]], "weight_decay": WEIGHT_DECAY},
          {"params": [tensors["dense.bias"]], "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
after = []
for rate, gradient in zip(RATES, gradients):
    for group in optimizer.param_groups:
        group["lr"] = rate
    for name, tensor in tensors.items():
        tensor.grad = torch.tensor(gradient[name]).view(SIZES[name])
    optimizer.step()
    after.append({name: [round(value, 8) for value in tensor.flatten().tolist()] for name, tensor in tensors.items()})
golden = {"sizes": SIZES, "weight_decay": WEIGHT_DECAY, "rates": RATES, "start": start, "gradients": gradients,
          "after": after}
(HERE / "adamw.json").write_text(json.dumps(golden) + "\n")
