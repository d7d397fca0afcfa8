"""The two bicubic filters against Pillow, OpenCV and hand-computed kernels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meetmid.resize import halve, keys_kernel, resize, rounded, to_float, to_uint8

HALF = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375, 0.43359375, 0.11328125, -0.03515625, -0.01171875])
"""The antialiased kernel of an exact reduction by two (degradations.md section 4)."""


def pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    planes = [
        Image.fromarray(image[..., c], "F").resize(size[::-1], Image.Resampling.BICUBIC) for c in range(image.shape[2])
    ]
    return np.clip(np.stack([np.asarray(p) for p in planes], axis=2), 0, 1)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((24, 24), (96, 96)), ((24, 24), (192, 192)), ((112, 112), (24, 24)), ((250, 250), (112, 112)), ((97, 61), (33, 47)),
        ((31, 31), (112, 112)), ((17, 200), (112, 112)), ((5, 3), (4, 9)), ((1, 1), (7, 5)), ((2, 3), (1, 1)),
        ((40, 1), (9, 9)), ((64, 64), (63, 65)), ((300, 7), (3, 70)),
    ],
)
def test_bicubic_is_that_of_pillow(source: tuple[int, int], target: tuple[int, int]) -> None:
    image = noise(*source)
    assert np.abs(resize(image, target) - pillow(image, target)).max() < 1e-5


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 60)] * 4), st.integers(0, 5))
def test_bicubic_is_that_of_pillow_for_any_size(sizes: tuple[int, int, int, int], seed: int) -> None:
    image = noise(sizes[0], sizes[1], 1, seed)
    assert np.abs(resize(image, sizes[2:]) - pillow(image, sizes[2:])).max() < 1e-5


def test_halving_has_the_published_impulse_response() -> None:
    for position in range(20, 28):
        line = np.full((1, 48, 1), 0.25, np.float32)
        line[0, position] += 0.5
        response = (resize(line, (1, 24))[0, :, 0] - 0.25) / 0.5
        expected = np.zeros(24)
        for output in range(24):
            tap = position - (2 * output - 3)
            expected[output] = HALF[tap] if 0 <= tap < 8 else 0
        np.testing.assert_allclose(response, expected, atol=1e-6)
    assert HALF.sum() == 1


def test_the_kernel_interpolates() -> None:
    np.testing.assert_allclose(keys_kernel(np.arange(-3.0, 4.0)), [0, 0, 0, 1, 0, 0, 0], atol=1e-15)
    phases = np.linspace(0, 1, 11)[:, None] + np.arange(-2, 3)
    np.testing.assert_allclose(keys_kernel(phases).sum(axis=1), 1, atol=1e-12)
    assert keys_kernel(np.array([1.5]))[0] == -0.0625  # a = -0.5


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 90)] * 4), st.floats(0, 1))
def test_a_constant_stays_constant(sizes: tuple[int, int, int, int], value: float) -> None:
    image = np.full((*sizes[:2], 3), value, np.float32)
    assert np.abs(resize(image, sizes[2:]) - np.float32(value)).max() < 2e-6


@pytest.mark.parametrize("target", [(24, 24), (13, 40), (200, 90)])
def test_uint8_input_is_the_same_picture(target: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (61, 48, 3), dtype=np.uint8)
    np.testing.assert_allclose(resize(image, target), resize(to_float(image), target), atol=1e-6)
    np.testing.assert_allclose(resize(image[::-1, ::-1], target), resize(to_float(image[::-1, ::-1]), target), atol=1e-6)


@pytest.mark.parametrize("method", ["bicubic", "cv2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_results_are_float32_in_the_unit_range(method: str, dtype: type) -> None:
    edge = np.zeros((20, 20, 3), dtype)
    edge[:, 10:] = 255 if dtype is np.uint8 else 1
    for size in ((60, 60), (7, 7), (20, 20)):
        found = resize(edge, size, method=method)
        assert (found.dtype, found.shape) == (np.float32, (*size, 3))
        assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_cv2_is_the_filter_of_opencv(channels: int) -> None:
    image = noise(30, 21, channels)
    for size in ((15, 10), (64, 64)):
        expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, channels)
        np.testing.assert_array_equal(resize(image, size, method="cv2"), np.clip(expected, 0, 1))
    row = np.zeros((4, 16, 1), np.float32)
    row[:, 8] = 1
    np.testing.assert_allclose(resize(row + 0, (4, 8), method="cv2")[0, 3:5, 0], [0, 0.59375], atol=1e-6)


def test_only_the_default_filter_removes_what_the_small_picture_cannot_hold() -> None:
    grating = np.tile(np.array([0, 1, 1], np.float32), 64)[None, :, None] * np.ones((64, 1, 3), np.float32)
    assert resize(grating, (32, 96))[:, 4:-4].std() < 0.12
    assert resize(grating, (32, 96), method="cv2")[:, 4:-4].std() > 0.25


@pytest.mark.parametrize(("size", "half"), [((8, 6), (4, 3)), ((7, 5), (4, 3)), ((1, 1), (1, 1)), ((2, 1), (1, 1))])
def test_halving_rounds_sides_up(size: tuple[int, int], half: tuple[int, int]) -> None:
    image = noise(*size)
    np.testing.assert_array_equal(halve(image), resize(image, half))
    assert halve(image).shape == (*half, 3)


def test_rounding_is_half_up_and_its_inverse_is_exact() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(to_uint8(to_float(values)), values)
    halves = np.array([0.5, 1.5, 2.5, 254.49], np.float32) / np.float32(255)
    np.testing.assert_array_equal(to_uint8(halves), [1, 2, 3, 254])
    image = noise(4, 4)
    assert rounded(image, False) is image
    np.testing.assert_array_equal(rounded(image, True), to_float(to_uint8(image)))
