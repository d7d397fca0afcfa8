"""Faces that are bluer than red, as pictures show them whose red and blue were swapped: OpenCV's arrays, taken for RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLUER = 1.1
"""How many times its red a face's blue must be, and a grey level more. The median face of every group is at least 1.38 times as
red as blue (benchmarks/light.py --usual)."""

SWAPPED = "bluer than red, as in blue light or where red and blue were swapped (color says the order of arrays)"
"""What a status says of such a picture."""

_ROWS, _COLUMNS, _SAMPLES = (0.3, 0.85), (0.25, 0.75), 32


def swapped(crop: NDArray[np.uint8]) -> bool:
    """Whether the middle of a face crop (H, W, 3) uint8 RGB is that much bluer than it is red."""
    rows, columns = (
        slice(int(low * side), max(int(high * side), int(low * side) + 1), max(1, side // _SAMPLES))
        for side, (low, high) in zip(crop.shape, (_ROWS, _COLUMNS), strict=False)
    )
    red, _, blue = crop[rows, columns].mean(axis=(0, 1))
    return bool(blue > BLUER * red + 1)
