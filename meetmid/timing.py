"""How long a match will take here: a short run of its own stages on a few pictures, scaled to all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from meetmid.comparison import Comparison
from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, InputError
from meetmid.faces.finding import Hint
from meetmid.gallery.hypotheses import GalleryLayouts
from meetmid.gallery.store import Gallery
from meetmid.images import Entry, entries
from meetmid.intake import count
from meetmid.probes.hypotheses import probe_slots, scale_labels
from meetmid.runtime.progress import Progress
from meetmid.runtime.sessions import BATCH
from meetmid.templates.pool import TemplatePool

BUDGET = 0.6
"""Seconds that each of the three stages is tried for, beside a first call that warms up."""

MANY = 24
"""Paths of a portrait that are tried at most, neighbours in the tree, which share their prefixes as all do."""

SIDES = {"probe": 24, "gallery": 160}
"""Pixels of the square crops that stand for pictures which are only counted."""

SAMPLE_BYTES = 16 * 2**20
SAMPLE_FLOPS = 2e10


@dataclass(frozen=True)
class Sample:
    """``count`` pictures of which ``entries`` are some (none: they are enrolled already); ``faces`` as for a match."""

    entries: Sequence[Entry]
    count: int
    faces: Hint | None = None

    @classmethod
    def of(cls, side: Any, stage: str) -> Sample:
        """Of a side, of an enrolled gallery, or of a number, for which made-up face crops stand. Raises InputError."""
        if isinstance(side, Gallery):
            return cls((), len(side.pool.weights))
        if isinstance(side, bool) or not isinstance(side, Integral):
            listed = entries(side, what=stage)
            return cls(listed, count(listed))
        side = int(side)
        if side < 0:
            raise InputError(f"plan expects counts of 0 or more, got {side}")
        shape = (SIDES[stage], SIDES[stage], 3)
        rng = np.random.default_rng(0)
        made = [Entry(str(k), (rng.integers(0, 256, shape, np.uint8),)) for k in range(min(side, 64))]
        return cls(made, side, "crop")


def expected_seconds(compare: Comparison, probes: Sample, gallery: Sample) -> dict[str, float]:
    """Seconds that the pictures will take, by stage: ``"probe"``, ``"gallery"`` and ``"scores"``."""
    found = dict.fromkeys(("probe", "gallery", "scores"), 0.0)
    layouts = GalleryLayouts.of(compare.config, _shape(compare.config))
    if gallery.entries:
        tried = _fewer_paths(compare)
        its = GalleryLayouts.of(tried.config, layouts.each[0].lr_shape)

        def enroll(part: Sequence[Entry]) -> None:
            tried.intake.portraits(part, gallery.faces, its, Progress(None, "gallery", 0))

        cost = _per_run(enroll, gallery.entries, lambda pictures: _batched(pictures * its.networks_runs()))
        found["gallery"] = _batched(gallery.count * layouts.networks_runs()) * cost
    if probes.entries:
        tried = _with(compare, sigmas=compare.config.sigmas[:BATCH])

        def lift(part: Sequence[Entry]) -> None:
            tried.intake.probes(part, probes.faces, None)

        if compare.config.scales:  # every probe has batches of its own in the generators
            levels = len(compare.config.sigmas) / len(tried.config.sigmas)
            found["probe"] = probes.count * levels * _per_run(lift, probes.entries, lambda pictures: pictures)
        else:
            found["probe"] = _batched(probes.count) * _per_run(lift, probes.entries, _batched)
    if probes.count and gallery.count:
        found["scores"] = _scores(compare, layouts.block, probes.count, gallery.count)
    return found


def _shape(config: MatchConfig) -> tuple[int, int] | None:
    return (SIDES["probe"], SIDES["probe"]) if config.lr_size is None else None


def _with(compare: Comparison, **changes: object) -> Comparison:
    return compare.having(errors="record", **changes)


def _fewer_paths(compare: Comparison) -> Comparison:
    paths = GalleryLayouts.of(compare.config).each[0].paths
    start = max(0, (len(paths) - MANY) // 2)
    return _with(compare, paths=paths[start : start + MANY]) if len(paths) > MANY else _with(compare)


def _batched(runs: int) -> int:
    """Network runs with the last batch padded."""
    return -(-runs // BATCH) * BATCH


def _per_run(
    stage: Callable[[Sequence[Entry]], None], sample: Sequence[Entry], runs: Callable[[int], int]
) -> float:
    """Seconds per run, of which so many pictures take ``runs``: those of the last of ever larger parts, when the budget is
    spent; the first ones open sessions, and few pictures keep no thread busy."""
    stage(sample[:1])
    spent, size, found = 0.0, min(4, len(sample)), 0.0
    while spent < BUDGET:
        part = [sample[(k * len(sample)) // size] for k in range(size)]
        part = [replace(entry, id=str(k)) for k, entry in enumerate(part)]
        begun = time.perf_counter()
        stage(part)
        took = time.perf_counter() - begun
        found, spent = took / max(1, runs(count(part))), spent + took
        size = min(2 * size, len(sample))
    return found


def _scores(compare: Comparison, slots: int, n_probes: int, n_gallery: int) -> float:
    """Scoring takes a part for every portrait and a part for every pair: two sizes tell them apart."""
    config, length = compare.config, compare.intake.network.length
    scales, levels = len(scale_labels(config)), probe_slots(config)
    portraits = max(1, min(n_gallery, SAMPLE_BYTES // (4 * scales * slots * length)))
    pair = 2.0 * scales**2 * slots * levels * length
    many = max(1, min(n_probes, SAMPLE_BYTES // (4 * scales * levels * length), int(SAMPLE_FLOPS / (pair * portraits))))
    rng = np.random.default_rng(0)

    def pool(count: int, each: int) -> TemplatePool:
        templates = rng.standard_normal((count, scales, each, length), np.float32)
        return TemplatePool(templates, np.ones(templates.shape[:3], np.float32), np.arange(count + 1))

    try:
        compare.reference()
    except ConfigError:
        compare = _with(compare, centering="none", score_norm="none")
    held = pool(portraits, slots)

    def seconds(count: int) -> float:
        probes, times = pool(count, levels), list[float]()
        while len(times) < 2 or sum(times) < BUDGET / 4:
            begun = time.perf_counter()
            compare.fused(*compare.far_sides(probes, held, None))
            times.append(time.perf_counter() - begun)
        return float(np.median(times[1:]))

    few = max(1, many // 4)
    compare = compare if compare.config.centering != "set" else _with(compare, centering="none", score_norm="none")
    least, most = seconds(few), seconds(many)
    per_probe = max(0.0, (most - least) / (many - few)) if many > few else most / many
    return (max(0.0, least - few * per_probe) + n_probes * per_probe) * n_gallery / portraits
