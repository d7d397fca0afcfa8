"""Light that networks seldom saw - dusk, fog, a lamp that is above the face, beside it or coloured - brought back to the usual.

Light multiplies what a face reflects, each channel by a factor of its own (as J. von Kries had the eye adapt to it): its
logarithm is added. So the channels are scaled where the face is redder, greener or bluer than faces are; a plane is fitted to
the logarithm of the face's luma and taken away where it is steeper than usual (H. A. Rowley, S. Baluja and T. Kanade, "Neural
network-based face detection", IEEE PAMI 20(1), 1998, section 2.1, fit one to the grey levels of an oval and take all of it
away); then grey levels are scaled about their mean, and moved, where their contrast and mean are unusual. A face in usual light
stays as it is, to the bit. What hides a part of a face is no light. Dark glasses count little in the plane, which is fitted by
least squares whose weights follow from what they leave (P. W. Holland and R. E. Welsch, "Robust regression using iteratively
reweighted least-squares", Communications in Statistics A 6(9), 1977). A dark mask or scarf hides half of what is measured, but
ends at an edge, as light seldom does: where a plane with one step across the face leaves far less, its slopes count.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.resize import resize
from meetmid.runtime.sessions import LUMA

MIDDLE, RADII = (0.5, 0.58), (0.34, 0.42)
"""The ellipse of the face in an aligned crop: x and y, as shares of its sides."""

MEASURED = 64
"""Side in pixels of the largest crop whose light is measured as it is; larger ones are reduced for that."""

LEAST = 6
"""Side in pixels of the smallest crop whose light is measured."""

DARK = 4.0
"""Grey levels added before the logarithm, so that the noise of black pixels counts for little."""

FITS, SMOOTH = 6, 0.02
"""How often the plane is fitted, and what the deviation from it is at least."""

EDGE, BESIDE = 0.75, 0.12
"""There is an edge across the face where a plane with a step leaves less than this part of what one without does, in the mean;
and the least part of the face on either side of it. Of lamps above (benchmarks/light.py) 2 and 9 % seem to have one at 24 and
16 px, of black masks 88 and 77 %."""

STEEPEST = 8.0
"""Contrast, and before it a channel, grows this many times at most: what has less has too few grey levels to show a face."""


@dataclass(frozen=True)
class Light:
    """Of the face in a crop: the natural logarithms of its mean ``red`` and ``blue`` over its mean green; without what of those
    is unusual, how much the natural logarithm of its luma grows ``across`` the crop's whole width, to the right, and ``down``
    its height; without what of these is unusual too, ``level`` and ``contrast``, mean and standard deviation of the luma in
    grey levels."""

    across: float
    down: float
    level: float
    contrast: float
    red: float
    blue: float

    def usual(self) -> Light:
        """Itself where it lies within ``USUAL``; what does not comes as far inside as it lies outside, or to the edge of
        ``COMMON``; of the colours the other one comes by the same share of its way, for one lamp changes both."""
        its = Light(*(_inside(*each) for each in zip(*map(astuple, (self, *USUAL, *COMMON)), strict=True)))
        ways = (self.red, its.red, MEDIAN[0]), (self.blue, its.blue, MEDIAN[1])
        share = max((was - now) / (was - median) if was != now else 0.0 for was, now, median in ways)
        red, blue = (was + share * (median - was) for was, _, median in ways)
        return replace(its, red=red, blue=blue)


def _inside(its: float, low: float, high: float, common_low: float, common_high: float) -> float:
    if its < low:
        return min(2 * low - its, common_low)
    return max(2 * high - its, common_high) if its > high else its


USUAL = Light(-1.9, -1.1, 75.0, 9.5, -0.03, -0.44), Light(1.9, 1.2, 197.0, 52.0, 0.5, 0.03)
"""Within are 96 % of the far faces of the selection part by the first four (98 to 99.5 % by each), 97 % by the others, as
are grey pictures and what fog makes pale (benchmarks/light.py); narrower slopes cost hits in ordinary light."""

MEDIAN = 0.25, -0.17
"""``red`` and ``blue`` of the median face: beside what lamps do, faces differ little, so that nothing else can be expected of
one whose lamp was strong."""

COMMON = Light(-1.5, -0.6, 90.0, 12.5, *MEDIAN), Light(1.5, 0.4, 178.0, 42.0, *MEDIAN)
"""Within are about 90 % by each of the first four, more by ``across``: a face that is turned grows brighter to one side."""


def light(crop: NDArray[np.uint8]) -> Light:
    """The light of the face in an aligned crop (H, W, 3) uint8 RGB of at least 6 x 6 px."""
    height, width = crop.shape[:2]
    factor = min(1.0, MEASURED / max(height, width))
    size = max(LEAST, round(height * factor)), max(LEAST, round(width * factor))
    small = 255 * resize(crop, size) if factor < 1 else crop.astype(np.float32)
    x, y = _places(*small.shape[:2])
    face = ((x / RADII[0]) ** 2 + (y / RADII[1]) ** 2) <= 1
    red, green, blue = (max(float(mean), 1.0) for mean in small[face].mean(axis=0))
    its = replace(USUAL[0], red=math.log(red / green), blue=math.log(blue / green))
    small = small * _gains(its, its.usual())
    grown = np.log(_luma(small)[face] + DARK)
    across, down = _slopes(grown, *(np.broadcast_to(axis, face.shape)[face] for axis in (x, y)))
    its = replace(its, across=across, down=down)
    luma = _luma(_tilted(small, its, its.usual()))[face]
    return replace(its, level=float(luma.mean()), contrast=float(luma.std()))


def _slopes(values: NDArray[np.float64], right: NDArray[np.float64], below: NDArray[np.float64]) -> tuple[float, float]:
    """The slopes of a plane through ``values`` (n,) at these places: what lies further from it than its standard deviation, as
    the median of the distances tells it, counts by the inverse square of how many of these it lies away. Where it is steeper
    downwards than usual, those of a plane with an edge, if that is less steep and leaves far less."""
    axes = np.stack([right, below, np.ones(len(values))])
    (across, down, _), left = _fitted(values, axes)
    if USUAL[0].down <= down <= USUAL[1].down:
        return float(across), float(down)
    (beside, below_it, *_), less = _fitted(values, np.vstack([axes, _edge(values, axes)]))
    if abs(below_it) < abs(down) and np.abs(less).mean() < EDGE * np.abs(left).mean():
        return float(beside), float(below_it)
    return float(across), float(down)


def _fitted(values: NDArray[np.float64], axes: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The factors (k,) of ``axes`` (k, n) that fit ``values`` best, reweighted, and what they leave (n,)."""
    found, left = _weighted(values, axes, np.ones(len(values)))
    for _ in range(FITS - 1):
        deviation = 1.4826 * float(np.median(np.abs(left - np.median(left)))) + SMOOTH
        found, left = _weighted(values, axes, np.maximum(1.0, np.abs(left) / deviation) ** -2)
    return found, left


