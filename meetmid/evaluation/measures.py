"""The figures of an experiment, each with its interval: what a table or a report prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from meetmid.errors import InputError
from meetmid.evaluation.folds import FoldAccuracy
from meetmid.evaluation.identification import Search, search
from meetmid.evaluation.intervals import wilson
from meetmid.evaluation.trials import Trials, acquisition
from meetmid.evaluation.uncertainty import Statistic, auc, bootstrap, bootstrap_search, eer, hit_rate, tmr_at_fmr
from meetmid.evaluation.verification import ErrorRates

RANKS = (1, 5, 20)
TARGETS = (0.01, 0.001)
FPIRS = (0.3, 0.1, 0.01)
MOST_PAIRS = 4_000_000
"""Beyond this many pairs the bootstrap of verification rates would take minutes; they then stand without interval."""


@dataclass(frozen=True)
class Measure:
    """``value`` between ``low`` and ``high`` (95 %; NaN where no interval is given), ``k`` of ``n`` where it is a share.

    ``unit`` is "%" for rates, "dB" for PSNR, "" for SSIM; ``note`` says how the interval or the threshold came about.
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


def search_measures(trials: Trials, *, draws: int = 500, seed: int = 0) -> list[Measure]:
    """Failures, identification and verification rates of a search experiment.

    Intervals are of :mod:`meetmid.evaluation.uncertainty`, people drawn. FMR targets that the attempts cannot show are left
    out. Thresholds "of these scores" are the tables' custom and flatter a system; "of the other people" ones were set
    on one half of the people and applied to the other half, both ways round.
    """
    found, got = search(trials), acquisition(trials)
    measures = [
        _share("failure to acquire", got.probes, got.n_probes, "probes"),
        _share("failure to enrol", got.gallery, got.n_gallery, "gallery entries"),
    ]
    mated = int(found.mated.sum())
    if mated:
        measures += [_rank(found, trials, rank, draws, seed) for rank in RANKS if rank <= found.size]
    if mated < len(found.mated):
        measures += _open_set(found, mated)
    return measures + _verification(trials, draws, seed) if mated else measures


def _rank(found: Search, trials: Trials, rank: int, draws: int, seed: int) -> Measure:
    k, n = int((found.hits(rank) & found.mated).sum()), int(found.mated.sum())
    if k in (0, n):  # every draw would be the same
        people = len(np.unique(trials.probe_subjects[found.mated]))
        low, high = wilson(people if k else 0, people)
        return Measure(f"rank-{rank}", 100 * k / n, 100 * low, 100 * high, k, n, note=f"Wilson over {people} people")
    interval = bootstrap_search(found, trials, hit_rate(rank), draws=draws, seed=seed)
    return Measure(f"rank-{rank}", 100 * k / n, 100 * interval.low, 100 * interval.high, k, n, note="people drawn")


def _open_set(found: Search, mated: int) -> list[Measure]:
    """NIST's two modes: FNIR at an FPIR (identification) and FNIR of a candidate list (investigation)."""
    measures = []
    for target in FPIRS:
        if mated and target * (len(found.mated) - mated) >= 1:
            missed, threshold = found.identification(target)
            note = f"threshold {threshold:.4f} of these scores"
            measures.append(_share(f"FNIR at FPIR {_percent(target)}", round(missed * mated), mated, note))
    return measures


def _verification(trials: Trials, draws: int, seed: int) -> list[Measure]:
    rates = ErrorRates.of(trials)
    few = rates.n_mated + rates.n_nonmated <= MOST_PAIRS
    measures = []
    for name, value, statistic in (("AUC", rates.auc(), auc), ("EER", rates.eer().value, eer)):
        measures.append(_drawn(name, value, trials, statistic, draws if few else 0, seed))
    for target in TARGETS:
        if target * rates.n_nonmated < 1:
            continue
        point = rates.tmr_at_fmr(target)
        name = f"TMR at FMR {_percent(target)}"
        drawn = _drawn(name, point.tmr, trials, tmr_at_fmr(target), draws if few else 0, seed)
        note = f"threshold {point.threshold:.4f} of these scores"
        measures.append(Measure(name, drawn.value, drawn.low, drawn.high, point.k, point.n, note=note))
        measures += transferred(trials, target, seed=seed)
    return measures


def _drawn(name: str, value: float, trials: Trials, statistic: Statistic, draws: int, seed: int) -> Measure:
    if not draws:
        return Measure(name, 100 * value, note="too many pairs for an interval")
    interval = bootstrap(trials, statistic, draws=draws, seed=seed)
    return Measure(name, 100 * value, 100 * interval.low, 100 * interval.high, note="people drawn")


def transferred(trials: Trials, target: float, *, seed: int = 0) -> list[Measure]:
    """TMR and FMR where each half of the people is decided with the threshold of ``target`` FMR on the other half.

    Only pairs within a half count. Empty where a half has too few attempts to set the threshold.
    """
    order = np.random.default_rng(seed).permutation(len(trials.names))
    half = np.zeros(len(trials.names), bool)
    half[order[: len(order) // 2]] = True
    try:
        parts = [
            ErrorRates.of(trials.select(half[trials.probe_subjects] == side, half[trials.gallery_subjects] == side))
            for side in (True, False)
        ]
        points = [parts[1 - side].at(parts[side].threshold_at_fmr(target)) for side in (0, 1)]
    except InputError:
        return []
    note = f"threshold for FMR {_percent(target)} set on other people, attempts taken as independent"
    counts = [sum(getattr(point, name) for point in points) for name in ("k", "n", "false_matches", "n_nonmated")]
    return [_share("TMR", counts[0], counts[1], note), _share("FMR", counts[2], counts[3], note)]


def pair_measures(scores: ArrayLike, mated: ArrayLike, accuracy: FoldAccuracy) -> list[Measure]:
    """Failures, ten-fold accuracy, AUC and EER of N scores of pairs, ``mated`` (N,) bool."""
    values, same = np.asarray(scores, np.float64), np.asarray(mated)
    rates = ErrorRates.of(values[same], values[~same])
    low, high = accuracy.interval
    spread = f"thresholds of the other folds; over folds {100 * accuracy.mean:.2f} +- {100 * accuracy.standard_error:.2f}"
    return [
        _share("failed pairs", int(np.isnan(values).sum()), len(values), "never declared a match"),
        Measure("accuracy", 100 * accuracy.right / accuracy.n, 100 * low, 100 * high, accuracy.right, accuracy.n, note=spread),
        Measure("AUC", 100 * rates.auc()), Measure("EER", 100 * rates.eer().value),
    ]


def quality_measures(pairs: Sequence[tuple[float, float]]) -> list[Measure]:
    """Mean PSNR and SSIM of (PSNR, SSIM) of N pictures with their standard-error intervals."""
    values = np.array(pairs, np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise InputError(f"expected PSNR and SSIM of N > 0 pictures, got shape {values.shape}")
    wide = 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.full(2, np.nan)
    return [
        Measure(name, float(mean), float(mean - w), float(mean + w), unit=unit, note=f"mean of {len(values)} pictures")
        for name, unit, mean, w in zip(("PSNR", "SSIM"), ("dB", ""), values.mean(axis=0), wide, strict=True)
    ]


def _share(name: str, k: int, n: int, note: str) -> Measure:
    low, high = wilson(k, n)
    return Measure(name, 100 * k / n, 100 * low, 100 * high, k, n, note=note)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
