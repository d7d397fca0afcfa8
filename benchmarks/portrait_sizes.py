"""Portraits larger and smaller than those that the paths were chosen on: rank-1 with and without ``degrade_size``.

    python benchmarks/portrait_sizes.py [--part test] [--people 130] [--matchers slimface-probe ...] [--times 1 2 4 0.5]

The photographs' faces are about 130 px high. Here their aligned crops are enlarged bicubically too, as a stand-in for sharper
portraits: they hold no more, but a blur of so many pixels is less of their face; and reduced by half. ``balanced`` as it ships
beside the same that degrades the portraits as large as they are: hits, and points of rank-1 between them with 95 % intervals
that draw people. Writes benchmarks/results/portrait_sizes.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from economy import balanced, card, difference, means
from machine import write_csv
from people import captures, columns, pictures, portraits

from meetmid import Matcher

SEED = 7
MATCHERS = ["slimface-probe", "face-reidentification-retail-0095", "edgeface-xs", "mobilefacenet-qengineering"]


def resized(crop: np.ndarray, times: float) -> np.ndarray:
    """A crop whose sides are so many times as long."""
    height, width = (max(1, round(side * times)) for side in crop.shape[:2])
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC if times > 1 else cv2.INTER_AREA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("test", "selection"), default="test")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--times", type=float, nargs="+", default=[1, 2, 4, 0.5])
    parser.add_argument("--matchers", nargs="+", default=MATCHERS)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "portrait_sizes.csv")
    args = parser.parse_args()
    gallery, probes = pictures(args.part, args.people, 3)
    own, people = columns(gallery, probes), np.array([person for person, *_ in probes])
    rows = []
    for name in args.matchers:
        model = card(name)
        config = balanced(model)
        reference = means(model, config)
        template = model.contract.alignment
        crops = portraits(gallery, template)
        shown = {times: [resized(crop, times) for crop in crops] for times in args.times}
        seen = {size: captures(probes, template, size, SEED) for size in args.sizes}
        hits = {}
        for side in (config.degrade_size, None):
            with Matcher(config=replace(config, degrade_size=side), matcher=model, reference=reference) as matcher:
                lifted = {size: matcher.lift(seen[size]) for size in args.sizes}
                for times in args.times:
                    enrolled = matcher.enroll(shown[times])
                    for size in args.sizes:
                        hits[side, times, size] = matcher.match(lifted[size], enrolled).scores.argmax(axis=1) == own
        for size in args.sizes:
            for times in args.times:
                its, without = hits[config.degrade_size, times, size], hits[None, times, size]
                points, low, high = difference(its, without, people)
                rows.append({
                    "matcher": name, "size": size, "portraits": f"{times:g} times", "n": len(own),
                    "degrade_size": int(its.sum()), "as_large_as_they_are": int(without.sum()),
                    "points": round(points, 2), "low95": round(low, 2), "high95": round(high, 2),
                })
                print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
