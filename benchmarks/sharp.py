"""From what detail on a probe is compared as it is, on the selection part: how ``sharp_between`` was chosen.

    python benchmarks/sharp.py [--people 200] [--matchers slimface-probe ...] [--cache build/sharp]

Closed-set rank-1 of ``balanced`` with far probes' comparison alone, with the pictures as they are alone, with a sudden change
at 33 px of effective resolution, and with every ramp of a grid: the score is the mean of both comparisons, the weight of the
second growing from 0 to 1 between two effective resolutions. Probes of eleven sizes and seeds by two simulated cameras, the
hits averaged over galleries of 130 people drawn from those there are. Scores are cached. Writes benchmarks/results/sharp.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from economy import NAMES, balanced, card, means
from machine import write_csv
from people import captures, columns, kept, pictures, portraits

from meetmid import MatchConfig, Matcher
from meetmid.comparison import blend
from meetmid.probes.resolution import Detail

SEEN = ((16, 7), (20, 7), (24, 7), (24, 8), (28, 7), (32, 7), (36, 7), (40, 7), (48, 7), (64, 7), (112, 7))
"""Sizes in pixels and seeds."""

LOWS, HIGHS = (8, 10, 13, 16, 18, 20, 22, 24), (36, 40, 45, 50, 56, 64)
GALLERY, DRAWS = 130, 40


def scores(name: str, people: int, folder: Path) -> dict[str, np.ndarray]:
    """Of every size and seed the far and the plain scores (P, G) and the effective resolutions (P,), and the probes' columns;
    cached."""
    model = card(name)

    def make() -> dict[str, np.ndarray]:
        gallery, probes = pictures("selection", people, 3)
        found, template = {"own": columns(gallery, probes)}, model.contract.alignment
        config = balanced(model, sharp_between=None)
        options = {"matcher": model, "reference": means(model, config)}
        near_config = replace(config, sharp_between=(1, 1))
        with Matcher(config=config, **options) as far, Matcher(config=near_config, **options) as near:
            enrolled = far.enroll(portraits(gallery, template))
            for size, seed in SEEN:
                seen = captures(probes, template, size, seed)
                key = f"{size}-{seed}"
                found[f"detail-{key}"] = np.array([Detail.of(crop).resolution for crop in seen], float)
                found[f"far-{key}"], found[f"near-{key}"] = (m.match(seen, enrolled).scores for m in (far, near))
        return found

    return kept(folder / f"{name}-{people}-{model.sha256[:12]}.npz", make)


def rank_1(made: dict[str, np.ndarray], low: float, high: float) -> list[float]:
    """Percent for every size and seed, the weight growing from ``low`` to ``high`` px."""
    own, rng, config = made["own"], np.random.default_rng(0), MatchConfig(sharp_between=(low, high))
    count = made[f"far-{SEEN[0][0]}-{SEEN[0][1]}"].shape[1]
    galleries = [np.sort(rng.permutation(count)[:GALLERY]) for _ in range(DRAWS)]
    rates = []
    for size, seed in SEEN:
        far, near, detail = (made[f"{what}-{size}-{seed}"] for what in ("far", "near", "detail"))
        mixed, hits = blend(far, near, np.array([config.share_as_it_is(its) for its in detail])[:, None]), []
        for people in galleries:
            its = np.isin(own, people)
            hits.append((people[mixed[np.ix_(its, people)].argmax(axis=1)] == own[its]).mean())
        rates.append(100 * float(np.mean(hits)))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--matchers", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--cache", type=Path, default=Path("build/sharp"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "sharp.csv")
    args = parser.parse_args()
    ways = {"far": (1e9, 1e9), "as they are": (1.0, 1.0), "at 33 px": (33.0, 33.0)}
    ways |= {f"from {low} to {high} px": (float(low), float(high)) for low in LOWS for high in HIGHS}
    rows: list[dict[str, object]] = []
    for name in args.matchers:
        made = scores(name, args.people, args.cache)
        for way, between in ways.items():
            rates = rank_1(made, *between)
            sizes = {f"{size}px_seed{seed}": round(rate, 1) for (size, seed), rate in zip(SEEN, rates, strict=True)}
            rows.append({"matcher": name, "people": args.people, "way": way, **sizes, "mean": round(float(np.mean(rates)), 2)})
        best = sorted((row for row in rows if row["matcher"] == name), key=lambda row: -float(str(row["mean"])))
        for row in [*(r for r in rows if r["matcher"] == name and r["way"] in list(ways)[:3]), *best[:3]]:
            print(row, flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
