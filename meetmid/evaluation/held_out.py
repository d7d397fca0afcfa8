"""What a choice of hypotheses is worth on people that it was not made on: repeated K-fold splits over people.

Both sides are restricted to the people of a fold, so that nobody is in both halves, not even as an impostor. In every split the
lists are chosen on the other folds. Which option and how much of its list ships is a choice as well: what is reported of the
whole procedure takes, for every fold, what the held-out results of the people outside of it decide (cross-fitting; their lists
were learned from people of this fold among others, but nobody's own results have a say in what they are scored with).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.evaluation.choices import Choice, Run, Scores
from meetmid.evaluation.selection import MEMORY, Members, Objective, Searched, everyone, greedy
from meetmid.evaluation.uncertainty import Interval, mean_interval
from meetmid.runtime.progress import Progress, ProgressCallback

RULE = "of the option with the best held-out rank-1 the shortest list within one standard error (paired, by person) of that"
Hits = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Option:
    """One way to match, whose list of ``least`` to ``most`` candidates is chosen: the same people and probes as every other's.
    ``glance`` are the candidates that say together what it promises, where options are screened."""

    name: str
    runs: tuple[Run, ...] = field(repr=False)
    choice: Choice = field(repr=False)
    most: int = 8
    least: int = 0
    glance: tuple[int, ...] = ()


@dataclass(frozen=True)
class Beginning:
    """The first ``length`` candidates of an option's list: held-out rank-1 ``rate``, its ``gain`` over the baseline with the
    interval, ``templates`` of a probe and of a portrait together, and how alike the lists of the splits are: the mean Jaccard
    index of their beginnings."""

    option: str
    length: int
    templates: int
    rate: float
    gain: Interval
    alike: float


@dataclass(frozen=True)
class HeldOut:
    """What nested validation found.

    ``option`` and ``chosen`` ship by :data:`RULE`; ``lists`` holds the whole list, chosen on everyone, of every option that was
    not screened out, ``beginnings`` every length of each (the best of them is flattered by being the best). ``hits`` of
    ``searches`` held-out searches are the procedure's, ``baseline_hits`` the baseline's, in galleries of about ``gallery``
    people; ``gain`` is their paired difference, a 95 % interval that draws people. ``frequency`` says in which share of the
    splits each candidate is among the first ``len(chosen)``.
    """

    option: str
    chosen: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]
    beginnings: tuple[Beginning, ...] = field(repr=False)
    hits: int
    baseline_hits: int
    searches: int
    gain: Interval
    frequency: dict[str, float] = field(repr=False)
    people: int
    probes: int
    gallery: int
    folds: int
    repeats: int
    seed: int

    @property
    def pays(self) -> bool:
        """Whether the gain is there: its interval lies above 0."""
        return self.gain.low > 0

    @property
    def shipped(self) -> Beginning:
        """The beginning that ships."""
        return next(b for b in self.beginnings if (b.option, b.length) == (self.option, len(self.chosen)))

    def __str__(self) -> str:
        told = [
            f"{self.people} people, {self.probes} probes, {self.repeats} x {self.folds} folds of people, galleries of about "
            f"{self.gallery}",
            f"{'option':<34}{'list':>5}{'templates':>10}{'held-out rank-1':>17}{'gain over the baseline':>30}{'alike':>7}",
        ]
        for b in self.beginnings:
            mark = "*" if b is self.shipped else " "
            gain = f"{100 * b.gain.value:+.1f} [{100 * b.gain.low:+.1f}, {100 * b.gain.high:+.1f}]"
            rate = f"{100 * b.rate:.1f} %"
            told.append(f"{mark}{b.option:<33.33}{b.length:>5}{b.templates:>10}{rate:>17}{gain:>30}{b.alike:>7.2f}")
        told += [
            f"* {RULE}: {', '.join(self.chosen) or 'no candidate'}",
            f"the whole procedure {self.hits}/{self.searches} = {100 * self.hits / self.searches:.1f} %, the baseline "
            f"{self.baseline_hits}/{self.searches} = {100 * self.baseline_hits / self.searches:.1f} %: "
            f"{100 * self.gain.value:+.1f} points [{100 * self.gain.low:+.1f}, {100 * self.gain.high:+.1f}]",
        ]
        if not self.pays:
            told.append("no gain is shown: the interval does not lie above 0")
        return "\n".join(told)


def validate(
    options: Sequence[Option], baseline: Sequence[Scores], *, folds: int = 3, repeats: int = 5, seed: int = 0,
    screen: int | None = None, among: int | None = None, draws: int = 1000, threads: int = 1, memory: int = MEMORY,
    seconds: float | None = None, progress: ProgressCallback | None = None,
) -> HeldOut:
    """Choose and score on disjoint people, ``repeats`` times over ``folds`` folds.

    ``baseline`` (P, G) scores of every run by what the choice is compared with; ``screen`` lets every split choose among so
    many options only, those that promise most on the people it learns from; ``among`` and ``memory`` as in
    :class:`meetmid.evaluation.selection.Objective`; ``draws`` of people behind the intervals. Lists are cut short where
    choosing would take more than ``seconds``; else all is deterministic for a ``seed``.
    Raises InputError for options that differ in their people, and for fewer than two mated people per fold.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    runs = _runs(options, baseline)
    if folds < 2 or repeats < 1:
        raise InputError(f"expected at least 2 folds and 1 repeat, got {folds} and {repeats}")
    names = everyone(runs)
    searched = [Searched(run, names) for run in runs]
    people = np.concatenate([s.people for s in searched])
    mated = np.unique(people)
    if len(mated) < 2 * folds:
        raise InputError(f"{folds} folds expect at least {2 * folds} people with a mate, got {len(mated)}")
    fold = deal(len(names), mated, folds, repeats, seed)
    held = (fold[:, :, None] == np.arange(folds)).transpose(1, 0, 2).reshape(len(names), -1)  # (people, repeats x folds)
    learned = np.concatenate([~held, np.ones((len(names), 1), bool)], axis=1)
    screening = Progress(progress, "screen", len(options) if screen else 0)
    admitted = np.ones((len(options), learned.shape[1]), bool)
    if screen is not None:
        promised = []
        for option in options:
            objective = Objective(option.runs, option.choice, learned, names, among, threads, memory)
            promised.append(_promise(objective, option))
            screening.step()
        admitted = np.argsort(np.argsort(-np.array(promised), axis=0, kind="stable"), axis=0, kind="stable") < screen
    tried = [k for k in range(len(options)) if admitted[k].any()]
    total = sum(min(options[k].most, len(options[k].choice.names)) * len(options[k].choice.names) for k in tried)
    steps = Progress(progress, "select", total)
    which = fold[:, people].T  # (M, R) the fold of every probe's person
    found, begun = {}, []
    for number, k in enumerate(tried):
        now = time.monotonic()
        until = None if ends is None else now + (ends - now) / (len(tried) - number)
        objective = Objective(options[k].runs, options[k].choice, learned, names, among, threads, memory)
        found[k] = greedy(objective, options[k].most, steps, least=max(1, options[k].least), until=until).orders
        begun.append(_held_hits(objective, found[k], held, which)[options[k].least :])
    base = _by_repeat([s.hits(matrix, held) for s, matrix in zip(searched, baseline, strict=True)], which)
    keys = [(k, options[k].least + n) for k, hits in zip(tried, begun, strict=True) for n in range(len(hits))]
    hits = np.concatenate(begun)  # (E, M, R)
    costs = np.array([options[k].choice.cost(length, tuple(found[k][-1].tolist())) for k, length in keys])
    owners = np.array([k for k, _ in keys])
    allowed = admitted[owners]  # (E, splits + 1)
    shares = hits.mean(axis=2)
    crossed = np.zeros_like(base)
    for r in range(repeats):
        for f in range(folds):
            inside, these = which[:, r] == f, np.flatnonzero(allowed[:, r * folds + f])
            e = these[pick(shares[these][:, ~inside], people[~inside], costs[these], owners[these])]
            crossed[inside, r] = hits[e, inside, r]
    beginnings = tuple(
        Beginning(
            options[k].name, length, int(costs[e]), float(shares[e].mean()),
            mean_interval(shares[e] - base.mean(axis=1), people, draws=draws, seed=seed), jaccard(found[k][:-1, :length]),
        )
        for e, (k, length) in enumerate(keys)
    )
    last = np.flatnonzero(allowed[:, -1])
    best, length = keys[last[pick(shares[last], people, costs[last], owners[last])]]
    ships = options[best]
    often = [float((found[best][:-1, :length] == c).any(axis=1).mean()) for c in range(len(ships.choice.names))]
    gain = mean_interval(crossed.mean(axis=1) - base.mean(axis=1), people, draws=draws, seed=seed)
    orders = {options[k].name: tuple(options[k].choice.names[c] for c in lists[-1]) for k, lists in found.items()}
    return HeldOut(
        ships.name, orders[ships.name][:length], orders, beginnings, int(crossed.sum()), int(base.sum()), base.size, gain,
        {name: share for name, share in zip(ships.choice.names, often, strict=True) if share}, len(mated), len(people),
        round(len(searched[0].enrolled) / folds), folds, repeats, seed,
    )


