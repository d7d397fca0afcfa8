"""Best-hypothesis selection (Grm et al. 2023, section 3.3; networks.md section 4.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.scores import kernels
from meetmid.scores.side import BLOCK, Side


@dataclass(frozen=True)
class BestHypothesis:
    """Per probe entry: ``index`` (P, 2) int64 (scale, pooled hypothesis), -1 where there is none; ``similarity`` (P,)
    float32; and ``gallery`` (P,) int64, the entry it is nearest to."""

    index: NDArray[np.int64]
    similarity: NDArray[np.float32]
    gallery: NDArray[np.int64]

    def keep(self, p: Side) -> NDArray[np.float64]:
        """The weights of ``p`` with only the selected hypotheses left, at weight 1."""
        weights = np.zeros(p.weights.shape)
        for entry, (scale, pooled) in enumerate(self.index):
            if scale >= 0:
                picture, hypothesis = divmod(int(pooled), p.weights.shape[2])
                weights[p.first[entry] + picture, scale, hypothesis] = 1.0
        return weights


def best_hypothesis(p: Side, g: Side, block: int = BLOCK) -> BestHypothesis:
    """h* = argmax_i max_g r(p_i, t_g): the probe hypothesis nearest to anyone (Grm et al. 2023, section 3.3; networks.md
    section 4.7). Ties keep the first in canonical order."""
    pooled = p.weights.shape[2] * p.depth
    index = np.full((len(p), 2), -1, np.int64)
    similarity = np.full(len(p), -np.inf)
    chosen = np.zeros(len(p), np.int64)
    nearest = np.full(len(p), -1, np.int64)
    step = max(1, block // max(1, g.entry_bytes()))
    for first in range(0, len(g), step):
        rows_g, weights_g, _ = g.rows(first, first + step)
        for entry in range(len(p)):
            rows_p, weights_p, _ = p.rows(entry, entry + 1)
            best = np.where(weights_p[0] > 0, -np.inf, np.inf)
            where = np.full((len(best), 2), -1, np.int64)
            kernels.row_maxima(rows_p[0], rows_g, weights_g, best, where)
            best[weights_p[0] == 0] = -np.inf
            row = int(np.argmax(best))
            tied = best[row] == similarity[entry] > -np.inf and row < chosen[entry]
            if best[row] > similarity[entry] or tied:
                similarity[entry], nearest[entry] = best[row], first + where[row, 0]
                chosen[entry], index[entry] = row, divmod(row, pooled)
    return BestHypothesis(index, np.where(nearest >= 0, similarity, np.nan).astype(np.float32), nearest)
