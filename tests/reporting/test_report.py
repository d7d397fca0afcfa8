"""Reports of real matches and experiments with tiny models."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from meetmid.errors import InputError
from meetmid.evaluation import calibrate
from meetmid.evaluation.protocols import PairProtocol, Sample, SearchProtocol
from meetmid.reporting import matches, page, report_html, save_report
from meetmid.result import MatchResult
from meetmid.studies import pair_study, search_study

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def result(small, probes, portraits) -> MatchResult:
    return small().match([*probes, b"broken"], portraits)


def test_a_match_report_shows_candidates_and_why(result: MatchResult, read) -> None:
    found = read(report_html(result, k=3))
    text = found.text
    ranks = result.rank(3)
    for candidates in ranks[:4]:
        for c in candidates:
            assert f"{c.rank}. {c.id}, {c.score:.4f}" in text
    alts = [i["alt"] for i in found.all("img")]
    assert sum(alt.startswith("candidate ") for alt in alts) == 12
    explained = [result.explain(p, ranks[p][0].index) for p in range(4)]
    for e in explained:
        assert f"{e.similarity:.4f} alike" in text
        assert f"{'synthetic: ' if e.synthetic else ''}probe {e.probe_id}, {e.probe}" in alts
    assert text.count("SYNTHETIC") == 1 + sum(e.synthetic for e in explained)
    assert any(e.synthetic for e in explained)
    assert "1 entries without a score" in text
    assert result.probe_status[4] in text
    assert result.config.hash() in text
    for name, told in result.models.items():
        assert name in text
        assert told in text
    for warning in result.warnings:
        assert f"Warning: {warning}" in text


def test_names_cannot_inject_anything(small, face, read) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&"
    result = small().match([face(0, 20)], small().enroll([face(0, 60), face(1, 60)], ids=[evil, "b"]))
    html = report_html(result)
    assert evil not in html
    assert evil in " ".join(read(html).words)


def test_reports_of_saved_results_say_what_they_lack(result: MatchResult, tmp_path: Path, read) -> None:
    result.save(tmp_path / "result.npz")
    text = read(report_html(MatchResult.load(tmp_path / "result.npz"))).text
    assert "The winning pair cannot be shown: a result read from a file" in text
    assert "no picture was kept" in text
    result.save(tmp_path / "result.json")
    assert "no picture was kept" in read(report_html(MatchResult.load(tmp_path / "result.json"))).text


def test_only_the_first_probes_are_shown_and_it_says_so(result: MatchResult, read) -> None:
    found = read(report_html(result, k=1, most=2))
    assert "Candidates of the first 2 probes are shown" in found.text
    assert sum(i["alt"].startswith("candidate ") for i in found.all("img")) == 2
    with pytest.raises(InputError, match="at least 1"):
        report_html(result, k=0)


def test_a_calibration_places_the_score_among_known_ones(small, probes, portraits, read, monkeypatch) -> None:
    plain = small().match(probes, portraits)
    rng = np.random.default_rng(0)
    known = calibrate(rng.normal(0.8, 0.1, 50), rng.normal(0.2, 0.1, 400), made_with=plain.made_with)
    result = small(calibration=known).match(probes, portraits)
    found = read(report_html(result, k=1))
    assert "The people of the calibration: of 400 scores of different people" in found.text
    assert "log10 likelihood ratio" in found.text
    assert sum("among scores of known pairs" in i["alt"] for i in found.all("img")) == 4
    monkeypatch.setattr(matches, "can_plot", lambda: False)
    assert matches.NO_PLOTS in read(report_html(result, k=1)).text


def test_the_same_run_gives_the_same_file_for_its_owner_only(result: MatchResult, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        save_report(result, tmp_path / name, when=WHEN)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second
    assert b"2026-01-02T03:04:05+00:00" in first
    assert stat.S_IMODE((tmp_path / "a.html").stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


@pytest.fixture
def study(small, face):
    """Eight probes of five people, so that a random matcher misses some."""
    gallery = tuple(Sample(f"g{k}", f"P{k}", face(k, 60)) for k in range(5))
    probes = tuple(Sample(f"p{k}", f"P{k % 5}", face(k % 5 + (k > 5), 20)) for k in range(8))
    with small() as matcher:
        return search_study(matcher, SearchProtocol("tiny set", gallery, probes, "https://example.org"), draws=30)


def test_an_experiment_report_orders_the_worst_probes(study, read) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib (extra: plot)")
    from meetmid.evaluation import search

    found = read(report_html(study))
    text = found.text
    for measure in study.measures:
        assert measure.name in text
    assert "tiny set" in text
    assert "https://example.org" in text
    ranks = search(study.trials).rank
    late = [r for r in sorted(ranks, reverse=True) if r > 1]
    assert late
    shown = [int(part.split(" of ")[0]) for part in text.split("true mate at rank ")[1:] if " of 5" in part[:8]]
    assert shown == [int(r) for r in late]
    plots = [i["alt"] for i in found.all("img") if "svg" in i["src"][:20]]
    assert any("Cumulative match" in alt for alt in plots)
    assert any("Receiver operating" in alt for alt in plots)
    assert any("Detection error" in alt for alt in plots)


def test_an_experiment_without_mates_reports_what_it_has(small, face, read) -> None:
    gallery = tuple(Sample(f"g{k}", f"P{k}", face(k, 60)) for k in range(3))
    probes = tuple(Sample(f"p{k}", f"X{k}", face(k + 7, 20)) for k in range(3))
    with small() as matcher:
        found = search_study(matcher, SearchProtocol("strangers", gallery, probes), draws=5)
    assert "strangers" in read(report_html(found)).text


def test_a_pair_report(small, face, read) -> None:
    first = tuple(Sample(f"a{k}", f"P{k}", face(k, 60)) for k in range(6))
    second = tuple(Sample(f"b{k}", f"P{k}", face(k, 30)) for k in (0, 1, 2, 4, 5, 3))
    protocol = PairProtocol("pairs", first, second, np.arange(6) < 3, np.arange(6) % 3)
    with small() as matcher:
        found = read(report_html(pair_study(matcher, protocol)))
    assert "3 pairs of one person and 3 of two, in 3 folds" in found.text
    assert "accuracy" in found.text


def test_a_mate_that_failed_to_enrol_is_told(small, face, read) -> None:
    gallery = (Sample("g0", "P0", face(0, 60)), Sample("g1", "P1", b"broken"), Sample("g2", "P2", face(2, 60)))
    probes = tuple(Sample(f"p{k}", f"P{k}", face(k, 60)) for k in range(3))
    with small() as matcher:
        text = read(report_html(search_study(matcher, SearchProtocol("t", gallery, probes), draws=5))).text
    assert "1 probes have a score but their true mate has none (see the failures): p1" in text
    assert "None: every probe" not in text


def test_reports_of_one_kind_of_scores_are_written(small, face, read) -> None:
    gallery = (Sample("g0", "P0", b"broken"), Sample("g1", "P1", face(1, 60)))
    with small() as matcher:
        study = search_study(matcher, SearchProtocol("t", gallery, (Sample("p0", "P0", face(0, 60)),)), draws=5)
        assert "of 1 scores of the same person, 100.00 % are not above it" in read(report_html(study)).text
        first, second = (tuple(Sample(f"{side}{k}", f"P{k}", face(k, 40)) for k in range(4)) for side in "ab")
        pairs = PairProtocol("pairs", first, second, np.ones(4, bool), np.arange(4) % 2)
        assert "Too few scores to draw." in read(report_html(pair_study(matcher, pairs))).text


def test_strangers_have_no_mate(small, face, read) -> None:
    gallery = tuple(Sample(f"g{k}", f"P{k}", face(k, 60)) for k in range(3))
    probes = tuple(Sample(f"p{k}", f"X{k}", face(k + 7, 20)) for k in range(3))
    with small() as matcher:
        text = read(report_html(search_study(matcher, SearchProtocol("t", gallery, probes), draws=5))).text
    assert "No probe has a mate in the gallery." in text


@pytest.mark.parametrize("name", ["x$\\bad$", "caf\udce9", "<b>", "a\nb"])
def test_any_name_can_be_reported(small, face, read, tmp_path: Path, name: str) -> None:
    known = tuple(Sample(f"{name}{k}", f"{name}P{k}", face(k, 60)) for k in range(3))
    probes = tuple(Sample(f"{name}p{k}", f"{name}P{k}", face(k, 20)) for k in range(3))
    with small() as matcher:
        study = search_study(matcher, SearchProtocol(name, known, probes), draws=5)
    save_report(study, tmp_path / "report.html")
    read((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_shares_of_quantiles_are_bounds_and_failures_count() -> None:
    levels = np.linspace(0.0, 1.0, 101)
    known = matches.Reference(levels + 0.5, levels, 4000, 100_000, "x", quantiles=True)
    assert known.above(1.5) == "none"
    assert known.above(0.995) == "at most 1.0 %"
    assert known.above(0.5) == "at most 50.0 %"
    counted = matches.Reference(np.array([0.4, 0.9]), np.array([0.1, 0.2, 0.3]), 4, 4, "x")
    assert counted.not_above(0.5) == "75.00 %"  # two of four failed, one is below
    assert counted.above(0.15) == "50.00 %"


def test_settings_and_notes_are_kept(small, study, read) -> None:
    noted = replace(study, protocol=replace(study.protocol, note="not the published split"))
    text = read(report_html(noted, settings={"simulate": "24", "seed": "0"})).text
    assert "Warning: not the published split" in text
    assert "Settings of the run" in text
    assert "simulate 24" in text


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    values = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("ink", "paper"),
    [("#1a1a1a", "#fff"), ("#1a1a1a", "#ececec"), ("#1a1a1a", "#fdf1f2"), ("#0b4f8a", "#fff"), ("#a3001d", "#fff")],
)
def test_contrast_is_enough(ink: str, paper: str) -> None:
    assert ink in page.STYLE
    assert paper in page.STYLE
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_an_experiment_without_kept_crops(small, study, read, face) -> None:
    matcher = small(config=replace(study.result.config, keep_crops=False))
    with matcher:
        found = search_study(matcher, study.protocol, draws=5)
    assert "no crops were kept" in read(report_html(found)).text
