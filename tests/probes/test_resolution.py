"""The effective resolution of a crop."""

import numpy as np
import pytest

from meetmid.probes.resolution import effective_resolution
from meetmid.resize import resize, to_float, to_uint8


def lossless(crop, side):
    """Whether reducing the longer side to ``side`` loses at most 2 grey levels RMS."""
    factor = side / max(crop.shape[:2])
    small = tuple(max(1, round(n * factor)) for n in crop.shape[:2])
    restored = resize(resize(to_float(crop), small), crop.shape[:2])
    return 255 * np.sqrt(np.mean((restored.astype(np.float64) - to_float(crop)) ** 2)) <= 2


def sharp(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("true", [6, 14, 24])
def test_an_enlarged_picture_is_found_out(true):
    crop = to_uint8(resize(to_float(sharp(true)), (96, 96)))
    found = effective_resolution(crop)
    assert 0.6 * true <= found <= 3 * true < 96
    assert lossless(crop, found)
    assert not lossless(crop, found - 1)


def test_noise_flat_and_tiny_pictures():
    assert effective_resolution(sharp(40)) == 40
    assert effective_resolution(np.full((50, 30, 3), 77, np.uint8)) == 1
    assert effective_resolution(np.zeros((1, 1, 3), np.uint8)) == 1
    assert effective_resolution(sharp(40)[:, :20]) == 40


def test_blur_lowers_it(face):
    crop = face(1, 64)
    soft = to_uint8(resize(resize(to_float(crop), (16, 16)), (64, 64)))
    assert effective_resolution(soft) < effective_resolution(crop) <= 64
