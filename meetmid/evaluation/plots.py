"""Plots of error and identification rates (needs matplotlib: extra ``plot``).

Every function draws into ``ax`` (default: new axes of a new figure) and returns it, so that plots can be laid out, compared
and saved as PNG, SVG or PDF with ``ax.figure.savefig``. Lines differ by dashes as well as by colour (the colour-blind safe set
of M. Okabe and K. Ito, 2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.bands import Band
from meetmid.evaluation.calibration import Calibration
from meetmid.evaluation.identification import Search
from meetmid.evaluation.likelihood import pav
from meetmid.evaluation.quality import Discard
from meetmid.evaluation.verification import ErrorRates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)))
TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999)


def roc(rates: ErrorRates, ax: Axes | None = None, *, label: str = "", band: Band | None = None) -> Axes:
    """True match rate over false match rate on a logarithmic axis, from one false match in all attempts on."""
    ax = _axes(ax, "False match rate", "True match rate")
    curve = rates.curve()
    least = 1.0 / rates.n_nonmated
    _line(ax, np.maximum(curve.fmr, least / 2), curve.tmr, label, band)
    ax.set(xscale="log", xlim=(least, 1.0), ylim=(0.0, 1.0))
    return ax


def det(rates: ErrorRates, ax: Axes | None = None, *, label: str = "", band: Band | None = None) -> Axes:
    """False non-match over false match rate on normal-deviate axes (A. Martin et al., Eurospeech 1997); ``band`` as of
    :func:`roc`."""
    from scipy.special import ndtr, ndtri

    ax = _axes(ax, "False match rate (%)", "False non-match rate (%)")
    curve = rates.curve()
    least = [0.5 / rates.n_nonmated, 0.5 / rates.n_mated]
    if band is not None:
        x, *sides = (np.clip(v, e, 1 - e) for v, e in ((band.x, least[0]), (1 - band.low, least[1]), (1 - band.high, least[1])))
        band = Band(x, 1 - band.value, sides[1], sides[0])
    _line(ax, np.clip(curve.fmr, least[0], 1 - least[0]), np.clip(curve.fnmr, least[1], 1 - least[1]), label, band)
    for axis, set_scale, floor in ((ax.xaxis, ax.set_xscale, least[0]), (ax.yaxis, ax.set_yscale, least[1])):
        set_scale("function", functions=(ndtri, ndtr))
        shown = [t for t in TICKS if floor <= t <= 1 - floor]
        axis.set_ticks(shown, [f"{100 * t:g}" for t in shown])
        axis.set_ticks([], minor=True)
    ax.set(xlim=(least[0], 1 - least[0]), ylim=(least[1], 1 - least[1]))
    return ax


def cmc(search: Search, ax: Axes | None = None, *, ranks: int = 20, label: str = "", band: Band | None = None) -> Axes:
    """Identification rate over rank."""
    ax = _axes(ax, "Rank", "Identification rate")
    shown = min(ranks, search.size)
    _line(ax, np.arange(1, shown + 1), search.cmc(shown).rates, label, band)
    ax.set(xlim=(1, max(shown, 2)), ylim=(0.0, 1.0))
    ax.locator_params(axis="x", integer=True)
    return ax


def open_set(
    search: Search, ax: Axes | None = None, *, rank: int | None = None, label: str = "", band: Band | None = None
) -> Axes:
    """False negative over false positive identification rate, both logarithmic, whatever the rank or at ``rank``."""
    ax = _axes(ax, "False positive identification rate", "False negative identification rate")
    thresholds = np.unique(search.other[~search.mated & ~np.isnan(search.other)])[::-1]
    n = [int((search.mated == kind).sum()) for kind in (False, True)]
    fpir, fnir = np.maximum(search.fpir(thresholds), 0.5 / n[0]), np.maximum(search.fnir(thresholds, rank), 0.5 / n[1])
    if band is not None:
        band = Band(np.maximum(band.x, 0.5 / n[0]), band.value, *(np.maximum(v, 0.5 / n[1]) for v in (band.low, band.high)))
    _line(ax, fpir, fnir, label, band)
    ax.set(xscale="log", yscale="log", xlim=(0.5 / n[0], 1.0), ylim=(0.5 / n[1], 1.0))
    return ax


def histogram(
    rates: ErrorRates, ax: Axes | None = None, *, bins: int = 60, counts: tuple[int, int] | None = None
) -> Axes:
    """Distributions of mated and non-mated scores, each of area 1; ``counts`` are the numbers behind them where the scores
    stand for more."""
    ax = _axes(ax, "Score", "Density")
    edges = np.histogram_bin_edges(np.array([s[k] for s in (rates.mated, rates.nonmated) if len(s) for k in (0, -1)]), bins)
    numbers = counts or (len(rates.mated), len(rates.nonmated))
    for scores, name, colour, hatch, count in (
        (rates.nonmated, "non-mated", COLOURS[1], "//", numbers[1]), (rates.mated, "mated", COLOURS[0], "", numbers[0]),
    ):
        heights = np.histogram(scores, edges, density=True)[0]
        ax.stairs(heights, edges, fill=True, alpha=0.35, color=colour, hatch=hatch)
        ax.stairs(heights, edges, color=colour, label=f"{name} ({count:,})")
    ax.legend()
    return ax


def calibration(
    found: Calibration, mated: ArrayLike, nonmated: ArrayLike, ax: Axes | None = None, *, band: Band | None = None
) -> Axes:
    """The calibration's log10 likelihood ratio over the score, beside what these (other) scores say by pooling; ``band`` as
    :func:`meetmid.evaluation.bands.calibration_band` gives it."""
    ax = _axes(ax, "Score", "log10 likelihood ratio")
    levels, llr = pav(mated, nonmated)
    finite = np.isfinite(llr)
    _line(ax, levels, found.llr(levels) / np.log(10), found.kind, band)
    _line(ax, levels[finite], llr[finite] / np.log(10), "pooled from these scores")
    ax.axhline(0.0, color="#888888", linewidth=0.8)
    return ax


def error_versus_discard(found: Discard, ax: Axes | None = None, *, label: str = "", band: Band | None = None) -> Axes:
    """FNMR of what is left over the share of attempts refused for their quality."""
    ax = _axes(ax, "Share of attempts discarded", "False non-match rate")
    _line(ax, found.share, found.fnmr, label, band, step=True)
    ax.set(xlim=(0.0, 1.0), ylim=(0.0, max(0.01, 1.05 * float(found.fnmr.max()))))
    return ax


def cumulative(x: ArrayLike, y: ArrayLike, ax: Axes | None = None, *, quantity: str = "PSNR (dB)", label: str = "") -> Axes:
    """A cumulative score distribution: share of pictures with at most this quality; further right is better."""
    ax = _axes(ax, quantity, "Share of pictures")
    _line(ax, np.asarray(x), np.asarray(y), label, step=True)
    ax.set(ylim=(0.0, 1.0))
    return ax


def _axes(ax: Axes | None, x: str, y: str) -> Axes:
    if ax is None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise InputError('plots need matplotlib: pip install "meetmid[plot]"') from error
        ax = Figure(figsize=(5.0, 4.0), layout="constrained").subplots()
    ax.set(xlabel=x, ylabel=y)
    ax.grid(True, which="major", color="#dddddd", linewidth=0.6)
    return ax


def _line(
    ax: Axes, x: NDArray[Any], y: NDArray[Any], label: str, band: Band | None = None, *, step: bool = False
) -> None:
    number = len(ax.lines)
    colour = COLOURS[number % len(COLOURS)]
    dashes = DASHES[number % len(DASHES)]
    ax.plot(x, y, color=colour, linestyle=dashes, label=label or None, drawstyle="steps-post" if step else "default")
    if band is not None:
        ax.fill_between(band.x, band.low, band.high, color=colour, alpha=0.2, linewidth=0)
    if label:
        ax.legend()
