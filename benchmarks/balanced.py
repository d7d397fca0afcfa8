"""The quick measurement behind the gallery paths of the `balanced` and `fast` presets, on the selection part of the split.

    python benchmarks/balanced.py --matcher NAME [--matcher NAME]

Greedy forward selection of gallery paths (template addition, identity hypotheses kept, two probe scales), scored by rank-1
pooled over matchers and probe sizes, then the rule pairs for the chosen list. One split, one seed, few people: good enough for
a first default and no more; the ladder on the test part says what it is worth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import write_csv
from pools import pools

from meetmid.evaluation import Trials, search
from meetmid.evaluation.ladder import masked_side
from meetmid.gallery.paths import format_path, select_paths
from meetmid.scores.fusion import fuse_sides

PROBE_SLOTS = ((0,), (0, 3, 7), (0, 3, 7))
"""Blur slots kept at 1x, 2x and 4x: of the distinct levels, about 13 of 16, those of sigma 0, 0.4 and about 0.67."""


def hits(runs: list, paths: list[int], rules: tuple[str, str]) -> int:
    """Rank-1 hits pooled over matchers and sizes for a list of gallery slots."""
    total = 0
    for subjects, mates, gallery, probes in runs:
        for pool in probes.values():
            keep_p = np.zeros(pool.weights.shape[1:])
            for scale, slots in enumerate(PROBE_SLOTS):
                keep_p[scale, list(slots)] = 1.0
            keep_g = np.zeros(gallery.weights.shape[1:])
            keep_g[0, 0] = 1.0
            keep_g[1:3, paths] = 1.0  # 2x and 4x
            p, g = masked_side(pool, "set", keep_p), masked_side(gallery, "set", keep_g)
            p.weights[p.weights > 0] = 1.0
            scores = fuse_sides(p, g, [rules], add="mean")[0]
            total += int(search(Trials.of(scores, mates, subjects)).hits().sum())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matcher", action="append", required=True)
    parser.add_argument("--paths", default="len<=1")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--probes-each", type=int, default=2)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=Path("build/ladder"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "balanced.csv")
    args = parser.parse_args()
    people = ("selection", args.people, args.probes_each)
    runs = [pools(m, [24, 16], args.paths, *people, args.cache) for m in args.matcher]
    names = ["undegraded", *(format_path(p) for p in select_paths(args.paths) if p)]
    trials = sum(len(mates) * len(probes) for _, mates, _, probes in runs)
    rows: list[dict[str, object]] = []
    chosen: list[int] = []
    for step in range(args.count):
        found = {k: hits(runs, [*chosen, k], ("S_add", "T_add")) for k in range(len(names)) if k not in chosen}
        best = max(found, key=lambda k: (found[k], -k))
        chosen.append(best)
        rows.append({"step": step + 1, "added": names[best], "probe": "S_add", "gallery": "T_add", "k": found[best],
                     "n": trials, "percent": round(100 * found[best] / trials, 2)})
        print(f"{step + 1} {names[best]:<28}{found[best]}/{trials} = {100 * found[best] / trials:.1f} %", flush=True)
    for rules in (("S_add", "S_max"), ("T_add", "T_add"), ("S_max", "S_max"), ("S_add", "S_add")):
        for label, paths in (("chosen", chosen), ("all", list(range(len(names)))), ("undegraded only", [0])):
            k = hits(runs, paths, rules)
            rows.append({"step": label, "added": "", "probe": rules[0], "gallery": rules[1], "k": k, "n": trials,
                         "percent": round(100 * k / trials, 2)})
            print(f"{label:<18}probe {rules[0]}, gallery {rules[1]}: {k}/{trials} = {100 * k / trials:.1f} %", flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
