"""Writes attribute.json: random mentions with values of an attribute, and scikit-learn's scores for them.

Made with Python 3.11.7, numpy 2.4.6, scikit-learn 1.9.1:

    python make_attribute.py > attribute.json

A mention is [start, end, type, value], value being null without the attribute. For matched mentions the classes are the
values, and "none" for no value; for the end-to-end scores every mention of either side is an item, whose class is "none"
on a side without it. "none" is no label, so that it has no score of its own. A score is [precision, recall, F1, support],
null where scikit-learn divides by zero; such a value is 0 in the macro mean.
"""

import json
import random

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

random.seed(7)
NONE = "none"
VALUES = ["absent", "conditional", "hypothetical", "possible", "present"]


def value(kind):
    if kind == "test" or random.random() < 0.15:
        return None
    return random.choices(VALUES, [4, 1, 1, 2, 8])[0]


def document():
    gold, predicted = [], []
    for at in range(random.randrange(9)):
        kind = random.choice(["problem", "problem", "test"])
        one = [10 * at, 10 * at + 5, kind, value(kind)]
        if random.random() < 0.9:
            gold.append(one)
        if random.random() < 0.8:
            end = one[1] if random.random() < 0.9 else one[1] + 1
            kind = one[2] if random.random() < 0.9 else random.choice(["problem", "test"])
            predicted.append([one[0], end, kind, one[3] if random.random() < 0.7 else value("problem")])
    random.shuffle(predicted)
    return {"gold": gold, "predicted": predicted}


def scores(truth, guess):
    labels = sorted({*truth, *guess} - {NONE})
    ask = lambda average, zero: precision_recall_fscore_support(
        truth, guess, labels=labels, average=average, zero_division=zero)
    plain = lambda number: None if number is None or np.isnan(number) else float(number)
    by_value = zip(*ask(None, np.nan))
    return {
        "per_value": {label: [plain(p), plain(r), plain(f), int(n)] for label, (p, r, f, n) in zip(labels, by_value)},
        "micro": [plain(number) for number in ask("micro", np.nan)[:3]],
        "macro": [plain(number) for number in ask("macro", 0.0)[:3]],
    }


documents = [document() for _ in range(40)]
place = lambda at, mention: (at, *mention[:3])
gold, predicted = [
    {place(at, mention): mention[3] or NONE for at, document in enumerate(documents) for mention in document[side]}
    for side in ["gold", "predicted"]
]
both = [(gold[key], predicted[key]) for key in gold if key in predicted]
scored = [pair for pair in both if pair != (NONE, NONE)]
truth, guess = zip(*scored)
labels = sorted({*truth, *guess} - {NONE}) + [NONE]
matrix = confusion_matrix(truth, guess, labels=labels)
every = sorted({*gold, *predicted})
print(json.dumps({
    "documents": documents,
    "matched": {
        "mentions": len(scored),
        "without_in_gold": sum(t == NONE for t in truth),
        "without_in_predicted": sum(g == NONE for g in guess),
        "without_in_both": len(both) - len(scored),
        "accuracy": accuracy_score(truth, guess),
        **scores(truth, guess),
        "confusion": [
            [label if label != NONE else None, other if other != NONE else None, int(matrix[row, column])]
            for row, label in enumerate(labels) for column, other in enumerate(labels) if matrix[row, column]
        ],
    },
    "end_to_end": scores([gold.get(key, NONE) for key in every], [predicted.get(key, NONE) for key in every]),
    "missed": sum(gold[key] != NONE and key not in predicted for key in gold),
    "invented": sum(predicted[key] != NONE and key not in gold for key in predicted),
}))
