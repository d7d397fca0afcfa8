"""Accuracy over folds of pairs, as on LFW."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.intervals import wilson


@dataclass(frozen=True, eq=False)
class FoldAccuracy:
    """``right`` of ``n`` decisions over all folds; ``accuracies`` and ``thresholds`` (K,) of the folds in order."""

    right: int
    n: int
    accuracies: NDArray[np.float64] = field(repr=False)
    thresholds: NDArray[np.float64] = field(repr=False)

    @property
    def mean(self) -> float:
        """The mean over folds, as LFW reports it."""
        return float(self.accuracies.mean())

    @property
    def standard_error(self) -> float:
        """Deviation over folds (ddof 1) by the root of their number (G. B. Huang et al., UMass Amherst 07-49, 2007, eq. 2)."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 95 % of ``right`` out of ``n``."""
        return wilson(self.right, self.n)


def fold_accuracy(scores: ArrayLike, mated: ArrayLike, folds: ArrayLike) -> FoldAccuracy:
    """Decide each fold with the threshold that is best on all others (LFW's view 2; networks.md section 12).

    ``scores`` (N,), ``mated`` (N,) bool, ``folds`` (N,) numbers of the folds, at least two. A threshold lies half-way between
    two scores, the lowest where several are best. A failure (NaN) is never declared a match. Raises InputError.
    """
    values, same, fold = np.asarray(scores, np.float64), np.asarray(mated), np.asarray(folds)
    if not (values.ndim == 1 and values.shape == same.shape == fold.shape and same.dtype == np.bool_):
        got = f"{values.shape}, {same.shape} {same.dtype}, {fold.shape}"
        raise InputError(f"expected scores, mated (bool) and folds (N,), got {got}")
    if np.isinf(values).any():
        raise InputError("expected finite scores, or NaN for failures, got infinite ones")
    names = np.unique(fold)
    if len(names) < 2:
        raise InputError(f"expected at least two folds, got {len(names)}")
    rights, sizes, thresholds = [], [], []
    for name in names:
        test = fold == name
        threshold = _best(values[~test & ~np.isnan(values)], same[~test & ~np.isnan(values)])
        rights.append(int(((values[test] > threshold) == same[test]).sum()))
        sizes.append(int(test.sum()))
        thresholds.append(threshold)
    return FoldAccuracy(sum(rights), sum(sizes), np.array(rights) / np.array(sizes), np.array(thresholds))


def _best(scores: NDArray[np.float64], mated: NDArray[np.bool_]) -> float:
    """The threshold with most right decisions."""
    if not len(scores):
        raise InputError("expected scores in every fold, got failures only")
    levels = np.unique(scores)
    ends = np.concatenate([[levels[0] - 1.0], (levels[1:] + levels[:-1]) / 2, [levels[-1]]])
    own, other = np.sort(scores[mated]), np.sort(scores[~mated])
    right = len(own) - np.searchsorted(own, ends, "right") + np.searchsorted(other, ends, "right")
    return float(ends[np.argmax(right)])
