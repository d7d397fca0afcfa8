"""The simulated camera, closed-set identification and intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from meetmid.errors import ConfigError
from meetmid.evaluation import FarCamera, rank1_hits, wilson

QUIET = FarCamera(
    size=16, jitter=0.0, tilt=0.0, blur=(0.0, 0.0), exposure=(1.0, 1.0), contrast=(1.0, 1.0), noise=(0.0, 0.0), jpeg=(100, 100)
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_published_interval(trial: tuple[int, int]) -> None:
    k, n = trial
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_no_trials_knows_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_rank1_counts_ties_and_failures_as_errors() -> None:
    nan = np.nan
    scores = np.array(
        [[0.9, 0.1, 0.0], [0.5, 0.5, 0.1], [0.2, 0.3, 0.1], [nan, nan, nan], [0.4, nan, 0.3], [nan, 0.2, 0.1]], np.float32
    )
    hits = rank1_hits(scores, ["a", "a", "a", "a", "a", "a"], ["a", "b", "c"])
    assert hits.tolist() == [True, False, False, False, True, False]


@given(st.integers(0, 2**32 - 1))
def test_rank1_is_the_plain_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.choice(np.array([0.1, 0.2, 0.3, np.nan], np.float32), (6, 5))
    probes, gallery = rng.choice(list("abcd"), 6), rng.choice(list("abc"), 5)
    for row, probe, hit in zip(scores, probes, rank1_hits(scores, probes, gallery), strict=True):
        mates = [s for s, name in zip(row, gallery, strict=True) if name == probe and not np.isnan(s)]
        others = [s for s, name in zip(row, gallery, strict=True) if name != probe and not np.isnan(s)]
        assert hit == (bool(mates) and all(max(mates) > s for s in others))


def test_rank1_takes_the_best_of_several_mates() -> None:
    scores = np.array([[0.1, 0.9, 0.5]], np.float32)
    assert rank1_hits(scores, ["a"], ["a", "a", "b"]).tolist() == [True]


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
