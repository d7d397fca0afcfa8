"""What swapped channels cost, and how surely they are told: pictures in OpenCV's order that are taken for RGB.

    python benchmarks/swapped.py [--part test] [--people 130] [--sizes 24 16]

Aligned portraits, and the same people's other pictures as two simulated cameras caught them; hits of ``balanced`` as it ships
where the probes, the portraits or both have red and blue swapped, and how many of them are told to be
(:func:`meetmid.faces.colours.swapped`). Writes benchmarks/results/swapped.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from economy import card, difference
from machine import write_csv
from people import captures, columns, pictures, portraits

from meetmid import Matcher
from meetmid.faces.colours import swapped

SEED = 7


def turned(crops: list[np.ndarray]) -> list[np.ndarray]:
    return [np.ascontiguousarray(crop[..., ::-1]) for crop in crops]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("test", "selection"), default="test")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "swapped.csv")
    args = parser.parse_args()
    gallery, probes = pictures(args.part, args.people, 3)
    own, people = columns(gallery, probes), np.array([person for person, *_ in probes])
    template = card("slimface-probe").contract.alignment
    near, rows = portraits(gallery, template), []
    with Matcher("balanced", faces="crop", keep_crops=False) as matcher:
        enrolled = [matcher.enroll(side) for side in (near, turned(near))]
        for size in args.sizes:
            far = captures(probes, template, size, SEED)
            right = matcher.match(far, enrolled[0]).scores.argmax(axis=1) == own
            for what, side, met in (
                ("neither", far, 0), ("probes", turned(far), 0), ("portraits", far, 1), ("both", turned(far), 1),
            ):
                hits = matcher.match(side, enrolled[met]).scores.argmax(axis=1) == own
                points, low, high = difference(hits, right, people)
                rows.append({
                    "size": size, "swapped": what, "n": len(own), "k": int(hits.sum()), "points": round(points, 2),
                    "low95": round(low, 2), "high95": round(high, 2), "probes_told": sum(map(swapped, side)),
                    "portraits": len(near), "portraits_told": sum(map(swapped, turned(near) if met else near)),
                })
                print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
