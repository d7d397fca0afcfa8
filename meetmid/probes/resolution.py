"""How much detail a probe really holds, whatever its number of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.faces.repeats import joined
from meetmid.resize import Image, resize, to_float, to_uint8

TOLERANCE = 2.0
"""Grey levels (RMS) that a reduction may lose and still count as lossless: about the noise of a good camera."""


TILES = 8
"""Tiles along each side."""


@dataclass(frozen=True)
class Detail:
    """``resolution`` the effective side in pixels, ``noise`` its standard deviation in grey levels."""

    resolution: int
    noise: float

    @classmethod
    def of(cls, crop: NDArray[np.uint8], fine: int = 1) -> Detail:
        """Of a face crop (H, W, 3) uint8 that was cut with ``fine`` pixels per pixel of its picture along each side: their
        interpolation hides noise, so it is looked at with one."""
        if fine > 1:
            crop = to_uint8(resize(to_float(crop), (max(1, crop.shape[0] // fine), max(1, crop.shape[1] // fine))))
        crop = _distinct(crop)
        noise = noise_level(crop)
        return cls(_resolution(crop, noise), noise)


def noise_level(crop: NDArray[np.uint8]) -> float:
    """Standard deviation of white noise in grey levels, from the median size of the finest diagonal Haar coefficients, which
    a face's own structure hardly reaches (D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage",
    Biometrika 81, 1994, section 4.2); 0 for a picture of less than 2 px."""
    height, width = (n // 2 * 2 for n in crop.shape[:2])
    if min(height, width) == 0:
        return 0.0
    x = crop[:height, :width].astype(np.int32)
    diagonal = x[0::2, 0::2] - x[1::2, 0::2] - x[0::2, 1::2] + x[1::2, 1::2]
    return float(np.median(np.abs(diagonal))) / 2.0 / 0.6745


def effective_resolution(crop: NDArray[np.uint8], noise: float = 0.0) -> int:
    """The smallest side in pixels that the crop can be reduced to and enlarged again with an RMS error of at most 2 grey
    levels, beyond the white ``noise`` that the reduction takes away, in half of its 8 x 8 tiles; never more than its longer
    side. An up-scaled or blurred picture has a small one, also one whose pixels were repeated, unless they were turned or coded
    heavily afterwards, and a time stamp, a black bar or the border of a frame do not count: they are not in most tiles."""
    return _resolution(_distinct(crop), noise)


def _resolution(crop: NDArray[np.uint8], noise: float) -> int:
    picture = to_float(crop)
    height, width = picture.shape[:2]
    longer = max(height, width)
    low, high = 1, int(longer)
    while low < high:
        side = (low + high) // 2
        factor = side / longer
        small = (max(1, round(height * factor)), max(1, round(width * factor)))
        smooth = resize(resize(picture, small), (height, width))
        allowed = math.hypot(TOLERANCE, noise * math.sqrt(1.0 - factor**2))
        low, high = (low, side) if _error(smooth, picture) <= allowed else (side + 1, high)
    return high


def _distinct(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With its repeated pixels joined, or, for runs of uneven length, without the rows and columns that repeat the one before
    in more than half of their pixels, whichever is smaller."""
    left = crop
    for axis in (0, 1):
        changed = (np.diff(left.astype(np.int16), axis=axis) != 0).any(axis=2).mean(axis=1 - axis) >= 0.5
        left = np.compress(np.concatenate([[True], changed]), left, axis=axis)
    return min(joined(crop).picture, left, key=lambda picture: picture.size)


def _error(restored: Image, picture: Image) -> float:
    """Root of the median over tiles of the mean square, in grey levels."""
    squares = np.square(restored.astype(np.float64) - picture).mean(axis=2).reshape(picture.shape[:2])
    edges = [np.linspace(0, n, min(TILES, n) + 1).astype(np.int64) for n in squares.shape]
    sums = np.add.reduceat(np.add.reduceat(squares, edges[0][:-1], axis=0), edges[1][:-1], axis=1)
    return 255.0 * math.sqrt(float(np.median(sums / np.outer(*map(np.diff, edges)))))
