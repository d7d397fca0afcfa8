"""How the pair's training sees faces: a careless alignment's crops of canvases, near and far."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from meetmid.models.recipes.distillation import PLACES
from meetmid.models.recipes.far import caught
from meetmid.models.recipes.morphs import SEED as MORPHS
from numpy.typing import NDArray

from meetmid.faces.alignment import ARCFACE_112, CLASSIC_96X112, AlignmentTemplate

SEED, VIEW = 7, 128


@dataclass(frozen=True)
class Stage:
    """What a stage of training draws: its ``seed`` and that of its morphs, the share of ``morphs``, the heights of the probe
    network's pictures in captured pixels, spread evenly in octaves, and the share of those that stay ``sharp``; and for how
    many ``steps`` at which ``rate``."""

    seed: int
    of_morphs: int
    morphs: float
    smallest: float
    largest: float
    sharp: float
    steps: int
    rate: float


FIRST = Stage(SEED, MORPHS, 0.4, 8.0, 48.0, 0.1, 7_500, 1e-4)


def frame(template: AlignmentTemplate) -> NDArray[np.float64]:
    """From the canvases to the square crop of a ``template``, (2, 3): the alignments differ by a stretch along each axis."""
    theirs = template.scaled(VIEW, VIEW)
    fits = [np.polyfit(PLACES[:, k], theirs[:, k], 1) for k in (0, 1)]
    return np.array([[fits[0][0], 0.0, fits[0][1]], [0.0, fits[1][0], fits[1][1]]])


FRAME, WIDE = frame(CLASSIC_96X112), frame(ARCFACE_112)


def framed(
    canvas: NDArray[np.uint8], mirror: bool, jitter: float, rng: np.random.Generator, to: NDArray[np.float64] = FRAME
) -> NDArray[np.uint8]:
    """The crop (128, 128, 3) as a careless alignment cuts it: turned, sized and moved by normal errors, ``jitter`` of 1 being 3
    degrees, 3.5 % and 2 % of the side."""
    middle = ((VIEW - 1) / 2,) * 2
    size = float(np.exp(rng.normal(0, 0.035 * jitter)))
    moved = np.vstack([cv2.getRotationMatrix2D(middle, rng.normal(0, 3 * jitter), size), [0, 0, 1]])
    moved[:2, 2] += rng.normal(0, 0.02 * jitter * VIEW, 2)
    if mirror:
        canvas = canvas[:, ::-1]
    crop = cv2.warpAffine(canvas, (moved @ np.vstack([to, [0, 0, 1]]))[:2], (VIEW, VIEW), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, np.uint8)


def far(
    canvas: NDArray[np.uint8], mirror: bool, rng: np.random.Generator, stage: Stage = FIRST, to: NDArray[np.float64] = FRAME
) -> NDArray[np.uint8]:
    """A probe: caught from afar and enlarged again."""
    crop = framed(canvas, mirror, 1.0, rng, to)
    if rng.random() < stage.sharp:
        return crop
    height = float(np.exp(rng.uniform(np.log(stage.smallest), np.log(stage.largest))))
    width = height * (1.0 if rng.random() < 0.5 else 96 / 112)  # square pixels make the stretched crop narrow
    small = caught(crop, (round(height), round(width)), rng)
    kind = (cv2.INTER_CUBIC, cv2.INTER_CUBIC, cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_LANCZOS4)[int(rng.integers(5))]
    large = cv2.resize(small, (VIEW, VIEW), interpolation=kind)
    if rng.random() < 0.25:
        large = cv2.GaussianBlur(large, (0, 0), rng.uniform(0.5, 4.0))
    return np.asarray(large, np.uint8)


def near(canvas: NDArray[np.uint8], mirror: bool, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A portrait: sharp, or a little soft, noisy or coded."""
    crop = framed(canvas, mirror, 0.5, rng)
    if rng.random() < 0.5:
        return crop
    side = int(rng.integers(40, 129))
    return np.asarray(cv2.resize(caught(crop, (side, side), rng), (VIEW, VIEW), interpolation=cv2.INTER_CUBIC), np.uint8)
