"""Far faces in pictures whose pixels are not square, with and without saying so.

    python benchmarks/aspect.py [--part test] [--people 130] [--sizes 40 24 16] [--seeds 7]

Whole pictures as two simulated cameras caught them, so small that a face's crop would have ``size`` px a side, of which a
recorder kept fewer rows or columns (by the mean over areas): half the rows, as 2CIF has, half the columns (half D1), and
pixels of 1440 x 1080 (4:3), 960H at 576 lines (4:5) and D1 at 576 lines (12:11). Matched by ``balanced`` with
``faces="detect"`` against portraits whose faces were found, as square pixels and with their ``pixel_aspect``; closed-set
rank-1, a face that was not found being an error, the points between both with 95 % intervals that draw people, and how many
were not found. Writes benchmarks/results/aspect.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from economy import difference
from found import scenes
from machine import write_csv
from people import pictures

from meetmid import Matcher
from meetmid.evaluation import Trials, search

ASPECTS = {"square": 1.0, "2CIF": 0.5, "960H": 0.8, "D1": 12 / 11, "1440 x 1080": 4 / 3, "half D1": 2.0}


def stored(picture: np.ndarray, aspect: float) -> np.ndarray:
    """Fewer rows or columns, so that pixels are ``aspect`` times as wide as high."""
    height, width = picture.shape[:2]
    size = round(width / max(1.0, aspect)), round(height * min(1.0, aspect))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("selection", "test"), default="test")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 24, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "aspect.csv")
    args = parser.parse_args()
    gallery, probes = pictures(args.part, args.people, 3)
    subjects, mates = [name for name, *_ in gallery], [name for name, *_ in probes] * len(args.seeds)
    rows = []
    with Matcher(keep_crops=False) as matcher:
        enrolled = matcher.enroll([picture for _, picture, _ in gallery], faces="detect")
    for size in args.sizes:
        caught = [picture for seed in args.seeds for picture in scenes(probes, size, seed)[0]]
        for kind, aspect in ASPECTS.items():
            kept = [stored(picture, aspect) for picture in caught]
            hits, missing = [], []
            for said in (1.0, aspect):
                with Matcher(keep_crops=False, faces="detect", pixel_aspect=said) as matcher:
                    scores = matcher.match(kept, enrolled).scores
                hits.append(search(Trials.of(scores, mates, subjects)).hits())
                missing.append(int(np.isnan(scores).all(axis=1).sum()))
            points, low, high = difference(hits[1], hits[0], np.array(mates))
            rows.append({
                "size": size, "pixels": kind, "aspect": round(aspect, 3), "n": len(mates), "unsaid": int(hits[0].sum()),
                "said": int(hits[1].sum()), "points": round(points, 2), "low95": round(low, 2), "high95": round(high, 2),
                "not_found_unsaid": missing[0], "not_found_said": missing[1],
            })
            print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
