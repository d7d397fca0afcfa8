"""Score normalisation with a cohort of other people (R. Auckenthaler et al., Digital Signal Processing 10, 2000, for Z and T).

Each takes the raw scores (P, G) and scores against a cohort of C people whom nobody on either side is. Scores of low-quality
probes or of portraits that look like everyone are brought to a common scale; nothing is learned from the trials themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.trials import Trials, listed

Values = NDArray[np.float64]


def z_norm(trials: Trials, cohort_gallery: ArrayLike, cohort_subjects: Sequence[str]) -> Trials:
    """Each column less its mean, by its deviation, over cohort probes; ``cohort_gallery`` (C, G) are their scores."""
    cohort = _checked(trials, cohort_gallery, cohort_subjects, (len(cohort_subjects), trials.scores.shape[1]), "gallery")
    return _with(trials, _standard(trials.scores.astype(np.float64), cohort.T, axis=1))


def t_norm(trials: Trials, probe_cohort: ArrayLike, cohort_subjects: Sequence[str]) -> Trials:
    """Each row less its mean, by its deviation, over cohort portraits; ``probe_cohort`` (P, C) are their scores."""
    cohort = _checked(trials, probe_cohort, cohort_subjects, (trials.scores.shape[0], len(cohort_subjects)), "probes")
    return _with(trials, _standard(trials.scores.astype(np.float64), cohort, axis=0))


def s_norm(trials: Trials, probe_cohort: ArrayLike, cohort_gallery: ArrayLike, cohort_subjects: Sequence[str]) -> Trials:
    """The mean of Z- and T-norm (P. Kenny, "Bayesian speaker verification with heavy-tailed priors", Odyssey 2010)."""
    pair = z_norm(trials, cohort_gallery, cohort_subjects), t_norm(trials, probe_cohort, cohort_subjects)
    return _with(trials, (pair[0].scores + pair[1].scores) / 2)


def as_norm(
    trials: Trials, probe_cohort: ArrayLike, cohort_gallery: ArrayLike, cohort_subjects: Sequence[str], top: int = 100
) -> Trials:
    """S-norm over only the ``top`` cohort entries most alike to each probe and to each portrait (adaptive: S. Cumani et al.,
    Interspeech 2011; the variant with each side's own top scores, P. Matejka et al., Interspeech 2017, section 2.3)."""
    if not 2 <= top <= len(cohort_subjects):
        raise InputError(f"expected top from 2 to the {len(cohort_subjects)} of the cohort, got {top}")
    counts = trials.scores.shape
    of_probe = _checked(trials, probe_cohort, cohort_subjects, (counts[0], len(cohort_subjects)), "probes")
    of_gallery = _checked(trials, cohort_gallery, cohort_subjects, (len(cohort_subjects), counts[1]), "gallery").T
    scores = trials.scores.astype(np.float64)
    pair = (_standard(scores, _top(of_gallery, top), axis=1), _standard(scores, _top(of_probe, top), axis=0))
    return _with(trials, (pair[0] + pair[1]) / 2)


def _checked(trials: Trials, scores: ArrayLike, subjects: Sequence[str], shape: tuple[int, int], side: str) -> Values:
    values = np.asarray(scores, np.float64)
    if values.shape != shape:
        raise InputError(f"expected scores of the {side} with the cohort {shape}, got {values.shape}")
    if len(subjects) < 2:
        raise InputError(f"expected a cohort of at least 2, got {len(subjects)}")
    if np.isinf(values).any():
        raise InputError(f"expected finite scores of the {side} with the cohort, or NaN for failures, got infinite ones")
    there = np.union1d(trials.probe_subjects, trials.gallery_subjects)
    _disjoint([trials.names[k] for k in there], subjects)
    return values


def _disjoint(names: Collection[str], cohort: Sequence[str]) -> None:
    shared = sorted(set(names) & set(cohort))
    if shared:
        raise InputError(f"expected a cohort of other people, got {listed(shared)} on both sides of the normalisation")


def _standard(scores: Values, cohort: Values, axis: int) -> Values:
    """``scores`` less the mean, by the deviation (ddof 1) of the cohort's rows, along the other axis."""
    counts, known = np.count_nonzero(~np.isnan(cohort), axis=1), np.nan_to_num(cohort)
    few = counts == 1
    if few.any():
        told = listed([str(k) for k in np.flatnonzero(few)])
        raise InputError(f"expected at least two cohort scores for every entry, got fewer at {told}")
    flat = (np.fmax.reduce(cohort, axis=1) == np.fmin.reduce(cohort, axis=1)) & (counts > 0)
    if flat.any():
        told = listed([str(k) for k in np.flatnonzero(flat)])
        raise InputError(f"expected cohort scores that differ, got only one value at {told}")
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = known.sum(axis=1) / counts
        square = np.where(np.isnan(cohort), 0.0, (known - mean[:, None]) ** 2).sum(axis=1)
        deviation = np.where(counts > 1, np.sqrt(square / np.maximum(counts - 1, 1)), np.nan)
        shaped = [v[None] if axis == 1 else v[:, None] for v in (mean, deviation)]
        return np.asarray((scores - shaped[0]) / shaped[1])


def _top(cohort: Values, count: int) -> Values:
    """The largest ``count`` values of each row, fewer (and NaN) where failures leave no more."""
    sorted_ = np.sort(np.where(np.isnan(cohort), -np.inf, cohort), axis=1)[:, -count:]
    return np.where(np.isneginf(sorted_), np.nan, sorted_)


def _with(trials: Trials, scores: Values) -> Trials:
    return Trials(scores, trials.probe_subjects, trials.gallery_subjects, trials.names, trials.ignore)
