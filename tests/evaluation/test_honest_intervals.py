"""Intervals that are as wide as what is known: few people, pairs of two, halves drawn apart, and no width of rounding."""

from __future__ import annotations

import numpy as np
import pytest

from meetmid.errors import InputError
from meetmid.evaluation import Trials, calibrate, compare, fold_accuracy, wilson, z_norm
from meetmid.evaluation.bands import discard_band
from meetmid.evaluation.measures import pair_measures, search_measures, transferred
from meetmid.evaluation.quality import error_versus_discard
from meetmid.evaluation.uncertainty import mcnemar, mean_interval, share_interval
from meetmid.evaluation.weighted import auc


def random_system(rng: np.random.Generator, people: int, each: int = 5) -> Trials:
    names = [f"s{k}" for k in range(people)]
    probes = [name for name in names for _ in range(each)]
    mated = np.array([[p == g for g in names] for p in probes])
    own = np.repeat(rng.normal(size=people), each)[:, None]
    return Trials.of(rng.normal(size=mated.shape) + mated * (1 + own), probes, names)


def test_of_two_like_systems_one_is_seldom_called_better() -> None:
    rng, wrong = np.random.default_rng(0), 0
    for run in range(120):
        found = compare(random_system(rng, 8), random_system(rng, 8), auc, draws=100, seed=run)
        wrong += not found.low <= 0 <= found.high
    assert wrong <= 12  # 6 are expected; percentiles give 16 and more


def test_the_difference_of_two_systems_is_that_of_their_people() -> None:
    rng = np.random.default_rng(1)
    better, worse = random_system(rng, 30), random_system(rng, 30)
    better = Trials.of(better.scores + 4 * (better.probe_subjects[:, None] == better.gallery_subjects), *sides(better))
    found = compare(better, worse, auc)
    assert found.low > 0
    assert (found.low + found.high) / 2 == pytest.approx(found.value)
    ignoring = Trials.of(worse.scores, *sides(worse), ignore=np.arange(30)[None] < np.full((150, 1), 3))
    with pytest.raises(InputError, match="less the same pairs"):
        compare(better, ignoring, auc)
    whole = Trials.of(worse.scores, *sides(worse), ignore=np.zeros((150, 30), bool))
    assert compare(better, whole, auc).low == found.low  # a mask of nothing is none


def sides(trials: Trials) -> tuple[list[str], list[str]]:
    return tuple([trials.names[k] for k in its] for its in (trials.probe_subjects, trials.gallery_subjects))  # type: ignore[return-value]


def test_both_people_of_a_pair_are_drawn() -> None:
    rng = np.random.default_rng(2)
    mated = np.arange(600) < 300
    first = [f"p{k % 60}" for k in range(600)]
    second = [first[k] if mated[k] else f"q{k % 6}" for k in range(600)]
    scores = np.where(mated, 2.0, np.where(np.arange(600) % 6 < 2, 3.0, 0.0)) + rng.normal(0, 0.01, 600)
    one, other = (pair_measures(scores, mated, np.arange(600) % 10, *people) for people in ((first, second), (second, first)))
    for a, b in zip(one[1:], other[1:], strict=True):
        assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=2.0)  # the draws' order alone
    assert one[1].name == "accuracy"
    assert one[1].high - one[1].low > 15  # two of six people are to blame for all errors


def test_a_share_of_pairs_by_the_definition() -> None:
    rng = np.random.default_rng(3)
    flags, own, other = rng.random(300) < 0.7, rng.integers(0, 30, 300), rng.integers(0, 30, 300)
    low, high = share_interval(flags, own, other, draws=400)
    drawn = rng.multinomial(30, np.full(30, 1 / 30), 4000)
    weights = drawn[:, own] * np.where(own == other, 1, drawn[:, other])
    shares = (weights @ flags) / weights.sum(axis=1)
    assert high - low == pytest.approx(2 * 2.05 * np.sqrt(30 / 29) * shares.std(), rel=0.2)  # Student's of 29
    assert share_interval(flags, own, own) == share_interval(flags, own)


