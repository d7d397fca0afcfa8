"""The subject bootstrap against really resampled matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from meetmid.errors import InputError
from meetmid.evaluation import ErrorRates, Trials, bootstrap, calibrate, search, weighted
from meetmid.evaluation import uncertainty as module

NAN = float("nan")


def trials(seed: int = 0, people: int = 8, each: int = 2, step: float = 0.25) -> Trials:
    rng = np.random.default_rng(seed)
    names = [f"s{k}" for k in range(people)]
    probes = [name for name in names for _ in range(each)] + ["x", "y"]
    scores = np.round(rng.normal(size=(len(probes), people + 1)) / step) * step
    for k, name in enumerate(probes[:-2]):
        scores[k, names.index(name)] += 1.5
    scores[1, 2] = NAN
    return Trials.of(scores, probes, [*names, "z"])


def repeated(data: Trials, weights: np.ndarray) -> tuple[list[float], list[float]]:
    """All mated and non-mated scores, each as often as its people were drawn."""
    own, other = [], []
    for p, row in enumerate(data.scores):
        for g, score in enumerate(row):
            a, b = data.probe_subjects[p], data.gallery_subjects[g]
            if a == b:
                own += [score] * int(weights[a])
            else:
                other += [score] * int(weights[a] * weights[b])
    return own, other


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_draws_are_those_of_repeated_scores(seed: int) -> None:
    data = trials(seed)
    people = module.draw_people(data, 6, seed)
    assert (people[0] == 1).all()
    statistics = {
        weighted.auc: lambda r: r.auc(), weighted.eer: lambda r: r.eer().value, weighted.fmr_at(0.5): lambda r: r.fmr(0.5),
        weighted.tmr_at(0.5): lambda r: 1 - r.fnmr(0.5), weighted.tmr_at_fmr(0.2): lambda r: r.tmr_at_fmr(0.2).tmr,
    }
    for statistic, slow in statistics.items():
        found = bootstrap(data, statistic, draws=6, seed=seed)
        for weights, value in zip(people, [found.value, *found.draws], strict=True):
            own, other = repeated(data, weights)
            assert value == pytest.approx(slow(ErrorRates.of(own, other)), abs=1e-9)


def test_kinds_of_people_are_drawn_apart() -> None:
    people = module.draw_people(trials(), 50, 1)
    data = trials()
    for names in ([f"s{k}" for k in range(8)], ["x", "y"], ["z"]):
        of = [data.names.index(name) for name in names]
        assert (people[:, of].sum(1) == len(names)).all()


def test_blocks_of_draws_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap(trials(), weighted.eer, draws=30)
    monkeypatch.setattr(module, "CELLS", 400)
    assert (bootstrap(trials(), weighted.eer, draws=30).draws == whole.draws).all()
    assert (bootstrap(trials(), weighted.eer, draws=30, seed=1).draws != whole.draws).any()


def test_a_paired_comparison_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(3)
    first = trials(3, people=30, step=0.01)
    better = np.where(first.probe_subjects[:, None] == first.gallery_subjects, first.scores + 0.4, first.scores)
    second = Trials(better + rng.normal(0, 0.05, better.shape), first.probe_subjects, first.gallery_subjects, first.names)
    gain = module.compare(second, first, weighted.auc, draws=300)
    assert gain.low > 0
    single = bootstrap(first, weighted.auc, draws=300)
    assert gain.high - gain.low < single.high - single.low
    nothing = module.compare(first, first, weighted.auc, draws=20)
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="same probes and gallery entries"):
        module.compare(first, trials(3), weighted.auc)


def test_hit_rates_draw_the_probes_people() -> None:
    data = trials(5)
    data = data.select(np.arange(16))
    found = search(data)
    interval = module.bootstrap_search(found, data, module.hit_rate(1), draws=40, seed=2)
    people = module.draw_people(data, 40, 2)[:, data.probe_subjects]
    hits = found.rank <= 1
    for weights, value in zip(people, [interval.value, *interval.draws], strict=True):
        assert value == pytest.approx(np.repeat(hits, weights.astype(int)).mean())
    assert interval.low <= interval.value <= interval.high


def test_mcnemar_is_the_exact_binomial_test() -> None:
    first, second = np.array([1, 1, 1, 1, 1, 0, 1, 0], bool), np.array([0, 0, 0, 0, 1, 1, 1, 0], bool)
    found = module.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (4, 1)
    assert found.p_value == pytest.approx(binomtest(4, 5).pvalue)
    assert module.mcnemar(first, first).p_value == 1.0
    with pytest.raises(InputError, match=r"got \(8,\) and \(7,\)"):
        module.mcnemar(first, second[:7])


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(InputError, match="at least one draw, got 0"):
        bootstrap(trials(), weighted.auc, draws=0)
    with pytest.raises(InputError, match="level between 0 and 1, got 95"):
        bootstrap(trials(), weighted.auc, draws=2, level=95)
    with pytest.raises(InputError, match="expected mated pairs, got none"):
        bootstrap(Trials.of([[1.0]], ["a"], ["b"]), weighted.auc)


def test_intervals_of_rates_use_log_odds_and_students_quantile() -> None:
    from scipy.special import expit, logit
    from scipy.stats import t

    rng = np.random.default_rng(0)
    people = [f"P{k}" for k in range(12)]
    trials = Trials.of(rng.normal(size=(12, 12)) + np.eye(12), people, people)
    found = bootstrap(trials, weighted.auc, draws=200)
    reach = t.ppf(0.975, 11) * np.sqrt(12 / 11) * logit(found.draws).std(ddof=1)
    assert (found.low, found.high) == pytest.approx(tuple(expit(logit(found.value) + np.array([-reach, reach]))))


def test_bands_lie_around_their_curves() -> None:
    from meetmid.evaluation.bands import calibration_band, discard_band, open_set_band
    from meetmid.evaluation.quality import error_versus_discard

    rng = np.random.default_rng(1)
    people = [f"P{k}" for k in range(25)]
    probes = [*people, *people, *(f"X{k}" for k in range(40))]
    scores = rng.normal(size=(90, 25))
    scores[np.arange(50), np.arange(50) % 25] += 2.0
    trials = Trials.of(scores, probes, people)
    found = search(trials)
    open_set = open_set_band(found, trials, [0.05, 0.3, 1.0], draws=100)
    for x, value, low, high in zip(open_set.x, open_set.value, open_set.low, open_set.high, strict=True):
        assert value == pytest.approx(float(found.fnir(found.threshold_at_fpir(x))))
        assert low <= value <= high
    quality = rng.random(90)
    own = trials.select(np.arange(50))
    around = discard_band(own, quality[:50], 1.0, [0.0, 0.5], draws=100)
    curve = error_versus_discard(own, quality[:50], 1.0)
    assert around.value[0] == pytest.approx(curve.fnmr[0])
    assert around.value[1] == pytest.approx(float(curve.fnmr[np.searchsorted(curve.share, 0.5 - 1e-9)]))
    assert (around.low <= around.value).all()
    assert (around.value <= around.high).all()
    llr = calibration_band(trials, [0.0, 1.0], draws=40)
    wanted = calibrate(trials).log10_lr([0.0, 1.0])
    assert llr.value == pytest.approx(wanted, abs=1e-6)
    assert (llr.low < llr.value).all()
