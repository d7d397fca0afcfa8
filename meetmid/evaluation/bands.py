"""Curves with the bands that their points move in when other people are drawn (:mod:`meetmid.evaluation.uncertainty`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from meetmid.errors import InputError
from meetmid.evaluation.calibration import logistic
from meetmid.evaluation.identification import Search
from meetmid.evaluation.trials import Trials
from meetmid.evaluation.uncertainty import draw_people, drawn, percentile_interval, sorted_scores
from meetmid.evaluation.weighted import Values, tmr_at_fmrs


@dataclass(frozen=True, eq=False)
class Band:
    """A curve ``value`` (K,) over ``x`` (K,) with the percentiles ``low`` and ``high`` (K,) of its draws at each x."""

    x: Values
    value: Values
    low: Values
    high: Values


def roc_band(trials: Trials, fmr: ArrayLike, *, draws: int = 300, level: float = 0.95, seed: int = 0) -> Band:
    """TMR over target FMRs (K,), each at the threshold that its own draw gives."""
    x = np.asarray(fmr, np.float64)
    return _band(x, drawn(trials, tmr_at_fmrs(x), draws, seed), level)


def cmc_band(
    search: Search, trials: Trials, ranks: int, *, draws: int = 300, level: float = 0.95, seed: int = 0
) -> Band:
    """Identification rates at ranks 1 to ``ranks``, people of the probes drawn."""
    x = np.arange(1, ranks + 1)
    weights = draw_people(trials, draws, seed)[:, trials.probe_subjects] * search.mated
    with np.errstate(invalid="ignore"):
        values = weights @ (search.rank[:, None] <= x) / weights.sum(1, keepdims=True)
    return _band(x.astype(np.float64), values, level)


def open_set_band(
    search: Search, trials: Trials, fpir: ArrayLike, *, draws: int = 300, level: float = 0.95, seed: int = 0
) -> Band:
    """FNIR over target FPIRs (K,), each at the threshold that its own draw gives; people of the probes drawn."""
    x = np.asarray(fpir, np.float64)
    weights = draw_people(trials, draws, seed)[:, trials.probe_subjects]
    tops = np.nan_to_num(search.other[~search.mated].astype(np.float64), nan=-np.inf)
    mates = np.nan_to_num(search.mate[search.mated].astype(np.float64), nan=-np.inf)
    order = np.argsort(tops)
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, ~search.mated][:, order], axis=1)], axis=1)
    padded = np.concatenate([[-np.inf], tops[order]])
    own = weights[:, search.mated]
    values = []
    for row, mated in zip(below, own, strict=True):
        thresholds = padded[np.searchsorted(row, row[-1] * (1 - x) - 1e-9 * row[-1])]
        missed = (mated @ (mates[:, None] <= thresholds)) / mated.sum() if mated.sum() and row[-1] else np.full(len(x), np.nan)
        values.append(missed)
    return _band(x, np.array(values), level)


def discard_band(
    trials: Trials, quality: ArrayLike, threshold: float, shares: ArrayLike, *, draws: int = 300, level: float = 0.95,
    seed: int = 0,
) -> Band:
    """FNMR at a fixed threshold when given shares (K,) of the mated attempts of lowest quality are refused, people drawn."""
    x = np.asarray(shares, np.float64)
    people = draw_people(trials, draws, seed)
    level_of, missed, who, first = [], [], [], 0
    values = np.asarray(quality, np.float64)
    for scores, mated, _ in trials.blocks():
        rows, columns = np.nonzero(mated)
        missed.append(~(scores[rows, columns] > threshold))
        level_of.append(values[first + rows])
        who.append(trials.probe_subjects[first + rows])
        first += len(scores)
    levels = np.concatenate(level_of)
    order = np.argsort(levels, kind="stable")
    weights = people[:, np.concatenate(who)[order]]
    wrong = weights * np.concatenate(missed)[order]
    left, errors = weights[:, ::-1].cumsum(1)[:, ::-1], wrong[:, ::-1].cumsum(1)[:, ::-1]
    at = np.minimum((x * weights.shape[1]).astype(int), weights.shape[1] - 1)
    at = np.searchsorted(levels[order], levels[order][at], "left")  # attempts of equal quality leave together
    with np.errstate(invalid="ignore", divide="ignore"):
        return _band(x, errors[:, at] / left[:, at], level)


def calibration_band(
    trials: Trials, scores: ArrayLike, *, draws: int = 100, level: float = 0.95, seed: int = 0
) -> Band:
    """Decimal log likelihood ratios at ``scores`` (K,) of logistic calibrations learned from draws of the people."""
    x = np.asarray(scores, np.float64)
    people = draw_people(trials, draws, seed)
    kinds = [sorted_scores(trials, mated) for mated in (True, False)]
    kept = [np.isfinite(values) for values, _, _ in kinds]
    own, other = (values[keep] for (values, _, _), keep in zip(kinds, kept, strict=True))
    found = []
    for row in people:
        weights = [row[probe[keep]] for (_, probe, _), keep in zip(kinds, kept, strict=True)]
        weights[1] = weights[1] * row[kinds[1][2][kept[1]]]
        try:
            slope, offset = logistic(own, other, weights[0], weights[1])
        except InputError:  # nobody was drawn for one of the kinds
            slope = offset = np.nan
        found.append((slope * x + offset) / np.log(10))
    return _band(x, np.array(found), level)


def _band(x: Values, values: Values, level: float) -> Band:
    intervals = [percentile_interval(column[0], column[1:], level) for column in values.T]
    return Band(x, *(np.array([getattr(i, name) for i in intervals]) for name in ("value", "low", "high")))
