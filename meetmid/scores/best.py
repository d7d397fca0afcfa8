"""Best-hypothesis selection (Grm et al. 2023, section 3.3; networks.md section 4.7)."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.scores.reduction import largest
from meetmid.scores.side import BLOCK, Side
from meetmid.templates.pool import allocate


@dataclass(frozen=True)
class BestHypothesis:
    """Per probe entry: ``index`` (P, 3) int64 (picture of the entry, scale, hypothesis), -1 where there is none;
    ``similarity`` (P,) float32; and ``gallery`` (P,) int64, the entry it is nearest to."""

    index: NDArray[np.int64]
    similarity: NDArray[np.float32]
    gallery: NDArray[np.int64]

    def keep(self, p: Side, limit: int = sys.maxsize) -> NDArray[np.float32]:
        """The weights of ``p`` with only the selected hypotheses left, at weight 1; mapped beyond ``limit`` bytes."""
        weights = allocate(p.weights.shape, limit)
        for entry, (picture, scale, hypothesis) in enumerate(self.index):
            if picture >= 0:
                weights[p.first[entry] + picture, scale, hypothesis] = 1.0
        return weights


def best_hypothesis(p: Side, g: Side, block: int = BLOCK, threads: int = 1) -> BestHypothesis:
    """h* = argmax_i max_g r(p_i, t_g): the probe hypothesis nearest to anyone (Grm et al. 2023, section 3.3; networks.md
    section 4.7). Ties keep the first picture, scale and hypothesis, and of the gallery the first entry."""
    similarity = np.full(len(p), -np.inf)
    row, nearest = np.full(len(p), -1, np.int64), np.full(len(p), -1, np.int64)
    for start, best, where in largest(p, g, threads, block):
        for k in np.flatnonzero(best > -np.inf):
            entry = int(np.searchsorted(p.starts, start[k], "right")) - 1
            if best[k] > similarity[entry]:
                similarity[entry], row[entry], nearest[entry] = best[k], start[k], where[k]
    picture, slot = np.divmod(row, p.slots)
    index = np.stack([picture - p.first[:-1], *np.divmod(slot, p.weights.shape[2])], axis=1)
    found = row >= 0
    return BestHypothesis(
        np.where(found[:, None], index, -1), np.where(found, similarity, np.nan).astype(np.float32), nearest
    )
