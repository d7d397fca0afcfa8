"""Scores of chosen hypotheses, from templates that were made once: what choosing among hypotheses tries thousands of times.

Rules that add are linear, so a hypothesis more is one sum of templates more; S_max keeps the maxima so far. The means of the
set move with the choice (as :func:`meetmid.evaluation.ladder.masked_side` has them): under ``"set"`` a side is summed anew.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Rule
from meetmid.errors import InputError
from meetmid.evaluation.ladder import Centring
from meetmid.scores.normalisation import root_mean_squares
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side
from meetmid.templates.pool import TemplatePool

Mask = NDArray[np.bool_]
Means = NDArray[np.float32]
Scores = NDArray[np.float32]
RULES: tuple[Rule, ...] = ("T_add", "S_add", "S_max")


@dataclass(frozen=True, eq=False)
class Run:
    """Templates of one matcher, camera, probe size and seed: both sides' pools, uncentred, with the subject of every entry.

    ``centring`` is "none", "vector", "set" (the means of the chosen hypotheses of everyone in the pools, which no identity
    enters) or the means (S, D) of both sides, probes first. ``moment`` (D, D) of a cohort divides the scores of every portrait
    as ``score_norm="z"`` does; it needs a gallery rule that adds.
    """

    probes: TemplatePool = field(repr=False)
    gallery: TemplatePool = field(repr=False)
    probe_subjects: tuple[str, ...] = field(repr=False)
    gallery_subjects: tuple[str, ...] = field(repr=False)
    centring: Centring | tuple[Means, Means] = "set"
    moment: NDArray[np.float32] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for side, pool, subjects in (
            ("probe", self.probes, self.probe_subjects), ("gallery", self.gallery, self.gallery_subjects)
        ):
            if len(pool.first) - 1 != len(subjects):
                raise InputError(f"expected the subjects of {len(pool.first) - 1} {side} entries, got {len(subjects)}")
        if not set(self.probe_subjects) & set(self.gallery_subjects):
            raise InputError("expected probes with a mate in the gallery, got none")


@dataclass(frozen=True, eq=False)
class Choice:
    """What is chosen among: the hypotheses of one ``side``, "probe" or "gallery".

    ``names`` (C) and ``masks`` (C, S, N) bool of the candidates, each some slots of that side's pools; ``kept`` (S, N) always
    take part, and so do ``other`` (S, M) of the other side. ``rules`` (probe, gallery) of T_add, S_add and S_max.
    """

    side: Literal["probe", "gallery"]
    names: tuple[str, ...]
    masks: Mask = field(repr=False)
    kept: Mask = field(repr=False)
    other: Mask = field(repr=False)
    rules: tuple[Rule, Rule] = ("S_add", "T_add")

    def __post_init__(self) -> None:
        if self.side not in ("probe", "gallery"):
            raise InputError(f"side expects 'probe' or 'gallery', got {self.side!r}")
        if not set(self.rules) <= set(RULES):
            raise InputError(f"a choice expects rules of {', '.join(RULES)}, got {self.rules}")
        if len(set(self.names)) != len(self.names):
            raise InputError("a choice expects candidates of distinct names, got some twice")
        shape = (len(self.names), *self.kept.shape)
        if self.masks.shape != shape or any(mask.dtype != np.bool_ for mask in (self.masks, self.kept, self.other)):
            raise InputError(f"a choice expects masks of {shape} bool, got {self.masks.shape} {self.masks.dtype}")
        if not self.other.any() or not (self.kept.any() or self.masks.any()):
            raise InputError("a choice expects hypotheses on both sides, got none on one of them")

    def cost(self, count: int, order: tuple[int, ...]) -> int:
        """Templates of a probe and of a portrait with the first ``count`` candidates of ``order``."""
        return int((self.kept | self.masks[list(order[:count])].any(axis=0)).sum() + self.other.sum())


@dataclass(frozen=True, eq=False)
class Grown:
    """The hypotheses chosen so far (S, N), and what their scores come from."""

    mask: Mask
    parts: tuple[NDArray[Any], ...]


class Grower:
    """Scores of one run as hypotheses are added to one of its sides; the same as :func:`meetmid.scores.scoring.fuse_sides` with
    ``add="mean"`` gives for the masks, to rounding. What the candidates add is kept up to ``limit`` bytes."""

    def __init__(self, run: Run, choice: Choice, threads: int = 1, limit: int = 2**28) -> None:
        self._choice, self._run, self._threads, self._room = choice, run, threads, limit
        self._on_probes = choice.side == "probe"
        pools = (run.probes, run.gallery) if self._on_probes else (run.gallery, run.probes)
        for pool, mask, what in zip(pools, (choice.kept, choice.other), ("chosen", "other"), strict=True):
            if pool.weights.shape[1:] != mask.shape:
                raise InputError(f"expected masks of the {what} side of {pool.weights.shape[1:]}, got {mask.shape}")
        if run.moment is not None and choice.rules[1] == "S_max":
            raise InputError("a cohort's moment expects a gallery rule of T_add or S_add, got S_max")
        self._pool, self._slots = pools[0], None if run.centring != "set" else _slot_sums(pools[0])
        self._held: dict[bytes, tuple[NDArray[Any], ...]] = {}
        other = _side(pools[1], choice.other, run.centring, not self._on_probes, None)
        p_rule, g_rule = choice.rules
        self._summed = p_rule == "T_add" or (p_rule == "S_add" and g_rule != "S_max")  # the probe is one vector
        self._cuts: Cuts | None = None
        if self._on_probes:
            self._gallery = other if g_rule == "S_max" else self._portraits(*_sums(other, g_rule))
        elif self._summed:
            total, mass = _sums(other, p_rule)
            self._probes = (total / _divisor(total, mass, p_rule)[:, None]).astype(np.float32)
        else:
            self._probes, self._cuts = _rows(other)

    def start(self) -> Grown:
        """The hypotheses that are always kept."""
        return Grown(self._choice.kept, self._parts(self._choice.kept))

    def grown(self, state: Grown, more: Mask) -> Grown:
        """With ``more`` (S, N) of them."""
        mask = state.mask | more
        if self._slots is not None:
            return Grown(mask, self._parts(mask))
        new = more & ~state.mask
        if not new.any():
            return state
        join = np.maximum if self._choice.rules[0 if self._on_probes else 1] == "S_max" else np.add
        return Grown(mask, tuple(join(a, b) for a, b in zip(state.parts, self._known(new), strict=True)))

    def scores(self, state: Grown) -> Scores:
        """(P, G) float32, NaN where either side has no hypothesis."""
        p_rule, g_rule = self._choice.rules
        parts = state.parts
        if self._on_probes:
            if p_rule == "S_max":
                return _missing(parts[0])
            divisor = _divisor(parts[0], parts[1], p_rule)[:, None]
            if isinstance(self._gallery, Side) and self._summed:
                return self._met((parts[0] / divisor).astype(np.float32))
            return np.asarray(parts[-1] / divisor, np.float32)
        if g_rule == "S_max":
            met = _missing(parts[0])
        else:
            divisor = _divisor(parts[0], parts[1], g_rule)
            met = np.asarray(parts[2] / (divisor * self._deviations((parts[0] / divisor[:, None]), parts[1])), np.float32)
        if self._cuts is None:
            return met
        total, mass = _reduced(met, self._cuts, p_rule)
        return _missing(total) if p_rule == "S_max" else np.asarray(total / _divisor(total, mass, "S_add")[:, None], np.float32)

    def _known(self, mask: Mask) -> tuple[NDArray[Any], ...]:
        key = mask.tobytes()
        if key in self._held:
            return self._held[key]
        found = self._parts(mask)
        self._room -= sum(part.nbytes for part in found)
        if self._room >= 0:
            self._held[key] = found
        return found

    def _parts(self, mask: Mask) -> tuple[NDArray[Any], ...]:
        """What the hypotheses of a mask add: sums (E, D), their weights and, where it is linear in them, the products (R, G);
        or the maxima (R, G); or the sums of maxima (P, G) and weights."""
        side = _side(self._pool, mask, self._run.centring, self._on_probes, self._slots)
        p_rule, g_rule = self._choice.rules
        if not self._on_probes:
            if g_rule == "S_max":
                return (_least(self._maxima_of(self._probes, side)),)
            total, mass = _sums(side, g_rule)
            return total, mass, self._probes @ total.T
        if self._summed:
            total, mass = _sums(side, p_rule)
            return (total, mass) if isinstance(self._gallery, Side) else (total, mass, self._met(total))
        rows, cuts = _rows(side)
        total, mass = _reduced(self._met(rows), cuts, p_rule)
        return (_least(total),) if p_rule == "S_max" else (total, mass, total)

    def _met(self, rows: NDArray[np.float32]) -> Scores:
        """(R, G) the inner rule's similarities of probe rows (R, D)."""
        return self._maxima_of(rows, self._gallery) if isinstance(self._gallery, Side) else rows @ self._gallery.T

    def _maxima_of(self, rows: NDArray[np.float32], gallery: Side) -> Scores:
        return fuse_sides(_alone(rows), gallery, [("S_max", "S_max")], add="mean", threads=self._threads)[0]

    def _portraits(self, total: NDArray[np.float32], mass: NDArray[np.float64]) -> NDArray[np.float32]:
        """(G, D) the vector of every portrait whose products with probes are the scores."""
        vectors = total / _divisor(total, mass, self._choice.rules[1])[:, None]
        return np.asarray(vectors / self._deviations(vectors, mass)[:, None], np.float32)

    def _deviations(self, vectors: NDArray[Any], mass: NDArray[np.float64]) -> NDArray[np.float32]:
        """(G,) what the scores of every portrait are divided by."""
        if self._run.moment is None:
            return np.ones(len(mass), np.float32)
        return root_mean_squares(_alone(vectors.astype(np.float32)), self._run.moment)


