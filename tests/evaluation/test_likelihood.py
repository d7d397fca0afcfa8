"""Cllr, its minimum, and calibrations, against scikit-learn and known distributions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from meetmid.errors import InputError, StoreError
from meetmid.evaluation import Calibration, Trials, calibrate, cllr, min_cllr
from meetmid.evaluation.likelihood import pav

NAN = float("nan")
RNG = np.random.default_rng(0)
MATED, OTHER = RNG.normal(2, 1, 4000), RNG.normal(0, 1, 40000)


def test_cllr_worked_by_hand() -> None:
    assert cllr([0.0], [0.0]) == 1.0  # no information costs one bit
    assert cllr([NAN], [NAN]) == 1.0  # and so does a failure
    assert cllr([np.inf], [-np.inf]) == 0.0
    assert cllr([-np.inf], [0.0]) == np.inf
    odds = np.log(3)  # log2(4/3) and log2(4)
    assert cllr([odds], [odds]) == pytest.approx((np.log2(4 / 3) + 2) / 2)


def test_the_likelihood_ratio_of_two_normals_is_found() -> None:
    found = calibrate(MATED, OTHER)
    assert (found.slope, found.offset) == pytest.approx((2.0, -2.0), abs=0.03)  # llr = 2 s - 2
    llr = found.llr(MATED), found.llr(OTHER)
    best = cllr(2 * MATED - 2, 2 * OTHER - 2)
    assert cllr(*llr) == pytest.approx(best, abs=2e-3)
    assert min_cllr(MATED, OTHER) < cllr(*llr)
    assert min_cllr(MATED, OTHER) == pytest.approx(best, abs=0.02)


def test_logistic_is_scikit_learns() -> None:
    scores = np.concatenate([MATED, OTHER])
    weights = np.repeat([0.5 / len(MATED), 0.5 / len(OTHER)], [len(MATED), len(OTHER)])
    standard = (scores - scores.mean()) / scores.std()
    theirs = LogisticRegression(C=10 * min(len(MATED), len(OTHER)), tol=1e-12, max_iter=10000).fit(
        standard[:, None], np.repeat([1, 0], [len(MATED), len(OTHER)]), sample_weight=weights
    )
    ours = calibrate(MATED, OTHER)
    slope = theirs.coef_[0, 0] / scores.std()
    assert ours.slope == pytest.approx(slope, rel=1e-5)
    assert ours.offset == pytest.approx(theirs.intercept_[0] - slope * scores.mean(), rel=1e-5)


FINITE = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


@given(FINITE, FINITE)
def test_pooled_ratios_are_scikit_learns_isotonic_fit(mated: list[float], other: list[float]) -> None:
    levels, llr = pav(mated, other)
    scores, labels = np.array(mated + other), np.repeat([1.0, 0.0], [len(mated), len(other)])
    share = IsotonicRegression().fit(scores, labels).predict(levels)
    ours = 1 / (1 + np.exp(-(llr + np.log(len(mated) / len(other)))))
    assert ours == pytest.approx(share, abs=1e-9)
    assert (llr[1:] >= llr[:-1]).all()


@given(FINITE, FINITE)
def test_no_monotone_map_beats_the_minimum(mated: list[float], other: list[float]) -> None:
    least = min_cllr(mated, other)
    for scale in (0.1, 1.0, 3.0):
        for shift in (-2.0, 0.0, 2.0):
            assert least <= cllr(scale * (np.array(mated) - 2.5) + shift, scale * (np.array(other) - 2.5) + shift) + 1e-9
    assert min_cllr(np.exp(mated), np.exp(other)) == pytest.approx(least)


def test_failures_cost_one_bit_of_the_minimum_too() -> None:
    assert min_cllr([3.0, NAN], [1.0, NAN]) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["logistic", "isotonic"])
def test_a_calibration_rises_stays_within_its_evidence_and_is_kept(kind: str, tmp_path: Path) -> None:
    found = calibrate(MATED, OTHER, kind=kind, made_with={"config": "abc"})
    line = found.llr(np.linspace(-20, 20, 1001))
    assert (np.diff(line) >= 0).all()
    assert line[0] >= -np.log(4001)
    assert line[-1] <= np.log(40001)
    assert np.isnan(found.llr([NAN, 1.0])[0])
    found.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == found


def test_separate_kinds_still_give_bounded_evidence() -> None:
    for kind in ("logistic", "isotonic"):
        found = calibrate([2.0, 3.0], [0.0, 1.0, 0.5], kind=kind)
        assert found.llr(100.0) <= np.log(4)
        assert found.llr(-100.0) >= -np.log(3)
        assert found.llr(3.0) > 0 > found.llr(0.0)


def test_decisions_need_the_strength_asked_for() -> None:
    found = calibrate(MATED, OTHER)
    told = found.decide([5.0, 1.0, -3.0, NAN])
    assert told.tolist() == ["same person", "no decision", "different people", "no decision"]
    assert found.decide([5.0], strength=1e9).tolist() == ["no decision"]
    with pytest.raises(InputError, match="strength of evidence above 1, got 1"):
        found.decide([1.0], strength=1.0)


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(InputError, match="got 0 and 1"):
        calibrate([NAN], [1.0])
    for kind in ("logistic", "isotonic"):
        for mated in ([0.0, 0.1], [2.0, 3.0]):
            with pytest.raises(InputError, match="mated scores above non-mated ones"):
                calibrate(mated, [2.0, 3.0], kind=kind)
        for mated, other in (([np.inf, 1.0], [0.0]), ([1.0], [-np.inf, 0.0])):
            with pytest.raises(InputError, match="expected finite scores to calibrate, or NaN for failures, got infinite ones"):
                calibrate(mated, other, kind=kind)
        with pytest.raises(InputError, match="mated scores above non-mated ones"):
            calibrate([0.1] * 3, [0.1], kind=kind)  # whose means differ by rounding
    with pytest.raises(InputError, match="mated scores above non-mated ones"):
        calibrate([0.0, 1.0], [2.0, 3.0])
    with pytest.raises(InputError, match="kind 'logistic' or 'isotonic', got 'linear'"):
        calibrate([1.0], [0.0], kind="linear")
    assert calibrate(Trials.of([[1.0, 0.0], [0.2, 0.9]], ["a", "b"], ["a", "b"])).n_mated == 2


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"}, {"kind": "linear"}, {"slope": -1.0}, {"kind": "isotonic"}, {"scores": [1.0]}, {"extra": 1},
        {"kind": "isotonic", "scores": [1.0, 0.0], "llrs": [0.0, 1.0]}, {"n_mated": None, "slope": "x"},
        {"slope": np.inf}, {"offset": NAN}, {"offset": -np.inf}, {"mated": [NAN]},
        {"kind": "isotonic", "scores": [0.0, np.inf], "llrs": [0.0, 1.0]},
        {"kind": "isotonic", "scores": [0.0, 1.0], "llrs": [-np.inf, 1.0]},
    ],
)
def test_a_damaged_calibration_is_refused(change: dict, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    calibrate(MATED, OTHER).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StoreError, match="expected a saved calibration"):
        Calibration.load(path)
