"""Ranks, CMC and open-set rates against plain loops and on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.errors import InputError
from meetmid.evaluation import Trials, search, wilson

NAN = float("nan")


def random_trials(seed: int) -> tuple[Trials, list[str], list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.choice([0.0, 0.1, 0.2, 0.3, NAN], (8, 6))
    probes, gallery = rng.choice(list("abcde"), 8).tolist(), rng.choice(list("abcd"), 6).tolist()
    ignore = rng.random((8, 6)) < 0.2
    return Trials.of(scores, probes, gallery, ignore), probes, gallery, np.where(ignore, NAN, scores)


def candidates(row: np.ndarray, gallery: list[str], unit: str) -> list[tuple[str, float]]:
    """Who is in the list with which score."""
    entries = [(name, s) for name, s in zip(gallery, row, strict=True) if not np.isnan(s)]
    if unit == "entry":
        return entries
    return [(name, max(s for other, s in entries if other == name)) for name in {name for name, _ in entries}]


@pytest.mark.parametrize("unit", ["subject", "entry"])
@pytest.mark.parametrize(("ties", "share"), [("against", 1.0), ("for", 0.0), ("half", 0.5)])
@given(seed=st.integers(0, 2**32 - 1))
def test_ranks_are_the_plain_definition(unit: str, ties: str, share: float, seed: int) -> None:
    trials, probes, gallery, masked = random_trials(seed)
    found = search(trials, ties=ties, unit=unit)
    for k, (name, row) in enumerate(zip(probes, masked, strict=True)):
        listed = candidates(row, gallery, unit)
        own = [s for who, s in listed if who == name]
        others = [s for who, s in listed if who != name]
        assert np.array_equal(found.other[k], max(others, default=NAN), equal_nan=True)
        if not own:
            assert np.isnan(found.rank[k])
            continue
        best = max(own)
        assert found.mate[k] == best
        assert found.rank[k] == 1 + sum(s > best for s in others) + share * sum(s == best for s in others)


def test_several_mates_never_count_twice() -> None:
    scores = [[0.9, 0.8, 0.7, 0.1], [0.2, 0.1, 0.3, 0.4]]
    found = search(Trials.of(scores, ["a", "a"], ["a", "a", "a", "b"]))
    assert found.rank.tolist() == [1.0, 2.0]
    assert found.cmc().rates.tolist() == [0.5, 1.0]
    assert found.size == 2
    assert found.cmc(1).interval() == wilson(1, 2)


def test_failures_are_misses() -> None:
    found = search(Trials.of([[NAN, NAN], [NAN, 0.3], [0.4, NAN]], ["a", "a", "a"], ["a", "b"]))
    assert found.hits().tolist() == [False, False, True]
    assert found.cmc().rates.tolist() == [1 / 3, 1 / 3]


def test_a_cmc_names_the_probes_without_mates() -> None:
    found = search(Trials.of(np.zeros((3, 1)), ["a", "x", "y"], ["a"]))
    with pytest.raises(InputError, match=r"mate in the gallery, got none for the probes 1 \(x\), 2 \(y\)"):
        found.cmc()


def test_open_set_rates_worked_by_hand() -> None:
    scores = [[0.9, 0.2], [0.5, 0.6], [0.3, 0.1], [NAN, NAN], [0.8, 0.4], [0.1, 0.2], [NAN, NAN]]
    found = search(Trials.of(scores, ["a", "a", "a", "a", "x", "y", "z"], ["a", "b"]))
    assert found.fpir(0.5) == pytest.approx(1 / 3)  # x; the failed search of z returns nobody
    assert found.fpir([0.0, 0.2, 0.9]).tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert found.fnir(0.4) == 0.5  # 0.3 is too low and one failed
    assert found.fnir(0.4, rank=1) == 0.75  # and one is second
    assert found.investigation(1) == 0.5
    assert found.investigation(2) == 0.25
    fnir, threshold = found.identification(0.34)
    assert (fnir, threshold) == (0.25, pytest.approx(0.2))
    rate, at = found.detection_and_identification(0.34)
    assert (rate, at) == (0.5, pytest.approx(0.2))


@given(seed=st.integers(0, 2**32 - 1), target=st.floats(0.01, 1.0))
def test_open_set_rates_are_counts(seed: int, target: float) -> None:
    trials, probes, _, _ = random_trials(seed)
    found = search(trials)
    others, mates = np.flatnonzero(~found.mated), np.flatnonzero(found.mated)
    if len(others) and target >= 1 / len(others):
        threshold = found.threshold_at_fpir(target)
        rate = sum(found.other[k] > threshold for k in others) / len(others)
        assert found.fpir(threshold) == pytest.approx(rate)
        assert rate <= target
        for lower in {*found.other[others], -np.inf}:
            if lower < threshold:
                assert found.fpir(lower) > target
    if len(mates):
        for rank in (None, 1, 3):
            held = [found.mate[k] > 0.1 and (rank is None or found.rank[k] <= rank) for k in mates]
            assert found.fnir(0.1, rank) == pytest.approx(1 - sum(held) / len(mates))
    assert len(probes) == len(found.rank)


def test_what_the_searches_cannot_show_is_refused() -> None:
    mated = search(Trials.of([[0.1]], ["a"], ["a"]))
    with pytest.raises(InputError, match="non-mated searches, got none among 1"):
        mated.fpir(0.0)
    alone = search(Trials.of([[0.1], [0.2]], ["x", "y"], ["a"]))
    with pytest.raises(InputError, match="mated searches, got none"):
        alone.fnir(0.0)
    with pytest.raises(InputError, match=r"2 non-mated searches cannot show an FPIR of 0\.1"):
        alone.threshold_at_fpir(0.1)
    with pytest.raises(InputError, match="expected ties"):
        search(Trials.of([[0.1]], ["a"], ["a"]), ties="random")  # type: ignore[arg-type]


def test_rank_one_does_not_change_under_monotone_maps_and_permutations() -> None:
    rng = np.random.default_rng(2)
    scores, probes, gallery = rng.normal(size=(30, 10)), [f"s{k % 10}" for k in range(30)], [f"s{k}" for k in range(10)]
    wanted = search(Trials.of(scores, probes, gallery)).rank
    order = rng.permutation(10)
    assert (search(Trials.of(np.arctan(scores), probes, gallery)).rank == wanted).all()
    assert (search(Trials.of(scores[:, order], probes, [gallery[k] for k in order])).rank == wanted).all()
