"""Choosing hypotheses on people: greedy forward selection of a list whose every beginning is the best cheaper choice.

What is maximised is smoother than hits at rank 1: the expected rank-1 rate when only some of the impostors are enrolled, drawn
at random (a hypergeometric count of those that score at least as high as the mate).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.evaluation.choices import Choice, Grower, Grown, Run, Scores
from meetmid.runtime.progress import Progress, ProgressCallback

Members = NDArray[np.bool_]
"""(people, F): who belongs to each of F sets of people."""

SLOWER = 1.5
"""A step may take as many times as long as the one before: the lists part."""

MEMORY = 2**29
"""Bytes that a choice takes beside the templates."""


def first_among(above: NDArray[np.integer], others: int, drawn: int) -> NDArray[np.float64]:
    """Chance that none of the ``above`` impostors that score at least as high as the mate is among ``drawn`` of ``others``."""
    known = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, others + 1)))])
    left = others - np.asarray(above)
    possible = left >= drawn
    at = np.maximum(left, drawn)
    logs = known[at] - known[at - drawn] - known[others] + known[others - drawn]
    return np.where(possible, np.exp(logs), 0.0)


@dataclass(frozen=True, eq=False)
class Searched:
    """Who searches whom in one run: ``names`` are all people of all runs. Probes without a mate do not count."""

    run: Run
    names: tuple[str, ...] = field(repr=False)

    @cached_property
    def probes(self) -> NDArray[np.int64]:
        """Positions of the mated probes."""
        enrolled = set(self.run.gallery_subjects)
        return np.array([k for k, name in enumerate(self.run.probe_subjects) if name in enrolled], np.int64)

    @cached_property
    def people(self) -> NDArray[np.int64]:
        """(M,) the numbers of the mated probes' people."""
        number = {name: k for k, name in enumerate(self.names)}
        return np.array([number[self.run.probe_subjects[k]] for k in self.probes], np.int64)

    @cached_property
    def enrolled(self) -> NDArray[np.int64]:
        """The numbers of the gallery's people, each once, in order."""
        return np.unique(self._columns)

    @cached_property
    def _columns(self) -> NDArray[np.int64]:
        number = {name: k for k, name in enumerate(self.names)}
        return np.array([number[name] for name in self.run.gallery_subjects], np.int64)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self._columns, kind="stable")

    def above(self, scores: Scores, members: Members) -> NDArray[np.int64]:
        """(M, F) impostors of each set of people that score at least as high as the mate; all of them for a failed probe."""
        best = scores[self.probes][:, self._order]
        if len(self.enrolled) < len(self._order):
            starts = np.searchsorted(self._columns[self._order], self.enrolled)
            best = np.fmax.reduceat(best, starts, axis=1)
        own = np.searchsorted(self.enrolled, self.people)
        mate = best[np.arange(len(own)), own]
        failed = np.isnan(mate)
        beats = best >= mate[:, None]
        beats[failed] = True
        beats[np.arange(len(own)), own] = False
        # whole numbers, since a small product of floats waits for BLAS's threads
        found = beats.astype(np.int32) @ members[self.enrolled].astype(np.int32)
        found[failed] = np.maximum(found[failed], 1)  # a failure is a miss, whoever is enrolled
        return found.astype(np.int64)

    def hits(self, scores: Scores, members: Members) -> NDArray[np.bool_]:
        """(M, F) whether the mate is first among each set of people, ties and failures being misses."""
        return np.asarray(self.above(scores, members) == 0)


