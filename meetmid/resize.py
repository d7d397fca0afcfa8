"""Resizing with named filters (degradations.md section 4).

Two different filters are both called "bicubic". The library's default is the antialiased Keys kernel with a = -0.5
(R. Keys, "Cubic convolution interpolation for digital image processing", IEEE ASSP 29(6), 1981, eq. 15), stretched by
the reduction factor when shrinking, as MATLAB ``imresize`` and Pillow do. ``"cv2"`` is OpenCV's INTER_CUBIC: a = -0.75,
no antialiasing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

ResizeFilter = Literal["bicubic", "cv2"]
Image = NDArray[np.float32]

MAX_ENLARGED = 1024 * 1024
"""The most pixels an enlarged picture may have, probe or portrait."""


def fits(size: tuple[int, int], scale: int) -> bool:
    """Whether a picture of ``size`` (height, width) enlarged by ``scale`` stays within :data:`MAX_ENLARGED`."""
    return size[0] * size[1] * scale * scale <= MAX_ENLARGED


def keys_kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15), support (-2, 2)."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, inner, np.where(x < 2.0, outer, 0.0))


@lru_cache(maxsize=512)
def _taps(n_in: int, n_out: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First input index (n_out,) and normalised weights (n_out, taps) of every output sample; edges are renormalised."""
    ratio = n_in / n_out
    stretch = max(ratio, 1.0)
    support = 2.0 * stretch
    centre = (np.arange(n_out) + 0.5) * ratio
    first = np.maximum(np.floor(centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum(np.floor(centre + support + 0.5).astype(np.int64), n_in)
    taps = int((last - first).max())
    first = np.minimum(first, n_in - taps)
    index = first[:, None] + np.arange(taps)
    weights = keys_kernel((index + 0.5 - centre[:, None]) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    return first, weights.astype(np.float32)


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _columns(
    image: NDArray[Any], first: NDArray[np.int64], weight: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """``out[y]`` = the weighted sum of rows first[y] .. of ``image`` (H, W)."""
    height, taps = weight.shape
    for y in range(height):
        row = out[y]
        row[:] = 0.0
        for k in range(taps):
            w, source = weight[y, k], image[first[y] + k]
            for x in range(row.shape[0]):
                row[x] += w * np.float32(source[x])


@numba.njit(cache=True, nogil=True)
def _transposed(image: NDArray[np.float32], out: NDArray[np.float32], clip: bool) -> None:
    """``out`` (W, H, C) = ``image`` (H, W, C) with its sides exchanged, clipped to [0, 1] where asked for."""
    height, width, channels = image.shape
    for top in range(0, height, 16):
        for x in range(width):
            for y in range(top, min(top + 16, height)):
                for c in range(channels):
                    value = image[y, x, c]
                    out[x, y, c] = min(max(value, np.float32(0.0)), np.float32(1.0)) if clip else value


@numba.njit(cache=True, nogil=True)
def _resample(
    image: NDArray[Any],
    first_x: NDArray[np.int64],
    weight_x: NDArray[np.float32],
    first_y: NDArray[np.int64],
    weight_y: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Columns first, then, sides exchanged, rows: both passes run along memory."""
    height, width, channels = image.shape
    high, wide = len(first_y), len(first_x)
    lower = np.empty((high, width * channels), np.float32)
    _columns(image.reshape(height, width * channels), first_y, weight_y, lower)
    turned = np.empty((width, high, channels), np.float32)
    _transposed(lower.reshape(high, width, channels), turned, False)
    lower = np.empty((wide, high * channels), np.float32)
    _columns(turned.reshape(width, high * channels), first_x, weight_x, lower)
    out = np.empty((high, wide, channels), np.float32)
    _transposed(lower.reshape(wide, high, channels), out, True)
    return out


def resize(image: Image | NDArray[np.uint8], size: tuple[int, int], *, method: ResizeFilter = "bicubic") -> Image:
    """Resize to ``size`` = (height, width) and clip to [0, 1].

    Parameters: ``image`` (H, W, C) float32 in [0, 1], or uint8, which is never copied whole to float; ``method``
    ``"bicubic"`` (antialiased, a = -0.5) or ``"cv2"`` (INTER_CUBIC, a = -0.75, aliases when shrinking). Returns (height,
    width, C) float32 in [0, 1].
    """
    if image.shape[:2] == size:
        return to_float(image) if image.dtype == np.uint8 else image.astype(np.float32, copy=False)
    if method == "cv2":
        shrunk = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_CUBIC).reshape(*size, image.shape[2])
        return to_float(shrunk) if image.dtype == np.uint8 else np.clip(shrunk, 0.0, 1.0)
    first_x, weight_x = _taps(image.shape[1], size[1])
    first_y, weight_y = _taps(image.shape[0], size[0])
    if image.dtype == np.uint8:
        weight_x = weight_x * np.float32(1.0 / 255.0)
    result: Image = _resample(np.ascontiguousarray(image), first_x, weight_x, first_y, weight_y)
    return result


def halve(image: Image, *, method: ResizeFilter = "bicubic") -> Image:
    """The down-sampling by two of Grm et al. 2023, eq. 1; odd sides become ceil(n / 2)."""
    return resize(image, ((image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2), method=method)


def to_uint8(image: Image) -> NDArray[np.uint8]:
    """[0, 1] float32 to uint8 by rounding half up."""
    return np.asarray(np.floor(image * np.float32(255.0) + np.float32(0.5)), np.uint8)


def rounded(image: Image, quantize: bool) -> Image:
    """``image`` in [0, 1], rounded to multiples of 1/255 where a run imitates pictures stored between its stages."""
    return to_float(to_uint8(image)) if quantize else image


def to_float(image: NDArray[Any]) -> Image:
    """uint8 to float32 in [0, 1]."""
    return image.astype(np.float32) * np.float32(1.0 / 255.0)