Cuts = tuple[NDArray[np.int64], NDArray[np.float64]]
"""(E + 1,) bounds of every entry's rows, and the rows' weights."""


def _side(
    pool: TemplatePool, mask: Mask, centring: Centring | tuple[Means, Means], probes: bool,
    slots: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> Side:
    side = Side(pool.templates, pool.weights * mask, pool.first)
    if isinstance(centring, tuple):
        return replace(side, means=centring[0 if probes else 1])
    if centring == "set":
        total, count = _slot_sums(pool) if slots is None else slots
        mass = np.maximum((count * mask).sum(axis=1), 1)[:, None]
        return replace(side, means=(np.einsum("sn,snd->sd", mask.astype(np.float64), total) / mass).astype(np.float32))
    return replace(side, per_vector=centring == "vector")


def _slot_sums(pool: TemplatePool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(S, N, D) sums of every slot's templates over a pool, and (S, N) their weights."""
    total = np.zeros(pool.pattern)
    for templates, weights in zip(pool.templates, pool.weights, strict=True):
        total += np.where(weights[..., None] > 0, templates, 0) * weights[..., None].astype(np.float64)
    return total, pool.weights.sum(axis=0, dtype=np.float64)


def _sums(side: Side, rule: Rule) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(E, D) sums of every entry's templates (T_add) or of those at unit length, and (E,) their weights."""
    made = side.added(limit=sys.maxsize, unit=rule == "S_add", mean=False)
    return np.asarray(made.templates)[:, 0, 0], made.weights[:, 0, 0]


def _divisor(total: NDArray[Any], mass: NDArray[np.float64], rule: Rule) -> NDArray[np.float64]:
    """(E,) what makes vectors of the sums (E, D): their length (T_add) or weight (S_add); NaN without any."""
    if rule == "T_add":
        length = np.linalg.norm(total, axis=1).astype(np.float64)
        return np.where(mass > 0, np.where(length >= 1e-12, length, np.inf), np.nan)
    return np.where(mass > 0, mass, np.nan)


def _alone(rows: NDArray[np.float32]) -> Side:
    """Every row (R, D) an entry of its own, taken as it is; one of NaN is absent."""
    there = ~np.isnan(rows[:, 0])
    filled = np.where(there[:, None], rows, np.float32(0))
    return Side(filled[:, None, None], there[:, None, None].astype(np.float64), np.arange(len(rows) + 1), normalised=False)


def _rows(side: Side) -> tuple[NDArray[np.float32], Cuts]:
    """Every present row of a side at unit length."""
    index, weights = side.present(0, int(side.starts[-1]))
    return side.rows(index), (np.searchsorted(index, side.starts), weights)


def _reduced(met: Scores, cuts: Cuts, rule: Rule) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(E, G) the maxima or weighted sums of the rows (R, G) of every entry, and (E,) its weight."""
    bounds, weights = cuts
    there = np.flatnonzero(np.diff(bounds) > 0)
    mass = np.zeros(len(bounds) - 1)
    if rule == "S_max":
        out = np.full((len(mass), met.shape[1]), np.nan)
        if len(there):
            out[there] = np.maximum.reduceat(met, bounds[there], axis=0)
    else:
        out = np.zeros((len(mass), met.shape[1]))
        if len(there):
            out[there] = np.add.reduceat(met * weights[:, None], bounds[there], axis=0)
    if len(there):
        mass[there] = np.add.reduceat(weights, bounds[there])
    return out, mass


def _least(scores: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.isnan(scores), -np.inf, scores)


def _missing(maxima: NDArray[Any]) -> Scores:
    found: Scores = np.where(np.isneginf(maxima), np.nan, maxima).astype(np.float32)
    return found
