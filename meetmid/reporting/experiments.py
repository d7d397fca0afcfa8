"""What a report shows of an experiment: figures with intervals, plots, the ladder, and the probes that went worst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from meetmid.errors import InputError
from meetmid.evaluation.bands import cmc_band, discard_band, open_set_band, roc_band
from meetmid.evaluation.identification import Search
from meetmid.evaluation.quality import error_versus_discard
from meetmid.evaluation.trials import Trials
from meetmid.evaluation.verification import ErrorRates
from meetmid.reporting.matches import NO_PLOTS, portrait, probe, why
from meetmid.reporting.page import entry, paragraph, row, table
from meetmid.reporting.pictures import can_plot, face, plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from meetmid.evaluation.ladder import Rung
    from meetmid.evaluation.measures import Measure
    from meetmid.result import MatchResult
    from meetmid.studies import PairStudy

MOST_PAIRS = 4_000_000
FMRS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
RANKS = 20


def figures(measures: Sequence[Measure]) -> list[str]:
    """Every figure with its 95 % interval."""
    header = ["Figure", "Value", "95 % interval", "Count", "Note"]
    rows = [
        [
            m.name, f"{m.value:.2f} {m.unit}".strip(), "" if np.isnan(m.low) else f"{m.low:.2f} to {m.high:.2f}",
            "" if m.k is None else f"{m.k}/{m.n}", m.note,
        ]
        for m in measures
    ]
    return [table("Figures", header, rows)]


def steps(rungs: Sequence[Rung], subsets: Sequence[float] | None) -> list[str]:
    """Rank-1 of every step of the fused scheme."""
    rows = [
        [r.step, r.centring, f"{r.k}/{len(r.hits)}", f"{r.percent:.2f} %", f"{r.interval[0]:.1f} to {r.interval[1]:.1f}"]
        for r in rungs
    ]
    parts = [table("Rank-1 by step (percentages truncated, as published)", ["Step", "Centring", "Count", "Rate", "95 %"], rows)]
    if subsets is not None:
        told = f"Headline step over {len(subsets)} random subsets of the people: mean rank-1 {np.mean(subsets):.2f} %"
        parts.append(paragraph(f"{told}, standard deviation {np.std(subsets, ddof=1):.2f}."))
    return [part for part in parts if part]


def search_plots(trials: Trials, found: Search, sizes: Sequence[float], *, seed: int = 0) -> list[str]:
    """CMC, ROC, DET, score distributions, open-set rates and error against discard, those that the trials allow."""
    if not can_plot():
        return [paragraph(NO_PLOTS)]
    return plots(_drawn(trials, found, np.asarray(sizes, np.float64), seed))


def _drawn(trials: Trials, found: Search, sizes: np.ndarray, seed: int) -> Iterator[tuple[Axes, str]]:
    from meetmid.evaluation import plots as draw

    if not found.mated.any():
        return
    try:
        rates = ErrorRates.of(trials)
    except InputError:  # no non-mated pair
        return
    few = rates.n_mated + rates.n_nonmated <= MOST_PAIRS
    if found.mated.all():
        ranks = cmc_band(found, trials, min(RANKS, found.size), seed=seed)
        told = ", ".join(f"rank {r}: {100 * ranks.value[r - 1]:.1f} %" for r in (1, 5, 20) if r <= len(ranks.value))
        name = "Cumulative match characteristic with its 95 % band over people"
        yield draw.cmc(found, ranks=RANKS, band=ranks), f"{name}; {told}"
    else:
        searches = int((~found.mated).sum())
        at = [x for x in FMRS if x * searches >= 1]
        drawn = open_set_band(found, trials, at, seed=seed)
        told = f"FNIR {100 * drawn.value[0]:.1f} % at FPIR {100 * at[0]:g} %"
        name = "False negative over false positive identification rate with its 95 % band over people"
        yield draw.open_set(found, band=drawn), f"{name}; {told}"
    shown = [x for x in FMRS if x * rates.n_nonmated >= 1]
    band = roc_band(trials, shown, seed=seed) if few and shown else None
    over = " with its 95 % band over people" if band is not None else ""
    told = f"area {100 * rates.auc():.2f} %"
    yield draw.roc(rates, band=band), f"Receiver operating characteristic{over}; {told}"
    told = f"equal error rate {100 * rates.eer().value:.2f} %"
    yield draw.det(rates, band=band), f"Detection error trade-off on normal-deviate axes{over}; {told}"
    if len(rates.mated) and len(rates.nonmated):
        told = f"medians {np.median(rates.mated):.3f} and {np.median(rates.nonmated):.3f}"
        yield draw.histogram(rates), f"Distributions of mated and non-mated scores; {told}"
    known = ~np.isnan(sizes)
    if len(np.unique(sizes[known])) < 2 or 0.01 * rates.n_nonmated < 1:
        return  # faces of one size cannot be told apart by it, or FMR 1 % cannot be shown
    kept = trials.select(known)
    threshold = rates.threshold_at_fmr(0.01)
    try:
        discard = error_versus_discard(kept, sizes[known], threshold)
    except InputError:  # no mated attempt is left
        return
    around = discard_band(kept, sizes[known], threshold, np.linspace(0, 0.9, 19), seed=seed)
    told = "FNMR when the smallest faces are refused, band over people; the threshold of FMR 1 % was set on these very scores"
    yield draw.error_versus_discard(discard, band=around), told + ("" if known.all() else "; probes without a face left out")


def pair_plots(scores: np.ndarray, mated: np.ndarray) -> list[str]:
    """ROC, DET and score distributions of pairs."""
    if not can_plot():
        return [paragraph(NO_PLOTS)]
    from meetmid.evaluation import plots as draw

    if np.isnan(scores[mated]).all() or np.isnan(scores[~mated]).all():
        return [paragraph("Too few scores to draw.")]
    rates = ErrorRates.of(scores[mated], scores[~mated])
    return plots([
        (draw.roc(rates), "Receiver operating characteristic"),
        (draw.det(rates), "Detection error trade-off on normal-deviate axes"),
        (draw.histogram(rates), "Distributions of mated and non-mated scores"),
    ])


def worst(result: MatchResult, trials: Trials, found: Search, count: int) -> list[str]:
    """The ``count`` probes whose person came latest: with their best mate, the first candidate, and why that one won."""
    if not found.mated.any():
        return [paragraph("No probe has a mate in the gallery.")]
    lost = np.flatnonzero(found.mated & np.isnan(found.rank) & ~np.isnan(trials.scores).all(axis=1))
    known = np.flatnonzero(found.mated & (found.rank > 1))
    latest = known[np.argsort(-found.rank[known], kind="stable")][:count]
    parts = []
    if len(lost):
        names = ", ".join(result.probe_ids[p] for p in lost[:count])
        more = f" and {len(lost) - count} more" if len(lost) > count else ""
        told = "probes have a score but their true mate has none (see the failures)"
        parts.append(paragraph(f"{len(lost)} {told}: {names}{more}."))
    if not len(known):
        others = "Every other" if len(lost) else "None: every"
        return [*parts, paragraph(f"{others} probe with a score has its person first.")]
    parts.append(paragraph(f"{len(known)} probes have somebody else first, or a tie; the {len(latest)} latest, worst first."))
    for p in latest:
        scores = trials.scores[p]
        mates = np.flatnonzero(trials.gallery_subjects == trials.probe_subjects[p])
        mate, first = int(mates[np.nanargmax(scores[mates])]), int(np.nanargmax(scores))
        faces = [probe(result, int(p))]
        for g, what in ((mate, f"true mate at rank {found.rank[p]:.0f}"), (first, "first candidate")):
            name = result.gallery_ids[g]
            faces.append(face(portrait(result, g), f"{what}, {name}", f"{what}: {name}, {scores[g]:.4f}"))
        heading = f"Probe {result.probe_ids[p]}: true mate at rank {found.rank[p]:.0f} of {found.size}"
        parts.append(entry(heading, [row(faces), *why(result, int(p), first)]))
    return parts


def hardest(study: PairStudy) -> list[str]:
    """The mated pairs with the lowest scores and the others with the highest, with their pictures."""
    parts = []
    for pair in study.hardest:
        k = pair.index
        first, second = study.protocol.first[k], study.protocol.second[k]
        kind = "one person" if study.protocol.mated[k] else "two people"
        faces = [face(picture, sample.id, sample.id) for picture, sample in ((pair.first, first), (pair.second, second))]
        parts.append(entry(f"{kind}, score {study.scores[k]:.4f}", [row(faces)]))
    return parts
