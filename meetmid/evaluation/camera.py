"""A simulated far camera: what a sharp, already cut face looks like when it was caught from far away.

The chain is that of the blind-degradation literature (K. Zhang et al., "Designing a practical degradation model for deep
blind image super-resolution", ICCV 2021, section 3): framing jitter, optics blur, area sampling by the sensor, exposure and
contrast, sensor noise, JPEG. It stands in for a real surveillance set where none can be had; figures measured with it are
figures about this simulator.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ConfigError
from meetmid.resize import to_float, to_uint8


@dataclass(frozen=True)
class FarCamera:
    """One camera; every pair is a range that ``capture`` draws from uniformly.

    ``size`` side of the captured face in pixels; ``jitter`` largest framing error as a share of the crop's side (shift,
    and in log-scale); ``tilt`` largest in-plane rotation in degrees; ``blur`` sigma of the optics in captured pixels;
    ``exposure`` multiplicative; ``contrast`` about the mean; ``noise`` sigma on [0, 1]; ``jpeg`` quality.
    """

    size: int = 24
    jitter: float = 0.03
    tilt: float = 3.0
    blur: tuple[float, float] = (0.3, 0.7)
    exposure: tuple[float, float] = (0.8, 1.2)
    contrast: tuple[float, float] = (0.75, 1.05)
    noise: tuple[float, float] = (0.005, 0.025)
    jpeg: tuple[int, int] = (60, 95)

    def __post_init__(self) -> None:
        if self.size < 4:
            raise ConfigError(f"FarCamera expects a captured size of at least 4 px, got {self.size}")

    def capture(self, crop: NDArray[np.uint8], seed: int | tuple[int, ...]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB face crop to what the camera saw, (size, size, 3) uint8 RGB; same seed, same picture."""
        rng = np.random.default_rng(seed)
        height, width = crop.shape[:2]
        size = self.size
        angle = rng.uniform(-self.tilt, self.tilt)
        zoom = float(np.exp(rng.uniform(-self.jitter, self.jitter)))
        shift = rng.uniform(-self.jitter, self.jitter, 2) * (width, height)
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, zoom)
        matrix[:, 2] += shift
        framed = cv2.warpAffine(
            to_float(crop), matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        sigma = rng.uniform(*self.blur) * width / size
        blurred = cv2.GaussianBlur(framed, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) if sigma > 0.1 else framed
        captured = cv2.resize(blurred, (size, size), interpolation=cv2.INTER_AREA)
        mean = captured.mean()
        captured = ((captured - mean) * rng.uniform(*self.contrast) + mean) * rng.uniform(*self.exposure)
        captured = captured + rng.normal(0.0, rng.uniform(*self.noise), captured.shape)
        picture = to_uint8(np.clip(captured, 0.0, 1.0).astype(np.float32))
        quality = int(rng.integers(self.jpeg[0], self.jpeg[1] + 1))
        _, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[..., ::-1].copy()


CAMERAS = (
    FarCamera(),
    FarCamera(blur=(0.4, 0.9), noise=(0.01, 0.035), jpeg=(40, 85), contrast=(0.6, 1.0), jitter=0.04),
)
"""A fair one and a poor one."""
