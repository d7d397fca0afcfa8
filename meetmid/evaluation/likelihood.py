"""How good log-likelihood ratios are: Cllr and its minimum (N. Bruemmer and J. du Preez, "Application-independent evaluation of
speaker detection", Computer Speech and Language 20, 2006)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError

Values = NDArray[np.float64]


def cllr(mated: ArrayLike, nonmated: ArrayLike) -> float:
    """The cost of natural-log likelihood ratios (N,) in bits, 1 for a system that always says "no information".

    Half the mean of log2(1 + exp(-llr)) over mated and of log2(1 + exp(llr)) over non-mated attempts (eq. 40 there). A
    failure to acquire (NaN) says nothing: it counts as llr = 0, one bit.
    """
    own, other = _given(mated, nonmated)
    return float((np.logaddexp(0.0, -own).mean() + np.logaddexp(0.0, other).mean()) / (2 * np.log(2)))


def min_cllr(mated: ArrayLike, nonmated: ArrayLike) -> float:
    """Cllr after the best monotone recalibration of these very scores: what discrimination alone allows (PAV, section 7).

    Failures stay at one bit.
    """
    own, other = np.asarray(mated, np.float64), np.asarray(nonmated, np.float64)
    levels, llr = pav(own, other)
    parts = [np.where(np.isnan(s), np.nan, llr[np.searchsorted(levels, s).clip(max=len(levels) - 1)]) for s in (own, other)]
    return cllr(*parts)


def pav(mated: ArrayLike, nonmated: ArrayLike) -> tuple[Values, Values]:
    """Distinct scores, upwards, and the monotone log-likelihood ratio of each, by pooling adjacent violators.

    M. Ayer et al., Annals of Mathematical Statistics 26(4), 1955. Ties are pooled first; the ends may be infinite. Raises
    InputError without finite scores of both kinds.
    """
    from scipy.optimize import isotonic_regression

    own, other = (np.asarray(s, np.float64) for s in (mated, nonmated))
    own, other = own[~np.isnan(own)], other[~np.isnan(other)]
    if not len(own) or not len(other):
        raise InputError(f"expected mated and non-mated scores, got {len(own)} and {len(other)}")
    levels, place = np.unique(np.concatenate([own, other]), return_inverse=True)
    hits = np.bincount(place[: len(own)], minlength=len(levels)).astype(np.float64)
    counts = np.bincount(place, minlength=len(levels)).astype(np.float64)
    share = isotonic_regression(hits / counts, weights=counts).x
    with np.errstate(divide="ignore"):
        odds = np.log(share) - np.log1p(-share)
    return levels, odds - np.log(len(own) / len(other))


def _given(mated: ArrayLike, nonmated: ArrayLike) -> tuple[Values, Values]:
    own, other = (np.nan_to_num(np.asarray(s, np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf) for s in (mated, nonmated))
    if own.ndim != 1 or other.ndim != 1 or not len(own) or not len(other):
        raise InputError(f"expected mated and non-mated values (N,) with N > 0, got shapes {own.shape} and {other.shape}")
    return own, other
