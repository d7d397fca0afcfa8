"""Filter kernels and the bilinear warp of the degradations (degradations.md section 2)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from meetmid.resize import Image

Border = Literal["reflect101", "zero"]
SMALL_SIDE = 11
"""Images with a shorter side are extended by their edge pixels, not by reflection."""


@lru_cache(maxsize=256)
def motion_kernel(length: float = 20.0, even: bool = False) -> NDArray[np.float32]:
    """Horizontal motion over ``length`` px: 1-D float32, sum 1, read-only.

    A tap weighs max(0, 1 - its distance to a centred segment of length - 1), as MATLAB documents
    ``fspecial("motion", length, 0)``: 21 taps for 20. ``even`` gives round(length) equal taps instead.
    """
    if even:
        taps = np.ones(max(1, math.floor(length + 0.5)))
    else:
        half = (max(length, 1.0) - 1.0) / 2.0
        reach = math.ceil(half)
        distance = np.maximum(np.abs(np.arange(-reach, reach + 1)) - half, 0.0)
        taps = np.maximum(1.0 - distance, 0.0)
    return _unit_sum(taps)


@lru_cache(maxsize=256)
def gauss_kernel(sigma: float = 1.1, taps: int = 5) -> NDArray[np.float32]:
    """Sampled Gaussian, weights proportional to exp(-x^2 / (2 sigma^2)): (taps,) float32, sum 1, read-only."""
    x = np.arange(taps) - (taps - 1) / 2.0
    return _unit_sum(np.exp(-(x * x) / (2.0 * sigma * sigma)))


@lru_cache(maxsize=256)
def disk_kernel(radius: float = 5.0, binary: bool = False) -> NDArray[np.float32]:
    """Disk of ``radius`` px: square float32 of odd side (11 for 5), sum 1, read-only.

    Weights are the exact areas that a circle and the unit pixels share. ``binary`` gives equal weights to the pixels of
    the rasterised circle instead: in row y those with |x| <= round(sqrt(radius^2 - y^2)), 89 for radius 5.
    """
    reach = max(0, math.ceil(radius - 0.5))
    centre = np.abs(np.arange(-reach, reach + 1.0))
    x, y = centre[None, :], centre[:, None]
    if binary:
        half_width = np.floor(np.sqrt(np.maximum(radius * radius - y * y, 0.0)) + 0.5)
        return _unit_sum(((y <= radius) & (x <= half_width)).astype(np.float64))
    left, right, top, bottom = x - 0.5, x + 0.5, y - 0.5, y + 0.5
    area = _sector(right, bottom, radius) - _sector(left, bottom, radius)
    area += _sector(left, top, radius) - _sector(right, top, radius)
    outside = np.hypot(np.maximum(left, 0.0), np.maximum(top, 0.0)) >= radius
    return _unit_sum(np.where(outside, 0.0, area))


def _sector(a: NDArray[np.float64], b: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Signed area of [0, a] x [0, b] inside the circle about the origin; odd in a and in b."""
    width, height = np.minimum(np.abs(a), radius), np.minimum(np.abs(b), radius)
    flat = np.minimum(np.sqrt(radius * radius - height * height), width)
    area = height * flat + _under_arc(width, radius) - _under_arc(flat, radius)
    return np.asarray(np.sign(a) * np.sign(b) * area)


def _under_arc(t: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """The integral of sqrt(radius^2 - s^2) for s from 0 to t."""
    root = np.sqrt(np.maximum(radius * radius - t * t, 0.0))
    return np.asarray(0.5 * (t * root + radius * radius * np.arcsin(t / radius)))


def _unit_sum(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    kernel = np.asarray(weights / weights.sum(), np.float32)
    kernel.setflags(write=False)
    return kernel


def border_type(image: Image, border: Border) -> int:
    """OpenCV's border code for filtering ``image`` (H, W, C)."""
    if border == "zero":
        return int(cv2.BORDER_CONSTANT)
    return int(cv2.BORDER_REPLICATE if min(image.shape[:2]) < SMALL_SIDE else cv2.BORDER_REFLECT_101)


@numba.njit(cache=True, nogil=True)
def warp(image: Image, inverse: NDArray[np.float64], zero: bool) -> Image:
    """Bilinear warp of (H, W, C) float32 at constant size.

    ``inverse`` (3, 3) float64 maps homogeneous output pixels (x, y, 1) to input pixels, the centre of the top-left one
    at (0, 0). Outside the input the nearest edge pixel counts, or 0 with ``zero``; so do points beyond the horizon
    of a strong perspective. (OpenCV 4 would round positions to 1/32 px.)
    """
    height, width, channels = image.shape
    out = np.empty((height, width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            w = max(inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2], 1e-6)
            u = min(max((inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) / w, -1.0), float(width))
            v = min(max((inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) / w, -1.0), float(height))
            left, top = math.floor(u), math.floor(v)
            w_right, w_bottom = np.float32(u - left), np.float32(v - top)
            w_left, w_top = np.float32(1.0) - w_right, np.float32(1.0) - w_bottom
            if zero:
                w_left *= 0 <= left < width
                w_right *= left + 1 < width
                w_top *= 0 <= top < height
                w_bottom *= top + 1 < height
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
            for c in range(channels):
                upper = w_left * image[top, left, c] + w_right * image[top, right, c]
                lower = w_left * image[bottom, left, c] + w_right * image[bottom, right, c]
                out[y, x, c] = w_top * upper + w_bottom * lower
    return out
