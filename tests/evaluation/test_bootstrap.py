"""The subject bootstrap against really resampled matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from meetmid.errors import InputError
from meetmid.evaluation import ErrorRates, Trials, bootstrap, search
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


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_draws_are_those_of_repeated_scores(seed: int) -> None:
    data = trials(seed)
    people = module.draw_people(data, 6, seed)
    assert (people[0] == 1).all()
    statistics = {
        module.auc: lambda r: r.auc(), module.eer: lambda r: r.eer().value, module.fmr_at(0.5): lambda r: r.fmr(0.5),
        module.tmr_at(0.5): lambda r: 1 - r.fnmr(0.5), module.tmr_at_fmr(0.2): lambda r: r.tmr_at_fmr(0.2).tmr,
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
    whole = bootstrap(trials(), module.eer, draws=30)
    monkeypatch.setattr(module, "CELLS", 400)
    assert (bootstrap(trials(), module.eer, draws=30).draws == whole.draws).all()
    assert (bootstrap(trials(), module.eer, draws=30, seed=1).draws != whole.draws).any()


def test_a_paired_comparison_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(3)
    first = trials(3, people=30, step=0.01)
    better = np.where(first.probe_subjects[:, None] == first.gallery_subjects, first.scores + 0.4, first.scores)
    second = Trials(better + rng.normal(0, 0.05, better.shape), first.probe_subjects, first.gallery_subjects, first.names)
    gain = module.compare(second, first, module.auc, draws=300)
    assert gain.low > 0
    single = bootstrap(first, module.auc, draws=300)
    assert gain.high - gain.low < single.high - single.low
    nothing = module.compare(first, first, module.auc, draws=20)
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="same probes and gallery entries"):
        module.compare(first, trials(3), module.auc)


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
        bootstrap(trials(), module.auc, draws=0)
    with pytest.raises(InputError, match="level between 0 and 1, got 95"):
        bootstrap(trials(), module.auc, draws=2, level=95)
    with pytest.raises(InputError, match="expected mated pairs, got none"):
        bootstrap(Trials.of([[1.0]], ["a"], ["b"]), module.auc)
