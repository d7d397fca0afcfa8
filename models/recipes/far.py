"""What a far camera makes of a face, drawn anew for every picture of a batch: broader than any one camera it will meet.

The order is that of K. Zhang et al., "Designing a practical degradation model for deep blind image super-resolution", ICCV
2021, section 3, with the sensor between optics and coding: framing, optics and motion blur, area sampling, light, colour
filter array, noise of light and of reading, interlaced fields, JPEG or 4 x 4 transform blocks as H.264's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
DCT = np.array([[1, 1, 1, 1], [2, 1, -1, -2], [1, -1, -1, 1], [1, -2, 2, -1]], np.float32)
DCT /= np.linalg.norm(DCT, axis=1, keepdims=True)
"""The 4 x 4 transform of H.264 (ITU-T H.264, section 8.5.12), its rows normalised."""


def caught(sharp: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A sharp RGB face, framed already, as a camera caught it on (height, width) ``size`` pixels."""
    height, width = size
    fine = (min(sharp.shape[0], 4 * height), min(sharp.shape[1], 4 * width))
    picture = cv2.resize(sharp, fine[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    picture = _optics(picture, fine[0] / height, rng)
    picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    picture = _light(picture, rng)
    if rng.random() < 0.3:
        picture = _mosaic(picture, rng)
    picture = _noise(picture, rng)
    if rng.random() < 0.1:
        picture = _interlaced(picture, rng)
    kind = rng.random()
    if kind < 0.65:
        picture = _jpeg(picture, int(rng.integers(35, 96)), rng)
    elif kind < 0.8:
        picture = _blocks(picture, float(np.exp(rng.uniform(np.log(0.015), np.log(0.12)))))
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def _optics(picture: Picture, step: float, rng: np.random.Generator) -> Picture:
    """Blur by a Gaussian of up to 1.1 captured pixels of ``step`` px each, sometimes wider one way, and by motion."""
    sigma = rng.uniform(0.2, 1.1) * step
    across = sigma * (rng.uniform(0.6, 1.6) if rng.random() < 0.3 else 1.0)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, sigmaY=across, borderType=cv2.BORDER_REPLICATE), np.float32)
    if rng.random() < 0.2:
        reach, turn = rng.uniform(0.5, 2.5) * step, rng.uniform(0, np.pi)
        side = 2 * int(np.ceil(reach / 2)) + 1
        kernel = np.zeros((side, side), np.float32)
        middle, ray = side // 2, np.array([np.cos(turn), np.sin(turn)]) * reach / 2
        ends = [tuple(round(v * 16) for v in (middle + sign * ray)) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
        kernel[middle, middle] = max(kernel[middle, middle], 1e-3)
        picture = np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.float32)
    return picture


def _light(picture: Picture, rng: np.random.Generator) -> Picture:
    """Contrast, exposure, gamma, a cast of colour; now and then grey, as at night."""
    mean = picture.mean()
    picture = ((picture - mean) * np.float32(rng.uniform(0.55, 1.1)) + mean) * np.float32(rng.uniform(0.7, 1.25))
    picture = (np.clip(picture, 1e-4, 1) ** float(np.exp(rng.uniform(-0.35, 0.35)))).astype(np.float32)
    if rng.random() < 0.4:
        picture = picture * (1 + rng.normal(0, 0.05, 3)).astype(np.float32)
    if rng.random() < 0.08:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(picture, 0, 1).astype(np.float32)


def _mosaic(picture: Picture, rng: np.random.Generator) -> Picture:
    """One colour per pixel, as behind a Bayer filter, the others interpolated."""
    levels = np.round(picture * 255).astype(np.uint8)
    y, x = int(rng.integers(2)), int(rng.integers(2))
    raw = levels[..., 1].copy()
    raw[y::2, x::2], raw[1 - y :: 2, 1 - x :: 2] = levels[y::2, x::2, 0], levels[1 - y :: 2, 1 - x :: 2, 2]
    code = {(0, 0): cv2.COLOR_BayerRGGB2RGB, (0, 1): cv2.COLOR_BayerGRBG2RGB, (1, 0): cv2.COLOR_BayerGBRG2RGB,
            (1, 1): cv2.COLOR_BayerBGGR2RGB}[y, x]
    return cv2.cvtColor(raw, code).astype(np.float32) / np.float32(255)


def _noise(picture: Picture, rng: np.random.Generator) -> Picture:
    """Gaussian, its variance a part of the reading and one that grows with the light (A. Foi et al., IEEE TIP 2008, eq. 1)."""
    reading, light = rng.uniform(0.002, 0.03), rng.uniform(0, 0.04) if rng.random() < 0.5 else 0.0
    sigma = np.sqrt(reading**2 + light**2 * picture)
    return np.asarray(np.clip(picture + sigma * rng.standard_normal(picture.shape, np.float32), 0, 1), np.float32)


def _interlaced(picture: Picture, rng: np.random.Generator) -> Picture:
    """Every other row is from a later moment: shifted, or (one field lost) a copy of the row above."""
    out = picture.copy()
    rows = out[1::2]
    if rng.random() < 0.3:
        rows[:] = picture[0::2][: len(rows)]
    else:
        shift = np.array([[1, 0, rng.uniform(-1.2, 1.2)], [0, 1, 0]])
        rows[:] = cv2.warpAffine(picture, shift, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)[1::2]
    return out


def _jpeg(picture: Picture, quality: int, rng: np.random.Generator) -> Picture:
    """Coded as a part of a larger picture, so that the blocks begin anywhere."""
    top, left = (int(v) for v in rng.integers(0, 8, 2))
    padded = cv2.copyMakeBorder(np.round(picture * 255).astype(np.uint8), top, 0, left, 0, cv2.BORDER_REPLICATE)
    _, code = cv2.imencode(".jpg", padded[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    coded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[top:, left:, ::-1]
    return coded.astype(np.float32) / np.float32(255)


def _blocks(picture: Picture, step: float) -> Picture:
    """Luma in transform blocks of 4 x 4 quantised by ``step``, chroma at half the size and twice as coarsely; H.264's
    prediction is not imitated."""
    height, width = picture.shape[:2]
    padded = cv2.copyMakeBorder(picture, 0, -height % 8, 0, -width % 8, cv2.BORDER_REPLICATE)
    planes = cv2.split(cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb))
    half = (padded.shape[1] // 2, padded.shape[0] // 2)
    coded = [_quantised(planes[0], step)]
    for plane in planes[1:]:
        small = _quantised(np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.float32), 2 * step)
        coded.append(np.asarray(cv2.resize(small, padded.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32))
    return np.clip(cv2.cvtColor(cv2.merge(coded), cv2.COLOR_YCrCb2RGB)[:height, :width], 0, 1)


def _quantised(plane: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    rows, columns = plane.shape[0] // 4, plane.shape[1] // 4
    blocks = plane.reshape(rows, 4, columns, 4).swapaxes(1, 2)
    levels = np.round(DCT @ blocks @ DCT.T / step) * step
    return np.asarray((DCT.T @ levels @ DCT).swapaxes(1, 2).reshape(plane.shape), np.float32)
