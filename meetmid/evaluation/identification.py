"""Closed-set identification from a similarity matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rank1_hits(
    scores: NDArray[np.float32], probe_subjects: Sequence[str], gallery_subjects: Sequence[str]
) -> NDArray[np.bool_]:
    """(P,) True where the mate's score is above every other subject's.

    Ties and failures (NaN mate or probe) count as errors (networks.md section 12); a NaN column of another subject is not a
    competitor.
    """
    mated = np.array(probe_subjects)[:, None] == np.array(gallery_subjects)[None, :]
    values = np.where(np.isnan(scores), -np.inf, scores)
    mate = np.where(mated, values, -np.inf).max(axis=1)
    other = np.where(mated, -np.inf, values).max(axis=1)
    return np.asarray(np.isfinite(mate) & (mate > other))
