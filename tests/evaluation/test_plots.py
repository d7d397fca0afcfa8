"""Plots show the numbers they are given, take and return axes, and can be saved."""

from __future__ import annotations

import io

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need matplotlib (extra: plot)")

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from meetmid.evaluation import ErrorRates, Search, Trials, calibrate, cumulative, error_versus_discard, plots, search
from meetmid.evaluation.bands import cmc_band, roc_band


@pytest.fixture(scope="module")
def trials() -> Trials:
    rng = np.random.default_rng(0)
    people = [f"s{k % 12}" for k in range(60)]
    scores = rng.normal(size=(60, 12))
    scores[np.arange(60), np.arange(60) % 12] += 2
    return Trials.of(scores, people, [f"s{k}" for k in range(12)])


@pytest.fixture(scope="module")
def rates(trials: Trials) -> ErrorRates:
    return ErrorRates.of(trials)


@pytest.fixture(scope="module")
def open_search(trials: Trials) -> Search:
    return search(trials.select(np.arange(60), np.arange(8)))


def test_the_roc_runs_through_its_corners_with_its_band(trials: Trials, rates: ErrorRates) -> None:
    band = roc_band(trials, [0.01, 0.1, 0.5], draws=50)
    assert band.value == pytest.approx([rates.tmr_at_fmr(f).tmr for f in (0.01, 0.1, 0.5)])
    assert (band.low <= band.value).all()
    assert (band.value <= band.high).all()
    ax = plots.roc(rates, label="ours", band=band)
    assert ax.lines[0].get_ydata() == pytest.approx(rates.curve().tmr)
    assert ax.get_xscale() == "log"
    assert len(ax.collections) == 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ours"]


def test_det_is_straight_for_two_normals() -> None:
    rng = np.random.default_rng(1)
    ax = plots.det(ErrorRates.of(rng.normal(2, 1, 20000), rng.normal(0, 1, 20000)))
    x, y = ax.transScale.transform(np.array(ax.lines[0].get_xydata())).T
    inner = (np.abs(x) < 1.8) & (np.abs(y) < 1.8)
    slope, offset = np.polyfit(x[inner], y[inner], 1)
    assert (slope, offset) == pytest.approx((-1.0, -2.0), abs=0.06)


def test_the_cmc_and_its_band(trials: Trials) -> None:
    found = search(trials)
    band = cmc_band(found, trials, 5, draws=40)
    assert band.value == pytest.approx(found.cmc(5).rates)
    ax = plots.cmc(found, ranks=5, band=band)
    assert ax.lines[0].get_ydata() == pytest.approx(found.cmc(5).rates)


def test_open_set_rates_fall_against_each_other(open_search: Search) -> None:
    ax = plots.open_set(open_search, label="any rank")
    plots.open_set(open_search, ax, rank=1, label="rank 1")
    x, y = ax.lines[0].get_data()
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) <= 0).all()
    assert (ax.lines[1].get_ydata() >= y).all()


def test_histograms_have_area_one(rates: ErrorRates) -> None:
    ax = plots.histogram(rates)
    filled = [patch.get_data() for patch in ax.patches[::2]]
    assert [float((values * np.diff(edges)).sum()) for values, edges, _ in filled] == pytest.approx([1.0, 1.0])


def test_calibration_discard_and_distribution_draw_their_values(trials: Trials, rates: ErrorRates) -> None:
    found = calibrate(trials)
    ax = plots.calibration(found, rates.mated, rates.nonmated)
    assert ax.lines[0].get_ydata() == pytest.approx(found.llr(ax.lines[0].get_xdata()) / np.log(10))
    discard = error_versus_discard(trials, np.arange(60.0), 1.0)
    assert plots.error_versus_discard(discard).lines[0].get_ydata() == pytest.approx(discard.fnmr)
    x, y = cumulative([20.0, 25.0, 22.0])
    assert plots.cumulative(x, y).lines[0].get_ydata() == pytest.approx(y)


def test_plots_go_into_given_axes_and_lines_differ_without_colour(rates: ErrorRates) -> None:
    given = Figure().subplots()
    assert plots.roc(rates, given) is given
    plots.roc(rates, given)
    assert given.lines[0].get_linestyle() != given.lines[1].get_linestyle()


def test_colours_keep_apart_in_grey() -> None:
    grey = sorted(np.dot(to_rgb(c), (0.299, 0.587, 0.114)) for c in plots.COLOURS[:3])
    assert min(np.diff(grey)) > 0.02


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_plots_are_saved_as_files(kind: str, rates: ErrorRates) -> None:
    file = io.BytesIO()
    plots.det(rates).figure.savefig(file, format=kind)
    assert len(file.getvalue()) > 1000
