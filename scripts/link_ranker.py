#!/usr/bin/env python3
"""Fits the weights of crates/ner-link/src/rank.rs.

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.9.1
    venv/bin/python scripts/link_ranker.py --fit FOLDER --fit FOLDER --check FOLDER

A FOLDER is what `cargo run --release -p ner-experiment --example link_bc5cdr -- … --dump FOLDER --features yes` wrote. To fit, take
each half of BC5CDR's training split with the names of the other half; to check, its dev split with the names of the
training split. Lines of KIND.features.tsv are candidates: number of the mention, its text, whether the candidate is right,
id, name, features. Mentions without a right candidate count for the probability alone.

Two logistic functions: the first says which candidate is right (softmax over the candidates of a mention, each different
text once), the second how probable it is that the best one is right at all (NIL otherwise).
"""

import argparse
import collections
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

RIDGE = 3.0


def read(folder, kinds):
    mentions = collections.OrderedDict()
    for kind in kinds:
        for line in (folder / f"{kind}.features.tsv").read_text(encoding="utf-8").splitlines():
            number, text, right, id, name, *features = line.split("\t")
            mentions.setdefault((str(folder), kind, number), []).append((text, right == "1", id, name, features))
    return [
        (rows[0][0], np.array([row[1] for row in rows]), [row[2] for row in rows], [row[3] for row in rows],
         np.array([row[4] for row in rows], dtype=np.float64))
        for rows in mentions.values()
    ]


def fit(mentions, ridge=RIDGE):
    seen, some = set(), []
    for mention in mentions:
        if mention[1].any() and not mention[1].all() and (mention[0].lower(), tuple(mention[2])) not in seen:
            seen.add((mention[0].lower(), tuple(mention[2])))
            some.append(mention)
    features = np.concatenate([mention[4] for mention in some])
    right = np.concatenate([mention[1] for mention in some])
    starts = np.cumsum([0] + [len(mention[1]) for mention in some[:-1]])
    group = np.repeat(np.arange(len(some)), [len(mention[1]) for mention in some])
    scale = features.std(0) + 1e-9

    def loss(weights):
        scores = features @ (weights / scale)
        scores -= np.maximum.reduceat(scores, starts)[group]
        exps = np.exp(scores)
        all, good = np.add.reduceat(exps, starts), np.add.reduceat(exps * right, starts)
        gradient = (exps / all[group] - exps * right / good[group]) @ features / scale
        return np.log(all / good).sum() + ridge * (weights**2).sum() / 2, gradient + ridge * weights

    found = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B")
    print(f"{len(some)} mentions, loss {found.fun / len(some):.4f}")
    return found.x / scale


def accuracy(mentions, weights):
    return sum(right[np.argmax(features @ weights)] for _, right, _, _, features in mentions), len(mentions)


def calibrate(mentions, weights):
    """Slope and offset of the logit of the probability that the best candidate is right."""
    best = [(float(np.max(features @ weights)), right[np.argmax(features @ weights)]) for _, right, _, _, features in mentions]
    logits, right = np.array([row[0] for row in best])[:, None], np.array([row[1] for row in best])
    found = LogisticRegression(C=1e6).fit(logits, right)
    return [round(float(found.coef_[0][0]), 3), round(float(found.intercept_[0]), 3)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=Path, action="append", required=True)
    parser.add_argument("--check", type=Path, action="append", required=True)
    arguments = parser.parse_args()
    both = ["Disease", "Chemical"]
    for kinds in [both, ["Disease"], ["Chemical"]]:
        some = [mention for folder in arguments.fit for mention in read(folder, kinds)]
        weights = fit(some)
        print(kinds, "weights", np.round(weights, 2).tolist(), "calibration", calibrate(some, weights))
        for kind in kinds:
            for folder in arguments.check:
                mentions = read(folder, [kind])
                cosine = np.eye(mentions[0][4].shape[1])[0]
                held = sum(mention[1].any() for mention in mentions)
                print(kind, "cosine", accuracy(mentions, cosine), "ranker", accuracy(mentions, weights), "held", held)


if __name__ == "__main__":
    main()
