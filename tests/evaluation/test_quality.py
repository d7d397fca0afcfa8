"""Picture quality against scikit-image, and error against discard against a loop."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from meetmid.errors import InputError
from meetmid.evaluation import ErrorRates, Trials, cumulative, error_versus_discard, psnr, ssim

RNG = np.random.default_rng(0)
TRUE = (np.add.outer(np.arange(40), 2 * np.arange(33))[..., None] * (1, 2, 1.5) % 256).astype(np.uint8)
MADE = np.clip(TRUE + RNG.normal(0, 12, TRUE.shape), 0, 255).astype(np.uint8)


def test_psnr_and_ssim_are_scikit_images() -> None:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert psnr(MADE, TRUE) == pytest.approx(peak_signal_noise_ratio(TRUE, MADE, data_range=255))
    assert ssim(MADE, TRUE) == pytest.approx(structural_similarity(TRUE, MADE, channel_axis=2, **options), abs=1e-9)
    luma = [rgb2ycbcr(p)[..., 0] - 16 for p in (TRUE, MADE)]
    assert psnr(MADE, TRUE, "y") == pytest.approx(peak_signal_noise_ratio(*luma, data_range=255), abs=1e-6)
    assert ssim(MADE, TRUE, "y") == pytest.approx(structural_similarity(*luma, **options), abs=1e-6)


def test_equal_pictures_are_perfect() -> None:
    assert psnr(TRUE, TRUE) == float("inf")
    assert ssim(TRUE, TRUE) == pytest.approx(1.0)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_other_pictures_are_refused(measure) -> None:
    with pytest.raises(InputError, match="uint8 of one size"):
        measure(MADE[:-1], TRUE)
    with pytest.raises(InputError, match="uint8 of one size"):
        measure(MADE / 255.0, TRUE / 255.0)
    with pytest.raises(InputError, match="space 'rgb' or 'y', got 'lab'"):
        measure(MADE, TRUE, "lab")
    if measure is ssim:
        with pytest.raises(InputError, match="at least 11 x 11"):
            ssim(MADE[:8], TRUE[:8])


def test_a_cumulative_distribution_counts_ties_at_once() -> None:
    x, y = cumulative([3.0, 1.0, 2.0, 2.0])
    assert x.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert y.tolist() == [0.25, 0.75, 0.75, 1.0]
    with pytest.raises(InputError, match=r"got shape \(0,\)"):
        cumulative([])


def test_error_versus_discard_is_the_rate_of_what_is_left() -> None:
    people = [f"s{k % 5}" for k in range(20)]
    scores, quality = RNG.normal(size=(20, 5)), RNG.integers(0, 4, 20).astype(float)
    scores[3] = np.nan
    trials = Trials.of(scores, people, [f"s{k}" for k in range(5)])
    found = error_versus_discard(trials, quality, 0.3)
    for share, fnmr, level in zip(found.share, found.fnmr, np.unique(quality), strict=True):
        kept = quality >= level
        assert share == pytest.approx(1 - kept.mean())
        assert fnmr == pytest.approx(ErrorRates.of(trials.select(kept)).fnmr(0.3))
    with pytest.raises(InputError, match="quality for each of 20 probes"):
        error_versus_discard(trials, quality[:3], 0.3)
    with pytest.raises(InputError, match="mated attempts, got none"):
        error_versus_discard(Trials.of([[1.0]], ["a"], ["b"]), [1.0], 0.3)
