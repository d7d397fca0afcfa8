"""Probes of which something hides a part: rank-1 as they are and with covered_by, on people that no choice was made on.

    python benchmarks/covered.py [--part test] [--people 130] [--matcher slimface-probe] [--sizes 40 24 16]

Masks, a scarf, dark glasses and a hat are drawn on faces, which two simulated cameras then catch: aligned, and as whole
pictures so small that a face's crop would have as many pixels, whose faces are found. ``balanced`` as it ships beside the same
with ``covered_by``: hits (a face that was not found is none), points of rank-1 between them with 95 % intervals that draw
people, how many faces were not found, and of how many a status tells it (where nothing is worn, anything). What covers cost
where nothing is hidden is there too. Drawn masks stand in for real
ones: figures measured with them are figures about them. Writes benchmarks/results/covered.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from economy import balanced, card, difference
from found import scenes
from machine import write_csv
from people import Picture, columns, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation.camera import CAMERAS
from meetmid.faces.alignment import TEMPLATES, similarity
from meetmid.faces.worn import HIDES, hides

SEED = 7
Worn = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of places, x from the middle and y from above in sides of an aligned crop: which are hidden, and the colours there."""


def mask(red: int, green: int, blue: int) -> Worn:
    """From the middle of the nose down, higher there than at the cheeks, and darker towards these."""

    def worn(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shade = 0.75 + 0.25 * np.sqrt(np.maximum(0, 1 - (x / 0.55) ** 2))
        return y > 0.57 + 0.2 * np.abs(x), shade[..., None] * (red, green, blue)

    return worn


def band(top: float, bottom: float, level: int) -> Worn:
    """Of one grey level."""
    return lambda x, y: ((y > top) & (y < bottom), np.full((*y.shape, 3), level))


def wearing(picture: np.ndarray, to_crop: np.ndarray, worn: Worn) -> np.ndarray:
    """A picture on which it is drawn, as far as an aligned crop reaches and a little below; ``to_crop`` (2, 3) takes pixels to
    shares of the crop's sides."""
    places = np.moveaxis(np.mgrid[: picture.shape[0], : picture.shape[1]][::-1], 0, -1) @ to_crop[:, :2].T + to_crop[:, 2]
    x, y = places[..., 0] - 0.5, places[..., 1]
    hidden, colours = worn(x, y)
    hidden &= (np.abs(x) < 0.5) & (y > 0) & (y < 1.1)
    return np.where(hidden[..., None], colours, picture).astype(np.uint8)


WORN: dict[str, tuple[str, Worn]] = {
    "blue mask": ("mask", mask(170, 205, 225)),
    "white mask": ("mask", mask(235, 235, 235)),
    "black mask": ("mask", mask(35, 35, 40)),
    "dark scarf": ("mask", band(0.75, 1.2, 25)),
    "dark glasses": ("glasses", band(0.34, 0.53, 25)),
    "hat": ("hat", band(0.0, 0.33, 60)),
    **{f"nothing, {cover} said": (cover, band(0.0, 0.0, 0)) for cover in ("mask", "glasses", "hat")},
}
"""What is worn, and what is said of it."""


def aligned(side: list[Picture], template: str, size: int, worn: Worn) -> list[np.ndarray]:
    """Crops of which something is worn, as the cameras caught them."""
    seen = []
    for k, crop in enumerate(portraits(side, template)):
        height, width = crop.shape[:2]
        to_crop = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height]])
        seen.append(replace(CAMERAS[k % 2], size=size).capture(wearing(crop, to_crop, worn), (SEED, size, k)))
    return seen


def whole(side: list[Picture], template: str, size: int, worn: Worn) -> list[np.ndarray]:
    """Whole pictures, likewise."""
    shares = TEMPLATES[template].scaled(1, 1) + 0.5 / np.array(TEMPLATES[template].size)
    dressed = [(name, wearing(its, similarity(points, shares), worn), points) for name, its, points in side]
    return scenes(dressed, size, SEED)[0]


def seen_by(template: str, sizes: list[int], probes: list[Picture], worn: Worn) -> Iterator[tuple[str, int, list[np.ndarray]]]:
    """All probes of one kind, as crops and as whole pictures."""
    for size in sizes:
        yield "aligned", size, aligned(probes, template, size, worn)
        yield "found", size, whole(probes, template, size, worn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("test", "selection"), default="test")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--matcher", default="slimface-probe")
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 24, 16])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "covered.csv")
    args = parser.parse_args()
    gallery, probes = pictures(args.part, args.people, 3)
    own, people = columns(gallery, probes), np.array([person for person, *_ in probes])
    model = card(args.matcher)
    template = model.contract.alignment
    enrolled, table = portraits(gallery, template), []
    for cover in ("mask", "glasses", "hat"):
        with (
            Matcher(config=balanced(model), matcher=model) as plain,
            Matcher(config=replace(balanced(model), covered_by=cover), matcher=model) as covering,
        ):
            galleries = plain.enroll(enrolled), covering.enroll(enrolled)
            for kind, (said, worn) in WORN.items():
                if said != cover:
                    continue
                for way, size, seen in seen_by(template, args.sizes, probes, worn):
                    faces = {"aligned": "crop", "found": "detect"}[way]
                    results = [
                        its.match(its.lift(seen, faces=faces), its_gallery)
                        for its, its_gallery in zip((plain, covering), galleries, strict=True)
                    ]
                    scores = [result.scores for result in results]
                    sign = HIDES if kind.startswith("nothing") else hides(said)
                    is_found = np.isfinite(scores[0]).all(axis=1)
                    without, hits = (is_found & (np.nan_to_num(each).argmax(axis=1) == own) for each in scores)
                    points, low, high = difference(hits, without, people)
                    table.append({
                        "matcher": args.matcher, "worn": kind, "covered_by": said, "probes": way, "size": size, "n": len(own),
                        "as it is": int(without.sum()), "covered": int(hits.sum()), "points": round(points, 2),
                        "low95": round(low, 2), "high95": round(high, 2), "not found": int((~is_found).sum()),
                        "told": sum(sign in status for status in results[0].probe_status),
                    })
                    print(table[-1], flush=True)
    write_csv(args.csv, table)


if __name__ == "__main__":
    main()
