"""Probes of much detail are pictures like the portraits, and are compared as such."""

from dataclasses import replace

import numpy as np
import pytest

import meetmid
from meetmid.config import MatchConfig
from meetmid.errors import ConfigError
from meetmid.faces.alignment import ARCFACE_112
from meetmid.matcher import Matcher
from meetmid.presets import configured, preset
from meetmid.probes.resolution import Detail
from meetmid.resize import resize, to_float, to_uint8


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def cosines(a, b):
    return unit(a.astype(np.float64)) @ unit(b.astype(np.float64)).T


@pytest.fixture
def sharp(red_face):
    made = [red_face(seed, 64) for seed in (11, 12)]
    assert min(Detail.of(crop).resolution for crop in made) >= 20
    return made


@pytest.fixture
def far(face):
    made = [to_uint8(resize(to_float(face(seed, 7)), (64, 64))) for seed in (13, 14)]
    assert max(Detail.of(crop).resolution for crop in made) < 20
    return made


def templates(network, pictures):
    return np.stack([network.extract([to_float(p)])[0] for p in pictures])


@pytest.mark.parametrize("centering", ["none", "vector", "set"])
def test_they_meet_the_undegraded_portraits_as_they_are(small, sharp, far, portraits, centering):
    with small(sharp_between=(20, 20), centering=centering) as matcher:
        result = matcher.match([far[0], *sharp, far[1]], portraits)
        gallery = matcher.enroll(portraits)
        probes, own = (matcher.lift(side).plain.templates[:, 0, 0] for side in (sharp, portraits))
        stored = np.array(gallery.pool.templates)
        assert np.array_equal(own, stored[:, 0, 0])
        mean = 0.0
        if centering == "set":
            mean = own.mean(axis=0)
        if centering == "vector":
            probes, own = (rows - rows.mean(axis=1, keepdims=True) for rows in (probes, own))
        want = cosines(probes - mean, own - mean)
        np.testing.assert_allclose(result.scores[1:3], want, atol=1e-5)
        assert np.array_equal(matcher.match([far[0], *sharp, far[1]], gallery).scores, result.scores)
        assert result.probe_size[1, 1] >= 20 > result.probe_size[0, 1]


@pytest.mark.parametrize("centering", ["none", "set"])
def test_the_far_ones_score_as_if_they_were_alone(small, sharp, far, portraits, centering):
    with small(sharp_between=(20, 20), centering=centering) as matcher:
        mixed = matcher.match([sharp[0], *far, sharp[1]], portraits)
        alone = matcher.match(far, portraits)
        assert np.array_equal(mixed.scores[1:3], alone.scores)
    with small(sharp_between=None, centering=centering) as matcher:
        assert np.array_equal(matcher.match(far, portraits).scores, alone.scores)
        assert not np.array_equal(matcher.match([sharp[0], *far, sharp[1]], portraits).scores[0], mixed.scores[0])


def test_a_pair_shows_them_to_the_network_of_the_portraits(small, make_matcher, sharp, portraits, tmp_path):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    config = MatchConfig(scales=(), paths="none", centering="none", faces="crop", sharp_between=(20, 20))
    with small(config, matcher=probe, gallery_matcher=gallery) as pair, small(config, matcher=gallery) as alone:
        assert np.array_equal(pair.match(sharp, portraits).scores, alone.match(sharp, portraits).scores)
    with small(replace(config, sharp_between=None), matcher=probe, gallery_matcher=gallery) as without:
        assert not np.allclose(without.match(sharp, portraits).scores, pair.match(sharp, portraits).scores)


def test_the_sharp_pictures_of_an_entry_stand_for_it(small, sharp, far, portraits):
    with small(sharp_between=(20, 20)) as matcher:
        together = matcher.match([[far[0], sharp[0]], [far[0], far[1]]], portraits)
        assert np.array_equal(together.scores[:1], matcher.match(sharp[:1], portraits).scores)
        assert np.array_equal(together.scores[1:], matcher.match([far], portraits).scores)
        assert together.probe_size[0, 1] >= 20
        assert together.probe_status == ("ok: compared by 1 of 2 pictures as they are", "ok")
        assert "1 of 2 probes hold 20 px or more and were compared as they are" in together.warnings


