#!/usr/bin/env python3
"""Links gold mentions by scikit-learn's TF-IDF of character 3-grams, which is how scispaCy generates its candidates.

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.9.1
    venv/bin/python scripts/link_peers.py FOLDER

FOLDER is what `cargo run --release -p ner-experiment --example link_bc5cdr -- … --dump FOLDER` wrote: the same names
(KIND.names.tsv: ids, name), the same mentions (KIND.mentions.tsv: gold ids, text, its long form or the text once more,
document) and medner's answers (KIND.answers.k1.tsv, KIND.answers.k5.tsv). The long forms are linked.

Intervals of 95 %: documents are drawn 10,000 times, because the mentions of a document are alike. The difference between
medner and scikit-learn is that of the same draws.

Names and mentions are lower-cased (scispaCy's aliases are not, which costs it accuracy here). The index is the sparse
matrix of all different names, and the nearest names are those with the largest product, which is exact; scispaCy's
approximate index (nmslib) finds at most these. The k best concepts are those of the nearest names; among concepts with
the same name, the one that has it most often among the given names comes first. A mention of several concepts is right
if each of them is among the k best: for this method it has one answer, so it is never right at 1. The last
figures count the mentions of one concept alone.

The last row of a kind is scikit-learn's own NearestNeighbors (brute force, cosine), which fills a dense matrix of
distances: how the method is usually written down. Its answers are those of char_wb, so that only its time is told.

Time: from the texts of the mentions in memory to the k best concepts, the best of three rounds, one thread; time on the
processor, as the example takes it, so that other processes disturb neither.
"""

import argparse
import collections
import importlib.metadata
import time
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

BATCH = 256
# More names than concepts are asked for, because a concept has several names.
NAMES = 100
DRAWS = 10_000


def read(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


class Index:
    def __init__(self, names, analyzer):
        owners = collections.defaultdict(collections.Counter)
        for ids, name in names:
            owners[name.lower()][ids] += 1
        self.names = list(owners)
        self.owners = [[ids for ids, _ in owners[name].most_common()] for name in self.names]
        self.vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=(3, 3), dtype=np.float32)
        self.matrix = self.vectorizer.fit_transform(self.names).T.tocsr()

    def best(self, texts, k):
        answers = []
        for start in range(0, len(texts), BATCH):
            queries = self.vectorizer.transform([text.lower() for text in texts[start : start + BATCH]])
            products = (queries @ self.matrix).tocsr()
            for row in range(products.shape[0]):
                begin, end = products.indptr[row], products.indptr[row + 1]
                names, scores = products.indices[begin:end], products.data[begin:end]
                if len(names) > NAMES:
                    near = np.argpartition(-scores, NAMES)[:NAMES]
                    names, scores = names[near], scores[near]
                concepts = []
                for at in np.lexsort((names, -scores)):
                    for ids in self.owners[names[at]]:
                        if ids not in concepts:
                            concepts.append(ids)
                    if len(concepts) >= k:
                        break
                answers.append(concepts[:k])
        return answers


def draws(documents):
    """How often each document is drawn, for each draw: [draws, documents]."""
    random = np.random.default_rng(0)
    return random.multinomial(documents, np.full(documents, 1 / documents), size=DRAWS)


def interval(right, document, drawn):
    """Accuracy with its interval, or a difference of two, in percent."""
    sums = np.bincount(document, weights=right)
    sizes = np.bincount(document)
    values = 100 * (drawn @ sums) / (drawn @ sizes)
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{100 * right.mean():.2f} ({low:.2f} to {high:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"scikit-learn {importlib.metadata.version('scikit-learn')}")
    for kind in ["Disease", "Chemical"]:
        names = read(arguments.folder / f"{kind}.names.tsv")
        mentions = read(arguments.folder / f"{kind}.mentions.tsv")
        gold = [set(ids.split("|")) for ids, *_ in mentions]
        texts = [long for _, _, long, _ in mentions]
        numbers = {name: number for number, name in enumerate(sorted({row[3] for row in mentions}))}
        document = np.array([numbers[row[3]] for row in mentions])
        drawn = draws(len(numbers))
        ours = {}
        for k in [1, 5]:
            column = 0 if k == 1 else 1
            rows = read(arguments.folder / f"{kind}.answers.k{k}.tsv")
            ours[k] = np.array([row[column] == "true" for row in rows], dtype=float)
            print(f"{kind}, medner: accuracy@{k} {interval(ours[k], document, drawn)}")
        for analyzer in ["char_wb", "char"]:
            started = time.process_time()
            index = Index(names, analyzer)
            built = time.process_time() - started
            seconds = []
            for _ in range(arguments.rounds):
                started = time.process_time()
                answers = index.best(texts, 5)
                seconds.append(time.process_time() - started)
            for k in [1, 5]:
                right = np.array(
                    [
                        ids <= {id for concept in concepts[:k] for id in concept.split("|")}
                        for ids, concepts in zip(gold, answers)
                    ],
                    dtype=float,
                )
                single = np.array([len(ids) == 1 for ids in gold])
                print(
                    f"{kind}, {analyzer}: accuracy@{k} {interval(right, document, drawn)}; "
                    f"medner's is better by {interval(ours[k] - right, document, drawn)}; of one concept: "
                    f"{100 * right[single].mean():.2f}, medner {100 * ours[k][single].mean():.2f}"
                )
            speed = len(texts) / min(seconds)
            print(f"{kind}, {analyzer}: {speed:.0f} mentions a second; index in {built:.1f} s")
        index = Index(names, "char_wb")
        neighbours = NearestNeighbors(n_neighbors=20, metric="cosine", algorithm="brute", n_jobs=1).fit(index.matrix.T)
        some = texts[:BATCH]
        started = time.process_time()
        neighbours.kneighbors(index.vectorizer.transform([text.lower() for text in some]))
        print(f"{kind}, NearestNeighbors: {len(some) / (time.process_time() - started):.0f} mentions a second")


if __name__ == "__main__":
    main()