def test_halves_are_drawn_apart() -> None:
    names = [f"s{k:02}" for k in range(40)]
    probes = [name for name in names for _ in range(5)]
    mated = np.array([[p == g for g in names] for p in probes])
    widths = []
    for hard in (range(0, 20), range(10, 30), range(0, 40, 2)):
        scores = np.where(mated, 3.0, 0.0) + np.random.default_rng(3).normal(0, 0.1, mated.shape)
        scores[[k for k in range(200) if k // 5 in hard]] -= 3.0 * mated[[k for k in range(200) if k // 5 in hard]]
        tmr = next(m for m in transferred(Trials.of(scores, probes, names), 0.01, draws=300) if m.name.startswith("TMR"))
        assert tmr.value == pytest.approx(50, abs=4)
        widths.append(tmr.high - tmr.low)
    assert 25 < min(widths) <= max(widths) < 45  # drawn alike: from 0 to 46


@pytest.mark.parametrize(("flags", "people"), [
    (np.tile([1, 1, 1, 1, 0], 26), np.repeat(np.arange(26), 5)), (np.array([1, 0, 1, 0]), np.zeros(4, int)),
])
def test_people_who_are_all_alike_give_no_certainty(flags, people) -> None:
    low, high = share_interval(flags.astype(bool), people)
    assert low < flags.mean() - 0.05
    assert high > flags.mean() + 0.05


def test_wilson_is_of_no_more_people_than_pairs() -> None:
    people = [f"p{k}" for k in range(200)]
    low, high = share_interval(np.ones(100, bool), people[:100], people[100:])
    assert (low, high) == pytest.approx(wilson(100, 100))
    narrow, _ = share_interval(np.ones(100, bool), people[:100], people[100:], level=0.5)
    assert low < narrow < 1


def test_a_difference_that_is_always_the_same_is_no_certainty() -> None:
    found = mean_interval(np.full(10, 0.5), np.arange(10))
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()
    none = mean_interval(np.zeros(10), np.arange(10))
    assert (none.low, none.high) == (0.0, 0.0)


def test_an_interval_of_rounding_is_none() -> None:
    measures = search_measures(Trials.of(np.random.default_rng(0).normal(size=(4, 2)), list("aabb"), list("ab")))
    found = next(m for m in measures if m.name == "AUC")
    assert np.isnan(found.low)
    assert "no interval" in found.note


@pytest.mark.parametrize(("mates", "others"), [(10, 20000), (50, 20000), (20000, 10)])
def test_few_scores_of_a_kind_do_not_overstate_the_evidence(mates: int, others: int) -> None:
    rng = np.random.default_rng(5)
    slopes = [calibrate(rng.normal(4, 1, mates), rng.normal(0, 1, others)).slope for _ in range(20)]
    assert 0.5 < np.median(slopes) <= 4.0  # the true one is 4
    assert np.mean(np.array(slopes) > 4.0) <= 0.1


def test_attempts_of_equal_quality_leave_together() -> None:
    scores = np.eye(8) - 0.5
    scores[[0, 2], [0, 2]] = -1.0
    for order in (np.arange(8), np.array([2, 0, 1, 3, 4, 5, 6, 7]), np.array([1, 3, 0, 2, 7, 6, 5, 4])):
        trials = Trials.of(scores[order], [f"s{k}" for k in order], [f"s{k}" for k in range(8)])
        quality = np.repeat([1.0, 2.0], 4)
        band = discard_band(trials, quality, 0.0, [0.0, 0.25, 0.5, 0.75])
        curve = error_versus_discard(trials, quality, 0.0)
        assert band.value.tolist() == [0.25, 0.25, 0.0, 0.0]
        assert curve.fnmr.tolist() == [0.25, 0.0]


def test_a_cohort_is_of_others_than_the_people_that_are_there() -> None:
    names = [f"s{k}" for k in range(6)]
    whole = Trials.of(np.random.default_rng(6).normal(size=(6, 6)), names, names)
    some = whole.select(np.arange(6) < 3, np.arange(6) < 3)
    assert np.isfinite(z_norm(some, np.random.default_rng(7).normal(size=(3, 3)), names[3:]).scores).all()
    with pytest.raises(InputError, match="other people"):
        z_norm(some, np.ones((3, 3)), names[2:5])


@pytest.mark.parametrize(("cohort", "message"), [
    (np.full((3, 2), 0.1), "only one value at 0, 1"),
    ([[0.1, 0.2], [np.nan, 0.3], [np.nan, 0.4]], "at least two cohort scores"),
    ([[np.inf, 0.2], [0.1, 0.3], [0.2, 0.4]], "finite scores of the gallery"),
])
def test_cohorts_that_tell_nothing_are_refused(cohort, message: str) -> None:
    trials = Trials.of(np.eye(2), ["a", "b"], ["a", "b"])
    with pytest.raises(InputError, match=message):
        z_norm(trials, np.asarray(cohort), ["x", "y", "z"])


def test_what_is_empty_or_infinite_is_refused() -> None:
    with pytest.raises(InputError, match="probes and gallery entries"):
        search_measures(Trials.of(np.zeros((0, 2)), [], ["a", "b"]))
    with pytest.raises(InputError, match="got none"):
        pair_measures([], np.zeros(0, bool), [], [], [])
    with pytest.raises(InputError, match="infinite"):
        fold_accuracy([np.inf, 0.0, 1.0, 0.0], np.array([True, False, True, False]), [0, 0, 1, 1])
    with pytest.raises(InputError, match="one draw"):
        share_interval([True, False], [0, 1], draws=0)
    assert mcnemar([True, False], [True, True]).only_second == 1
