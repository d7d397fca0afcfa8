"""The ladder of the fused scheme's tables: rank-1 step by step, from the bare matcher to fusion over scales.

The steps are the rows of the main paper's Tables 2 and 3 (networks.md section 14.1), computed from one set of templates, and
the same with this library's identity hypotheses. Nothing is published about how the paper fused where its two tables disagree
(networks.md section 15.1): every rule pair has a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig, Rule
from meetmid.errors import ConfigError, InputError
from meetmid.evaluation.identification import search
from meetmid.evaluation.published import FUSED_SCALES as SCALES
from meetmid.evaluation.trials import Trials
from meetmid.evaluation.uncertainty import share_interval
from meetmid.gallery.paths import select_paths
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side
from meetmid.templates.centering import MeanAccumulator
from meetmid.templates.pool import TemplatePool

Mask = NDArray[np.float64]
Centring = Literal["none", "vector", "set"]
CENTRINGS: tuple[Centring, ...] = ("none", "vector", "set")
WITH_IDENTITY: tuple[tuple[Rule, Rule], ...] = (
    ("S_add", "S_max"), ("S_add", "T_add"), ("T_add", "T_add"), ("S_max", "S_max"),
)
HEADLINE = "+multi-scale, probe S_add, gallery S_max"


@dataclass(frozen=True, eq=False)
class Step:
    """Which hypotheses of each side take part, (S, N) of 0 and 1 with scale 0 the identity, and the rule of each side."""

    name: str
    probe: Mask
    gallery: Mask
    rules: tuple[Rule, Rule]


FIXED = frozenset((
    "scales", "identity", "covered_by", "sharp_between", "identity_weight", "portrait_weight", "score_norm", "probe_rule",
    "gallery_rule", "pairing", "order", "select", "portraits",
))
"""What the rungs would not follow."""


@dataclass(frozen=True, eq=False)
class Rung:
    """A step's outcome under one centring: ``hits`` (P,) of rank 1 of the probes with a mate, ties and failures being errors,
    and the numbers of their ``people`` (P,)."""

    step: str
    centring: Centring
    hits: NDArray[np.bool_] = field(repr=False)
    people: NDArray[np.int64] = field(repr=False)

    @property
    def k(self) -> int:
        """Probes whose person came first."""
        return int(self.hits.sum())

    @property
    def percent(self) -> float:
        """Rank-1 in percent, truncated to two places as the paper prints it (networks.md section 4.9)."""
        return self.k * 10000 // len(self.hits) / 100

    @property
    def interval(self) -> tuple[float, float]:
        """95 % in percent, people drawn."""
        low, high = share_interval(self.hits, self.people)
        return 100 * low, 100 * high


def ladder_config(paths: str = "len<=1", **options: Any) -> MatchConfig:
    """What both sides need for every step: three scales, all blur levels, the undegraded portrait and ``paths``."""
    fixed = FIXED & options.keys()
    if fixed:
        raise ConfigError(f"the ladder fixes {', '.join(sorted(fixed))} itself")
    chosen = ((), *(path for path in select_paths(paths) if path))
    if len(chosen) == 1:
        raise ConfigError(f"the ladder expects paths of degradations, got {paths!r}")
    return MatchConfig(**{"centering": "set", **options}, paths=chosen, scales=SCALES, identity=True)


def steps(probe: tuple[int, int], gallery: tuple[int, int]) -> list[Step]:
    """Every row for pools of these shapes (scales, hypotheses)."""

    def mask(shape: tuple[int, int], scales: Sequence[int], slots: slice) -> Mask:
        keep = np.zeros(shape)
        for scale in scales:
            keep[scale, slots] = 1.0
        return keep

    every, first, degraded = slice(None), slice(0, 1), slice(1, None)
    native, lifted = mask(gallery, [0], first), range(1, len(SCALES) + 1)
    rows = [Step("baseline", mask(probe, [0], first), native, ("S_max", "S_max"))]
    for name, slots, of_gallery in (
        ("+SR, single hypothesis", first, None), ("+multi-hypothesis SR", every, None),
        ("+resolution matching", every, first), ("+gallery degradations", every, degraded),
    ):
        for index, scale in zip(lifted, SCALES, strict=True):
            met = native if of_gallery is None else mask(gallery, [index], of_gallery)
            rows.append(Step(f"{name}, {scale}x", mask(probe, [index], slots), met, ("S_max", "S_max")))
    up, down = mask(probe, lifted, every), mask(gallery, lifted, degraded)
    for p in ("T_add", "S_add", "S_max"):
        rows += [Step(f"+multi-scale, probe {p}, gallery {g}", up, down, (p, g)) for g in ("T_add", "S_add", "S_max")]
    rows.append(Step("+multi-scale, T_concat", up, down, ("T_concat", "T_concat")))
    up, down = mask(probe, [0, *lifted], every), native + mask(gallery, lifted, every)
    for p, g in WITH_IDENTITY:
        rows.append(Step(f"+identity hypotheses, probe {p}, gallery {g}", up, down, (p, g)))
    rows.append(Step("identity probe alone, whole gallery, T_add", mask(probe, [0], every), down, ("S_max", "T_add")))
    return rows


def masked_side(pool: TemplatePool, centring: Centring, keep: Mask) -> Side:
    """A side of a pool with only the hypotheses that ``keep`` (S, N) marks, centred."""
    weights = pool.weights * keep[None]
    plain = Side(pool.templates, weights, pool.first)
    if centring == "vector":
        return replace(plain, per_vector=True)
    if centring == "set":
        total = MeanAccumulator(pool.templates.shape[1], pool.templates.shape[3])
        for templates, own in zip(pool.templates, weights, strict=True):
            total.add(templates, own)
        return replace(plain, means=total.means())
    return plain


def climb(
    probes: TemplatePool, gallery: TemplatePool, probe_subjects: Sequence[str], gallery_subjects: Sequence[str],
    centrings: Sequence[Centring] = CENTRINGS,
) -> Iterator[Rung]:
    """Every step under every centring, of the pools that :func:`ladder_config` makes."""
    for step in steps(probes.weights.shape[1:], gallery.weights.shape[1:]):
        for centring in centrings:
            sides = masked_side(probes, centring, step.probe), masked_side(gallery, centring, step.gallery)
            scores = fuse_sides(*sides, [step.rules], add="mean")[0]
            trials = Trials.of(scores, probe_subjects, gallery_subjects)
            found = search(trials)
            if not found.mated.any():
                raise InputError("expected probes with a mate in the gallery for the ladder, got none")
            yield Rung(step.name, centring, found.hits()[found.mated], trials.probe_subjects[found.mated])


def subset_rank1(
    probes: TemplatePool, gallery: TemplatePool, probe_subjects: Sequence[str], gallery_subjects: Sequence[str],
    subsets: Sequence[frozenset[str]], centring: Centring = "set",
) -> NDArray[np.float64]:
    """Rank-1 in percent of the headline step in each subset of the people, both sides, and the means that centre them,
    restricted to it (Table 4). Raises InputError for a subset without a probe that has a mate."""
    step = next(s for s in steps(probes.weights.shape[1:], gallery.weights.shape[1:]) if s.name == HEADLINE)
    rates = []
    for chosen in subsets:
        kept = [np.array([name in chosen for name in names]) for names in (probe_subjects, gallery_subjects)]
        sides = [
            masked_side(_only(pool, entries), centring, mask)
            for pool, entries, mask in zip((probes, gallery), kept, (step.probe, step.gallery), strict=True)
        ]
        scores = fuse_sides(sides[0], sides[1], [step.rules], add="mean")[0]
        found = search(Trials.of(scores, probe_subjects, gallery_subjects).select(*kept))
        if not found.mated.any():
            raise InputError("expected probes with a mate in every subset of the people, got none in one")
        rates.append(100 * found.hits()[found.mated].mean())
    return np.array(rates)


def _only(pool: TemplatePool, entries: NDArray[np.bool_]) -> TemplatePool:
    """The pool as if the others had no templates."""
    there = np.repeat(entries, np.diff(pool.first))
    return replace(pool, weights=pool.weights * there[:, None, None].astype(np.float32))