@pytest.mark.parametrize("changes", [
    {}, {"centering": "vector"}, {"centering": "set"}, {"portraits": "max"}, {"select": "best"}, {"pairing": "same_scale"},
    {"fusion": ("T_concat", "T_concat")}, {"fusion": ("T_add", "T_add"), "identity_weight": 2.0}, {"lr_size": None},
], ids=str)
@pytest.mark.parametrize("pair", [False, True])
def test_between_a_score_is_the_weighted_mean_of_both(small, make_matcher, sharp, far, portraits, tmp_path, changes, pair):
    networks = {}
    if pair:
        probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
        networks = {"matcher": probe, "gallery_matcher": gallery}
    probes, options = [*far, *sharp], {**changes, **networks}
    gallery = [portraits[:2], *portraits[2:]]
    with small(sharp_between=(5, 80), **options) as matcher:
        result = matcher.match(probes, gallery)
        both, sizes = result.scores, result.probe_size[:, 1]
        assert all(" to 80 px and were compared both ways" in text for text in result.warnings if "compared" in text)
        if "lr_size" not in changes:
            enrolled = matcher.enroll(gallery, path=tmp_path / "enrolled")
            assert np.array_equal(both, matcher.match(probes, enrolled).scores)
            assert np.array_equal(both, matcher.match(matcher.lift(probes), enrolled).scores)
    with small(sharp_between=None, **options) as matcher:
        away = matcher.match(probes, gallery).scores
    with small(sharp_between=(1, 1), **options) as matcher:
        near = matcher.match(probes, gallery).scores
    share = ((sizes - 5) / 75)[:, None]
    assert (share > 0).all()
    assert (share < 1).all()
    np.testing.assert_allclose(both, (1 - share) * away + share * near, atol=1e-6)
    assert np.abs(both - away).max() > 1e-3


def test_several_pictures_take_part_by_their_shares_and_their_pixels(small, sharp, far, portraits):
    with small() as matcher:
        resolutions = matcher.match([far[0], sharp[0]], portraits).probe_size[:, 1]
    low = resolutions.min() - 1
    with small(sharp_between=(low, 80), centering="none", fusion=("T_add", "T_add")) as matcher:
        got = matcher.match([[far[0], sharp[0]]], portraits).scores[0]
        taken = matcher.lift([[far[0], sharp[0]]])
        own = (resolutions - low) / (80 - low)
        np.testing.assert_allclose(taken.share, own.max(), rtol=1e-6)
        portrait = np.array(matcher.enroll(portraits).pool.templates)[:, 0, 0]
        pixels = (resolutions / resolutions.max()) ** 2
        near = cosines(((own * pixels)[:, None] * taken.plain.templates[:, 0, 0]).sum(axis=0), portrait)
    with small(sharp_between=None, centering="none", fusion=("T_add", "T_add")) as matcher:
        enrolled = matcher.enroll(portraits).pool
        sides = [matcher.lift([far[0], sharp[0]]).pool, enrolled]
        sums = [(its.weights[..., None] * its.templates).sum(axis=(1, 2)) for its in sides]
        away = cosines((pixels[:, None] * sums[0]).sum(axis=0), sums[1])
        alike = matcher.match([[far[0], sharp[0]]], portraits).scores[0]
    assert np.abs(away - alike).max() > 1e-3  # without sharp_between all pictures count alike
    np.testing.assert_allclose(got, (1 - own.max()) * away + own.max() * near, atol=1e-5)


def test_each_picture_counts_once_where_the_probes_own_mean_centres_them(small, sharp, far, portraits):
    groups = [[far[0], sharp[0]], [far[1], sharp[0]]]
    with small(sharp_between=(5, 80), centering="set") as matcher:
        taken = matcher.lift(groups)
        means = matcher.comparison.set_means(taken)
    assert np.isin(taken.pool.weights, (0, 1)).all()
    np.testing.assert_allclose(means[0], taken.pool.templates[:, 0, 0].mean(axis=0), atol=1e-6)


def test_an_explained_mean_names_both_comparisons(small, sharp, far, portraits):
    with small(sharp_between=(5, 80), keep_crops=True, centering="none") as matcher:
        result = matcher.match(sharp, portraits)
        told = result.explain(0, 2)
        share = (result.probe_size[0, 1] - 5) / 75
    with small(sharp_between=(1, 1), keep_crops=True, centering="none") as matcher:
        near = matcher.match(sharp, portraits).scores[0, 2]
    with small(sharp_between=None, keep_crops=True, centering="none") as matcher:
        away = matcher.match(sharp, portraits).explain(0, 2)
    assert sum(value for _, value in told.probe_shares) == pytest.approx(1, abs=1e-6)
    assert sum(value for _, value in told.gallery_shares) == pytest.approx(1, abs=1e-6)
    assert (len(told.probe_shares), len(told.gallery_shares)) == (len(away.probe_shares) + 1, len(away.gallery_shares) + 1)
    as_it_is = [value for what, value in told.probe_shares if what.scale == 1]
    assert any(value == pytest.approx(share * near / told.score, abs=1e-5) for value in as_it_is)
    assert told.similarity == pytest.approx(max(near, away.similarity), abs=1e-5)


