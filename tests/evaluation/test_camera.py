"""The simulated camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meetmid.errors import ConfigError
from meetmid.evaluation import FarCamera

QUIET = FarCamera(
    size=16, jitter=0.0, tilt=0.0, blur=(0.0, 0.0), exposure=(1.0, 1.0), contrast=(1.0, 1.0), noise=(0.0, 0.0), jpeg=(100, 100)
)


def test_the_same_seed_sees_the_same_picture_and_another_one_does_not() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (96, 80, 3), dtype=np.uint8)
    camera = FarCamera(size=20)
    first = camera.capture(crop, 3)
    assert first.shape == (20, 20, 3)
    assert first.dtype == np.uint8
    assert (camera.capture(crop, 3) == first).all()
    assert (camera.capture(crop, 4) != first).any()
    assert (camera.capture(crop, (3, 1)) != first).any()


def test_a_perfect_camera_only_averages_areas() -> None:
    ramp = np.linspace(0, 255, 64)[None, :, None] * np.ones((64, 1, 3))
    crop = np.floor(ramp + 0.5).astype(np.uint8)
    expected = crop.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(QUIET.capture(crop, 0).astype(float) - expected).max() <= 4.0


def test_noise_and_exposure_are_in_the_stated_units() -> None:
    grey = np.full((160, 160, 3), 128, np.uint8)
    noisy = replace(QUIET, size=160, noise=(0.04, 0.04)).capture(grey, 1).astype(float)
    weights = np.array([0.299, 0.587, 0.114])  # JPEG halves the resolution of chroma, so only luma keeps its noise
    assert (noisy @ weights).std() == pytest.approx(0.04 * 255 * np.linalg.norm(weights), rel=0.1)
    brighter = replace(QUIET, exposure=(1.5, 1.5)).capture(grey, 1).astype(float)
    assert brighter.mean() == pytest.approx(192, abs=1.0)


def test_a_camera_of_no_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 4 px, got 2"):
        FarCamera(size=2)
