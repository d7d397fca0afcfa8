"""What is chosen among: how the probe is lifted, the gallery's paths, rules and centrings; and the templates of all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from meetmid.config import MatchConfig, Rule
from meetmid.evaluation.choices import Choice, Run
from meetmid.evaluation.held_out import Option
from meetmid.gallery.paths import Path, format_path, select_paths
from meetmid.matcher import Matcher
from meetmid.templates.centering import ReferenceMeans
from meetmid.templates.pool import TemplatePool, allocate
from meetmid.tuning.people import People

PAIRS: tuple[tuple[Rule, Rule], ...] = (
    ("T_add", "T_add"), ("S_add", "T_add"), ("S_add", "S_add"), ("S_add", "S_max"), ("S_max", "T_add"), ("S_max", "S_max"),
)
ALONE: tuple[tuple[Rule, Rule], ...] = (("T_add", "T_add"), ("T_add", "S_add"), ("T_add", "S_max"))
"""Of a probe with one hypothesis, for which its own rule does not matter."""

Opened = Callable[..., Matcher]
"""A Matcher of a configuration: ``opened(config=...)``."""


@dataclass(frozen=True)
class Lift:
    """One way to make the probe's hypotheses beside the picture itself."""

    name: str
    hallucinator: str
    scales: tuple[int, ...]
    sigmas: tuple[float, ...]


AS_IT_IS = Lift("as it is", "edsr-recognition", (), (0.0,))
RECOGNITION = (
    Lift("edsr-recognition 4x", "edsr-recognition", (4,), (0.0,)),
    Lift("edsr-recognition 4x, two blurs", "edsr-recognition", (4,), (0.0, 0.4)),
)
FACE = (
    Lift("edsr-face 2x", "edsr-face", (2,), (0.0,)), Lift("edsr-face 4x", "edsr-face", (4,), (0.0,)),
    Lift("edsr-face 2x and 4x", "edsr-face", (2, 4), (0.0,)),
)


@dataclass(frozen=True)
class Grid:
    """The ``lifts`` and ``paths`` that are tried, on the first ``views`` of every far picture."""

    lifts: tuple[Lift, ...]
    paths: tuple[Path, ...]
    views: int

    @property
    def scales(self) -> tuple[int, ...]:
        """All lifts' scales."""
        return tuple(sorted({scale for lift in self.lifts for scale in lift.scales}))

    def gallery_configs(self, base: MatchConfig) -> tuple[MatchConfig, ...]:
        """What makes the portraits' templates: of probes as they are, and of lifted ones."""
        own = replace(base, scales=(), paths=self.paths, centering="none", score_norm="none")
        return (own, replace(own, scales=self.scales, hallucinator="edsr-face" if 2 in self.scales else "edsr-recognition"))

    def probe_configs(self, base: MatchConfig) -> tuple[MatchConfig, ...]:
        """What makes the probes' templates, one configuration per family of generators."""
        found = []
        for family in dict.fromkeys(lift.hallucinator for lift in self.lifts if lift.scales):
            its = [lift for lift in self.lifts if lift.hallucinator == family and lift.scales]
            scales = tuple(sorted({scale for lift in its for scale in lift.scales}))
            sigmas = max((lift.sigmas for lift in its), key=len)
            found.append(replace(
                base, hallucinator=family, scales=scales, sigmas=sigmas, paths="none", centering="none", score_norm="none"
            ))
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Templates:
    """Pools of everything in a grid: the portraits' for probes ``as_they_are`` and for ``lifted`` ones, and every view's probes
    by family, their scales those of the lifted portraits."""

    as_they_are: TemplatePool = field(repr=False)
    lifted: TemplatePool = field(repr=False)
    probes: dict[str, tuple[TemplatePool, ...]] = field(repr=False)


def templates(grid: Grid, base: MatchConfig, people: People, opened: Opened, limit: int) -> Templates:
    """Make them; probes' of more than ``limit`` bytes lie in mapped files."""
    pools = []
    for config in grid.gallery_configs(base):
        with opened(config=config) as matcher:
            pools.append(matcher.enroll(list(people.portraits)).pool)
    probes = {}
    for config in grid.probe_configs(base):
        with opened(config=config) as matcher:
            found = [matcher.lift(list(view)).pool for view in people.views[: grid.views]]
        at = [0, *(1 + grid.scales.index(scale) for scale in config.scales)]
        probes[config.hallucinator] = tuple(_embedded(pool, at, 1 + len(grid.scales), base, limit) for pool in found)
    return Templates(pools[0], pools[1], probes)


def _embedded(pool: TemplatePool, at: Sequence[int], scales: int, base: MatchConfig, limit: int) -> TemplatePool:
    """The pool with its scales at these positions of ``scales``, the picture itself counted ``identity_weight`` times."""
    _, slots, length = pool.pattern
    rows = allocate((len(pool.weights), scales, slots, length), limit)
    weights = allocate(rows.shape[:3], limit)
    rows[:, at], weights[:, at] = np.asarray(pool.templates), pool.weights
    weights[:, 0] *= np.float32(base.identity_weight)
    return TemplatePool(rows, weights, pool.first)


