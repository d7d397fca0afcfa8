"""Probes in bad light: rank-1 with and without evening it, on people that no choice was made on.

    python benchmarks/light.py [--part test] [--people 130] [--matchers slimface-probe ...] [--sizes 24 16]

Aligned faces as two simulated cameras caught them, then lit otherwise: by a quarter of the light, through fog, flatly, by a
lamp above or beside a face that is taken for half an ellipsoid with matt skin (Lambert's law, ambient light besides, hard or
soft), and by coloured lamps, which multiply each channel; and behind dark glasses, a dark mask or scarf, which are no light.
``balanced`` as it ships beside the same with ``even_light=False``: hits, points of rank-1 between them with 95 % intervals that
draw people, and how many probes were changed. Writes benchmarks/results/light.csv.

The committed table has the rows of other matchers, from a run of their own, below the pair's.

    python benchmarks/light.py --usual

The light of ordinary far faces of the selection part: quantiles of each of its six numbers, which the bounds of what is usual
and common were read from, what evening does to the hits of those that it changes, and the colours of far captures of UTKFace's
chips by the groups of their labels.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
from economy import balanced, card, difference, means
from machine import write_csv
from meetmid.models.recipes.faces import faces
from meetmid.models.recipes.groups import labels
from people import captures, columns, data_folder, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation import FarCamera
from meetmid.faces.alignment import TEMPLATES, align
from meetmid.faces.finding import EVENED
from meetmid.probes.light import USUAL, evened, light
from meetmid.runtime.sessions import LUMA

SEED, HARD, SOFT = 7, 0.35, 0.6
QUANTILES = (0.5, 1, 2.5, 5, 50, 95, 97.5, 99, 99.5)


Lit = Callable[[np.ndarray], np.ndarray]


def levels(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def lamp(right: float, down: float, towards: float, ambient: float, exposure: float = 1.0) -> Lit:
    """Light from this direction; the middle of the face stays as bright as it was, times ``exposure``."""
    x, y, z = np.array([right, down, towards]) / np.linalg.norm([right, down, towards])

    def lit(crop: np.ndarray) -> np.ndarray:
        height, width = crop.shape[:2]
        u = ((np.arange(width) + 0.5) / width - 0.5)[None] / 0.5
        v = ((np.arange(height) + 0.5) / height - 0.55)[:, None] / 0.62
        square = np.maximum(u * u + v * v, 1e-9)
        edge = np.sqrt(np.minimum(1.0, 0.96 / square))  # what lies beyond the ellipsoid is lit as its edge
        facing = edge * (u * x + v * y) + np.sqrt(1 - np.minimum(square, 0.96)) * z
        shade = ambient + (1 - ambient) * np.maximum(facing, 0)
        return levels(crop * (exposure * shade / (ambient + (1 - ambient) * z))[..., None])

    return lit


def coloured(red: float, green: float, blue: float) -> Lit:
    """Every channel times its factor."""
    return lambda crop: levels(crop * np.array([red, green, blue]))


def hidden(top: float, bottom: float) -> Lit:
    """No light, but a part hidden behind a dark band."""

    def lit(crop: np.ndarray) -> np.ndarray:
        out = crop.copy()
        out[round(top * len(crop)) : round(bottom * len(crop))] = 20
        return out

    return lit


LIGHTS: dict[str, Lit] = {
    "ordinary": lambda crop: crop,
    "a quarter of the light": lambda crop: levels(0.25 * crop),
    "fog": lambda crop: levels(0.4 * crop + 130),
    "flat": lambda crop: levels(crop.mean() + 0.35 * (crop - crop.mean())),
    "lamp above": lamp(0, -1, 0.6, HARD),
    "lamp above, soft": lamp(0, -1, 0.6, SOFT),
    "lamp at the left": lamp(-1, 0, 0.6, HARD),
    "lamp at the right, dark": lamp(1, -0.3, 0.5, 0.3, 0.4),
    "warm": coloured(1.1, 0.95, 0.7),
    "sodium": coloured(1.2, 0.85, 0.35),
    "sodium, dark": coloured(0.36, 0.25, 0.1),
    "green": coloured(0.8, 1.15, 0.75),
    "blue": coloured(0.55, 0.8, 1.4),
    "dark glasses": hidden(0.32, 0.5),
    "dark mask": hidden(0.6, 1.0),
    "dark scarf": hidden(0.75, 1.0),
    "no colours": lambda crop: levels(np.repeat((crop @ np.array(LUMA))[..., None], 3, axis=2)),
}


def usual() -> None:
    """Quantiles of the light of the selection part, and hits among those that are changed."""
    gallery, probes = pictures("selection", 300, 3)
    template = card("slimface-probe").contract.alignment
    seen = [astuple(light(crop)) for size in (24, 16, 12) for crop in captures(probes, template, size, SEED)]
    for quantile, values in zip(QUANTILES, np.percentile(seen, QUANTILES, axis=0), strict=True):
        print(quantile, np.round(values, 2), flush=True)
    own, counts = columns(gallery, probes), np.zeros(4, int)
    with (
        Matcher("balanced", faces="crop", keep_crops=False) as evening,
        Matcher("balanced", faces="crop", keep_crops=False, even_light=False) as leaving,
    ):
        enrolled = evening.enroll(portraits(gallery, template))
        for size in (24, 20, 16):
            for seed in range(SEED, SEED + 5):
                crops = captures(probes, template, size, seed)
                changed = [k for k, crop in enumerate(crops) if evened(crop) is not crop]
                hits = [
                    int((its.match([crops[k] for k in changed], enrolled).scores.argmax(axis=1) == own[changed]).sum())
                    for its in (evening, leaving)
                ]
                counts += [len(crops), len(changed), *hits]
    print("{} probes, {} changed, of which hits {}, as they were {}".format(*counts), flush=True)


def by_group() -> None:
    """The colours of far faces by the labels of UTKFace: medians of red and blue as parts of green, and the share whose colour
    is unusual."""
    grouped: dict[str, list[tuple[float, float]]] = defaultdict(list)
    template, (low, high) = TEMPLATES[card("slimface-probe").contract.alignment], USUAL
    for k, (name, picture, points) in enumerate(faces(data_folder(), "utkface")):
        its = light(FarCamera((24, 16)[k % 2]).capture(align(picture, points, template), (SEED, k)))
        for group in labels(name):
            grouped[group].append((its.red, its.blue))
    for group, colours in sorted(grouped.items()):
        values = np.array(colours)
        outside = (values < (low.red, low.blue)) | (values > (high.red, high.blue))
        red, blue = np.exp(np.median(values, axis=0))
        share = outside.any(axis=1).mean()
        print(f"{group}: {len(values)} chips, red {red:.2f}, blue {blue:.2f}, {share:.1%} unusual", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("test", "selection"), default="test")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--matchers", nargs="+", default=["slimface-probe"])
    parser.add_argument("--usual", action="store_true")
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "light.csv")
    args = parser.parse_args()
    if args.usual:
        usual()
        by_group()
        return
    gallery, probes = pictures(args.part, args.people, 3)
    own, people = columns(gallery, probes), np.array([person for person, *_ in probes])
    rows = []
    for name in args.matchers:
        model = card(name)
        config = balanced(model)
        reference = means(model, config)
        with (
            Matcher(config=config, matcher=model, reference=reference) as evening,
            Matcher(config=replace(config, even_light=False), matcher=model, reference=reference) as leaving,
        ):
            enrolled = evening.enroll(portraits(gallery, model.contract.alignment))
            for size in args.sizes:
                seen = captures(probes, model.contract.alignment, size, SEED)
                for kind, lit in LIGHTS.items():
                    shown = [lit(crop) for crop in seen]
                    found = evening.match(shown, enrolled)
                    hits = found.scores.argmax(axis=1) == own
                    without = leaving.match(shown, enrolled).scores.argmax(axis=1) == own
                    points, low, high = difference(hits, without, people)
                    rows.append({
                        "matcher": name, "size": size, "light": kind, "n": len(own), "evened": int(hits.sum()),
                        "left": int(without.sum()), "points": round(points, 2), "low95": round(low, 2),
                        "high95": round(high, 2), "changed": sum(EVENED in status for status in found.probe_status),
                    })
                    print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
