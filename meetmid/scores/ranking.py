"""Ranked candidate lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.validation import is_whole


@dataclass(frozen=True)
class Candidate:
    """One line of a candidate list: gallery ``id`` and column ``index``, ``score`` (higher = more alike), ``rank`` from 1.

    With a calibration ``log10_lr`` is the decimal logarithm of the pair's likelihood ratio and ``decision`` what it supports.
    """

    id: str
    index: int
    score: float
    rank: int
    log10_lr: float | None = None
    decision: str = ""


def check_count(k: int) -> None:
    """Raise InputError for candidate lists of less than one entry, or of no whole number."""
    if not is_whole(k, 1):
        raise InputError(f"k expects at least 1, got {k!r}")


def ranked(scores: NDArray[np.float32], ids: tuple[str, ...], k: int) -> list[Candidate]:
    """The ``k`` best columns of one row (G,): by score, ties by index, failed columns (NaN) left out."""
    order = np.argsort(-scores, kind="stable")
    valid = order[~np.isnan(scores[order])][:k]
    return [Candidate(ids[i], int(i), float(scores[i]), rank) for rank, i in enumerate(valid, 1)]