class Objective:
    """The mean over all runs' mated probes of each set of people of :func:`first_among`, of any candidates of a choice.

    ``among`` portraits are enrolled, the mate's among them; None: half of those there are. What the candidates add is kept up
    to ``memory`` bytes.
    """

    def __init__(
        self, runs: Sequence[Run], choice: Choice, members: Members, names: tuple[str, ...], among: int | None = None,
        threads: int = 1, memory: int = MEMORY,
    ) -> None:
        if among is not None and among < 2:
            raise InputError(f"among expects at least 2 portraits, got {among}")
        self.choice, self.members = choice, members
        self.searched = [Searched(run, names) for run in runs]
        self._growers = [Grower(run, choice, threads, memory // len(runs)) for run in runs]
        self._tables = [self._table(s, among) for s in self.searched]
        self._known: dict[frozenset[int], NDArray[np.float64]] = {}

    def start(self) -> list[Grown]:
        """The states of all runs without candidates."""
        return [grower.start() for grower in self._growers]

    def grown(self, states: Sequence[Grown], candidate: int) -> list[Grown]:
        """With one candidate more."""
        mask = self.choice.masks[candidate]
        return [grower.grown(state, mask) for grower, state in zip(self._growers, states, strict=True)]

    def scores(self, states: Sequence[Grown]) -> list[Scores]:
        """The scores of all runs."""
        return [grower.scores(state) for grower, state in zip(self._growers, states, strict=True)]

    def value(self, states: Sequence[Grown], chosen: frozenset[int], candidate: int | None = None) -> NDArray[np.float64]:
        """(F,) of the states that hold ``chosen``, or with one candidate more; NaN for a set without mated probes."""
        key = chosen if candidate is None else chosen | {candidate}
        if key not in self._known:
            at = states if candidate is None else self.grown(states, candidate)
            self._known[key] = self._value(self.scores(at))
        return self._known[key]

    def _value(self, scores: Sequence[Scores]) -> NDArray[np.float64]:
        total, count = np.zeros(self.members.shape[1]), np.zeros(self.members.shape[1])
        for searched, table, matrix in zip(self.searched, self._tables, scores, strict=True):
            own = self.members[searched.people]
            above = searched.above(matrix, self.members)
            total += (np.take_along_axis(table, above, axis=0) * own).sum(axis=0)
            count += own.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.round(total / count, 12)  # sums in another order must not break a tie

    def _table(self, searched: Searched, among: int | None) -> NDArray[np.float64]:
        """(impostors + 1, F) of :func:`first_among`."""
        most = len(searched.enrolled)
        table = np.zeros((most + 1, self.members.shape[1]))
        for k, count in enumerate(self.members[searched.enrolled].sum(axis=0)):
            others = max(0, int(count) - 1)
            drawn = min(others, max(1, (-(-int(count) // 2) if among is None else among) - 1))
            table[: others + 1, k] = first_among(np.arange(others + 1), others, drawn)
        return table


@dataclass(frozen=True, eq=False)
class Lists:
    """Of every set of people the candidates in the order in which they were added, (F, L), and the objective of every
    beginning (F, L + 1), 0 candidates first."""

    orders: NDArray[np.int64]
    values: NDArray[np.float64]


def greedy(
    objective: Objective, most: int, progress: Progress | None = None, *, least: int = 1, until: float | None = None
) -> Lists:
    """Add, for every set of people, the candidate that gives most, ``most`` times; of equal ones the first. After ``least``
    times nothing is begun that is not expected to end before ``until`` (of time.monotonic)."""
    sets, count = objective.members.shape[1], len(objective.choice.names)
    most = min(most, count)
    states = {frozenset[int](): objective.start()}
    values = [objective.value(states[frozenset()], frozenset())]
    orders = np.zeros((sets, most), np.int64)
    chosen = [frozenset[int]() for _ in range(sets)]
    for step in range(most):
        begun = time.monotonic()
        best = np.full(sets, -1.0)
        for candidate in range(count):
            for key in {k for k in chosen if candidate not in k}:
                found = np.nan_to_num(objective.value(states[key], key, candidate), nan=0.0)
                better = np.array([own == key for own in chosen]) & (found > best)
                best, orders[better, step] = np.where(better, found, best), candidate
            if progress is not None:
                progress.step()
        values.append(best)
        before, states = states, {}
        for k, old in enumerate(chosen):
            chosen[k] = old | {int(orders[k, step])}
            if chosen[k] not in states:
                states[chosen[k]] = objective.grown(before[old], int(orders[k, step]))
        now = time.monotonic()
        if until is not None and step + 1 >= least and now + SLOWER * (now - begun) > until:
            if progress is not None:
                progress.step((most - step - 1) * count)
            break
    return Lists(orders[:, : len(values) - 1], np.array(values).T)


@dataclass(frozen=True)
class Selection:
    """The ``chosen`` candidates, best first, so that every beginning is the choice for fewer; ``values`` (one more, without
    candidates first) of the objective, the expected rank-1 rate, on the very people it was chosen on."""

    chosen: tuple[str, ...]
    values: tuple[float, ...]

    def __str__(self) -> str:
        rows = [f"{'':<4}{'(those always kept)':<40}{100 * self.values[0]:6.2f} %"]
        for k, (name, value) in enumerate(zip(self.chosen, self.values[1:], strict=True), 1):
            rows.append(f"{k:<4}{name:<40}{100 * value:6.2f} %")
        return "\n".join(["expected rank-1 on the people that the list was chosen on", *rows])


def select(
    runs: Sequence[Run], choice: Choice, *, most: int, among: int | None = None, threads: int = 1,
    progress: ProgressCallback | None = None,
) -> Selection:
    """The best list of at most ``most`` candidates on everyone; for a figure that can be believed see
    :func:`meetmid.evaluation.held_out.validate`. Raises InputError."""
    if not runs or most < 1:
        raise InputError(f"a selection expects runs and at least one candidate, got {len(runs)} runs and {most}")
    names = everyone(runs)
    objective = Objective(runs, choice, np.ones((len(names), 1), bool), names, among, threads)
    steps = Progress(progress, "select", min(most, len(choice.names)) * len(choice.names))
    found = greedy(objective, most, steps)
    return Selection(tuple(choice.names[k] for k in found.orders[0]), tuple(found.values[0].tolist()))


def everyone(runs: Sequence[Run]) -> tuple[str, ...]:
    """The people of both sides of all runs, by name."""
    return tuple(sorted({name for run in runs for side in (run.probe_subjects, run.gallery_subjects) for name in side}))
