"""One-to-one comparison: false match and false non-match rates, and what follows from them.

A pair is declared a match when its score is above the threshold. A failure to acquire (NaN) is never declared a match, so
that rates are over all attempts: they are the generalised rates GFAR and GFRR of ISO/IEC 19795-1:2021 where there are
failures, and FMR and FNMR where there are none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.trials import Scores, Trials

Values = NDArray[np.float64]


@dataclass(frozen=True)
class EqualErrorRate:
    """``value`` where the ROC, its points joined by lines, crosses FMR = FNMR (networks.md section 12).

    ``low`` and ``high`` bound what single thresholds reach and ``midpoint`` lies between them (D. Maio et al., "FVC2000",
    IEEE TPAMI 24(3), 2002, section 4.2); ``threshold`` is the one of the two that is nearer to the crossing.
    """

    value: float
    low: float
    high: float
    threshold: float

    @property
    def midpoint(self) -> float:
        """Half-way between ``low`` and ``high``."""
        return (self.low + self.high) / 2


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold does: ``tmr`` = 1 - FNMR at ``fmr``; ``k`` of ``n`` mated, ``false_matches`` of ``n_nonmated``."""

    threshold: float
    k: int
    n: int
    false_matches: int
    n_nonmated: int

    @property
    def tmr(self) -> float:
        """True match rate."""
        return self.k / self.n

    @property
    def fmr(self) -> float:
        """False match rate."""
        return self.false_matches / self.n_nonmated


@dataclass(frozen=True, eq=False)
class Curve:
    """FMR and FNMR at ``thresholds``, from the highest down: FMR grows, FNMR falls. The corners of the exact ROC."""

    thresholds: Values
    fmr: Values
    fnmr: Values

    @property
    def tmr(self) -> Values:
        """True match rate, 1 - FNMR."""
        return 1.0 - self.fnmr


