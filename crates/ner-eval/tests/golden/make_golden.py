"""Writes seqeval.json: random tag sequences with seqeval's scores for them.

Made with Python 3.11.7, seqeval 1.2.2, numpy 2.4.6, scikit-learn 1.9.1:

    python make_golden.py > seqeval.json

Every case holds many pairs of tag sequences over one alphabet of prefixes, and for the default mode and every strict
scheme that knows these prefixes [micro, macro, weighted, {type: score}], a score being [precision, recall, F1, support]. null
stands where seqeval divides by zero: there its value is whatever `zero_division` says, so that asking twice shows it.
In the macro and weighted means such a value is 0, seqeval's default; the mean over no type at all (numpy's nan) is
null, and so is the weighted mean where nothing is in gold.
"""

import json
import math
import random
import sys
import warnings
from importlib.metadata import version

from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support as lenient
from seqeval.metrics.v1 import precision_recall_fscore_support as strict, unique_labels
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, IOE1, IOE2

SEED = 20240229
CASES = 28  # for each alphabet
SCHEMES = {scheme.__name__: scheme for scheme in (IOB1, IOB2, IOE1, IOE2, IOBES, BILOU)}
# Prefixes, and sequences for each case: the four alphabets that are a scheme's own give it thousands.
ALPHABETS = {"BI": 100, "IE": 100, "BIES": 100, "BILU": 100, "BIE": 10, "I": 10, "BS": 10}
# The untyped tag, hyphens inside a type and at its end (where seqeval's two modes differ), not only ASCII.
TYPES = ["", "A", "A-b", "A-", "Ä"]


def rank(prefixes):
    """Entities made well: the prefixes of a first, an inner, a last and a lone tag."""
    first = "B" if "B" in prefixes else "I"
    last = next((letter for letter in "EL" if letter in prefixes), "I" if "I" in prefixes else first)
    lone = next((letter for letter in "SU" if letter in prefixes), last if first == "I" else first)
    return first, "I" if "I" in prefixes else first, last, lone


def tag(prefix, entity_type):
    return f"{prefix}-{entity_type}" if entity_type else prefix


def noise(rng, prefixes, types):
    prefix = rng.choice("O" + prefixes)
    return "O" if prefix == "O" else tag(prefix, rng.choice(types))


def sequence(rng, prefixes, types, is_noise):
    tags, length = [], rng.randrange(11)
    first, inner, last, lone = rank(prefixes)
    while len(tags) < length:
        if is_noise:
            tags.append(noise(rng, prefixes, types))
        elif rng.random() < 0.5:
            tags.append("O")
        else:
            entity_type, size = rng.choice(types), rng.randint(1, 4)
            parts = [lone] if size == 1 else [first] + [inner] * (size - 2) + [last]
            tags += [tag(prefix, entity_type) for prefix in parts]
    return tags


def null(value, other=None):
    value = float(value)
    if math.isnan(value) or (other is not None and value != float(other)):
        return None
    return round(value, 14)


def scores(gold, predicted, scheme):
    def ask(average, zero_division):
        options = {"average": average, "zero_division": zero_division}
        return strict(gold, predicted, scheme=scheme, **options) if scheme else lenient(gold, predicted, **options)

    def defined(average):
        *zero, support = ask(average, 0)
        *one, _ = ask(average, 1)
        return zero, one, support

    zero, one, support = defined("micro")
    micro = [null(a, b) for a, b in zip(zero, one)] + [int(support)]
    *macro, support = ask("macro", 0)
    macro = [null(value) for value in macro] + [int(support)]
    *weighted, support = ask("weighted", 0)
    weighted = [null(value) if support else None for value in weighted] + [int(support)]
    zero, one, support = defined(None)
    if scheme:
        names = unique_labels(gold, predicted, scheme)
    else:
        names = sorted({entity[0] for side in (gold, predicted) for entity in get_entities(side)})
    types = {
        name: [null(a[at], b[at]) for a, b in zip(zero, one)] + [int(support[at])] for at, name in enumerate(names)
    }
    return [micro, macro, weighted, types]


def main():
    warnings.simplefilter("ignore")
    rng = random.Random(SEED)
    cases = []
    for prefixes, sequences in ALPHABETS.items():
        for index in range(CASES):
            # The last cases of an alphabet hold few sequences, so that much of them is undefined.
            count = sequences if index < CASES - 4 else 1
            types = rng.sample(TYPES, rng.randint(1, 3))
            gold = [sequence(rng, prefixes, types, is_noise=index % 2 == 1) for _ in range(count)]
            predicted = [
                [noise(rng, prefixes, types) if rng.random() < 0.2 else old for old in tags] for tags in gold
            ]
            modes = {} if prefixes == "BILU" else {"default": None}
            modes |= {
                name: scheme
                for name, scheme in SCHEMES.items()
                if all(any(letter == known.name for known in scheme.allowed_prefix) for letter in prefixes)
            }
            expected = {name: scores(gold, predicted, scheme) for name, scheme in modes.items()}
            join = lambda side: [" ".join(tags) for tags in side]
            cases.append({"gold": join(gold), "predicted": join(predicted), "scores": expected})
    packages = {name: version(name) for name in ("seqeval", "numpy", "scikit-learn")}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    sys.stdout.write(f'{{"packages":{json.dumps(packages)},"seed":{SEED},"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
