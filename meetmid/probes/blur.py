"""The blur levels of a probe (Grm et al. 2023, section 3.2: x_k = G_sigma_k * x, sigma from 0 to 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.resize import Image

SAME = 0.01 / 255.0
"""Levels that differ nowhere by more than 0.01 grey level count as one."""


@dataclass(frozen=True)
class BlurLevel:
    """One distinct blurred picture: ``picture`` (H, W, 3) float32, ``sigma`` of its first level in pixels, and ``count``,
    how many of the requested levels it stands for."""

    picture: Image
    sigma: float
    count: int


def gaussian_kernel(sigma: float) -> NDArray[np.float32]:
    """The sampled Gaussian of radius ceil(4 sigma), at least 1 (networks.md section 2.3); sigma = 0 is the identity."""
    radius = max(1, math.ceil(4.0 * sigma))
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    weights = np.exp(-(x**2) / (2.0 * max(sigma, 1e-6) ** 2))
    return np.asarray(weights / weights.sum(), np.float32)


def blur(picture: Image, sigma: float) -> Image:
    """Convolve (H, W, 3) float32 with the sampled Gaussian, reflect-101 border (replicated where a side is 1 px)."""
    if sigma == 0:
        return picture
    kernel = gaussian_kernel(sigma)
    border = cv2.BORDER_REFLECT_101 if min(picture.shape[:2]) > 1 else cv2.BORDER_REPLICATE
    out = cv2.sepFilter2D(picture, -1, kernel, kernel, borderType=border)
    return np.clip(np.asarray(out, np.float32), 0.0, 1.0).reshape(picture.shape)


def blur_levels(picture: Image, sigmas: Sequence[float]) -> Iterator[BlurLevel]:
    """Blur at every sigma, collapsing each run of levels that stays within 0.01 grey level of its first.

    The multiplicities are kept, so T_add and S_add over the distinct levels equal those over all of them."""
    level: BlurLevel | None = None
    for sigma in sigmas:
        blurred = blur(picture, sigma)
        if level is not None and float(np.abs(blurred - level.picture).max()) <= SAME:
            level = replace(level, count=level.count + 1)
            continue
        if level is not None:
            yield level
        level = BlurLevel(blurred, float(sigma), 1)
    if level is not None:
        yield level
