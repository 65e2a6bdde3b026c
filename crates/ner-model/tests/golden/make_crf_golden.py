"""Writes crf.json beside it: what pytorch-crf computes of small chains, which tests/crf.rs compares with.

Made with pytorch-crf 0.7.2, torch 2.11.0 (CPU, fp64), Python 3.11: python make_crf_golden.py
pytorch-crf knows no schemes: what a scheme does not allow is a score of -10000 in its place. Marginals are the gradients
of the logarithm of the partition sum.
"""

import json
import math
from pathlib import Path

import torch
from torchcrf import CRF

HERE = Path(__file__).resolve().parent
NEVER = -10000.0
# Words of each row, and their mentions: first word, word after the last, type.
LENGTHS = [5, 2, 4, 1]
ENTITIES = [[[0, 2, 1], [2, 3, 1], [4, 5, 0]], [], [[0, 3, 0]], [[0, 1, 1]]]
POSITIONS = {"io": "I", "bio": "BI", "bioes": "BIES"}


def labels_of(scheme):
    return ["O"] + [f"{position}{kind}" for kind in range(2) for position in POSITIONS[scheme]]


def allows(scheme, before, behind):
    """Labels are O or a position and a type; None is the beginning or the end."""
    opened = before[1] if before not in (None, "O") and before[0] in "BI" else None
    goes_on = behind[1] if behind not in (None, "O") and behind[0] in "IE" else None
    if scheme == "io":
        return True
    if scheme == "bio":
        return goes_on is None or opened == goes_on
    return opened == goes_on


def label_at(scheme, at, count, kind):
    if scheme == "io":
        return f"I{kind}"
    if scheme == "bioes":
        if count == 1:
            return f"S{kind}"
        if at == count - 1:
            return f"E{kind}"
    return f"B{kind}" if at == 0 else f"I{kind}"


def numbers(count, seed, scale):
    return [round(scale * math.sin(seed + 1.7 * at + 0.01 * at * at), 4) for at in range(count)]


def case(scheme):
    labels = labels_of(scheme)
    count, width, rows = len(labels), max(LENGTHS), len(LENGTHS)
    scores = numbers(rows * width * count, 0.3, 2.0)
    start, end, between = numbers(count, 1.1, 1.0), numbers(count, 2.2, 1.0), numbers(count * count, 3.3, 1.0)
    leaves = {
        "scores": torch.tensor(scores, dtype=torch.float64).view(rows, width, count),
        "start": torch.tensor(start, dtype=torch.float64),
        "end": torch.tensor(end, dtype=torch.float64),
        "between": torch.tensor(between, dtype=torch.float64).view(count, count),
    }
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    crf = CRF(count, batch_first=True).double()
    del crf.start_transitions, crf.end_transitions, crf.transitions
    never = lambda allowed: torch.tensor([0.0 if ok else NEVER for ok in allowed], dtype=torch.float64)
    crf.start_transitions = leaves["start"] + never([allows(scheme, None, label) for label in labels])
    crf.end_transitions = leaves["end"] + never([allows(scheme, label, None) for label in labels])
    pairs = never([allows(scheme, before, behind) for before in labels for behind in labels]).view(count, count)
    crf.transitions = leaves["between"] + pairs

    mask = torch.zeros(rows, width, dtype=torch.bool)
    tags = torch.zeros(rows, width, dtype=torch.long)
    for row, (length, entities) in enumerate(zip(LENGTHS, ENTITIES)):
        mask[row, :length] = True
        for first, last, kind in entities:
            for at in range(first, last):
                tags[row, at] = labels.index(label_at(scheme, at - first, last - first, kind))
    likelihood = crf(leaves["scores"], tags, mask, reduction="none")
    loss = -likelihood.sum() / sum(LENGTHS)
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)))
    partition = crf._compute_normalizer(leaves["scores"].transpose(0, 1), mask.transpose(0, 1))
    (marginals,) = torch.autograd.grad(partition.sum(), leaves["scores"], retain_graph=True)
    flat = lambda tensor: [float(f"{number:.8g}") for number in tensor.detach().reshape(-1).tolist()]
    return {
        "scheme": scheme,
        "labels": count,
        "scores": scores,
        "start": start,
        "end": end,
        "between": between,
        "log_partition": flat(partition),
        "negative_log_likelihood": loss.item(),
        "gradients": {name: flat(gradient) for name, gradient in gradients.items()},
        "marginals": flat(marginals),
        "best": crf.decode(leaves["scores"], mask),
    }


if __name__ == "__main__":
    golden = {"lengths": LENGTHS, "entities": ENTITIES, "cases": [case(scheme) for scheme in POSITIONS]}
    (HERE / "crf.json").write_text(json.dumps(golden) + "\n")
