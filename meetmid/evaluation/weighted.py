"""Statistics of mated and non-mated scores that count by weights, many sets of weights at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weighted:
    """Scores sorted upwards, failures first as -inf, and B times how much weight lies below each: (B, N + 1), from 0 on."""

    mated: Values
    nonmated: Values
    mated_below: Values
    nonmated_below: Values

    def tmr(self, threshold: Values) -> Values:
        """Weighted true match rate above each draw's threshold (B,)."""
        return _above(self.mated_below, np.searchsorted(self.mated, threshold, "right"))

    def fmr(self, threshold: Values) -> Values:
        """Weighted false match rate above each draw's threshold (B,)."""
        return _above(self.nonmated_below, np.searchsorted(self.nonmated, threshold, "right"))


Statistic = Callable[[Weighted], Values]


def auc(scores: Weighted) -> Values:
    """The area under the ROC, as :meth:`meetmid.evaluation.ErrorRates.auc`."""
    low, high = (np.searchsorted(scores.nonmated, scores.mated, side) for side in ("left", "right"))
    below = scores.nonmated_below[:, low] + scores.nonmated_below[:, high]
    weights = np.diff(scores.mated_below, axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights * below).sum(1) / 2 / scores.mated_below[:, -1] / scores.nonmated_below[:, -1])


def eer(scores: Weighted) -> Values:
    """The equal error rate, as the ``value`` of :meth:`meetmid.evaluation.ErrorRates.eer`."""
    steps = np.unique(scores.mated[np.isfinite(scores.mated)])[::-1]
    corners = np.concatenate([[np.inf], steps, [-np.inf]])  # at each and just below, as in ErrorRates.curve
    rates = []
    for values, below in ((scores.nonmated, scores.nonmated_below), (scores.mated, scores.mated_below)):
        at = np.stack([np.searchsorted(values, corners, "right"), np.searchsorted(values, corners, "left")], 1).ravel()
        with np.errstate(invalid="ignore"):
            rates.append(1.0 - below[:, at] / below[:, -1:])
    fmr, fnmr = rates[0], 1.0 - rates[1]
    gap = fmr - fnmr
    after = np.maximum(np.argmax(gap >= 0, axis=1), 1)
    row = np.arange(len(gap))
    before = after - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        share = -gap[row, before] / (gap[row, after] - gap[row, before])
        return np.asarray(fmr[row, before] + share * (fmr[row, after] - fmr[row, before]))


def tmr_at_fmr(target: float) -> Statistic:
    """TMR at the smallest threshold whose FMR is at most ``target`` in that very draw."""
    curve = tmr_at_fmrs([target])
    return lambda scores: curve(scores)[:, 0]


def tmr_at_fmrs(targets: ArrayLike) -> Statistic:
    """TMR at several target FMRs (K,), for a band around a ROC: (B, K)."""
    shares = np.asarray(targets, np.float64)

    def statistic(scores: Weighted) -> Values:
        padded = np.concatenate([[-np.inf], scores.nonmated])
        rates = []
        for own, other in zip(scores.mated_below, scores.nonmated_below, strict=True):
            total = other[-1]
            at = np.searchsorted(other, total * (1 - shares) - 1e-9 * total)  # below it all but the share lies
            matched = own[-1] - own[np.searchsorted(scores.mated, padded[at], "right")]
            rates.append(matched / own[-1] if own[-1] and total else np.full(len(shares), np.nan))
        return np.array(rates)

    return statistic


def tmr_at(threshold: float) -> Statistic:
    """TMR = 1 - FNMR at a threshold that was fixed beforehand."""
    return lambda scores: scores.tmr(np.full(len(scores.mated_below), threshold))


def fmr_at(threshold: float) -> Statistic:
    """FMR at a threshold that was fixed beforehand."""
    return lambda scores: scores.fmr(np.full(len(scores.mated_below), threshold))


def _above(below: Values, at: NDArray[np.int64]) -> Values:
    with np.errstate(invalid="ignore"):
        return np.asarray(1.0 - below[np.arange(len(below)), at] / below[:, -1])
