"""Choosing hypotheses: the objective and the list against obvious slow references, and what held-out people say of it."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from meetmid.errors import Cancelled, InputError
from meetmid.evaluation import Trials, search
from meetmid.evaluation.choices import Choice, Run
from meetmid.evaluation.held_out import Option, deal, jaccard, pick, validate
from meetmid.evaluation.ladder import masked_side
from meetmid.evaluation.selection import first_among, select
from meetmid.evaluation.uncertainty import mean_interval
from meetmid.scores.scoring import fuse_sides
from meetmid.templates.pool import TemplatePool

LENGTH = 16


def made(seed: int, people: int, clarity: list[float], probes_each: int = 2, noise: float = 1.0) -> Run:
    """Everyone has a direction; slot 0 of a portrait is noise about it, slot k a share ``clarity[k - 1]`` of it with noise."""
    rng = np.random.default_rng(seed)
    who = rng.normal(size=(people, LENGTH))
    gallery = np.zeros((people, 1, 1 + len(clarity), LENGTH), np.float32)
    gallery[:, 0, 0] = 0.4 * who + rng.normal(size=who.shape)
    for k, share in enumerate(clarity, 1):
        gallery[:, 0, k] = share * who + rng.normal(size=who.shape)
    probes = (np.repeat(who, probes_each, axis=0) + noise * rng.normal(size=(people * probes_each, LENGTH))).astype(np.float32)
    names = tuple(f"p{k:03}" for k in range(people))

    def pool(templates: np.ndarray) -> TemplatePool:
        return TemplatePool(templates, np.ones(templates.shape[:3], np.float32), np.arange(len(templates) + 1))

    return Run(pool(probes[:, None, None]), pool(gallery), tuple(np.repeat(names, probes_each)), names, "none")


def choice_of(run: Run, rules: tuple = ("S_add", "T_add")) -> Choice:
    slots = run.gallery.weights.shape[2]
    masks = np.eye(slots, dtype=bool)[:, None, :]
    names = tuple(f"slot {k}" for k in range(1, slots))
    return Choice("gallery", names, masks[1:], masks[0], np.ones((1, 1), bool), rules)


def scores_of(run: Run, slots: list[int], rules: tuple = ("S_add", "T_add")) -> np.ndarray:
    keep = np.zeros(run.gallery.weights.shape[1:])
    keep[0, [0, *slots]] = 1.0
    p, g = masked_side(run.probes, "none", np.ones((1, 1))), masked_side(run.gallery, "none", keep)
    return fuse_sides(p, g, [rules], add="mean")[0]


def test_the_chance_to_be_first_counts_sub_galleries() -> None:
    for others, drawn in ((5, 2), (6, 6), (4, 1), (3, 0)):
        found = first_among(np.arange(others + 1), others, drawn)
        for above in range(others + 1):
            draws = list(combinations(range(others), drawn))
            assert found[above] == pytest.approx(sum(min(d, default=others) >= above for d in draws) / comb(others, drawn))


@pytest.mark.parametrize("rules", [("S_add", "T_add"), ("S_max", "S_max")])
def test_the_list_is_that_of_an_obvious_search(rules) -> None:
    runs = [made(seed, 24, [0.1, 0.5, 0.0, 1.0, 0.3]) for seed in (0, 1)]
    among = 8

    def value(slots: list[int]) -> float:
        chances = []
        for run in runs:
            scores = scores_of(run, slots, rules)
            for row, name in zip(scores, run.probe_subjects, strict=True):
                mate = row[run.gallery_subjects.index(name)]
                above = int((row >= mate).sum()) - 1
                chances.append(comb(23 - above, among - 1) / comb(23, among - 1))
        return float(np.mean(chances))

    chosen: list[int] = []
    values = [value([])]
    for _ in range(3):
        found = {k: value([*chosen, k]) for k in range(1, 6) if k not in chosen}
        best = max(found, key=lambda k: (round(found[k], 10), -k))
        chosen.append(best)
        values.append(found[best])
    seen: list[tuple[int, int, str]] = []
    told = select(runs, choice_of(runs[0], rules), most=3, among=among, progress=lambda *step: seen.append(step))
    assert told.chosen == tuple(f"slot {k}" for k in chosen)
    np.testing.assert_allclose(told.values, values, atol=1e-9)
    assert seen[-1] == (15, 15, "select")
    assert select(runs, choice_of(runs[0], rules), most=2, among=among).chosen == told.chosen[:2]
    assert f"slot {chosen[0]}" in str(told)


def test_the_clear_hypothesis_comes_first_and_ties_go_by_order() -> None:
    run = made(3, 30, [0.0, 0.0, 1.5])
    assert select([run], choice_of(run), most=1).chosen == ("slot 3",)
    run.gallery.templates[:, :, 1:] = run.gallery.templates[:, :, :1]  # every candidate repeats what is kept
    assert select([run], choice_of(run), most=3).chosen == ("slot 1", "slot 2", "slot 3")


def test_held_out_rates_are_those_of_plain_searches_among_the_held_out_people() -> None:
    run = made(4, 25, [0.2, 0.6, 0.1])
    choice = choice_of(run)
    base = scores_of(run, [1, 2, 3])
    found = validate([Option("one", (run,), choice, 2)], [base], folds=3, repeats=2, seed=5, draws=50)
    fold = deal(25, np.arange(25), 3, 2, 5)
    names = np.array(run.gallery_subjects)
    hits, base_hits = np.zeros(3), 0
    for row in fold:
        for f in range(3):
            inside = row == f
            trained = _restricted(run, names[~inside])
            order = [int(name.split()[1]) for name in select([trained], choice, most=2).chosen]
            keep = [np.isin(side, names[inside]) for side in (run.probe_subjects, run.gallery_subjects)]
            for length in range(3):
                trials = Trials.of(scores_of(run, order[:length]), run.probe_subjects, run.gallery_subjects).select(*keep)
                hits[length] += search(trials).hits().sum()
            base_hits += search(Trials.of(base, run.probe_subjects, run.gallery_subjects).select(*keep)).hits().sum()
    assert found.searches == 100
    np.testing.assert_allclose([b.rate * 100 for b in found.beginnings], hits, atol=1e-6)
    assert found.baseline_hits == base_hits
    for b in found.beginnings:
        assert b.gain.value * 100 == pytest.approx(b.rate * 100 - base_hits)
    assert found.lists["one"] == select([run], choice, most=2).chosen
    assert found.chosen == found.lists["one"][: len(found.chosen)]
    assert (found.people, found.probes, found.gallery) == (25, 50, 8)


def _restricted(run: Run, names: np.ndarray) -> Run:
    """Only some people, on both sides."""
    p, g = (np.flatnonzero(np.isin(side, names)) for side in (run.probe_subjects, run.gallery_subjects))
    return Run(
        run.probes.part(p.tolist(), 2**20), run.gallery.part(g.tolist(), 2**20), tuple(np.array(run.probe_subjects)[p]),
        tuple(np.array(run.gallery_subjects)[g]), run.centring,
    )


def test_a_real_gain_is_found_and_told() -> None:
    run = made(6, 60, [0.0, 1.0, 0.0, 1.0, 0.0], noise=1.5)
    options = [Option(f"{p}, {g}", (run,), choice_of(run, (p, g)), 4) for p, g in (("S_add", "T_add"), ("S_add", "S_max"))]
    found = validate(options, [scores_of(run, [])], seed=1)
    assert found.pays
    assert set(found.chosen[:2]) == {"slot 2", "slot 4"}
    assert found.option == "S_add, T_add"
    assert found.frequency["slot 2"] == found.frequency["slot 4"] == 1.0
    assert found.shipped.alike > 0.6
    assert found.gain.value == pytest.approx((found.hits - found.baseline_hits) / found.searches)
    told = str(found)
    assert "no gain" not in told
    assert f"{found.hits}/{found.searches}" in told
    again = validate(options, [scores_of(run, [])], seed=1)
    assert str(again) == told
    assert str(validate(options, [scores_of(run, [])], seed=2)) != told


def test_screening_lets_only_what_promises_most_through() -> None:
    run = made(6, 60, [0.0, 1.0, 0.0, 1.0, 0.0], noise=1.5)
    worse = made(6, 60, [0.0, 0.2, 0.0, 0.2, 0.0], noise=1.5)
    glance = (1, 3)
    good = Option("good", (run,), choice_of(run), 2, 1, glance)
    bad = Option("bad", (worse,), choice_of(run), 2, 1, glance)
    seen: list[tuple[int, int, str]] = []
    base = [scores_of(run, [])]
    found = validate([bad, good], base, repeats=2, screen=1, progress=lambda *step: seen.append(step))
    alone = validate([good], base, repeats=2)
    assert set(found.lists) == {"good"}
    assert str(found) == str(alone)
    assert [b.length for b in found.beginnings] == [1, 2]
    assert [step for step in seen if step[2] == "screen"] == [(1, 2, "screen"), (2, 2, "screen")]
    assert seen[-1] == (10, 10, "select")
    both = validate([bad, good], base, repeats=2, screen=2)
    assert set(both.lists) == {"good", "bad"}


def test_lists_are_cut_short_where_time_is_up() -> None:
    run = made(6, 30, [0.0, 1.0, 0.0, 1.0, 0.0])
    seen: list[tuple[int, int, str]] = []
    options = [Option(name, (run,), choice_of(run), 4, least) for name, least in (("a", 0), ("b", 2))]
    found = validate(options, [scores_of(run, [])], repeats=1, seconds=0.0, progress=lambda *step: seen.append(step))
    whole = validate(options, [scores_of(run, [])], repeats=1)
    assert {name: len(its) for name, its in found.lists.items()} == {"a": 1, "b": 2}
    assert {name: its[: len(found.lists[name])] for name, its in whole.lists.items()} == found.lists
    assert seen[-1] == (40, 40, "select")


def test_noise_promises_nothing() -> None:
    """Forty candidates that tell nothing: on its own people the best list looks better, on others it is not."""
    promised, shown = [], []
    for seed in range(6):
        run = made(seed, 30, [0.0] * 40, noise=3.0)
        run.gallery.templates[:] = np.random.default_rng(100 + seed).normal(size=run.gallery.templates.shape)
        base = scores_of(run, [])
        told = select([run], choice_of(run), most=4)
        promised.append(told.values[-1] - told.values[0])
        found = validate([Option("noise", (run,), choice_of(run), 4)], [base], repeats=2, seed=seed, draws=200)
        shown.append(found)
        assert not found.pays
        assert "no gain is shown" in str(found)
    assert min(promised) > 0.03
    assert abs(np.mean([f.gain.value for f in shown])) < 0.05


def test_failures_are_misses_in_every_fold() -> None:
    run = made(7, 20, [1.0])
    run.probes.weights[:10] = 0.0
    found = validate([Option("one", (run,), choice_of(run), 1)], [scores_of(run, [])], folds=2, repeats=3)
    assert all(b.rate <= 30 / 40 for b in found.beginnings)


def test_people_without_probes_are_impostors_and_probes_without_mates_do_not_count() -> None:
    run = made(8, 30, [0.5])
    gallery = tuple(name if k < 25 else f"other{k}" for k, name in enumerate(run.gallery_subjects))
    alone = Run(run.probes, run.gallery, run.probe_subjects, gallery, "none")
    found = validate([Option("one", (alone,), choice_of(run), 1)], [scores_of(run, [])], folds=2, repeats=1)
    assert (found.people, found.probes, found.searches, found.gallery) == (25, 50, 50, 15)
    fold = deal(35, np.arange(25), 3, 4, 0)
    for row in fold:
        assert np.ptp(np.bincount(row[:25])) <= 1
        assert np.ptp(np.bincount(row[25:])) <= 1
    assert (fold[0] != fold[1]).any()


def test_several_portraits_of_one_person_count_once() -> None:
    run = made(9, 21, [0.8])
    doubled = tuple(name if k < 20 else "p000" for k, name in enumerate(run.gallery_subjects))
    subjects = tuple("p000" if name == "p020" else name for name in run.probe_subjects)
    both = Run(run.probes, run.gallery, subjects, doubled, "none")
    base = scores_of(run, [])
    found = validate([Option("one", (both,), choice_of(run), 1)], [base], folds=2, repeats=1, seed=3)
    fold = deal(20, np.arange(20), 2, 1, 3)[0]
    hits = 0
    for f in range(2):
        inside = [f"p{k:03}" for k in np.flatnonzero(fold == f)]
        keep = [np.isin(side, inside) for side in (subjects, doubled)]
        hits += search(Trials.of(base, subjects, doubled).select(*keep)).hits().sum()
    assert found.baseline_hits == hits


def test_the_rule_takes_the_best_options_shortest_list_within_one_standard_error() -> None:
    people = np.arange(100)
    best = np.ones(100)
    near = best.copy()
    near[:3] = 0.0
    best[3:5] = 0.0  # 1 % short, and the paired standard error of three people fewer and two more is 2.2 %
    far = best.copy()
    far[10:19] = 0.0  # 9 % short of it with a standard error of 2.9 %
    one = np.zeros(3, int)
    assert pick(np.stack([far, near, best]), people, np.array([1, 2, 3]), one) == 1
    assert pick(np.stack([far, best, best]), people, np.array([1, 3, 2]), one) == 2
    assert pick(np.stack([best, far]), people, np.array([9, 1]), one[:2]) == 0
    assert pick(np.stack([far, near, best]), people, np.array([1, 2, 3]), np.array([0, 1, 0])) == 2


def test_jaccard_by_hand() -> None:
    assert jaccard(np.array([[0, 1], [1, 0], [1, 2]])) == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    assert jaccard(np.zeros((3, 0), np.int64)) == 1.0


def test_the_interval_of_a_mean_draws_people() -> None:
    rng = np.random.default_rng(0)
    each = rng.normal(size=40)
    values, people = np.repeat(each, 25), np.repeat(np.arange(40), 25)
    found = mean_interval(values, people, draws=4000)
    assert found.value == pytest.approx(each.mean())
    # Student's interval of 40 independent people; the draws' deviation is that of the mean without Bessel's correction
    reach = 2.0227 * each.std(ddof=1) / np.sqrt(40)
    assert found.high - found.value == pytest.approx(reach, rel=0.05)
    assert found.value - found.low == pytest.approx(reach, rel=0.05)
    with pytest.raises(InputError, match="at least 2"):
        mean_interval([1.0, 2.0], ["a", "a"])


def test_bad_requests_are_refused_and_progress_cancels() -> None:
    run = made(0, 12, [0.5, 0.5])
    option = Option("one", (run,), choice_of(run), 2)
    base = scores_of(run, [])
    with pytest.raises(InputError, match="at least one option"):
        validate([], [])
    with pytest.raises(InputError, match="one matrix per run"):
        validate([option], [base, base])
    with pytest.raises(InputError, match="distinct names"):
        validate([option, option], [base])
    with pytest.raises(InputError, match="7 folds expect at least 14 people with a mate, got 12"):
        validate([option], [base], folds=7)
    with pytest.raises(InputError, match="at least 2 folds"):
        validate([option], [base], folds=1)
    with pytest.raises(InputError, match="0 <= least <= most, got 3 and 2"):
        validate([Option("one", (run,), choice_of(run), 2, 3)], [base])
    other = Option("two", (made(1, 13, [0.5, 0.5]),), choice_of(run), 2)
    with pytest.raises(InputError, match="same probes and portraits, got others for 'two'"):
        validate([option, other], [base])
    with pytest.raises(InputError, match="at least one candidate"):
        select([run], choice_of(run), most=0)
    with pytest.raises(InputError, match="at least 2 portraits"):
        select([run], choice_of(run), most=1, among=1)
    with pytest.raises(Cancelled):
        validate([option], [base], progress=lambda done, total, stage: done < 2)
