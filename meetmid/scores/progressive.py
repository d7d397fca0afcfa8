"""The best candidates of every probe, with the full score for those alone that can still be among them.

A cheap score of all portraits says in which order they are compared in full; a probe is done when the next one would have to
gain more over its cheap score than those before it did. The gain of the full score over the cheap one is taken for normally
distributed within one probe, so that ``miss`` is the nominal chance that a better candidate is left out, of any number. It is
not: benchmarks/identify.py counts 0 to 3.3 % of searches that lack one for a nominal 0.1 %, 0 to 0.7 % for a nominal 1e-6. It
is the cascade of late-interaction retrieval (K. Santhanam et al., "PLAID", CIKM 2022, section 4) with a stopping rule in
place of a fixed length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Scores = NDArray[np.float32]
Wanted = Mapping[int, list[int]]
"""Portraits, and the probes that are to be compared with each."""

Exact = Callable[[Wanted], Iterator[tuple[int, list[int], Scores]]]
"""Yields a portrait, probes, and their full scores."""

LEAST = 24
"""Candidates that are compared in full before the gains of a probe are trusted."""


def progressive(cheap: Scores, k: int, miss: float, exact: Exact) -> Scores:
    """Full scores (P, G) of the pairs that were compared, NaN elsewhere; ``cheap`` (P, G), NaN where there is no score. The
    ``k`` best of every row are the best of all but for a nominal chance of ``miss`` per probe; 0 compares all."""
    found = np.full_like(cheap, np.nan)
    order = np.argsort(-cheap, axis=1, kind="stable")
    usable = (~np.isnan(cheap)).sum(axis=1)
    reached = np.zeros(len(cheap), np.int64)
    step = max(4 * k, LEAST)
    active = np.flatnonzero(usable)
    while len(active):
        wanted: dict[int, list[int]] = {}
        for p in active.tolist():
            stop = int(min(reached[p] + step, usable[p])) if miss > 0 else int(usable[p])
            for entry in order[p, reached[p] : stop].tolist():
                if np.isnan(found[p, entry]):
                    wanted.setdefault(entry, []).append(p)
            reached[p] = stop
        for entry, probes, scores in exact(wanted):
            found[probes, entry] = scores
        may_win = [_may_win(cheap[p], found[p], order[p], reached[p], k, miss) for p in active]
        active = active[(reached[active] < usable[active]) & may_win]
        step *= 2
    return found


def _may_win(cheap: Scores, found: Scores, order: NDArray[np.int64], reached: int, k: int, miss: float) -> bool:
    """Whether a portrait that one probe was not compared with may be among its ``k`` best."""
    left = len(order) - reached
    if left == 0:
        return False
    compared = order[:reached]
    compared = compared[np.isfinite(found[compared])]
    if len(compared) < max(k, LEAST):
        return True
    full = found[compared].astype(np.float64)
    gain = full - cheap[compared]
    reach = gain.mean() - ndtri(miss / left) * gain.std(ddof=1)
    return bool(cheap[order[reached]] + reach >= np.partition(full, -k)[-k])