def _promise(objective: Objective, option: Option) -> NDArray[np.float64]:
    """(F,) the better of the objective without candidates and with all those of the glance."""
    states = objective.start()
    found = objective.value(states, frozenset()) if not option.least else np.zeros(objective.members.shape[1])
    if option.glance:
        for candidate in option.glance:
            states = objective.grown(states, candidate)
        found = np.maximum(found, objective.value(states, frozenset(option.glance)))
    return np.nan_to_num(found, nan=0.0)


def deal(count: int, mated: NDArray[np.int64], folds: int, repeats: int, seed: int) -> NDArray[np.int64]:
    """(repeats, people) the fold of everyone, people with and without mated probes dealt evenly."""
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(count), mated)
    fold = np.zeros((repeats, count), np.int64)
    for row in fold:
        for members in (mated, others):
            row[rng.permutation(members)] = np.arange(len(members)) % folds
    return fold


def pick(
    shares: NDArray[np.float64], people: NDArray[np.int64], costs: NDArray[np.int64], options: NDArray[np.int64]
) -> int:
    """The choice by :data:`RULE` among hits (E, M) of choices of ``costs`` (E,) that belong to ``options`` (E,); ``people``
    (M,) are the probes'. Of equally good ones the cheapest is the best."""
    _, place, sizes = np.unique(people, return_inverse=True, return_counts=True)
    best = int(np.lexsort((costs, -np.round(shares.mean(axis=1), 12)))[0])
    own = np.flatnonzero(options == options[best])
    count = len(sizes)
    for e in own[np.argsort(costs[own], kind="stable")]:
        short = np.bincount(place, shares[best] - shares[e])
        mean = short.sum() / sizes.sum()
        error = np.sqrt(count / max(1, count - 1) * np.square(short - mean * sizes).sum()) / sizes.sum()
        if mean <= error:
            return int(e)
    return best


