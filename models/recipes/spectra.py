"""Simulated spectra of visible face crops, so that the translating recipes can be proven without licensed pictures.

A functional proof only: these renderings are fixed functions of the visible picture plus blur, noise and shifts. They are no
model of heat or of near-infrared reflectance, and a figure measured on them says nothing about the papers' data. Crops are
(H, W, 3) uint8 RGB; the same seed gives the same picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.resize import resize, to_float, to_uint8

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Seed = int | tuple[int, ...]
FACTOR = 8


def _luminance(crop: Picture) -> NDArray[np.float32]:
    return (to_float(crop) @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)


def _finish(plane: NDArray[Any], sigma: float, noise: float, rng: np.random.Generator) -> Picture:
    """Blur, add sensor noise and replicate to three channels."""
    blurred = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    noisy = np.clip(blurred + rng.normal(0.0, noise, blurred.shape), 0.0, 1.0).astype(np.float32)
    return np.repeat(to_uint8(noisy)[..., None], 3, axis=2)


def thermal(crop: Picture, points: Points, seed: Seed) -> tuple[Picture, Points]:
    """Pseudo-thermal: a fixed tone curve that rises and falls, blur of 1.5 % of the side, noise of 4 %, no colour.

    The curve 0.5 - 0.45 cos(1.9 pi y) of the luminance y maps different tones to one, so it cannot be undone pixel by pixel.
    """
    rng = np.random.default_rng(seed)
    return _finish(0.5 - 0.45 * np.cos(1.9 * np.pi * _luminance(crop)), 0.015 * crop.shape[0], 0.04, rng), points.copy()


def near_infrared(crop: Picture, points: Points, seed: Seed) -> tuple[Picture, Points]:
    """Pseudo-NIR, slightly misaligned: bright red, dark blue, gamma, light from the camera, off by up to 3 % and 4 degrees.

    Returns the picture and the landmarks where the shift has moved them.
    """
    rng = np.random.default_rng(seed)
    height, width = crop.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2), rng.uniform(-4.0, 4.0), float(np.exp(rng.uniform(-0.03, 0.03)))
    )
    matrix[:, 2] += rng.uniform(-0.03, 0.03, 2) * (width, height)
    moved = cv2.warpAffine(to_float(crop), matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    plane = np.clip(moved @ np.array([1.7, 0.1, -0.8], np.float32), 0.0, 1.0) ** 0.5
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x / (width - 1) - 0.5, y / (height - 1) - 0.5)
    lit = plane * (1.0 - 0.6 * distance)
    return _finish(lit, 0.015 * height, 0.08, rng), points @ matrix[:, :2].T + matrix[:, 2]


def low_resolution(crop: Picture, points: Points, seed: Seed) -> tuple[Picture, Points]:
    """The crop through 1/8 of its side (28 px for 224), with blur and noise there, enlarged bicubically back to its size."""
    rng = np.random.default_rng(seed)
    height, width = crop.shape[:2]
    blurred = cv2.GaussianBlur(to_float(crop), (0, 0), 0.5 * FACTOR, borderType=cv2.BORDER_REFLECT_101)
    small = cv2.resize(blurred, (width // FACTOR, height // FACTOR), interpolation=cv2.INTER_AREA)
    small = np.clip(small + rng.normal(0.0, 0.03, small.shape), 0.0, 1.0).astype(np.float32)
    return to_uint8(np.clip(resize(small, (height, width)), 0.0, 1.0).astype(np.float32)), points.copy()


SPECTRA: dict[str, Callable[[Picture, Points, Seed], tuple[Picture, Points]]] = {
    "thermal": thermal,
    "near-infrared": near_infrared,
    "low-resolution": low_resolution,
}
"""What each family translates from: (crop, landmarks in its pixels, seed) to the source picture and its landmarks."""
