"""Masks, scarves, dark glasses and hats drawn on faces whose points are known, for what has to find faces that wear them."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Drawn = TypeVar("Drawn", NDArray[np.uint8], NDArray[np.float32])

OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "mask": ((-0.95, 0.42), (-0.45, 0.3), (0.0, 0.12), (0.45, 0.3), (0.95, 0.42), (0.85, 1.2), (0.5, 1.7), (0.0, 1.95),
             (-0.5, 1.7), (-0.85, 1.2)),
    "scarf": ((-1.4, 0.75), (0.0, 0.65), (1.4, 0.75), (1.7, 2.6), (-1.7, 2.6)),
    "glasses": ((-1.05, -0.3), (0.0, -0.24), (1.05, -0.3), (0.95, 0.2), (0.5, 0.32), (0.12, 0.12), (-0.12, 0.12), (-0.5, 0.32),
                (-0.95, 0.2)),
    "hat": ((-1.35, -0.4), (0.0, -0.5), (1.35, -0.4), (1.25, -1.7), (0.0, -2.0), (-1.25, -1.7)),
}
"""Corners around a face: across in half distances between outer ends of the face, about 0.95 eye distances, and down in
distances from the eyes to the mouth, both from the middle between the eyes."""

SHARES = {"mask": 0.5, "scarf": 0.15, "glasses": 0.2, "hat": 0.15}
"""How often each is drawn."""

JITTER = 0.09
"""By what each corner is moved, as a standard deviation in these units."""


def wear(picture: Drawn, points: NDArray[np.float64], rng: np.random.Generator, kind: str | None = None) -> None:
    """Draw one of them, or that ``kind``, on the face with these five points (5, 2) in a picture (H, W, 3) of levels up to 255,
    in place: of any colour, most of them white, light blue, grey or dark, lit from the middle or a side, with folds or
    without."""
    kind = kind or str(rng.choice(list(SHARES), p=list(SHARES.values())))
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    along = points[1] - points[0]
    apart = float(np.linalg.norm(along))
    across = 0.95 * along / max(apart, 1e-6) * max(apart, 0.7 * float(np.linalg.norm(down)))  # wider than a turned face's eyes
    corners = np.array(OUTLINES[kind]) + rng.normal(0, JITTER, (len(OUTLINES[kind]), 2)) + rng.normal(0, JITTER, 2) * (0.5, 1)
    places = eyes + corners[:, :1] * across + corners[:, 1:] * down
    low, high = np.floor(places.min(axis=0)).astype(int) - 1, np.ceil(places.max(axis=0)).astype(int) + 2
    left, top = np.clip(low, 0, (picture.shape[1], picture.shape[0]))
    right, bottom = np.clip(high, 0, (picture.shape[1], picture.shape[0]))
    if right <= left or bottom <= top:
        return
    area = picture[top:bottom, left:right]
    alpha = np.zeros(area.shape[:2], np.uint8)
    fixed = np.round((places - (left, top)) * 16).astype(np.int32)  # in sixteenths of a pixel
    cv2.fillPoly(alpha, [fixed], 255, cv2.LINE_AA, 4)
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    beside = ((x - eyes[0]) * across[0] + (y - eyes[1]) * across[1]) / float(across @ across)
    below = ((x - eyes[0]) * down[0] + (y - eyes[1]) * down[1]) / float(down @ down)
    round_, side = rng.uniform(0, 0.35), rng.uniform(-0.2, 0.2)
    shade = 1 - round_ * np.minimum(beside**2, 1) + side * np.clip(beside, -1, 1)
    if rng.random() < 0.4:
        shade += rng.uniform(0.02, 0.1) * np.sin(below * rng.uniform(8, 25) + rng.uniform(0, 6))
    colours = shade[..., None].astype(np.float32) * _colour(kind, rng).astype(np.float32)
    share = (alpha.astype(np.float32) / 255)[..., None]
    area[:] = np.clip(area + share * (colours - area), 0, 255).astype(picture.dtype)


def _colour(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Red, green and blue."""
    usual = {
        "mask": ((170, 205, 225), (235, 235, 235), (35, 35, 40), (120, 120, 125)), "glasses": ((15, 15, 18), (30, 25, 25)),
    }.get(kind, ((25, 25, 30), (60, 60, 65)))
    if rng.random() < 0.35:
        return rng.uniform(0, 255, 3)
    return np.clip(np.array(usual[int(rng.integers(len(usual)))]) * rng.uniform(0.75, 1.1) + rng.normal(0, 8, 3), 0, 255)
