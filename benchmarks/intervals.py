"""How often the subject bootstrap's 95 % intervals hold the truth, beside intervals that take all scores for independent.

    python benchmarks/intervals.py [--studies 400] [--draws 300]

Each study draws new people. A person has a template, an effect on all scores as a probe and one as a portrait (lambs and
wolves), several probes each. The truth comes from one very large study. Writes results/intervals.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import write_csv

from meetmid.evaluation import ErrorRates, Trials, bootstrap, search, wilson
from meetmid.evaluation.uncertainty import bootstrap_search, hit_rate
from meetmid.evaluation.weighted import Statistic, auc, eer, fmr_at, tmr_at, tmr_at_fmr

THRESHOLD, TARGET, LENGTH = 0.45, 0.02, 24
STATISTICS: dict[str, Statistic] = {
    "FMR at a threshold": fmr_at(THRESHOLD), "TMR at a threshold": tmr_at(THRESHOLD), "TMR at FMR 2 %": tmr_at_fmr(TARGET),
    "EER": eer, "AUC": auc,
}


def study(people: int, each: int, seed: int) -> Trials:
    """``people`` with one portrait and ``each`` probes."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), each)
    person = rng.normal(size=(people, LENGTH))
    portraits = person + 0.5 * rng.normal(size=person.shape)
    probes = person[who] + rng.uniform(0.6, 1.8, people)[who, None] * rng.normal(size=(len(who), LENGTH))
    unit = [t / np.linalg.norm(t, axis=1, keepdims=True) for t in (probes, portraits)]
    scores = unit[0] @ unit[1].T + 0.05 * rng.normal(size=people)[who, None] + 0.05 * rng.normal(size=people)
    names = [f"s{k:05d}" for k in range(people)]
    return Trials.of(scores, [names[k] for k in who], names)


def truths() -> dict[str, float]:
    rates = ErrorRates.of(study(4000, 2, seed=10**6))
    return {
        "FMR at a threshold": float(rates.fmr(THRESHOLD)), "TMR at a threshold": 1 - float(rates.fnmr(THRESHOLD)),
        "TMR at FMR 2 %": rates.tmr_at_fmr(TARGET).tmr, "EER": rates.eer().value, "AUC": rates.auc(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--each", type=int, default=4)
    args = parser.parse_args()
    true = truths()
    rank1 = np.mean([search(study(args.people, args.each, 2 * 10**6 + k)).hits().mean() for k in range(4000)])
    inside = {name: 0 for name in (*STATISTICS, "rank-1", "FMR, Wilson over scores", "TMR, Wilson over scores")}
    for k in range(args.studies):
        data = study(args.people, args.each, k)
        for name, statistic in STATISTICS.items():
            found = bootstrap(data, statistic, draws=args.draws, seed=k)
            inside[name] += found.low <= true[name] <= found.high
        one = bootstrap_search(search(data), data, hit_rate(1), draws=args.draws, seed=k)
        inside["rank-1"] += one.low <= rank1 <= one.high
        point = ErrorRates.of(data).at(THRESHOLD)
        for name, hits, n in (("FMR", point.false_matches, point.n_nonmated), ("TMR", point.k, point.n)):
            low, high = wilson(hits, n)
            inside[f"{name}, Wilson over scores"] += low <= true[f"{name} at a threshold"] <= high
    rows: list[dict[str, object]] = []
    for name, hits in inside.items():
        low, high = wilson(hits, args.studies)
        rows.append({
            "interval": name, "covered": hits, "studies": args.studies, "percent": round(100 * hits / args.studies, 1),
            "low": round(100 * low, 1), "high": round(100 * high, 1), "draws": args.draws, "people": args.people,
            "each": args.each, "truth": round(float(true.get(name, rank1 if name == "rank-1" else np.nan)), 5),
        })
        print(f"{name:<28}{hits:>5} of {args.studies} = {100 * hits / args.studies:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]")
    write_csv(Path(__file__).parent / "results" / "intervals.csv", rows)


if __name__ == "__main__":
    main()