def jaccard(lists: NDArray[np.int64]) -> float:
    """Mean Jaccard index of all pairs of the rows (F, L) as sets; 1 for empty ones."""
    sets = [frozenset(row) for row in lists.tolist()]
    found = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in combinations(sets, 2)]
    return float(np.mean(found)) if found else 1.0


def _runs(options: Sequence[Option], baseline: Sequence[Scores]) -> tuple[Run, ...]:
    if not options or not options[0].runs:
        raise InputError("expected at least one option with a run, got none")
    first = options[0].runs
    for option in options:
        if not 0 <= option.least <= option.most or option.most < 1:
            raise InputError(f"option {option.name!r} expects 0 <= least <= most, got {option.least} and {option.most}")
        people = [(run.probe_subjects, run.gallery_subjects) for run in option.runs]
        if people != [(run.probe_subjects, run.gallery_subjects) for run in first]:
            raise InputError(f"options expect the same probes and portraits, got others for {option.name!r}")
    if len({option.name for option in options}) != len(options):
        raise InputError("options expect distinct names, got one twice")
    shapes = [(len(run.probe_subjects), len(run.gallery_subjects)) for run in first]
    if [matrix.shape for matrix in baseline] != shapes:
        raise InputError(f"baseline expects scores of {shapes}, one matrix per run, got {[m.shape for m in baseline]}")
    return first


def _held_hits(objective: Objective, orders: NDArray[np.int64], held: Members, which: NDArray[np.int64]) -> Hits:
    """(L + 1, M, R): every beginning of every split's list, searched by the people that it was not chosen on."""
    splits, most = held.shape[1], orders.shape[1]
    repeats = which.shape[1]
    folds = splits // repeats
    out = np.zeros((most + 1, *which.shape), bool)
    states = {frozenset[int](): objective.start()}
    for length in range(most + 1):
        keys = [frozenset(row[:length]) for row in orders[:-1].tolist()]
        if length:
            before, states = states, {}
            for row, key in zip(orders[:-1].tolist(), keys, strict=True):
                if key not in states:
                    states[key] = objective.grown(before[frozenset(row[: length - 1])], row[length - 1])
        hits = {
            key: [s.hits(m, held) for s, m in zip(objective.searched, objective.scores(state), strict=True)]
            for key, state in states.items()
        }
        for split, key in enumerate(keys):
            r, f = divmod(split, folds)
            column = np.concatenate([its[:, split] for its in hits[key]])
            inside = which[:, r] == f
            out[length, inside, r] = column[inside]
    return out


def _by_repeat(hits: Sequence[Hits], which: NDArray[np.int64]) -> Hits:
    """(M, R) of hits (M, F) of every run: those of the fold that holds a probe's person."""
    each = np.concatenate(list(hits))
    folds = each.shape[1] // which.shape[1]
    return np.take_along_axis(each, which + folds * np.arange(which.shape[1]), axis=1)
