"""How much detail a probe really holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meetmid.resize import resize, to_float

TOLERANCE = 2.0
"""Grey levels (RMS) that a reduction may lose and still count as lossless: about the noise of a good camera."""


def effective_resolution(crop: NDArray[np.uint8]) -> int:
    """The smallest side in pixels that the crop can be reduced to and enlarged again with an RMS error of at most 2 grey
    levels; never more than its longer side. An up-scaled or blurred picture has a small one; noise raises it."""
    picture = to_float(crop)
    longer = max(crop.shape[:2])
    low, high = 1, int(longer)
    while low < high:
        side = (low + high) // 2
        factor = side / longer
        small = (max(1, round(crop.shape[0] * factor)), max(1, round(crop.shape[1] * factor)))
        restored = resize(resize(picture, small), crop.shape[:2])
        error = 255.0 * float(np.sqrt(np.mean((restored - picture) ** 2, dtype=np.float64)))
        low, high = (low, side) if error <= TOLERANCE else (side + 1, high)
    return high