def test_a_portrait_without_its_undegraded_template_keeps_the_far_score(small, sharp, portraits):
    with small(sharp_between=None, centering="none") as matcher:
        gallery = matcher.enroll(portraits)
        gallery.pool.weights[1, 0, 0] = 0.0
        away = matcher.match(sharp, gallery)
    with small(sharp_between=(5, 80), centering="none", keep_crops=True) as matcher:
        both = matcher.match(sharp, gallery)
        assert np.array_equal(both.scores[:, 1], away.scores[:, 1])
        assert not np.isclose(both.scores[:, 0], away.scores[:, 0]).any()
        told = both.explain(0, 1)
        assert sum(value for _, value in told.probe_shares) == pytest.approx(1, abs=1e-6)
        assert matcher.identify(sharp, gallery, 3) == both.rank(3)
    with small(sharp_between=(1, 1), centering="set") as matcher:
        two = matcher.enroll(portraits[:2])
        two.pool.weights[1, 0, 0] = 0.0
        with pytest.raises(ConfigError, match="at least 2 usable pictures"):
            matcher.match(sharp, two)


def test_a_dropped_picture_as_it_is_leaves_the_far_comparison(small, make_matcher, sharp, portraits, tmp_path, monkeypatch):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    networks = {"matcher": probe, "gallery_matcher": gallery, "centering": "none"}
    with small(sharp_between=None, **networks) as matcher:
        away = matcher.match(sharp, portraits).scores
    for between in ((5, 80), (1, 1)):
        with small(sharp_between=between, **networks) as matcher:
            enrolled = matcher.enroll(portraits)
            monkeypatch.setattr(matcher.gallery_network, "raw", lambda pictures, alone: np.zeros((len(pictures), 24), "f"))
            result = matcher.match(sharp, enrolled)
        assert "2 probe hypotheses gave a zero or non-finite template and were dropped" in result.warnings
        if between == (5, 80):
            assert np.array_equal(result.scores, away)
        else:
            assert np.isnan(result.scores).all()
            assert result.probe_status == ("every template was zero or not finite",) * 2


def test_a_picture_as_it_is_stands_where_the_far_templates_were_dropped(
    small, make_matcher, sharp, portraits, tmp_path, monkeypatch
):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    networks = {"matcher": probe, "gallery_matcher": gallery, "centering": "none"}
    with small(sharp_between=(1, 1), **networks) as matcher:
        near = matcher.match(sharp, portraits).scores
    with small(sharp_between=(5, 80), **networks) as matcher:
        monkeypatch.setattr(matcher.network, "raw", lambda pictures, alone: np.zeros((len(pictures), 24), "f"))
        result = matcher.match(sharp, portraits)
    assert np.array_equal(result.scores, near)
    assert result.probe_status == ("ok", "ok")


def test_their_scores_are_explained(small, sharp, far, portraits):
    with small(sharp_between=(20, 20), keep_crops=True) as matcher:
        result = matcher.match([*far, *sharp], portraits)
        told = result.explain(2, 3)
        assert (told.probe.scale, told.gallery.path, told.gallery.size) == (1, (), None)
        assert told.similarity == pytest.approx(result.scores[2, 3], abs=1e-5)
        assert [len(told.probe_shares), len(told.gallery_shares)] == [1, 1]
        assert len(result.explain(0, 3).gallery_shares) > 1


def test_native_sizes_have_no_gallery_for_them(small, sharp, far, portraits):
    with small(sharp_between=(20, 20), lr_size=None, keep_crops=True) as matcher:
        steps = []
        result = matcher.match([sharp[0], *far], portraits, progress=lambda done, total, stage: steps.append((stage, total)))
        assert sum(stage == "gallery" for stage, _ in steps) == len(portraits)  # enrolled once, for the far ones' size
        one = matcher.match(sharp[:1], portraits)
        assert np.array_equal(result.scores[:1], one.scores)
        assert one.explain(0, 0).similarity == pytest.approx(one.scores[0, 0], abs=1e-5)


def test_all_sharp_sets_need_no_mean_of_probes(small, sharp, far, portraits):
    with small(sharp_between=(20, 20), centering="set") as matcher:
        assert np.isfinite(matcher.match(sharp[:1], portraits).scores).all()
        with pytest.raises(ConfigError, match="at least 2 usable pictures on each side, got 1, 2 of 3 probes being sharp"):
            matcher.match([far[0], *sharp], portraits)


def test_means_are_learned_from_all_probes_of_a_cohort(small, sharp, far, portraits):
    with small(sharp_between=(20, 20)) as matcher, small(sharp_between=None) as without:
        cohort = [*far, *sharp]
        assert np.array_equal(matcher.learn_means(cohort, portraits).probe, without.learn_means(cohort, portraits).probe)


