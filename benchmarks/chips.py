"""Small pictures that a detector's box cut out, which are not aligned: rank-1 with ``faces="crop"`` and ``"auto"``.

    python benchmarks/chips.py [--part test] [--people 130] [--sizes 40 24 16]

Probes: aligned crops of ``size`` px as two simulated cameras caught them, and what boxes so many times as large as the face's
cut out of whole pictures caught in the same way; portraits: aligned ones, and what such boxes cut out, at most 160 px, with
the aligned probes of 24 px. ``balanced``: hits with both, points between them with 95 % intervals that draw people, and how
many pictures of that side ``"auto"`` did not take for crops. Writes benchmarks/results/chips.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from economy import difference
from found import scenes
from machine import write_csv
from people import captures, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation import Trials, search
from meetmid.faces.crops import BOX_FACTOR, cut_box, given_faces
from meetmid.gallery.tree import work_image

SEED, SEEN = 7, 24
BOXES = (1.0, 1.3, 1.8)
MODES = ("crop", "auto")


def chip(picture: np.ndarray, points: np.ndarray, times: float) -> np.ndarray:
    """What a square box around five points cuts out, ``times`` as large as the face's."""
    ((x, y, w, h),) = (face.box for face in given_faces(points))
    part = times / BOX_FACTOR
    return cut_box(picture, (x + w * (1 - part) / 2, y + h * (1 - part) / 2, w * part, h * part), square=True)


def others(status: tuple[str, ...]) -> int:
    """How many were not taken for crops."""
    return sum("small as a face crop, but" in its for its in status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("test", "selection"), default="test")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 24, 16])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "chips.csv")
    args = parser.parse_args()
    gallery, probes = pictures(args.part, args.people, 3)
    subjects, mates = ([name for name, *_ in side] for side in (gallery, probes))
    rows = []

    def tell(side: str, size: int, kind: str, scores: list[np.ndarray], other: int) -> None:
        hits = [search(Trials.of(its, mates, subjects)).hits() for its in scores]
        points, low, high = difference(hits[1], hits[0], np.array(mates))
        found = {mode: int(its.sum()) for mode, its in zip(MODES, hits, strict=True)}
        rows.append({
            "side": side, "size": size, "cut": kind, "n": len(mates), **found,
            "points": round(points, 2), "low95": round(low, 2), "high95": round(high, 2), "no_crops": other,
        })
        print(rows[-1], flush=True)

    with Matcher("balanced", keep_crops=False) as matcher:
        template = matcher.card.contract.alignment
        enrolled = matcher.enroll(portraits(gallery, template), faces="crop")
        for size in args.sizes:
            caught, points = scenes(probes, size, SEED)
            kinds = {"aligned": captures(probes, template, size, SEED)}
            kinds |= {f"box x {k}": [chip(its, p, k) for its, p in zip(caught, points, strict=True)] for k in BOXES}
            for kind, shown in kinds.items():
                lifted = [matcher.lift(shown, faces=mode) for mode in MODES]
                tell("probes", size, kind, [matcher.match(its, enrolled).scores for its in lifted], others(lifted[1].status))
        seen = matcher.lift(captures(probes, template, SEEN, SEED), faces="crop")
        kinds = {"aligned": portraits(gallery, template)}
        kinds |= {f"box x {k}": [chip(its, p, k) for _, its, p in gallery] for k in BOXES}
        for kind, crops in kinds.items():
            sides = [matcher.enroll([work_image(crop, 160) for crop in crops], faces=mode) for mode in MODES]
            tell("portraits", SEEN, kind, [matcher.match(seen, side).scores for side in sides], others(sides[1].status))
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
