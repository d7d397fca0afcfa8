"""Ranked candidates without a full comparison of everyone: see :mod:`meetmid.scores.progressive`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.comparison import Comparison, blend
from meetmid.config import Rule
from meetmid.faces.finding import Hint, hints_by_id, hints_for
from meetmid.gallery.hypotheses import GalleryLayouts
from meetmid.gallery.store import Gallery
from meetmid.images import Entry, entries
from meetmid.intake import Taken
from meetmid.probes.hypotheses import probe_slots
from meetmid.runtime.progress import Progress, ProgressCallback
from meetmid.scores.progressive import Wanted, progressive

Scores = NDArray[np.float32]
Compared = Iterator[tuple[int, list[int], Scores]]

CHEAP: tuple[Rule, Rule] = ("S_add", "S_add")
"""One product of summed templates."""

WORTH = 2e7
"""Operations that comparing a probe with an enrolled portrait in full must take to be worth sparing."""

TOGETHER = 64
"""About as many templates of portraits are made before they are compared."""


def has_short_way(compare: Comparison, gallery: Any) -> bool:
    """Whether the best candidates can be had for less than all scores: not where one product gives these anyway, not where
    comparing in full is quick, and not where a score depends on everyone (a probe's best hypothesis, the mean of a set that is
    yet to be enrolled), nor where probes meet galleries of their sizes."""
    config = compare.config
    if "S_max" not in (config.probe_rule, config.gallery_rule) or config.select != "all" or compare.native or config.sizes:
        return False
    if not isinstance(gallery, Gallery):
        return config.centering != "set"
    scales, slots, length = gallery.pattern
    return 2.0 * scales * probe_slots(config) * scales * slots * length >= WORTH


def short_way(
    compare: Comparison, probes: Taken, gallery: Any, faces: Hint | None, k: int, miss: float, callback: ProgressCallback | None
) -> tuple[Scores, tuple[str, ...]]:
    """Scores (P, G) of the pairs that may be among a probe's ``k`` best, NaN elsewhere, and the portraits' ids."""
    if not isinstance(gallery, Gallery):
        side = entries(gallery, what="gallery")
        return _pictures(compare, probes, side, faces, k, miss, callback), tuple(entry.id for entry in side)
    means = compare.set_means(probes)
    (run,) = compare.runs(gallery, faces, probes, callback)
    scores = _enrolled(compare, probes, run.gallery, means, k, miss)
    run.progress(callback).step()
    return scores, gallery.ids


def _enrolled(
    compare: Comparison, probes: Taken, gallery: Gallery, means: NDArray[np.float32] | None, k: int, miss: float
) -> Scores:
    """The summed templates of each side make the cheap scores; the pictures as they are add one product for everyone."""
    p, g = compare.far_sides(probes.pool, gallery.pool, means)
    cheap, near = compare.fused(p, g, CHEAP), np.flatnonzero(probes.share > 0).tolist()
    plain = dict(zip(near, compare.plain_scores(probes, gallery, near), strict=True)) if near else {}
    for probe, its in plain.items():
        cheap[probe] = blend(cheap[probe], its, probes.share[probe])

    def exact(wanted: Wanted) -> Compared:
        for entry, its in sorted(wanted.items()):
            found = compare.fused(p.chosen(its, compare.intake.memory // 8), g.entries(entry, entry + 1))[:, 0]
            near_ones = np.array([plain[probe][entry] if probe in plain else np.nan for probe in its], np.float32)
            yield entry, its, blend(found, near_ones, probes.share[its])

    return progressive(cheap, k, miss, exact)


def _pictures(
    compare: Comparison, probes: Taken, side: Sequence[Entry], faces: Hint | None, k: int, miss: float,
    callback: ProgressCallback | None,
) -> Scores:
    """The undegraded templates of portraits make the cheap scores; only those portraits are degraded that may win."""
    hints = hints_for(faces, side, compare.config.faces)
    undegraded = compare.having(paths=((),), draws_per_node=1)
    clean = undegraded.enroll(side, faces, callback)
    cheap = undegraded.scores_of(probes, clean, CHEAP)
    together = max(1, TOGETHER // GalleryLayouts.of(compare.config).networks_runs())

    def exact(wanted: Wanted) -> Compared:
        chosen, progress = sorted(wanted), Progress(callback, "gallery", sum(len(side[e].sources) for e in wanted))
        for start in range(0, len(chosen), together):
            part = chosen[start : start + together]
            own = hints_by_id((side[e], hints[e]) for e in part)
            scores = compare.scores_of(probes, compare.enrolled([side[e] for e in part], own, progress))
            for column, entry in enumerate(part):
                yield entry, list(range(len(cheap))), scores[:, column]

    sharp = np.flatnonzero(probes.share == 1).tolist()
    cheap[sharp] = np.nan  # these meet the undegraded portraits anyway
    found = progressive(cheap, k, miss, exact)
    if sharp:
        found[sharp] = undegraded.plain_scores(probes, clean, sharp)
    return found