def test_a_pair_of_other_crops_cannot_share_them(small, make_matcher, tmp_path):
    ours = make_matcher(tmp_path / "p", name="p", space="both")
    theirs = make_matcher(tmp_path / "g", name="g", space="both", alignment="arcface-96x112")
    with pytest.raises(ConfigError, match=r"sharp_between=\(20.0, 20.0\) shows the crops of 'p'"):
        small(matcher=ours, gallery_matcher=theirs, sharp_between=(20, 20))
    with Matcher("fast", matcher=ours, gallery_matcher=theirs, centering="none") as matcher:
        assert matcher.config.sharp_between is None


def test_what_goes_wrong_is_told():
    for changes in ({"identity": False}, {"scales": (1,)}):
        with pytest.raises(ConfigError, match="sharp_between expects identity=True and no scale 1"):
            MatchConfig(sharp_between=(30, 30), **changes)
    for value in (0, 36, (36,), (0, 20), (30, 20), "36", True, (20, float("nan"))):
        with pytest.raises(ConfigError, match="sharp_between expects"):
            MatchConfig(sharp_between=value)


def test_a_preset_leaves_them_where_probes_need_a_translation() -> None:
    for changes in ({"identity": False}, {"scales": (1,), "lr_size": 40}):
        assert configured(preset("balanced"), "m", None, None, None, changes).sharp_between is None
    balanced = preset("balanced")
    assert configured(balanced, "m", None, None, None, {"scales": (2,)}).sharp_between == balanced.sharp_between
    assert configured(preset("balanced"), "m", None, None, None, {"sharp_between": None}).sharp_between is None


def test_a_gallery_serves_every_threshold(portraits):
    assert MatchConfig(sharp_between=(20, 20)).gallery_hash() == MatchConfig().gallery_hash()
    assert MatchConfig(sharp_between=(20, 20)).hash() != MatchConfig(sharp_between=(30, 30)).hash() != MatchConfig().hash()


def test_a_plan_counts_the_second_network(small, make_matcher, tmp_path):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    for networks, extra in (({}, 0), ({"matcher": probe, "gallery_matcher": gallery}, 1)):
        counts = []
        for between in (None, (5, 80)):
            with small(sharp_between=between, **networks) as matcher:
                plan = matcher.plan(3, 2, measure=False)
                counts.append((plan.probe_templates, plan.gallery_templates))
        assert counts[1] == (counts[0][0] + 3 * extra, counts[0][1])


def test_small_faces_are_cut_finely_and_measured_by_their_own_pixels(small, face, portraits, tmp_path):
    """Given by points; their detail is that of the picture, and what explains them is made of the same templates."""
    noise = np.random.default_rng(3).normal(0, 12, (2, 90, 90, 3))
    pictures = [np.clip(face(seed, 90) + its, 0, 255).astype(np.uint8) for seed, its in zip((3, 4), noise, strict=True)]
    points = [np.array(ARCFACE_112.points) * 30 / 112 + 30.0] * 2
    with small(sharp_between=(8, 40), crop="arcface5", work_size=128) as matcher:
        gallery = matcher.enroll(portraits)
        result = matcher.match(pictures, gallery, faces=points)
        crops = [result.probe_crops.crop(k) for k in range(2)]
        assert [crop.shape for crop in crops] == [(60, 60, 3)] * 2
        assert [result.probe_crops.fine(k) for k in range(2)] == [2, 2]
        assert (result.probe_size[:, 1] <= 30).all()
        assert (matcher.match(crops, gallery).probe_size[:, 1] > result.probe_size[:, 1]).any()  # given as crops
        result.save(tmp_path / "result.npz")
        back = meetmid.MatchResult.load(tmp_path / "result.npz")
        for told in (result.explain(0, 2), back.explain(0, 2, matcher=matcher, gallery=gallery)):
            assert told.score == result.scores[0, 2]
            assert sum(value for _, value in told.probe_shares) == pytest.approx(1, abs=1e-6)
        shares = [matcher.comparison.sides([crops[0]], gallery, None, [fine])[1][0] for fine in (2, 1)]
        assert shares[0] == pytest.approx(matcher.config.share_as_it_is(result.probe_size[0, 1]))
        assert shares[1] > shares[0]
        own = matcher.enroll(pictures, faces=points)  # portraits keep their pixels: their degradations count them
        assert own.crops.crop(0).shape == (30, 30, 3)
    # reduced again, enlarged by its pixels, or blurred by them
    for options in ({"work_size": 100}, {"lr_size": None}, {"blur_at": "native"}):
        with small(crop="arcface5", **{"work_size": 128, **options}) as matcher:
            assert matcher.match(pictures[:1], portraits, faces=points[:1]).probe_crops.crop(0).shape == (30, 30, 3)
