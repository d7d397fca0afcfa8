"""Presets run; plans count what is really run."""

from dataclasses import replace

import numpy as np
import pytest

import meetmid
from meetmid.plan import curve
from meetmid.runtime.sessions import Network


@pytest.mark.parametrize("name", list(meetmid.PRESETS))
def test_presets_run(name, tiny, tiny_family, face):
    options = {"matcher": tiny, "hallucinator": tiny_family, "work_size": 32, "paths": ["gblur", ("downup", "shear")]}
    if name in ("fast", "balanced", "accurate"):
        options["centering"] = "none"
    probes, portraits = [face(1, 24), face(3, 24)], [face(2, 60), face(4, 60)]
    result = meetmid.match(probes, portraits, preset=name, device="cpu", **options)
    assert result.scores.shape == (2, 2)
    assert result.config.preset == name
    assert np.isfinite(result.scores).all()
    assert result.models["tiny"].startswith("sha256")


@pytest.mark.parametrize("sizes", [(1, 2), (2, 1)])
def test_a_set_of_one_picture_has_no_mean_to_take_away(sizes, small, face):
    probes, portraits = ([face(k, 40) for k in range(count)] for count in sizes)
    with pytest.raises(meetmid.ConfigError, match="at least 2 usable pictures"):
        small(centering="set").match(probes, portraits)


@pytest.mark.parametrize("options", [
    {}, {"flip": True}, {"resolution_matching": False}, {"draws_per_node": 2}, {"identity": False}, {"scales": ()}
], ids=str)
def test_the_plan_counts_what_is_really_run(small, probes, portraits, options, monkeypatch):
    counted = {"matcher": [], "hallucinator": []}
    run = Network.run

    def counting(self, pictures, **options):
        counted[self.card.task].append(len(pictures))
        return run(self, pictures, **options)

    with small(**options) as matcher:
        plan = matcher.plan(4, 5, measure=False)
        monkeypatch.setattr(Network, "run", counting)
        matcher.match(probes, portraits)
        gallery = matcher.enroll(portraits)
    assert sum(counted["matcher"]) == plan.probe_templates + 2 * plan.gallery_templates
    assert sum(counted["hallucinator"]) == plan.super_resolutions
    assert plan.gallery_bytes == gallery.pool.templates.nbytes
    present = [(gallery.pool.weights[0] > 0).sum(), plan.probe_templates / (4 * (2 if matcher.config.flip else 1))]
    assert plan.similarities == 4 * 5 * np.prod(present)
    gmac = 0.001 * (plan.probe_templates + plan.gallery_templates + plan.super_resolutions)
    assert plan.flops == pytest.approx(2e9 * gmac + 2 * 24 * plan.similarities)
    assert plan.seconds is None
    assert "super-resolutions" in str(plan)


def test_a_measured_plan_and_shown_hypotheses(small, face):
    with small() as matcher:
        assert matcher.plan(2, 2).seconds > 0
        shown = matcher.show_probe(face(1, 100))
        assert [(w.scale, w.sigma) for w, _ in shown] == [(1, 0), *((s, b) for s in (2, 4) for b in (0, 0.5, 1))]
        assert [p.shape[0] for _, p in shown] == [48] + [24] * 3 + [48] * 3
        assert len(matcher.show_gallery(face(2, 60))) == 3 + 2 * 2


def test_sides_enrolled_galleries_and_counts(small, probes, portraits, tmp_path):
    with small() as matcher:
        gallery = matcher.enroll(portraits, path=tmp_path / "g")
        by_side, by_count = matcher.plan(probes, portraits, measure=False), matcher.plan(4, 5, measure=False)
        assert by_side == by_count
        enrolled = matcher.plan(probes, gallery)
        assert enrolled.gallery_templates == 0
        assert enrolled.similarities == by_count.similarities
        assert enrolled.stages["gallery"] == 0
        measured = matcher.plan(probes, portraits)
        assert set(measured.stages) == {"probe", "gallery", "scores"}
        assert min(measured.stages.values()) > 0
        assert measured.seconds == sum(measured.stages.values())
        assert "scores" in str(measured)
        with pytest.raises(meetmid.InputError, match="0 or more"):
            matcher.plan(-1, 5)
        with pytest.raises(meetmid.InputError):
            matcher.plan([], 5)


def test_seconds_grow_with_the_numbers(small):
    with small() as matcher:
        few, many = matcher.plan(0, 10), matcher.plan(0, 100_000)
    assert few.stages["probe"] == many.stages["probe"] == 0
    assert many.seconds > 100 * few.seconds


def test_a_whole_tree_is_tried_on_a_few_of_its_paths(small, face, monkeypatch):
    taken = []
    run = Network.run

    def counting(self, pictures, **options):
        taken.append(len(pictures))
        return run(self, pictures, **options)

    with small(paths="len<=3", centering="set") as matcher:
        monkeypatch.setattr(Network, "run", counting)
        monkeypatch.setattr("meetmid.timing.BUDGET", 1e-9)
        assert matcher.plan(1, 1).seconds > 0
    assert sum(taken) < 200


def test_the_plan_tells_what_was_measured_of_an_unchanged_preset(tiny):
    known = replace(tiny, facts={"rank_1": {"plain": "24 px 1.0 %"}}, presets={"fast": {"scales": []}})
    for options, told in (({}, "24 px 1.0 %"), ({"flip": True}, ""), ({"preset": "fast"}, "")):
        with meetmid.Matcher(**{"preset": "plain", "matcher": known, "device": "cpu", **options}) as matcher:
            plan = matcher.plan(1, 1, measure=False)
            assert plan.rank_1 == told
            assert ("rank-1 measured" in str(plan)) == bool(told)


def test_the_curve_has_a_line_for_every_beginning_of_the_list(tiny):
    table = {"measured": "of 10 people", "paths": [["gblur"], ["disk", "pshuf"]], "rank_1_16px": [1.0, 2.0, 3.0],
             "rank_1_24px": [10.0, 20.5, 30.0]}
    lines = curve(replace(tiny, facts={"curve": table})).splitlines()
    assert lines[0] == "of 10 people"
    assert lines[1].split() == ["templates", "a", "portrait", "24", "px", "16", "px", "path", "added"]
    assert [line.split()[:3] for line in lines[2:]] == [["1", "10.0", "1.0"], ["2", "20.5", "2.0"], ["3", "30.0", "3.0"]]
    assert lines[4].endswith("disk+pshuf")
    with pytest.raises(meetmid.ConfigError, match="'tiny' has no curve of accuracy against cost"):
        curve(tiny)


def test_an_enrolled_gallery_costs_no_runs(small, make_matcher, portraits, tmp_path):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    with small(matcher=replace(probe, gmac=0.5), gallery_matcher=gallery, degraded_by="probe", covered_by="hat") as matcher:
        plan = matcher.plan(2, matcher.enroll(portraits), measure=False)
    assert plan.gallery_templates == 0
    runs = 0.5 * plan.probe_templates + 0.001 * plan.super_resolutions
    assert plan.flops == pytest.approx(2e9 * runs + 2 * plan.similarities * 24)
