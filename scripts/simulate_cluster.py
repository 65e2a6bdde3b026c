#!/usr/bin/env python3
"""Simulates the annotation of a large collection by shards or tasks, for docs/collections.md.

    python scripts/simulate_cluster.py --notes 100000000 --tokens-per-second 15000 --start 1.5

A worker takes the next shard when it has finished one, as job arrays do. Lengths of notes are log-normal, some workers
are slow, and each shard starts a process, loads the model and writes its part. With `--keeps`, a worker loads the model
once, as those of Spark and Ray do.
"""

import argparse
import heapq
import math
import random


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=100_000_000)
    parser.add_argument("--tokens", type=float, default=300, help="mean tokens of a note")
    parser.add_argument("--sigma", type=float, default=1.0, help="deviation of the logarithm of the tokens")
    parser.add_argument("--tokens-per-second", type=float, required=True, help="of one worker, measured")
    parser.add_argument("--start", type=float, required=True, help="seconds until a process annotates, measured")
    parser.add_argument("--keeps", action="store_true", help="a worker starts once, not with each shard")
    parser.add_argument("--bytes", type=float, default=1500, help="input and output of a note")
    parser.add_argument("--bandwidth", type=float, default=50e6, help="bytes a second of one worker to its storage")
    parser.add_argument("--slow", type=float, default=0.05, help="share of workers at half speed")
    parser.add_argument("--unit", type=int, default=10_000, help="notes in a file or row group")
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--shards-per-worker", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", metavar="FILE.png", help="also draw hours by workers; needs matplotlib")
    options = parser.parse_args()
    numbers = [options.notes, options.tokens, options.tokens_per_second, options.bandwidth, options.unit]
    if min(*numbers, *options.workers, *options.shards_per_worker) <= 0:
        parser.error("notes, tokens, rates, units, workers and shards must be greater than 0")
    return options


def seconds_of_units(options: argparse.Namespace, random_: random.Random) -> list[float]:
    """Seconds of each file or row group on a worker of full speed."""
    mean, sigma = options.tokens, options.sigma
    # Files differ because wards do: a quarter of the variance of the logarithm is between files.
    between = sigma / 2
    of_notes = []
    for _ in range(math.ceil(options.notes / options.unit)):
        tokens = options.unit * mean * random_.lognormvariate(-between * between / 2, between)
        of_notes.append(tokens / options.tokens_per_second + options.unit * options.bytes / options.bandwidth)
    return of_notes


def simulate(units: list[float], workers: int, shards: int, options: argparse.Namespace):
    """Hours until the last shard has finished, and hours of workers at work."""
    work = [0.0 if options.keeps else options.start] * shards
    for at, seconds in enumerate(units):
        work[at % shards] += seconds
    # Of as many workers, the same are slow, whatever the number of shards.
    random_ = random.Random(options.seed)
    speeds = [0.5 if random_.random() < options.slow else 1.0 for _ in range(workers)]
    free = [(options.start if options.keeps else 0.0, worker) for worker in range(workers)]
    busy = 0.0
    for seconds in work:
        time, worker = heapq.heappop(free)
        taken = seconds / speeds[worker]
        busy += taken
        heapq.heappush(free, (time + taken, worker))
    return max(free)[0] / 3600, busy / 3600


def plot(hours: dict[int, list[float]], ideal: float, options: argparse.Namespace) -> None:
    """`hours` of each number of workers, by shards for each worker; `ideal` hours of one worker."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for per_worker, of_workers in hours.items():
        axes.loglog(options.workers, of_workers, marker="o", label=f"{per_worker} for each worker")
    axes.loglog(options.workers, [ideal / workers for workers in options.workers], "k:", label="ideal")
    axes.set(xlabel="workers", ylabel="hours", title=f"{options.notes:,} notes")
    axes.set_xticks(options.workers, [str(workers) for workers in options.workers], minor=False)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(title="shards")
    figure.savefig(options.plot, dpi=120)


def main() -> None:
    options = arguments()
    units = seconds_of_units(options, random.Random(options.seed))
    ideal = sum(units) / 3600
    print(f"{options.notes:,} notes, {ideal:,.0f} worker-hours without starts and slow workers")
    print("| workers | shards | hours | worker-hours paid | of the ideal |\n|---|---|---|---|---|")
    by_shards: dict[int, list[float]] = {}
    for workers in options.workers:
        for per_worker in options.shards_per_worker:
            hours, _ = simulate(units, workers, workers * per_worker, options)
            by_shards.setdefault(per_worker, []).append(hours)
            share = ideal / workers / hours
            print(f"| {workers} | {workers * per_worker:,} | {hours:.2f} | {hours * workers:,.0f} | {share:.0%} |")
    if options.plot:
        plot(by_shards, ideal, options)


if __name__ == "__main__":
    main()
