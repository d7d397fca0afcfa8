"""Whether portraits matched to several probe sizes serve better than one size, on the selection part.

    python benchmarks/sizes.py [--people 130] [--matchers face-reidentification-retail-0095 ...] [--cache build/sizes]

Closed-set rank-1 of ``balanced`` with far probes' comparison alone, the gallery matched to one ``lr_size`` and to several of
which every probe meets the one nearest to its effective resolution; probes of six sizes by two simulated cameras. The scores of
every single size are cached: those of several are theirs, bit for bit (tests/test_sizes.py). Writes
benchmarks/results/sizes.csv.
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
from meetmid.probes.resolution import Detail

SIDES, SEEDS, LR_SIZES = (16, 20, 24, 32, 40, 48), (7, 8), (16, 24, 32, 48)
WAYS = ((16,), (24,), (32,), (48,), (16, 24), (24, 32), (24, 48), (16, 24, 48), LR_SIZES)


def scores(name: str, people: int, folder: Path) -> dict[str, np.ndarray]:
    """Of every ``lr_size``, side and seed the scores (P, G), of every side and seed the effective resolutions (P,), and the
    probes' columns; cached."""
    model = card(name)

    def make() -> dict[str, np.ndarray]:
        gallery, probes = pictures("selection", people, 3)
        found, template = {"own": columns(gallery, probes)}, model.contract.alignment
        seen = {f"{side}-{seed}": captures(probes, template, side, seed) for side in SIDES for seed in SEEDS}
        found |= {f"detail-{key}": np.array([Detail.of(crop).resolution for crop in its], float) for key, its in seen.items()}
        base = balanced(model, sharp_between=None)
        for config in (replace(base, lr_size=lr_size) for lr_size in LR_SIZES):
            with Matcher(config=config, matcher=model, reference=means(model, config)) as matcher:
                enrolled = matcher.enroll(portraits(gallery, template))
                found |= {f"{config.lr_size}-{key}": matcher.match(its, enrolled).scores for key, its in seen.items()}
        return found

    return kept(folder / f"{name}-{people}-{model.sha256[:12]}.npz", make)


def rank_1(made: dict[str, np.ndarray], sizes: tuple[int, ...]) -> list[float]:
    """Percent for every side, both seeds together."""
    config, rates = MatchConfig(lr_size=sizes if len(sizes) > 1 else sizes[0]), []
    for side in SIDES:
        hits = []
        for seed in SEEDS:
            chosen = [config.nearest(its) for its in made[f"detail-{side}-{seed}"]]
            each = np.stack([made[f"{lr_size}-{side}-{seed}"] for lr_size in sizes])
            hits.append(each[chosen, np.arange(len(chosen))].argmax(axis=1) == made["own"])
        rates.append(100 * float(np.mean(hits)))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=130)
    others = [name for name in NAMES if name != "slimface-probe"]  # it enlarges nothing, so that nothing is matched
    parser.add_argument("--matchers", nargs="+", choices=others, default=others)
    parser.add_argument("--cache", type=Path, default=Path("build/sizes"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "sizes.csv")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for name in args.matchers:
        made = scores(name, args.people, args.cache)
        for sizes in WAYS:
            rates = rank_1(made, sizes)
            its = {f"{side}px": round(rate, 1) for side, rate in zip(SIDES, rates, strict=True)}
            told = {"matcher": name, "people": args.people, "matched_to": " ".join(map(str, sizes))}
            rows.append({**told, **its, "mean": round(float(np.mean(rates)), 2)})
            print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
