"""Curves and CMC of whole matrices: seconds and memory beside scikit-learn and a loop over probes and thresholds.

    python benchmarks/metrics.py [--repeats 3] [--largest]

Each task runs in a process of its own, the rivals in turn; medians. "MiB" is the peak resident memory of that process with the
matrix (float32) in it. --largest adds 10,000 x 10,000, which only our own code is asked for. Writes results/metrics.csv.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import write_csv
from numpy.typing import NDArray

from meetmid.evaluation import ErrorRates, Trials, search

SIZES = {"650 x 130": (650, 130), "3,000 x 3,000": (3000, 3000)}
LARGEST = {"10,000 x 10,000": (10_000, 10_000)}


def matrix(probes: int, gallery: int) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Normal scores, mates two higher, in float32."""
    rng = np.random.default_rng(0)
    scores = np.empty((probes, gallery), np.float32)
    for start in range(0, probes, 500):
        rows = scores[start : start + 500]
        rows[:] = rng.standard_normal(rows.shape, dtype=np.float32)
    scores[np.arange(probes), np.arange(probes) % gallery] += 2
    return scores, [f"s{k % gallery}" for k in range(probes)], [f"s{k}" for k in range(gallery)]


def our_curves(scores: NDArray[np.float32], probes: list[str], gallery: list[str]) -> tuple[float, ...]:
    rates = ErrorRates.of(Trials.of(scores, probes, gallery))
    rates.curve()
    return rates.auc(), rates.eer().value, rates.tmr_at_fmr(0.01).tmr


def sklearn_curves(scores: NDArray[np.float32], probes: list[str], gallery: list[str]) -> tuple[float, ...]:
    from sklearn.metrics import roc_auc_score, roc_curve

    labels = (np.array(probes)[:, None] == np.array(gallery)[None]).ravel()
    fmr, tmr, _ = roc_curve(labels, scores.ravel())
    at = np.argmin(np.abs(fmr - (1 - tmr)))
    return roc_auc_score(labels, scores.ravel()), float(fmr[at]), float(tmr[np.searchsorted(fmr, 0.01, "right") - 1])


def looped_curves(scores: NDArray[np.float32], probes: list[str], gallery: list[str]) -> tuple[float, ...]:
    """FMR and FNMR at 200 thresholds, counted for each anew."""
    same = np.array(probes)[:, None] == np.array(gallery)[None]
    own, other = scores[same], scores[~same]
    thresholds = np.linspace(other.min(), own.max(), 200)
    fmr, fnmr = (np.array([f(t) for t in thresholds]) for f in (lambda t: (other > t).mean(), lambda t: (own <= t).mean()))
    at = np.argmin(np.abs(fmr - fnmr))
    return float(np.trapezoid(fnmr - 1, fmr)), float(fmr[at]), float(1 - fnmr[np.argmax(fmr <= 0.01)])


def our_cmc(scores: NDArray[np.float32], probes: list[str], gallery: list[str]) -> tuple[float, ...]:
    rates = search(Trials.of(scores, probes, gallery)).cmc().rates
    return float(rates[0]), float(rates[9])


def looped_cmc(scores: NDArray[np.float32], probes: list[str], gallery: list[str]) -> tuple[float, ...]:
    """Sort every row and look for the mate."""
    names = np.array(gallery)
    ranks = np.array([np.flatnonzero(names[np.argsort(-row)] == p)[0] for row, p in zip(scores, probes, strict=True)])
    return float((ranks < 1).mean()), float((ranks < 10).mean())


TASKS: dict[str, dict[str, Callable[..., tuple[float, ...]]]] = {
    "curves, AUC, EER, TMR": {"meetmid": our_curves, "scikit-learn": sklearn_curves, "200 thresholds": looped_curves},
    "CMC": {"meetmid": our_cmc, "sort per probe": looped_cmc},
}


def child(task: str, rival: str, probes: int, gallery: int) -> None:
    """One run in this process; its figures as JSON on the standard output."""
    data = matrix(probes, gallery)
    run = TASKS[task][rival]
    run(*matrix(20, 10))  # imports and first calls are not counted
    begun = time.perf_counter()
    values = run(*data)
    seconds = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mib": memory, "values": values}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--largest", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], args.child[1], int(args.child[2]), int(args.child[3]))
        return
    rows = []
    for name, (probes, gallery) in {**SIZES, **(LARGEST if args.largest else {})}.items():
        for task, rivals in TASKS.items():
            asked = [rival for rival in rivals if name in SIZES or rival == "meetmid"]
            found: dict[str, list[dict[str, float]]] = {rival: [] for rival in asked}
            for _ in range(args.repeats):
                for rival in asked:
                    command = [sys.executable, str(Path(__file__).resolve()), "--child", task, rival, str(probes), str(gallery)]
                    found[rival].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            ours = statistics.median(run["seconds"] for run in found["meetmid"])
            for rival, runs in found.items():
                seconds = statistics.median(run["seconds"] for run in runs)
                row: dict[str, object] = {
                    "matrix": name, "task": task, "by": rival, "seconds": round(seconds, 4), "ratio": round(seconds / ours, 2),
                    "mib": round(max(run["mib"] for run in runs)),
                    "values": " ".join(f"{value:.4f}" for value in runs[0]["values"]),  # type: ignore[attr-defined]
                }
                rows.append(row)
                print("  ".join(str(value) for value in row.values()), flush=True)
    write_csv(Path(__file__).parent / "results" / "metrics.csv", rows)


if __name__ == "__main__":
    main()
