"""The figures of an experiment, against counts made by hand and by loops."""

from __future__ import annotations

import numpy as np
import pytest

from meetmid.errors import InputError
from meetmid.evaluation import Trials, fold_accuracy, wilson
from meetmid.evaluation.measures import pair_measures, quality_measures, search_measures, transferred
from meetmid.evaluation.published import FUSED_LADDER, TABLES, tables_of
from meetmid.evaluation.uncertainty import bootstrap_pairs, share_interval
from meetmid.evaluation.weighted import tmr_at


@pytest.fixture
def trials() -> Trials:
    rng = np.random.default_rng(5)
    people = [f"P{k}" for k in range(20)]
    scores = rng.normal(size=(60, 20))
    probes = [people[k % 20] for k in range(60)]
    scores[np.arange(60), np.arange(60) % 20] += 2.0
    scores[7] = np.nan
    return Trials.of(scores, probes, people)


def test_counts_and_intervals(trials: Trials) -> None:
    found = {m.name: m for m in search_measures(trials, draws=100)}
    scores = trials.scores
    own = scores[np.arange(60), np.arange(60) % 20]
    first = int(np.nansum(np.sum(scores >= own[:, None], axis=1) == 1))
    assert (found["rank-1"].k, found["rank-1"].n) == (first, 60)
    assert found["rank-1"].value == pytest.approx(100 * first / 60)
    assert found["rank-1"].low < found["rank-1"].value < found["rank-1"].high
    assert (found["failure to acquire"].k, found["failure to acquire"].n) == (1, 60)
    assert (found["rank-20"].k, found["rank-20"].n) == (59, 60)
    assert "TMR at FMR 1 %" in found
    assert "TMR at FMR 0.1 %" in found  # 1140 non-mated pairs can show it
    assert "FNIR at FPIR 10 %" not in found  # every probe has a mate


def test_a_perfect_rate_has_an_interval_over_people(trials: Trials) -> None:
    perfect = Trials(
        np.eye(20)[np.arange(60) % 20], trials.probe_subjects, trials.gallery_subjects, trials.names
    )
    found = {m.name: m for m in search_measures(perfect, draws=50)}["rank-1"]
    assert (found.low, found.high) == pytest.approx([100 * v for v in wilson(20, 20)])


def test_open_sets_have_nists_rates() -> None:
    rng = np.random.default_rng(1)
    probes = [f"P{k}" for k in range(10)] + [f"X{k}" for k in range(20)]
    scores = rng.random((30, 10))
    scores[np.arange(10), np.arange(10)] += 0.9
    found = {m.name: m for m in search_measures(Trials.of(scores, probes, probes[:10]), draws=20)}
    tops = np.sort(scores[10:].max(axis=1))
    threshold = tops[-1 - 2]  # two of twenty may lie above
    missed = int((scores[np.arange(10), np.arange(10)] <= threshold).sum())
    assert (found["FNIR at FPIR 10 %"].k, found["FNIR at FPIR 10 %"].n) == (missed, 10)
    assert "FNIR at FPIR 1 %" not in found  # twenty searches cannot show it


def test_thresholds_come_from_other_people(trials: Trials) -> None:
    true, false = transferred(trials, 0.05, draws=50, seed=3)
    assert true.low < true.value < true.high
    order = np.random.default_rng(3).permutation(20)
    halves = [set(order[:10].tolist()), set(order[10:].tolist())]
    counts = np.zeros(4, int)
    for dev, test in (halves, halves[::-1]):
        def pairs(people: set[int], mated: bool) -> list[float]:
            return [
                trials.scores[p, g] for p in range(60) for g in range(20)
                if trials.probe_subjects[p] in people and trials.gallery_subjects[g] in people
                and (trials.probe_subjects[p] == trials.gallery_subjects[g]) == mated
            ]

        nonmated = pairs(dev, False)
        known = sorted(v for v in nonmated if not np.isnan(v))
        allowed = int(0.05 * len(nonmated))
        threshold = known[-1 - allowed]
        for place, mated in ((0, True), (2, False)):
            values = pairs(test, mated)
            counts[place] += sum(v > threshold for v in values)
            counts[place + 1] += len(values)
    assert [true.k, true.n, false.k, false.n] == counts.tolist()
    assert transferred(trials, 1e-4) == []  # no half can set it


