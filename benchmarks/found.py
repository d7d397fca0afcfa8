"""What is lost when far faces have to be found first, on people that no choice was made on.

    python benchmarks/found.py [--people 130] [--sizes 40 24 20 16] [--seeds 7 8]

Whole pictures as two simulated cameras caught them, so small that a face's crop would have ``size`` px a side, matched by
``balanced`` with ``faces="detect"`` against portraits whose faces were found: with the faces' true points (YuNet's in the sharp
picture), with the points of the finder alone, and with those of the pointer beside it, as it ships. Closed-set rank-1, a face
that was not found being an error, and its difference to that with the true points; how many faces were found where they are;
and how far their points lie from the true ones, in eye distances. Intervals draw people. Writes benchmarks/results/found.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from economy import difference
from machine import write_csv
from people import pictures

from meetmid import Matcher
from meetmid.evaluation import Trials, search
from meetmid.evaluation.camera import CAMERAS
from meetmid.faces.alignment import ARCFACE_112, size_in
from meetmid.faces.crops import Face, most_prominent
from meetmid.faces.finder import Finder
from meetmid.runtime.registry import get_model
from models import mean

WAYS = ("true points", "finder alone", "finder and pointer")


def scenes(side: list, size: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The pictures as the cameras caught them, and the true points there."""
    caught, points = [], []
    for k, (_, picture, its) in enumerate(side):
        length = len(picture)
        assert picture.shape[1] == length  # a camera's pictures are square
        small = round(length * size_in(its, ARCFACE_112) * size / 112)
        camera = replace(CAMERAS[k % len(CAMERAS)], size=small, jitter=0.0, tilt=0.0)
        caught.append(camera.capture(picture, (seed, size, k)))
        points.append((its + 0.5) * small / length - 0.5)
    return caught, points


def middle(face: Face) -> np.ndarray:
    """Of its box."""
    return np.array(face.box[:2]) + np.array(face.box[2:]) / 2


def errors(finder: Finder, caught: list[np.ndarray], points: list[np.ndarray]) -> np.ndarray:
    """Mean distance of a face's five points from the true ones, in eye distances; NaN where no box lies around these."""
    found = []
    for picture, its in zip(caught, points, strict=True):
        there = [face for face in finder.detect(picture) if np.abs(middle(face) - its.mean(axis=0)).max() < face.size / 2]
        face = most_prominent(there, picture.shape[:2]) if there else None
        apart = np.nan if face is None else np.linalg.norm(np.array(face.points) - its, axis=1).mean()
        found.append(apart / np.linalg.norm(its[0] - its[1]))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("selection", "test"), default="test")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 24, 20, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "found.csv")
    args = parser.parse_args()
    gallery, probes = pictures(args.part, args.people, 3)
    subjects, mates = ([name for name, *_ in side] for side in (gallery, probes))
    card = get_model("finder")
    finders = {"finder alone": Finder(replace(card, partner=None)), "finder and pointer": Finder(card)}
    rows = []
    with Matcher(keep_crops=False) as matcher:
        enrolled = matcher.enroll([picture for _, picture, _ in gallery], faces="detect")
        for size in args.sizes:
            seen = [scenes(probes, size, seed) for seed in args.seeds]
            caught, points = [p for its, _ in seen for p in its], [p for _, its in seen for p in its]
            people, hits = mates * len(seen), {}
            for way in WAYS:
                if way == "true points":
                    apart = np.zeros(len(caught))
                    scores = matcher.match(matcher.lift(caught, faces=points), enrolled).scores
                else:
                    apart = errors(finders[way], caught, points)
                    with Matcher(keep_crops=False, detector=finders[way], faces="detect") as its:
                        scores = its.match(caught, enrolled).scores
                hits[way] = search(Trials.of(scores, people, subjects)).hits()
                share, low, high = mean(hits[way], people)
                lost, lost_low, lost_high = difference(hits[way], hits[WAYS[0]], np.array(people))
                found = np.isfinite(apart)
                rows.append({
                    "size": size, "way": way, "k": int(hits[way].sum()), "n": len(people), "percent": round(100 * share, 2),
                    "low95": round(100 * low, 2), "high95": round(100 * high, 2), "difference": round(lost, 2),
                    "difference_low95": round(lost_low, 2), "difference_high95": round(lost_high, 2), "found": int(found.sum()),
                    "error_mean": round(float(np.mean(apart[found])), 4),
                    "error_median": round(float(np.median(apart[found])), 4),
                })
                print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