@dataclass(frozen=True, eq=False)
class ErrorRates:
    """Error rates of mated and non-mated scores, both sorted upwards; failures are counted apart."""

    mated: Scores = field(repr=False)
    nonmated: Scores = field(repr=False)
    failed_mated: int
    failed_nonmated: int

    @classmethod
    def of(cls, mated: ArrayLike | Trials, nonmated: ArrayLike | None = None) -> ErrorRates:
        """Of :class:`Trials`, or of mated and non-mated scores (1-D, NaN for failures); raises InputError if one is empty."""
        if isinstance(mated, Trials):
            own, other = mated.split()
        else:
            given: tuple[ArrayLike, ArrayLike] = (mated, [] if nonmated is None else nonmated)
            own, other = (np.asarray(side) for side in given)
            kind = np.float32 if own.dtype == other.dtype == np.float32 else np.float64
            own, other = own.astype(kind), other.astype(kind)
        counts = []
        for name, scores in (("mated", own), ("non-mated", other)):
            if scores.ndim != 1 or not len(scores):
                raise InputError(f"expected {name} scores (N,) with N > 0, got shape {scores.shape}")
            if np.isinf(scores).any():
                raise InputError(f"expected finite {name} scores or NaN, got infinite ones")
            counts.append(int(np.isnan(scores).sum()))
        own.sort()  # both were made here; NaN goes last
        other.sort()
        return cls(own[: len(own) - counts[0]], other[: len(other) - counts[1]], *counts)

    @property
    def n_mated(self) -> int:
        """Mated attempts, failures included."""
        return len(self.mated) + self.failed_mated

    @property
    def n_nonmated(self) -> int:
        """Non-mated attempts, failures included."""
        return len(self.nonmated) + self.failed_nonmated

    def matches(self, threshold: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many mated and how many non-mated attempts are declared matches at each threshold."""
        at = np.asarray(threshold, np.float64)
        single = at.astype(self.mated.dtype)  # searching in another type would copy all scores
        single = np.where(single > at, np.nextafter(single, single.dtype.type(-np.inf)), single)
        own, other = (len(s) - np.searchsorted(s, single, "right") for s in (self.mated, self.nonmated))
        return own, other

    def fmr(self, threshold: ArrayLike) -> Any:
        """False match rate, the share of non-mated attempts with a score above the threshold."""
        return self.matches(threshold)[1] / self.n_nonmated

    def fnmr(self, threshold: ArrayLike) -> Any:
        """False non-match rate, the share of mated attempts without a score above the threshold."""
        return (self.n_mated - self.matches(threshold)[0]) / self.n_mated

    def at(self, threshold: float) -> OperatingPoint:
        """Counts and rates at one threshold."""
        own, other = self.matches(threshold)
        return OperatingPoint(float(threshold), int(own), self.n_mated, int(other), self.n_nonmated)

    def threshold_at_fmr(self, target: float) -> float:
        """The smallest threshold whose FMR is at most ``target`` (networks.md section 12); -inf where every one is.

        Raises InputError for a target that these attempts cannot show: below 1 / n of the n non-mated ones.
        """
        if not 0.0 < target <= 1.0:
            raise InputError(f"expected a target FMR above 0 and at most 1, got {target}")
        allowed = within(target, self.n_nonmated)
        if allowed == 0:
            raise InputError(
                f"{self.n_nonmated} non-mated attempts cannot show an FMR of {target:g}: expected a target of at least "
                f"{1 / self.n_nonmated:.3g}"
            )
        return float(self.nonmated[-1 - allowed]) if allowed < len(self.nonmated) else float("-inf")

    def tmr_at_fmr(self, target: float) -> OperatingPoint:
        """TMR (TAR, VR) at the threshold of :meth:`threshold_at_fmr`."""
        return self.at(self.threshold_at_fmr(target))

    def curve(self) -> Curve:
        """The corners of the ROC: above every score, at and just below every distinct mated score, and below every score."""
        steps = np.unique(self.mated)[::-1]
        above = [max([s[-1] for s in (self.mated, self.nonmated) if len(s)], default=0.0)]
        pairs = np.stack([steps, np.nextafter(steps, steps.dtype.type(-np.inf))], 1)
        thresholds = np.concatenate([above, pairs.ravel(), [-np.inf]]).astype(np.float64)
        return Curve(thresholds, self.fmr(thresholds), self.fnmr(thresholds))

    def auc(self) -> float:
        """The area under the ROC: the share of (mated, non-mated) pairs in order, ties half; failures score lowest.

        J. A. Hanley and B. J. McNeil, Radiology 143(1), 1982.
        """
        below, not_above = (np.searchsorted(self.nonmated, self.mated, side) for side in ("left", "right"))
        ordered = int(below.sum()) + int(not_above.sum()) + 2 * len(self.mated) * self.failed_nonmated
        return (ordered + self.failed_mated * self.failed_nonmated) / 2 / self.n_mated / self.n_nonmated

    def eer(self) -> EqualErrorRate:
        """The equal error rate as a crossing, as an interval and as its midpoint."""
        curve = self.curve()
        fmr, fnmr = np.append(curve.fmr, 1.0), np.append(curve.fnmr, 0.0)  # failures score lowest, as in the area
        gap = fmr - fnmr  # grows from -1 to 1
        after = int(np.argmax(gap >= 0))
        before = after - 1
        share = -gap[before] / (gap[after] - gap[before])
        value = float(fmr[before] + share * (fmr[after] - fmr[before]))
        if after == len(curve.fmr):  # so many failures that no threshold gets there
            return EqualErrorRate(value, float(fmr[before]), float(fnmr[before]), float("-inf"))
        if gap[after] == 0:
            return EqualErrorRate(value, value, value, float(curve.thresholds[after]))
        if fnmr[before] != fnmr[after]:
            strict = curve.thresholds[before]
        else:  # only non-mated scores lie between: the lowest of them that still keeps FMR at or below FNMR
            allowed = within(float(fnmr[before]), self.n_nonmated)
            strict = max(curve.thresholds[after], self.nonmated[-1 - allowed] if allowed < len(self.nonmated) else -np.inf)
        thresholds = [float(strict), float(np.nextafter(self.mated.dtype.type(strict), -np.inf))]
        pairs = [(float(self.fmr(t)), float(self.fnmr(t))) for t in thresholds]
        chosen = 0 if pairs[0][0] == pairs[0][1] or round(sum(pairs[0]) - sum(pairs[1]), 12) < 0 else 1
        return EqualErrorRate(value, min(pairs[chosen]), max(pairs[chosen]), thresholds[chosen])


def within(share: float, count: int) -> int:
    """The largest k with k / count <= share, free of the rounding of share * count."""
    k = min(count, int(share * count) + 1)
    while k > 0 and k / count > share:
        k -= 1
    return k