def test_pairs_and_pictures() -> None:
    rng = np.random.default_rng(2)
    mated = np.arange(200) % 2 == 0
    scores = rng.normal(size=200) + 2 * mated
    scores[3] = np.nan
    accuracy = fold_accuracy(scores, mated, np.arange(200) // 20)
    people = [f"P{k // 4}" for k in range(200)]
    others = [p if same else f"P{(k // 4 + 1) % 50}" for k, (p, same) in enumerate(zip(people, mated, strict=True))]
    found = {m.name: m for m in pair_measures(scores, mated, np.arange(200) // 20, people, others, draws=100)}
    assert (found["failed pairs"].k, found["accuracy"].k) == (1, accuracy.right)
    assert found["accuracy, failures wrong"].k == accuracy.right - 1  # the failed pair was non-mated
    for name in ("accuracy", "AUC", "EER"):
        assert found[name].low < found[name].value < found[name].high
    wide = found["accuracy"].high - found["accuracy"].low
    low, high = wilson(accuracy.right, 200)
    assert wide > 90 * (high - low)
    broken = pair_measures(np.full(4, np.nan), [True, False] * 2, [0, 0, 1, 1], "abcd", "abcd")
    assert [m.name for m in broken] == ["failed pairs"]
    quality = quality_measures([(30.0, 0.9), (32.0, 0.8)])
    assert [m.value for m in quality] == pytest.approx([31.0, 0.85])
    assert str(quality[0]).startswith("31.00 dB [")
    with pytest.raises(InputError, match="N > 0 pictures"):
        quality_measures([])


def test_published_tables_hold_together() -> None:
    for table in TABLES:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows.values()), table.paper
    assert len(tables_of("arl-vtf", 16)) == 1
    assert len(tables_of("arl-vtf")) == 3
    assert not tables_of("arl-vtf", 20)
    assert {t.size for t in tables_of("lfw", 28)} == {28}
    assert tables_of("lfw", 28)[0].rows["f FHN, teacher, student, assistant"] == (98.8,)
    assert all("RIM, 28" not in str(t.rows) and t.size is None for t in tables_of("lfw"))
    assert tables_of("arl-vtf", 16)[0].rows["ANYRES-multi"] == (91.24, 16.90, 0.6305)
    assert [t.paper for t in tables_of("casia")] == ["PCFH, table 1 (fold 1)"]
    assert [t.paper for t in tables_of("casia", all_folds=True)] == ["PCFH, table 2 (mean of ten folds)"]
    assert tables_of("folder") == ()
    for values in FUSED_LADDER.values():  # all are k/650 truncated (networks.md section 4.9)
        assert all(v is None or any(k * 10000 // 650 == round(v * 100) for k in range(651)) for v in values)


def test_a_flawless_system_gets_no_interval_of_no_width() -> None:
    scores = np.eye(6)[np.arange(18) % 6] + np.arange(18)[:, None] * 1e-3
    people = [f"P{k}" for k in range(6)]
    found = search_measures(Trials.of(scores, [people[k % 6] for k in range(18)], people), draws=50)
    for measure in found:
        assert np.isnan(measure.low) or measure.low < measure.high, measure.name
    assert "no interval" in next(m for m in found if m.name == "AUC").note


def test_people_without_strangers_have_ranks_only() -> None:
    found = search_measures(Trials.of([[0.5], [0.7]], ["a", "a"], ["a"]), draws=10)
    assert [m.name for m in found] == ["failure to acquire", "failure to enrol", "rank-1"]


def test_probes_without_mates_are_told() -> None:
    found = {m.name: m for m in search_measures(Trials.of(np.eye(3), ["a", "b", "x"], ["a", "b", "c"]), draws=10)}
    assert (found["probes without a mate"].k, found["probes without a mate"].n) == (1, 3)
    assert found["rank-1"].n == 2


def test_failures_come_from_the_statuses() -> None:
    trials = Trials.of(np.full((2, 3), np.nan), ["a", "b"], ["a", "b", "c"])
    found = search_measures(trials, failed=([True, True], [True, False, False]), draws=10)
    assert [(m.k, m.n) for m in found[:2]] == [(2, 2), (1, 3)]


def test_shares_draw_people() -> None:
    people = np.repeat(np.arange(30), 5)
    flags = people % 3 == 0  # all five of a person alike: thirty cases, not 150
    low, high = share_interval(flags, people)
    wide = high - low
    assert wide > 1.5 * np.subtract(*wilson(50, 150)[::-1])
    assert share_interval([True] * 6, [0, 0, 1, 1, 2, 2]) == wilson(3, 3)
    assert share_interval(np.zeros(4, bool), [0, 1, 2, 3]) == wilson(0, 4)


def test_pairs_share_their_people() -> None:
    """A pair's weight is that of its people: drawing each of two people twice counts their pair four times."""
    scores, mated = np.array([0.9, 0.2, 0.4, 0.6]), np.array([True, True, False, False])
    first, second = ["a", "b", "a", "c"], ["a", "b", "b", "d"]
    found = bootstrap_pairs(scores, mated, first, second, tmr_at(0.5), draws=400, seed=1)
    weights = np.random.default_rng(1).multinomial(4, [0.25] * 4, size=400)
    wanted = weights[:, 0] / np.maximum(weights[:, 0] + weights[:, 1], 1e-12)
    valid = weights[:, 0] + weights[:, 1] > 0
    assert found.value == 0.5
    assert np.allclose(found.draws[valid], wanted[valid])
