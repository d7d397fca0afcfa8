"""Whether rules between S_max and S_add, and weights by quality or reliability, beat plain template addition.

    python benchmarks/rules.py [--cache build/selection]

The portraits' hypotheses are those of `balanced`, the probes' are the picture as it is and its 4x super-resolved one; three
matchers, two sizes, cameras and seeds, on the selection part. Every family's parameter is chosen on half of the people and
scored on the other half, both ways, ten times; the difference to template addition is paired, its 95 % interval draws people.
Writes benchmarks/results/rules.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from economy import card, difference
from machine import write_csv
from people import columns, pictures, portraits
from pools import gallery_pool, probe_pool
from scipy.special import logsumexp
from selection import LIFTED, NAMES, SHOWN

from meetmid import PRESETS, Matcher
from meetmid.gallery.paths import format_path
from models import MATCHERS

Rule = Callable[["Sides"], np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


class Sides:
    """Centred templates: probes (P, M, D) and portraits (G, N, D), and their similarities (P, M, G, N)."""

    def __init__(self, probes: np.ndarray, gallery: np.ndarray, raw_probes: np.ndarray, raw_gallery: np.ndarray) -> None:
        self.probes, self.gallery = probes, gallery
        self.lengths = np.linalg.norm(raw_probes, axis=2), np.linalg.norm(raw_gallery, axis=2)
        self.similar = np.einsum("pmd,gnd->pmgn", unit(probes), unit(gallery), optimize=True).astype(np.float32)


def added(sides: Sides, probe_weights: np.ndarray | float = 1.0, gallery_weights: np.ndarray | float = 1.0) -> np.ndarray:
    """S_add of the probe's hypotheses over T_add of the portrait's, with weights (P, M) and (G, N)."""
    p = (unit(sides.probes) * np.broadcast_to(probe_weights, sides.probes.shape[:2])[..., None]).sum(axis=1)
    g = (sides.gallery * np.broadcast_to(gallery_weights, sides.gallery.shape[:2])[..., None]).sum(axis=1)
    return p @ unit(g).T


LEARNED = "T_add, portraits by reliability"
"""A hypothesis's mean mated similarity over its deviation, on the people that choose."""


def families() -> dict[str, dict[str, Rule]]:
    """Rules by their parameter."""
    found: dict[str, dict[str, Rule]] = {
        "T_add": {"": added},
        "T_add on both sides": {"": lambda s: s.probes.sum(axis=1) @ unit(s.gallery.sum(axis=1)).T},
        "S_add": {"": lambda s: s.similar.mean(axis=3).sum(axis=1)},
        "S_max": {"": lambda s: s.similar.max(axis=3).sum(axis=1)},
    }
    found["soft maximum"] = {
        f"{b:g}": lambda s, b=b: logsumexp(b * s.similar, axis=3).sum(axis=1) for b in (2.0, 5.0, 10.0, 20.0, 40.0)
    }
    found["mean of the best"] = {
        f"{k}": lambda s, k=k: np.sort(s.similar, axis=3)[..., -k:].mean(axis=3).sum(axis=1) for k in (2, 3, 5, 8)
    }
    found["T_add, probes by template length"] = {f"{a:g}": lambda s, a=a: added(s, s.lengths[0] ** a) for a in (0.5, 1.0, 2.0)}
    found["T_add, portraits by template length"] = {f"{a:g}": lambda s, a=a: added(s, 1, s.lengths[1] ** a) for a in (-1, 1, 2)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--cache", type=Path, default=Path("build/selection"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "rules.csv")
    args = parser.parse_args()
    gallery_side, probe_side = pictures("selection", args.people, 3)
    subjects, mates = ([name for name, *_ in side] for side in (gallery_side, probe_side))
    own = columns(gallery_side, probe_side)
    slots = [NAMES.index(format_path(path)) for path in PRESETS["balanced"].paths]
    runs: list[Sides] = []
    for name in MATCHERS:
        with Matcher(config=replace(SHOWN, scales=(2, 4)), matcher=card(name)) as matcher:
            pool = gallery_pool(matcher, portraits(gallery_side, matcher.card.contract.alignment), args.cache).templates
        raw_g = np.concatenate([pool[:, 0, [0, 2]], pool[:, 2, slots]], axis=1)
        centre = np.concatenate([np.repeat(raw_g[:, :2].mean(axis=(0, 1))[None], 2, 0),
                                 np.repeat(raw_g[:, 2:].mean(axis=(0, 1))[None], len(slots), 0)])
        with Matcher(config=LIFTED, matcher=card(name)) as matcher:
            for size in args.sizes:
                for seed in args.seeds:
                    raw_p = np.asarray(probe_pool(matcher, probe_side, size, seed, args.cache).templates)[:, :, 0]
                    runs.append(Sides(raw_p - raw_p.mean(axis=0), raw_g - centre, raw_p, raw_g))
    mated = [run.similar[np.arange(len(own)), :, own].mean(axis=1) for run in runs]  # (P, N)
    fixed = {f: {v: [rule(run) for run in runs] for v, rule in rules.items()} for f, rules in families().items()}
    rng, held = np.random.default_rng(0), {family: np.zeros(len(runs) * len(own)) for family in (*fixed, LEARNED)}
    for _ in range(10):
        half = rng.permutation(len(subjects)) < len(subjects) // 2
        for chosen, judged in ((half, ~half), (~half, half)):
            told = np.mean([m[chosen[own]].mean(axis=0) / m[chosen[own]].std(axis=0) for m in mated], axis=0)
            learned = {f"{a:g}": [added(run, 1.0, told[None] ** a) for run in runs] for a in (0.5, 1.0, 2.0, 4.0)}
            for family, values in {**fixed, LEARNED: learned}.items():
                best = max(values.values(), key=lambda each, c=chosen: sum(hits(s, own, c).sum() for s in each))
                held[family] += np.concatenate([hits(s, own, judged) for s in best]) / 10
    people = np.array(mates * len(runs))
    rows = []
    for family, share in held.items():
        points, low, high = difference(share, held["T_add"], people)
        rows.append({"rule": family, "held_out": round(100 * share.mean(), 2), "points": round(points, 2),
                     "low95": round(low, 2), "high95": round(high, 2), "searches": len(share)})
        print(f"{family:<40}{100 * share.mean():6.2f} %  {points:+.2f} [{low:+.2f}, {high:+.2f}]", flush=True)
    write_csv(args.csv, rows)


def hits(scores: np.ndarray, own: np.ndarray, people: np.ndarray) -> np.ndarray:
    """(P,) whether the mate is first among ``people`` (G,); 0 for probes of others."""
    found = np.where(people, scores, -np.inf).argmax(axis=1) == own
    return found & people[own]


if __name__ == "__main__":
    main()
