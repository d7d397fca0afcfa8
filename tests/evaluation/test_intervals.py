"""Intervals of proportions against scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from meetmid.errors import InputError
from meetmid.evaluation import clopper_pearson, wilson

TRIALS = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(TRIALS)
def test_wilson_and_clopper_pearson_are_the_published_intervals(trial: tuple[int, int]) -> None:
    k, n = trial
    for ours, method in ((wilson(k, n), "wilson"), (clopper_pearson(k, n), "exact")):
        expected = binomtest(k, n).proportion_ci(0.95, method=method)
        assert ours == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_trials_tell_nothing() -> None:
    assert wilson(0, 0) == clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(interval, k: int, n: int) -> None:
    with pytest.raises(InputError, match=f"got k = {k}, n = {n}"):
        interval(k, n)


def test_a_level_lies_between_0_and_1() -> None:
    with pytest.raises(InputError, match="level between 0 and 1, got 95"):
        clopper_pearson(1, 3, level=95)
