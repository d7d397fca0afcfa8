"""The choice behind the shipped pair's portraits and Z-norm, on the selection part of the split.

    python benchmarks/hubs.py [--seeds 7 8 9]

Every step from degraded portraits seen by the gallery network, scores as they are, to what shipped before the paths were chosen
anew (benchmarks/selection.py): who sees the degraded portraits, how much the undegraded one weighs, and whether scores are
divided by what the portrait scores with the cohort. Rank-1 of all probes (several captures of each) among all portraits, and
its expectation among 130 portraits drawn from them (hypergeometric, its mate one of them); "fewer errors" is of the latter,
with a 95 % interval that draws people. Writes benchmarks/results/hubs.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import write_csv
from people import captures, columns, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation.selection import first_among
from models import drawn_people

AMONG = 130
DISK, BOTH, THREE = [["disk"]], [["disk"], ["gauss_noise"]], [["disk"], ["gauss_noise"], ["pshuf"]]
OWN = {"degraded_by": "gallery", "portrait_weight": 1, "score_norm": "none"}
SYSTEMS = {
    "disk, gauss_noise by the gallery network": {**OWN, "paths": BOTH},
    "the same, pshuf": {**OWN, "paths": THREE},
    "Z-norm alone": {**OWN, "paths": BOTH, "score_norm": "z"},
    "by the probe network, portrait 3 times": {**OWN, "paths": BOTH, "degraded_by": "probe", "portrait_weight": 3},
    "both, portrait once": {"paths": BOTH, "degraded_by": "probe", "portrait_weight": 1, "score_norm": "z"},
    "both (balanced)": {"paths": BOTH, "degraded_by": "probe", "portrait_weight": 3, "score_norm": "z"},
    "both, disk alone, portrait twice (fast)": {"paths": DISK, "degraded_by": "probe", "portrait_weight": 2, "score_norm": "z"},
    "both, pshuf, portrait 4 times": {"paths": THREE, "degraded_by": "probe", "portrait_weight": 4, "score_norm": "z"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--people", type=int, default=510)
    parser.add_argument("--probes-each", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "hubs.csv")
    args = parser.parse_args()
    gallery_side, probe_side = pictures("selection", args.people, args.probes_each)
    subjects, mates = ([name for name, *_ in side] for side in (gallery_side, probe_side))
    own = columns(gallery_side, probe_side)
    names, place = np.unique(mates, return_inverse=True)
    drawn = drawn_people(len(names))
    rows, first, caught = [], {}, {}
    for name, options in SYSTEMS.items():
        with Matcher(faces="crop", keep_crops=False, threads=1, sharp_between=None, **options) as matcher:
            template = matcher.card.contract.alignment
            gallery = matcher.enroll(portraits(gallery_side, template))
            for size in args.sizes:
                if size not in caught:
                    caught[size] = [matcher.lift(captures(probe_side, template, size, seed=s)).pool for s in args.seeds]
                above = []
                for seed in range(len(args.seeds)):
                    sides = matcher.comparison.far_sides(caught[size][seed], gallery.pool, None)
                    scores = matcher.comparison.fused(*sides)
                    above.append((scores > scores[np.arange(len(own)), own][:, None]).sum(axis=1))
                hits = np.mean([first_among(a, len(subjects) - 1, AMONG - 1) for a in above], axis=0)
                errors = np.stack([np.bincount(place, 1 - hits), np.bincount(place, 1 - first.setdefault(size, hits))])
                sums = drawn @ errors.T
                low, high = np.quantile(1 - sums[:, 0] / sums[:, 1], (0.025, 0.975))
                rows.append({
                    "system": name, "size": size, "k": int((np.array(above) == 0).sum()), "n": len(own) * len(args.seeds),
                    f"among_{AMONG}": round(100 * hits.mean(), 2),
                    "fewer": round(100 * (1 - errors[0].sum() / errors[1].sum()), 1), "low95": round(100 * low, 1),
                    "high95": round(100 * high, 1),
                })
                print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
