#!/usr/bin/env python3
"""Links gold mentions by scikit-learn's TF-IDF of character 3-grams, which is how scispaCy generates its candidates.

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.9.1
    venv/bin/python scripts/link_peers.py FOLDER

FOLDER is what `cargo run --release -p ner-link --example link_bc5cdr -- … --dump FOLDER` wrote: the same names
(KIND.names.tsv: ids, name) and the same mentions (KIND.mentions.tsv: gold ids, text, and its long form or the text once more).

Names and mentions are lower-cased (scispaCy's aliases are not, which costs it accuracy here). The index is the sparse
matrix of all different names, and the nearest names are those with the largest product, which is exact; scispaCy's
approximate index (nmslib) finds at most these. The k best concepts are those of the nearest names; among concepts with
the same name, the one that has it most often among the given names comes first. A mention of several concepts is right
if each of them is among the k best: for this method it has one answer, so it is never right at 1. The line "single"
counts the mentions of one concept alone.

The last row of a kind is scikit-learn's own NearestNeighbors (brute force, cosine), which fills a dense matrix of
distances: how the method is usually written down. Its answers are those of char_wb, so that only its time is told.

Time: from the texts of the mentions in memory to the k best concepts, the best of three rounds, one thread.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--long-forms", action="store_true", help="link the long forms of abbreviations")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"scikit-learn {importlib.metadata.version('scikit-learn')}")
    for kind in ["Disease", "Chemical"]:
        names = read(arguments.folder / f"{kind}.names.tsv")
        mentions = read(arguments.folder / f"{kind}.mentions.tsv")
        gold = [set(ids.split("|")) for ids, *_ in mentions]
        texts = [long if arguments.long_forms else text for _, text, long in mentions]
        for analyzer in ["char_wb", "char"]:
            started = time.perf_counter()
            index = Index(names, analyzer)
            built = time.perf_counter() - started
            seconds = []
            for _ in range(arguments.rounds):
                started = time.perf_counter()
                answers = index.best(texts, 5)
                seconds.append(time.perf_counter() - started)
            rows = []
            for only_single in [False, True]:
                figures = []
                for k in [1, 5]:
                    right = total = 0
                    for ids, concepts in zip(gold, answers):
                        if only_single and len(ids) > 1:
                            continue
                        found = {id for concept in concepts[:k] for id in concept.split("|")}
                        total += 1
                        right += ids <= found
                    figures.append(f"accuracy@{k} {100 * right / total:.2f}")
                rows.append(("single: " if only_single else "") + ", ".join(figures))
            speed = len(texts) / min(seconds)
            print(f"{kind}, {analyzer}: {'; '.join(rows)}; {speed:.0f} mentions a second; index in {built:.1f} s")
        index = Index(names, "char_wb")
        neighbours = NearestNeighbors(n_neighbors=20, metric="cosine", algorithm="brute", n_jobs=1).fit(index.matrix.T)
        some = texts[:BATCH]
        started = time.perf_counter()
        neighbours.kneighbors(index.vectorizer.transform([text.lower() for text in some]))
        print(f"{kind}, NearestNeighbors: {len(some) / (time.perf_counter() - started):.0f} mentions a second")


if __name__ == "__main__":
    main()
