"""The blur levels of networks.md section 2.3."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve1d

from meetmid.config import SIGMAS
from meetmid.probes.blur import blur, blur_levels, gaussian_kernel
from meetmid.resize import to_float


def test_sixteen_levels_from_zero_to_one():
    np.testing.assert_allclose(SIGMAS, np.linspace(0, 1, 16), rtol=1e-15)


def test_the_kernels_have_the_measured_ratios():
    for k, ratio in {1: 1e-49, 2: 6e-13, 3: 3.7e-6, 4: 8.8e-4, 5: 1.1e-2}.items():
        kernel = gaussian_kernel(k / 15)
        centre = len(kernel) // 2
        got = float(kernel[centre + 1]) / float(kernel[centre])
        assert got == pytest.approx(ratio, rel=0.12) if k > 1 else got < 1e-40


@given(st.floats(0, 5))
def test_kernels_are_sampled_gaussians(sigma):
    kernel = gaussian_kernel(sigma)
    assert len(kernel) == 2 * max(1, int(np.ceil(4 * sigma))) + 1
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert np.array_equal(kernel, kernel[::-1])
    x = np.arange(len(kernel)) - len(kernel) // 2
    if sigma > 0.05:
        want = np.array([np.exp(-v * v / (2 * sigma * sigma)) for v in x])
        np.testing.assert_allclose(kernel, want / want.sum(), rtol=1e-5, atol=1e-7)
    else:
        assert kernel[len(kernel) // 2] == 1


@settings(max_examples=25)
@given(st.floats(0.01, 3), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_blurring_is_two_mirrored_convolutions(sigma, height, width, seed):
    picture = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    got = blur(picture, sigma)
    assert got.shape == picture.shape
    if min(height, width) == 1:
        return
    radius = max(1, int(np.ceil(4 * sigma)))
    weights = np.array([np.exp(-(x**2) / (2 * sigma**2)) for x in range(-radius, radius + 1)])
    want = picture.astype(np.float64)
    for axis in (0, 1):
        want = convolve1d(want, weights / weights.sum(), axis=axis, mode="mirror")
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_sigma_zero_leaves_the_picture_alone(face):
    picture = to_float(face(1, 24))
    assert blur(picture, 0) is picture
    assert np.array_equal(next(blur_levels(picture, [0.0])).picture, picture)


def test_indistinguishable_levels_are_collapsed_and_counted(face):
    picture = to_float(face(1, 24))
    levels = list(blur_levels(picture, SIGMAS))
    assert len(levels) == 13
    assert [level.count for level in levels] == [4] + [1] * 12
    assert [level.sigma for level in levels] == [0.0, *SIGMAS[4:]]
    for level in levels:
        assert np.array_equal(level.picture, blur(picture, level.sigma))
    for sigma in SIGMAS[:4]:
        assert np.abs(blur(picture, sigma) - picture).max() <= 0.01 / 255


def test_a_flat_picture_has_one_level_of_sixteen():
    flat = np.full((24, 24, 3), 0.4, np.float32)
    (level,) = blur_levels(flat, SIGMAS)
    assert (level.count, level.sigma) == (16, 0.0)
    one = list(blur_levels(np.full((1, 1, 3), 0.4, np.float32), SIGMAS))
    assert [v.count for v in one] == [16]
    assert sum(v.count for v in blur_levels(np.eye(8, dtype=np.float32)[..., None].repeat(3, 2), SIGMAS)) == 16
