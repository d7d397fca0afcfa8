"""Probes that no simulated camera saw: reduced as in most published protocols, on people that no choice was made on.

    python benchmarks/reductions.py [--people 130] [--sizes 24 16 12]

Aligned crops reduced to squares: by area sampling, the same after a Gaussian blur of half a small pixel, by bicubic sampling
after one of 0.3, and by area sampling coded as JPEG at quality 70. Closed-set rank-1 of ``balanced`` as it ships beside the
pair's gallery network and beside its probe network, each on both sides, by plain cosines; the differences to the gallery
network with 95 % intervals that draw people. Writes benchmarks/results/reductions.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from economy import difference
from machine import write_csv
from people import columns, pictures, portraits

from meetmid import Matcher
from models import GALLERY, PROBE


def area(crop: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def blurred(crop: np.ndarray, size: int) -> np.ndarray:
    return area(cv2.GaussianBlur(crop, (0, 0), 0.5 * len(crop) / size), size)


def bicubic(crop: np.ndarray, size: int) -> np.ndarray:
    soft = cv2.GaussianBlur(crop, (0, 0), 0.3 * len(crop) / size)
    return cv2.resize(soft, (size, size), interpolation=cv2.INTER_CUBIC)


def coded(crop: np.ndarray, size: int) -> np.ndarray:
    code = cv2.imencode(".jpg", area(crop, size)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1].copy()


WAYS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "area": area, "blur, area": blurred, "blur, bicubic": bicubic, "area, JPEG 70": coded,
}
SYSTEMS = {"gallery network alone": ("plain", GALLERY), "probe network alone": ("plain", PROBE), "balanced": ("balanced", None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16, 12])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "reductions.csv")
    args = parser.parse_args()
    gallery, probes = pictures("test", args.people, 3)
    own, people = columns(gallery, probes), np.array([person for person, *_ in probes])
    hits: dict[tuple[str, int, str], np.ndarray] = {}
    for system, (preset, name) in SYSTEMS.items():
        with Matcher(preset, matcher=name, gallery_matcher=name, faces="crop", keep_crops=False) as matcher:
            alignment = matcher.card.contract.alignment
            enrolled, crops = matcher.enroll(portraits(gallery, alignment)), portraits(probes, alignment)
            for size in args.sizes:
                for way, reduce in WAYS.items():
                    scores = matcher.match([reduce(crop, size) for crop in crops], enrolled).scores
                    hits[way, size, system] = scores.argmax(axis=1) == own
    rows = []
    for (way, size, system), found in hits.items():
        points, low, high = difference(found, hits[way, size, next(iter(SYSTEMS))], people)
        rows.append({
            "reduced_by": way, "size": size, "system": system, "k": int(found.sum()), "n": len(found),
            "percent": round(100 * float(found.mean()), 2), "difference": round(points, 2), "low95": round(low, 2),
            "high95": round(high, 2),
        })
        print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
