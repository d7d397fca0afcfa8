"""Maxima and sums over a gallery's hypotheses that several processes or machines found, merged to the same bits that one would
give.

Jobs split by entries need no more than putting rows or columns beside each other: a score depends on its own two entries alone.
Where the hypotheses of one portrait are split, every part finds, for S_max, the largest similarity of each probe hypothesis,
of which the larger of two wins, of equal ones the first; or, for T_add and S_add, which are linear, the sum of the portrait's
templates in whole steps, which no order of adding changes. The probe's rule is applied once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ConfigError, InputError
from meetmid.runtime.cores import cores
from meetmid.scores import kernels
from meetmid.scores.engines import Exact
from meetmid.scores.fusion import side_of
from meetmid.scores.reduction import Task, reach
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import BLOCK, Side

NOTHING = np.iinfo(np.int64).max

STEPS, MOST = 2**40, 2**21
"""Steps of a sum in one, and the largest sum: two of them fit in 64 bits."""


@dataclass(frozen=True, eq=False)
class Maxima:
    """Of every probe hypothesis, its largest similarity with what was seen of every portrait: ``values`` (P, S, M, G)
    float32, -inf where nothing met, and ``winners`` (P, S, M, G) int64, the number of the hypothesis that has it among all of
    the portrait (scale times N plus its place), the first of equal ones."""

    values: NDArray[np.float32]
    winners: NDArray[np.int64]

    def merged(self, other: Maxima) -> Maxima:
        """What both have seen together; associative and commutative to the bit. Raises InputError for other shapes."""
        if self.values.shape != other.values.shape:
            shapes = f"{self.values.shape} and {other.values.shape}"
            raise InputError(f"both parts expect the same probes and portraits, got {shapes}")
        first = (other.values == self.values) & (other.winners < self.winners)
        theirs = (other.values > self.values) | first
        return Maxima(np.where(theirs, other.values, self.values), np.where(theirs, other.winners, self.winners))

    def scores(
        self, rule: Literal["S_max", "S_add"] = "S_add", *, weights: NDArray[Any] | None = None, mean: bool = False
    ) -> NDArray[np.float32]:
        """(P, G) float32: the probe's rule over its hypotheses, ``weights`` (P, S, M) or (S, M) and ``mean`` as in
        :func:`meetmid.fuse`, whose result for the whole gallery this is, bit for bit."""
        if rule not in ("S_max", "S_add"):
            raise ConfigError(f"rule expects 'S_max' or 'S_add', got {rule!r}")
        probes, scales, hypotheses, portraits = self.values.shape
        each = scales * hypotheses
        given = np.ones(self.values.shape[1:3]) if weights is None else np.asarray(weights, np.float64)
        flat = np.ascontiguousarray(np.broadcast_to(given, self.values.shape[:3])).reshape(probes, each)
        out = np.full((probes, portraits), np.nan, np.float32)
        none = np.zeros((portraits, 3))
        for p, (a, b) in enumerate(pairwise(np.arange(probes + 1))):
            there = np.flatnonzero(flat[p] > 0)
            best = np.ascontiguousarray(self.values[p].reshape(each, portraits)[there].T)
            kernels.reduce_entries(
                best, flat[p][there], np.array([0, len(there)]), 0, portraits, rule == "S_max", mean, False, False, none, none,
                out[a:b],
            )
        return out


@dataclass(frozen=True, eq=False)
class Sums:
    """Of every portrait the weighted sum of what was seen of its templates, over all scales: ``total`` (G, D) int64 in steps of
    2**-40, ``count`` (G,) int64, how much they weigh, in the same steps; for ``rule`` T_add of the templates as they are, for
    S_add at unit length."""

    rule: Literal["T_add", "S_add"]
    total: NDArray[np.int64]
    count: NDArray[np.int64]

    def merged(self, other: Sums) -> Sums:
        """What both have seen together; associative and commutative to the bit. Raises InputError for other shapes or another
        rule, and for sums beyond 2**21."""
        if self.rule != other.rule or self.total.shape != other.total.shape:
            raise InputError(
                f"both parts expect the same portraits and rule, got {self.total.shape} ({self.rule}) and {other.total.shape} "
                f"({other.rule})"
            )
        return Sums(self.rule, _within(self.total + other.total), _within(self.count + other.count))

    def scores(
        self, probe_templates: NDArray[Any], rule: Literal["T_add", "S_max", "S_add"] = "S_add", *,
        probe_weights: NDArray[Any] | None = None, mean: bool = False, unit: bool = False, threads: int | None = None,
    ) -> NDArray[np.float32]:
        """(P, G) float32: the probe's rule over ``probe_templates`` (P, S, M, D), other keywords as in :func:`meetmid.fuse`,
        whose result for the whole gallery this is to rounding; ``mean`` divides what is added on either side by its weight.
        Raises InputError as it does, and ConfigError."""
        if rule not in ("T_add", "S_max", "S_add"):
            raise ConfigError(f"rule expects 'T_add', 'S_max' or 'S_add', got {rule!r}")
        p = side_of(probe_templates, probe_weights, "probe", unit)
        if p.length != self.total.shape[1]:
            raise InputError(f"both sides expect templates of one length, got {p.length} and {self.total.shape[1]}")
        rows, count = self.total / STEPS, self.count / STEPS
        if mean and self.rule == "S_add":
            rows /= np.where(count > 0, count, 1.0)[:, None]
        there = (count > 0).astype(np.float64)[:, None, None]
        single = rows.astype(np.float32)[:, None, None, :]
        g = Side(single, there, np.arange(len(rows) + 1), normalised=self.rule == "T_add")
        return fuse_sides(p, g, [(rule, "S_max")], add="mean" if mean else "sum", threads=threads or cores())[0]


def sums(
    gallery_templates: NDArray[Any],
    rule: Literal["T_add", "S_add"] = "T_add",
    *,
    gallery_weights: NDArray[Any] | None = None,
    unit: bool = False,
) -> Sums:
    """The part of ``rule`` over some hypotheses of every portrait; arrays and other keywords as in :func:`meetmid.fuse`.
    Templates below a norm of about 1e-6 lose precision, weights below 1e-12 count as none. Raises InputError as it does, and
    for sums beyond 2**21."""
    if rule not in ("T_add", "S_add"):
        raise ConfigError(f"rule expects 'T_add' or 'S_add', got {rule!r}")
    g = side_of(gallery_templates, gallery_weights, "gallery", unit)
    total, count = np.zeros((len(g), g.length), np.int64), np.zeros(len(g), np.int64)
    size = np.zeros(total.shape)  # of what is added, whatever its sign: what wraps is not seen in the total
    rows = max(1, BLOCK // (8 * g.length))
    for block in g.blocks(rows, rows):
        its = g.rows(block.index, normalised=rule == "S_add" and not unit) * block.weights[:, None]
        entry = block.first + np.repeat(np.arange(len(block)), np.diff(block.cuts))
        np.add.at(total, entry, _stepped(its))
        np.add.at(count, entry, _stepped(block.weights))
        np.add.at(size, entry, np.abs(its))
    largest = max(float(size.max(initial=0.0)), float(g.totals().max(initial=0.0)))
    if largest > MOST:
        raise InputError(f"sums expect values of at most {MOST}, got {largest:.3g}")
    return Sums(rule, total, count)


def _stepped(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """In whole steps; raises InputError beyond 2**21."""
    if not (np.abs(values) <= MOST).all():
        raise InputError(f"sums expect finite values of at most {MOST}, got {values.flat[np.argmax(np.abs(values))]:.3g}")
    return np.rint(values * STEPS).astype(np.int64)


def _within(total: NDArray[np.int64]) -> NDArray[np.int64]:
    if total.size and np.abs(total).max() > MOST * STEPS:
        raise InputError(f"sums expect values of at most {MOST}, got {np.abs(total).max() / STEPS:.3g}")
    return total


def maxima(
    probe_templates: NDArray[Any],
    gallery_templates: NDArray[Any],
    *,
    first: int = 0,
    total: int | None = None,
    pairing: Literal["all", "same_scale"] = "all",
    probe_weights: NDArray[Any] | None = None,
    gallery_weights: NDArray[Any] | None = None,
    unit: bool = False,
    threads: int | None = None,
) -> Maxima:
    """The part of S_max over hypotheses ``first`` .. ``first`` + N of the ``total`` that every portrait has per scale (default:
    these are all). Arrays and other keywords as in :func:`meetmid.fuse`; raises InputError as it does."""
    p = side_of(probe_templates, probe_weights, "probe", unit)
    g = side_of(gallery_templates, gallery_weights, "gallery", unit)
    if p.templates.shape[1::2] != g.templates.shape[1::2]:
        raise InputError(
            f"both sides expect the same scales and template length, got {p.templates.shape} and {g.templates.shape}"
        )
    count = g.weights.shape[2]
    whole = first + count if total is None else total
    if first < 0 or first + count > whole:
        raise InputError(f"hypotheses {first} .. {first + count} expect to lie within {whole} per scale")
    many = threads or cores()
    values = np.full((len(p) * p.slots, len(g)), -np.inf, np.float32)
    place = np.full(values.shape, -1, np.int64)
    for rows, entries, best, met in reach(p, g, Task(pairing == "same_scale", many, BLOCK, Exact())):
        values[rows, entries], place[rows, entries] = best, met
    scale, hypothesis = np.divmod(place - g.starts[:-1], count)
    winners = np.where(place >= 0, scale * whole + first + hypothesis, NOTHING)
    shape = (*p.weights.shape, len(g))
    return Maxima(values.reshape(shape), winners.reshape(shape))
