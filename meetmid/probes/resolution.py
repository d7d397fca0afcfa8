"""How much detail a probe really holds, whatever its number of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.resize import resize, to_float

TOLERANCE = 2.0
"""Grey levels (RMS) that a reduction may lose and still count as lossless: about the noise of a good camera."""


@dataclass(frozen=True)
class Detail:
    """``resolution`` the effective side in pixels, ``noise`` its standard deviation in grey levels."""

    resolution: int
    noise: float

    @classmethod
    def of(cls, crop: NDArray[np.uint8]) -> Detail:
        """Of a face crop (H, W, 3) uint8."""
        noise = noise_level(crop)
        return cls(effective_resolution(crop, noise), noise)


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
    levels beyond the white ``noise`` that the reduction takes away; never more than its longer side. An up-scaled or blurred
    picture has a small one."""
    picture = to_float(crop)
    longer = max(crop.shape[:2])
    low, high = 1, int(longer)
    while low < high:
        side = (low + high) // 2
        factor = side / longer
        small = (max(1, round(crop.shape[0] * factor)), max(1, round(crop.shape[1] * factor)))
        restored = resize(resize(picture, small), crop.shape[:2])
        error = 255.0 * float(np.sqrt(np.mean((restored - picture) ** 2, dtype=np.float64)))
        allowed = math.hypot(TOLERANCE, noise * math.sqrt(1.0 - factor**2))
        low, high = (low, side) if error <= allowed else (side + 1, high)
    return high
