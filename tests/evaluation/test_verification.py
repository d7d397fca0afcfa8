"""Error rates against scikit-learn, against counting, and on cases worked by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from meetmid.errors import InputError
from meetmid.evaluation import ErrorRates, Trials
from meetmid.evaluation.verification import within

NAN = float("nan")
SCORES = st.lists(st.one_of(st.integers(0, 6).map(float), st.just(NAN)), min_size=1, max_size=15).filter(
    lambda s: not all(np.isnan(s))
)


def counted(scores: list[float], threshold: float) -> int:
    return sum(s > threshold for s in scores)


@given(SCORES, SCORES, st.floats(-1, 7))
def test_rates_are_counts_over_all_attempts(mated: list[float], other: list[float], threshold: float) -> None:
    rates = ErrorRates.of(mated, other)
    assert rates.fmr(threshold) == pytest.approx(counted(other, threshold) / len(other))
    assert rates.fnmr(threshold) == pytest.approx(1 - counted(mated, threshold) / len(mated))
    point = rates.at(threshold)
    assert (point.k, point.n, point.false_matches, point.n_nonmated) == (
        counted(mated, threshold), len(mated), counted(other, threshold), len(other)
    )


def test_float32_scores_are_compared_with_a_float64_threshold_exactly() -> None:
    value = np.float32(0.1)
    rates = ErrorRates.of(np.array([value]), np.array([value]))
    assert rates.fmr(0.1) == 1.0  # the float32 next to 0.1 lies above it
    assert rates.fmr(float(value)) == 0.0
    assert rates.mated.dtype == np.float32


@given(SCORES, SCORES)
def test_area_and_curve_are_scikit_learns(mated: list[float], other: list[float]) -> None:
    lowest = [[-1.0 if np.isnan(s) else s for s in side] for side in (mated, other)]
    labels, scores = np.repeat([1, 0], [len(mated), len(other)]), np.concatenate(lowest)
    rates = ErrorRates.of(mated, other)
    assert rates.auc() == pytest.approx(roc_auc_score(labels, scores))
    curve = rates.curve()
    assert (np.diff(curve.fmr) >= 0).all()
    assert (np.diff(curve.fnmr) <= 0).all()
    fmr, tmr, _ = roc_curve(labels, scores, drop_intermediate=False)
    ours = {(round(a, 9), round(b, 9)) for a, b in zip(curve.fmr, curve.tmr, strict=True)}
    assert ours <= {(round(a, 9), round(b, 9)) for a, b in zip(fmr, tmr, strict=True)}
    whole = np.append(curve.fmr, 1.0), np.append(curve.tmr, 1.0)
    assert np.trapezoid(whole[1], whole[0]) == pytest.approx(rates.auc())


@settings(max_examples=300)
@given(SCORES, SCORES)
def test_equal_error_rate_is_the_crossing_and_its_interval(mated: list[float], other: list[float]) -> None:
    rates = ErrorRates.of(mated, other)
    found = rates.eer()
    every = sorted({*mated, *other} - {NAN}, key=lambda s: (np.isnan(s), s))
    thresholds = [-np.inf, *(s for s in every if not np.isnan(s))]
    points = [(counted(other, t) / len(other), 1 - counted(mated, t) / len(mated)) for t in thresholds]
    fmr, fnmr = (np.round(np.array(v), 12) for v in zip(*points, strict=True))
    loose, strict = np.flatnonzero(fnmr <= fmr), np.flatnonzero(fnmr >= fmr)
    if len(loose):
        first, last = loose[-1], strict[0]
        chosen = first if round(fmr[first] + fnmr[first] - fmr[last] - fnmr[last], 9) <= 0 else last
        assert found.midpoint == pytest.approx((fmr[chosen] + fnmr[chosen]) / 2)
        assert (found.low, found.high) == pytest.approx(tuple(sorted((fmr[chosen], fnmr[chosen]))))
        assert sorted((rates.fmr(found.threshold), rates.fnmr(found.threshold))) == pytest.approx([found.low, found.high])
    path = [(1.0, 0.0), *points]  # upwards in the threshold
    for (fmr1, fnmr1), (fmr0, fnmr0) in pairwise(path):
        if fmr1 - fnmr1 >= -1e-12 and fmr0 - fnmr0 <= 1e-12:
            share = 0.0 if fmr1 - fnmr1 == fmr0 - fnmr0 else (fmr1 - fnmr1) / (fmr1 - fnmr1 - fmr0 + fnmr0)
            assert found.value == pytest.approx(fmr1 + share * (fmr0 - fmr1), abs=1e-9)


def test_equal_error_rate_worked_by_hand() -> None:
    rates = ErrorRates.of([0.9, 0.8, 0.7, 0.35], [0.6, 0.4, 0.3, 0.2])
    # above 0.4: FMR 1/4, FNMR 1/4
    assert (rates.eer().value, rates.eer().low, rates.eer().high) == (0.25, 0.25, 0.25)
    apart = ErrorRates.of([3.0, 4.0], [1.0, 2.0]).eer()
    assert (apart.value, apart.midpoint) == (0.0, 0.0)
    # between 0.5 and 0.4 FMR jumps from 0 to 1/3 while FNMR is 1/2 and then 0
    jump = ErrorRates.of([0.9, 0.4], [0.4, 0.3, 0.2]).eer()
    assert (jump.low, jump.high) == (0.0, pytest.approx(1 / 3))
    assert jump.value == pytest.approx(0.2)  # on the line from (0, 1/2) to (1/3, 0)


@given(SCORES, SCORES, st.floats(0.01, 1.0))
def test_the_threshold_is_the_smallest_that_keeps_the_target(mated: list[float], other: list[float], target: float) -> None:
    rates = ErrorRates.of(mated, other)
    if target < 1 / len(other):
        with pytest.raises(InputError, match="cannot show an FMR"):
            rates.threshold_at_fmr(target)
        return
    threshold = rates.threshold_at_fmr(target)
    assert rates.fmr(threshold) <= target
    lower = [s for s in other if s < threshold]
    for smaller in [*lower, -np.inf] if threshold > -np.inf else []:
        assert rates.fmr(smaller) > target
    point = rates.tmr_at_fmr(target)
    assert point.tmr == pytest.approx(counted(mated, threshold) / len(mated))


@given(st.integers(1, 2000), st.data())
def test_shares_of_whole_counts_are_exact(count: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, count))
    assert within(k / count, count) == k


def test_rates_do_not_change_under_monotone_maps_and_permutations() -> None:
    rng = np.random.default_rng(1)
    scores, people = rng.normal(size=(40, 20)), [f"s{k % 20}" for k in range(40)]
    gallery = [f"s{k}" for k in range(20)]
    first = ErrorRates.of(Trials.of(scores, people, gallery))
    order = rng.permutation(40)
    for other in (
        ErrorRates.of(Trials.of(np.exp(scores), people, gallery)),
        ErrorRates.of(Trials.of(scores[order], [people[k] for k in order], gallery)),
    ):
        assert other.auc() == first.auc()
        assert other.eer().value == first.eer().value
        assert other.tmr_at_fmr(0.01).k == first.tmr_at_fmr(0.01).k


@pytest.mark.parametrize("target", [0.0, -0.1, 1.1, NAN])
def test_targets_lie_between_0_and_1(target: float) -> None:
    with pytest.raises(InputError, match="target FMR above 0"):
        ErrorRates.of([1.0], [0.0]).threshold_at_fmr(target)


def test_an_empty_kind_is_refused() -> None:
    with pytest.raises(InputError, match="expected mated scores"):
        ErrorRates.of([], [1.0])
    with pytest.raises(InputError, match="expected non-mated scores"):
        ErrorRates.of([1.0])
    with pytest.raises(InputError, match="expected non-mated scores"):
        ErrorRates.of(Trials.of([[1.0]], ["a"], ["a"]))
    with pytest.raises(InputError, match="infinite"):
        ErrorRates.of([np.inf], [1.0])


def test_nothing_acquired_is_an_error_rate_too() -> None:
    rates = ErrorRates.of([NAN, NAN], [0.1, 0.2, NAN])
    assert rates.fnmr(-np.inf) == 1.0
    assert rates.fmr(-np.inf) == pytest.approx(2 / 3)
    assert rates.auc() == pytest.approx(0.5 / 3)
