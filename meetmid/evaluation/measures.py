"""The figures of an experiment, each with its interval: what a table or a report prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.calibration import Calibration
from meetmid.evaluation.folds import fold_accuracy
from meetmid.evaluation.identification import Search, search
from meetmid.evaluation.likelihood import cllr, min_cllr
from meetmid.evaluation.trials import Trials
from meetmid.evaluation.uncertainty import SAME, Interval, bootstrap, bootstrap_pairs, rate_interval, share_interval
from meetmid.evaluation.verification import ErrorRates
from meetmid.evaluation.weighted import Statistic, auc, eer, fmr_at, tmr_at, tmr_at_fmr

RANKS = (1, 5, 20)
TARGETS = (0.01, 0.001)
FPIRS = (0.3, 0.1, 0.01)
LIST = 20
"""Candidates of an investigation."""
MOST_PAIRS = 4_000_000
"""Beyond this many pairs the bootstrap of verification rates would take minutes; they then stand without interval."""


@dataclass(frozen=True)
class Measure:
    """``value`` between ``low`` and ``high`` (95 %; NaN where no interval is given), ``k`` of ``n`` where it is a share.

    ``unit`` is "%" for rates, "dB" for PSNR, "bit" for costs, "" for SSIM; ``note`` says how the interval or the threshold came
    about.
    """

    name: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    k: int | None = None
    n: int | None = None
    unit: str = "%"
    note: str = ""

    def __str__(self) -> str:
        share = "" if self.k is None else f"{self.k}/{self.n} = "
        interval = "" if np.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        unit = f" {self.unit}" if self.unit else ""
        return f"{share}{self.value:.2f}{unit}{interval}" + (f" ({self.note})" if self.note else "")


def search_measures(
    trials: Trials, *, failed: tuple[ArrayLike, ArrayLike] | None = None, calibration: Calibration | None = None,
    draws: int = 500, seed: int = 0,
) -> list[Measure]:
    """Failures, identification and verification rates of a search experiment.

    ``failed`` (P,) and (G,) says which entries failed, default those without any score; ``calibration`` adds the cost of its
    likelihood ratios. Intervals draw people (:mod:`meetmid.evaluation.uncertainty`). Targets that the attempts cannot show
    are left out. Thresholds "of these scores" are the tables' custom and flatter a system; those "of other people" were set
    on one half of the people and applied to the other half, both ways round.
    """
    if not trials.scores.size:
        raise InputError(f"expected scores of probes and gallery entries, got shape {trials.scores.shape}")
    found = search(trials)
    probes, gallery = _failed(trials) if failed is None else (np.asarray(flags, bool) for flags in failed)
    measures = [
        _share("failure to acquire", probes, trials.probe_subjects, "probes", draws, seed),
        _share("failure to enrol", gallery, trials.gallery_subjects, "gallery entries", draws, seed),
    ]
    alone = ~found.mated
    if alone.any():
        measures.append(_share("probes without a mate", alone, trials.probe_subjects, "searched in an open set", draws, seed))
    if found.mated.any():
        people = trials.probe_subjects[found.mated]
        for rank in RANKS:
            if rank <= found.size:
                hits = found.hits(rank)[found.mated]
                measures.append(_share(f"rank-{rank}", hits, people, "of searches with a mate", draws, seed))
        if alone.any():
            measures += _open_set(found, people, draws, seed)
    if found.mated.any() and any(nonmated.any() for _, _, nonmated in trials.blocks()):
        measures += _verification(trials, calibration, draws, seed)
    return measures


def _failed(trials: Trials) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    there = ~np.isnan(trials.scores)
    rows, columns = (~np.asarray(there.any(axis=axis), bool) for axis in (1, 0))
    return rows, np.zeros_like(columns) if rows.all() else columns


def _open_set(found: Search, people: NDArray[np.int64], draws: int, seed: int) -> list[Measure]:
    """NIST's two modes, FNIR at an FPIR (identification) and FNIR of a list of 20 (investigation), and the rate of detection
    and identification."""
    mate, rank = found.mate[found.mated], found.rank[found.mated]
    measures = []
    for target in FPIRS:
        if target * int((~found.mated).sum()) < 1:
            continue
        threshold = found.threshold_at_fpir(target)
        above = mate > threshold
        note = f"threshold {threshold:.4f} of these scores"
        measures.append(_share(f"FNIR at FPIR {_percent(target)}", ~above, people, note, draws, seed))
        both = above & (rank <= 1)
        measures.append(_share(f"found first at FPIR {_percent(target)}", both, people, note, draws, seed))
    if found.size >= LIST:
        measures.append(_share(f"FNIR of a list of {LIST}", ~(rank <= LIST), people, "no threshold", draws, seed))
    return measures


def _verification(trials: Trials, calibration: Calibration | None, draws: int, seed: int) -> list[Measure]:
    rates = ErrorRates.of(trials)
    few = rates.n_mated + rates.n_nonmated <= MOST_PAIRS

    def drawn(statistic: Statistic) -> Interval | None:
        return bootstrap(trials, statistic, draws=draws, seed=seed) if few else None

    measures = [
        _rate("AUC", rates.auc(), drawn(auc)), _rate("EER", rates.eer().value, drawn(eer)),
    ]
    for target in TARGETS:
        if target * rates.n_nonmated < 1:
            continue
        point = rates.tmr_at_fmr(target)
        note = f"threshold {point.threshold:.4f} of these scores"
        measure = _rate(f"TMR at FMR {_percent(target)}", point.tmr, drawn(tmr_at_fmr(target)), note)
        measures.append(replace(measure, k=point.k, n=point.n))
        measures += transferred(trials, target, draws=draws if few else 0, seed=seed)
    if not len(rates.mated) or not len(rates.nonmated):
        return measures
    least = min_cllr(rates.mated, rates.nonmated)
    measures.append(Measure("min Cllr", least, unit="bit", note="of scored pairs, best possible"))
    if calibration is not None:
        cost = cllr(calibration.llr(rates.mated), calibration.llr(rates.nonmated))
        measures.append(Measure("Cllr", cost, unit="bit", note="of scored pairs, by the calibration"))
    return measures


def _rate(name: str, value: float, interval: Interval | None, note: str = "") -> Measure:
    """A rate with its interval, or why it has none."""
    if interval is None:
        return Measure(name, 100 * value, note="; ".join(filter(None, (note, "too many pairs for an interval"))))
    if interval.high - interval.low < SAME:
        return Measure(name, 100 * value, note="; ".join(filter(None, (note, "the same whoever is drawn: no interval"))))
    return Measure(name, 100 * value, 100 * interval.low, 100 * interval.high, note=note)


def transferred(trials: Trials, target: float, *, draws: int = 500, seed: int = 0) -> list[Measure]:
    """TMR and FMR where each half of the people is decided with the threshold of ``target`` FMR on the other half.

    Only pairs within a half count; ``draws=0`` gives no intervals. Empty where a half has too few attempts to set the
    threshold.
    """
    order = np.random.default_rng(seed).permutation(len(trials.names))
    half = np.zeros(len(trials.names), bool)
    half[order[: len(order) // 2]] = True
    try:
        parts = [
            trials.select(half[trials.probe_subjects] == side, half[trials.gallery_subjects] == side) for side in (True, False)
        ]
        rates = [ErrorRates.of(part) for part in parts]
        thresholds = [rates[1 - side].threshold_at_fmr(target) for side in (0, 1)]
    except InputError:
        return []
    points = [rate.at(threshold) for rate, threshold in zip(rates, thresholds, strict=True)]
    measures = []
    for name, hits, total, statistic in (("TMR", "k", "n", tmr_at), ("FMR", "false_matches", "n_nonmated", fmr_at)):
        k, n = (sum(getattr(point, field) for point in points) for field in (hits, total))
        interval = None
        if draws:
            seeds = np.random.SeedSequence(seed).generate_state(2)  # the halves' people are drawn apart
            each = [
                bootstrap(part, statistic(threshold), draws=draws, seed=int(own)).draws * getattr(point, total) / n
                for part, threshold, point, own in zip(parts, thresholds, points, seeds, strict=True)
            ]
            both = each[0] + each[1]
            interval = rate_interval(k / n, both, 0.95, len(np.unique(trials.probe_subjects)))
        measure = _rate(f"{name} by other people, FMR {_percent(target)}", k / n, interval, "threshold set on other people")
        measures.append(replace(measure, k=k, n=n))
    return measures


def pair_measures(
    scores: ArrayLike, mated: ArrayLike, folds: ArrayLike, first: Sequence[str], second: Sequence[str], *, draws: int = 500,
    seed: int = 0,
) -> list[Measure]:
    """Failures, accuracy with the thresholds of the other folds, AUC and EER of N scores of pairs of the people ``first`` and
    ``second``, ``mated`` (N,) bool. What too few scores cannot show is left out."""
    values, same = np.asarray(scores, np.float64), np.asarray(mated)
    if not len(values):
        raise InputError("expected scores of pairs, got none")
    broken = np.isnan(values)
    measures = [Measure("failed pairs", 100 * float(broken.mean()), k=int(broken.sum()), n=len(values), note="never matched")]
    try:
        accuracy = fold_accuracy(values, same, folds)
        rates = ErrorRates.of(values[same], values[~same])
    except InputError:  # a kind or a fold without scores
        return measures
    names, n = np.unique(np.asarray(folds)), len(values)
    threshold = accuracy.thresholds[np.searchsorted(names, np.asarray(folds))]
    right = (values > threshold) == same
    spread = f"thresholds of the other folds; over folds {100 * accuracy.mean:.2f} +- {100 * accuracy.standard_error:.2f}"
    people = (first, second)
    kinds = [("accuracy", right, spread)]
    if broken.any():
        kinds.append(("accuracy, failures wrong", right & ~broken, "a failed pair counts as wrong"))
    for name, flags, note in kinds:
        low, high = share_interval(flags, *people, draws=draws, seed=seed)
        k = int(flags.sum())
        measures.append(Measure(name, 100 * k / n, 100 * low, 100 * high, k, n, note=note))
    for name, value, statistic in (("AUC", rates.auc(), auc), ("EER", rates.eer().value, eer)):
        interval = bootstrap_pairs(values, same, *people, statistic, draws=draws, seed=seed)
        measures.append(_rate(name, value, interval))
    return measures


def quality_measures(pairs: Sequence[tuple[float, float]]) -> list[Measure]:
    """Mean PSNR and SSIM of (PSNR, SSIM) of N pictures with their standard-error intervals."""
    values = np.array(pairs, np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise InputError(f"expected PSNR and SSIM of N > 0 pictures, got shape {values.shape}")
    with np.errstate(invalid="ignore"):  # the PSNR of equal pictures is infinite
        wide = 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.full(2, np.nan)
    return [
        Measure(name, float(mean), float(mean - w), float(mean + w), unit=unit, note=f"mean of {len(values)} pictures")
        for name, unit, mean, w in zip(("PSNR", "SSIM"), ("dB", ""), values.mean(axis=0), wide, strict=True)
    ]


def _share(
    name: str, flags: NDArray[np.bool_], people: NDArray[np.int64], note: str, draws: int, seed: int
) -> Measure:
    low, high = share_interval(flags, people, draws=draws, seed=seed)
    k, n = int(flags.sum()), len(flags)
    return Measure(name, 100 * k / n, 100 * low, 100 * high, k, n, note=note)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
