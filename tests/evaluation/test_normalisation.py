"""Cohort normalisation against loops."""

from __future__ import annotations

import numpy as np
import pytest

from meetmid.errors import InputError
from meetmid.evaluation import Trials, as_norm, s_norm, t_norm, z_norm

RNG = np.random.default_rng(4)
SCORES, PROBE, GALLERY = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 9)), RNG.normal(2, 3, size=(9, 4))
PROBE[1, 2] = np.nan
TRIALS = Trials.of(SCORES, list("abcde"), list("abcd"))
COHORT = [f"c{k}" for k in range(9)]


def standard(value: float, others: np.ndarray) -> float:
    kept = others[~np.isnan(others)]
    return (value - kept.mean()) / kept.std(ddof=1)


def test_each_norm_is_its_definition() -> None:
    z, t = z_norm(TRIALS, GALLERY, COHORT).scores, t_norm(TRIALS, PROBE, COHORT).scores
    s = s_norm(TRIALS, PROBE, GALLERY, COHORT).scores
    a = as_norm(TRIALS, PROBE, GALLERY, COHORT, top=4).scores
    for p in range(5):
        for g in range(4):
            assert z[p, g] == pytest.approx(standard(SCORES[p, g], GALLERY[:, g]))
            assert t[p, g] == pytest.approx(standard(SCORES[p, g], PROBE[p]))
            assert s[p, g] == pytest.approx((z[p, g] + t[p, g]) / 2)
            best = [np.array(sorted(v[~np.isnan(v)])[-4:]) for v in (PROBE[p], GALLERY[:, g])]
            assert a[p, g] == pytest.approx(sum(standard(SCORES[p, g], b) for b in best) / 2)


def test_t_norm_removes_what_a_probe_adds_to_all_its_scores() -> None:
    shifted = Trials.of(SCORES + 5 * np.arange(5)[:, None], list("abcde"), list("abcd"))
    moved = t_norm(shifted, PROBE + 5 * np.arange(5)[:, None], COHORT)
    assert moved.scores == pytest.approx(t_norm(TRIALS, PROBE, COHORT).scores)


def test_people_of_the_trials_may_not_be_in_the_cohort() -> None:
    with pytest.raises(InputError, match="cohort of other people, got b on both sides"):
        z_norm(TRIALS, GALLERY, [*COHORT[:-1], "b"])


def test_failures_stay_failures() -> None:
    scores = SCORES.copy()
    scores[2] = np.nan
    assert np.isnan(t_norm(Trials.of(scores, list("abcde"), list("abcd")), PROBE, COHORT).scores[2]).all()


def test_unusable_cohorts_are_refused() -> None:
    with pytest.raises(InputError, match=r"probes with the cohort \(5, 9\), got \(4, 9\)"):
        t_norm(TRIALS, PROBE[:4], COHORT)
    with pytest.raises(InputError, match="at least 2, got 1"):
        z_norm(TRIALS, GALLERY[:1], COHORT[:1])
    with pytest.raises(InputError, match="scores that differ, got only one value at 0"):
        z_norm(TRIALS, np.ones((9, 4)), COHORT)
    with pytest.raises(InputError, match="top from 2 to the 9"):
        as_norm(TRIALS, PROBE, GALLERY, COHORT, top=10)


def test_as_norm_of_a_whole_cohort_survives_a_failure() -> None:
    found = as_norm(TRIALS, PROBE, GALLERY, COHORT, top=9).scores
    best = [standard(SCORES[1, 2], v) for v in (PROBE[1], GALLERY[:, 2])]
    assert found[1, 2] == pytest.approx(sum(best) / 2)
    assert not np.isnan(found).any()
    few = PROBE.copy()
    few[3, 1:] = np.nan
    with pytest.raises(InputError, match="at least two cohort scores for every entry, got fewer at 3"):
        as_norm(TRIALS, few, GALLERY, COHORT, top=4)