def _weighted(
    values: NDArray[np.float64], axes: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    weighted = axes * weights
    found = np.linalg.solve(weighted @ axes.T, weighted @ values)
    return found, values - found @ axes


def _edge(values: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step (n,), 0 above and 1 below some row of pixels, that takes most from what a plane in ``axes``, whose second one
    grows downwards, leaves of ``values`` by plain least squares."""
    below = axes[1]
    rows = np.unique(below)
    steps = (below > (rows[:-1] + rows[1:])[:, None] / 2).astype(np.float64)
    shares = steps.mean(axis=1)
    steps = steps[(shares >= BESIDE) & (shares <= 1 - BESIDE)]
    plane = np.linalg.qr(axes.T)[0]
    own = steps - (steps @ plane) @ plane.T
    edge: NDArray[np.float64] = steps[((own @ values) ** 2 / (own**2).sum(axis=1)).argmax()]
    return edge


def evened(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A face crop (H, W, 3) uint8 RGB whose light is brought within ``USUAL``, one number after the other, as near as
    ``STEEPEST`` and black and white allow; itself where it lies within, or where a side is shorter than 6 px."""
    if min(crop.shape[:2]) < LEAST:
        return crop
    its = light(crop)
    wanted = its.usual()
    if wanted == its:
        return crop
    gain = min(wanted.contrast / max(its.contrast, 1e-6), STEEPEST)
    level = _tilted(crop.astype(np.float32) * _gains(its, wanted), its, wanted)
    moved = (level - np.float32(its.level)) * np.float32(gain) + np.float32(wanted.level)
    out: NDArray[np.uint8] = np.clip(np.rint(moved), 0, 255).astype(np.uint8)
    return out


def _tilted(picture: NDArray[np.float32], its: Light, wanted: Light) -> NDArray[np.float32]:
    """Grey levels without a plane in their logarithm."""
    across, down = its.across - wanted.across, its.down - wanted.down
    if across == down == 0:
        return picture
    x, y = _places(*picture.shape[:2])
    factor = np.exp(-(across * x + down * y)).astype(np.float32)[..., None]
    return (picture + np.float32(DARK)) * factor - np.float32(DARK)


def _gains(its: Light, wanted: Light) -> NDArray[np.float32]:
    """Factors of red, green and blue that leave the face's mean luma as it is, so that none is above their largest ratio."""
    growth = np.array([wanted.red - its.red, 0.0, wanted.blue - its.blue])
    gains = np.exp(growth * min(1.0, math.log(STEEPEST) / max(float(np.ptp(growth)), 1e-9)))
    parts = np.array(LUMA) * np.exp([its.red, 0.0, its.blue])
    out: NDArray[np.float32] = (gains * (parts.sum() / np.dot(parts, gains))).astype(np.float32)
    return out


def _luma(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    red, green, blue = np.moveaxis(picture.astype(np.float64), -1, 0)
    luma: NDArray[np.float64] = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma


def _places(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(1, W) and (H, 1): how far right of and below the middle of the face, as shares of the crop's sides."""
    x, y = (np.arange(width) + 0.5) / width - MIDDLE[0], (np.arange(height) + 0.5) / height - MIDDLE[1]
    return x[None], y[:, None]