def options(
    grid: Grid, base: MatchConfig, made: Templates, people: People, reference: ReferenceMeans | None, paths: int, most: int
) -> dict[str, tuple[Option, MatchConfig]]:
    """Every option with the configuration that it is, but for its paths; among the first ``paths`` paths."""
    found = {}
    for lift in grid.lifts:
        for centring, moment in _centrings(lift, reference):
            runs = _runs(grid, lift, made, people, centring, reference, moment)
            for rules in PAIRS if lift.scales else ALONE:
                if moment and rules[1] == "S_max":
                    continue
                name = f"{lift.name}; {rules[0]}, {rules[1]}; {centring}{', Z-norm' if moment else ''}"
                config = replace(
                    base, preset="tuned", hallucinator=lift.hallucinator, scales=lift.scales, sigmas=lift.sigmas,
                    probe_rule=rules[0], gallery_rule=rules[1], centering=centring, score_norm="z" if moment else "none",
                )
                single = [k for k, path in enumerate(grid.paths[:paths]) if len(path) == 1]
                # without paths the portraits that meet a lifted probe are of its scale, which means, weights and networks tell
                alike = centring in ("none", "vector") and base.portrait_weight == 1 and base.degraded_by == "gallery"
                least = 0 if alike or not lift.scales else 1
                choice = _choice(grid, lift, made, rules, paths)
                found[name] = Option(name, runs, choice, min(most, paths), least, tuple(single)), config
    return found


def with_paths(config: MatchConfig, names: Sequence[str]) -> MatchConfig:
    """The configuration with chosen paths."""
    return replace(config, paths=select_paths(tuple(names)) if names else "none")


Way = tuple[Literal["none", "vector", "set", "reference"], bool]
"""A centring, and whether scores are divided by what the portrait scores with the reference's cohort."""


def _centrings(lift: Lift, reference: ReferenceMeans | None) -> list[Way]:
    found: list[Way] = [("none", False), ("vector", False), ("set", False)]
    if reference is not None and set(lift.scales) <= set(reference.scales):
        found.append(("reference", False))
        if reference.moment is not None:
            found.append(("reference", True))
    return found


def _runs(
    grid: Grid, lift: Lift, made: Templates, people: People, centring: Any, reference: ReferenceMeans | None, moment: bool
) -> tuple[Run, ...]:
    if centring == "reference":
        assert reference is not None
        labels = (1, *grid.scales) if lift.scales else (1,)
        known = [k for k, label in enumerate(labels) if label in (1, *lift.scales)]
        means = np.zeros((2, len(labels), reference.probe.shape[1]), np.float32)
        means[0, known] = reference.of("probe", tuple(labels[k] for k in known))
        means[1, known] = reference.of("gallery", tuple(labels[k] for k in known))
        centring = means[0], means[1]
    gallery = made.lifted if lift.scales else made.as_they_are
    pools = next(iter(made.probes.values())) if not lift.scales else made.probes[lift.hallucinator]
    runs = []
    for pool in pools:
        weights = pool.weights.copy()
        if len(lift.sigmas) == 1:  # blurs that fell together count once where only one is asked for
            weights[:, 1:] = np.minimum(weights[:, 1:], 1)
        kept = TemplatePool(pool.templates, weights, pool.first)
        if not lift.scales:
            kept = TemplatePool(np.asarray(pool.templates)[:, :1, :1], weights[:, :1, :1], pool.first)
        square = reference.moment if moment and reference is not None else None
        runs.append(Run(kept, gallery, people.mates, people.subjects, centring, square))
    return tuple(runs)


def _choice(grid: Grid, lift: Lift, made: Templates, rules: tuple[Rule, Rule], paths: int) -> Choice:
    names = tuple(format_path(path) for path in grid.paths[:paths])
    if not lift.scales:
        shape = made.as_they_are.weights.shape[1:]
        masks = np.zeros((paths, *shape), bool)
        masks[range(paths), 0, range(1, 1 + paths)] = True
        kept = np.zeros(shape, bool)
        kept[0, 0] = True
        return Choice("gallery", names, masks, kept, np.ones((1, 1), bool), rules)
    shape = made.lifted.weights.shape[1:]
    at = [1 + grid.scales.index(scale) for scale in lift.scales]
    masks, kept = np.zeros((paths, *shape), bool), np.zeros(shape, bool)
    for scale in at:
        masks[range(paths), scale, range(paths)] = True
    kept[0, [0, *at]] = True  # at its own size, and matched to every scale's
    pool = made.probes[lift.hallucinator][0]
    other = np.zeros(pool.weights.shape[1:], bool)
    other[0, 0] = True
    other[at, : len(lift.sigmas)] = True
    return Choice("gallery", names, masks, kept, other, rules)
