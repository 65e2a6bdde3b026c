"""Golden choices of core-set and BADGE: numpy, every distance anew at every step. Writes golden.json beside itself.

Made with numpy 2; run: python3 golden.py
"""

import json
import pathlib

import numpy as np

random = np.random.default_rng(8)


def distances(rows, centers):
    return ((rows[:, None, :] - centers[None, :, :]) ** 2).sum(-1).min(1)


def k_center(rows, weights, known, count):
    chosen = []
    for _ in range(count):
        centers = list(known) + [rows[at] for at in chosen]
        far = np.sqrt(distances(rows, np.array(centers or [rows.mean(0)]))) * weights
        far[chosen] = -1
        chosen.append(int(far.argmax()))
    return chosen


def k_means_plus_plus(rows, draws):
    chosen = [int((rows**2).sum(1).argmax())]
    for draw in draws:
        squares = distances(rows, rows[chosen])
        squares[chosen] = 0
        chosen.append(int(np.searchsorted(np.cumsum(squares), draw * squares.sum(), side="right")))
    return chosen


cases = []
for count, width, known in [(60, 5, 3), (40, 16, 0), (200, 33, 10)]:
    rows = random.normal(size=(count, width)).astype(np.float32)
    known = random.normal(size=(known, width)).astype(np.float32)
    weights = random.uniform(0.1, 1, size=count)
    draws = random.uniform(size=14)
    exact, exact_known = rows.astype(np.float64), known.astype(np.float64)
    cases.append(
        {
            "rows": [[float(value) for value in row] for row in rows],
            "known": [[float(value) for value in row] for row in known],
            "weights": weights.tolist(),
            "draws": draws.tolist(),
            "k_center": k_center(exact, np.ones(count), exact_known, 15),
            "weighted": k_center(exact, weights, exact_known, 15),
            "k_means_plus_plus": k_means_plus_plus(exact, draws),
        }
    )
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(cases))
