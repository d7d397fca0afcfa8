"""Probes of much detail are pictures like the portraits, and are compared as such."""

from dataclasses import replace

import numpy as np
import pytest

from meetmid.config import MatchConfig, configured, preset
from meetmid.errors import ConfigError
from meetmid.matcher import Matcher
from meetmid.probes.resolution import Detail
from meetmid.resize import resize, to_float, to_uint8


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def cosines(a, b):
    return unit(a.astype(np.float64)) @ unit(b.astype(np.float64)).T


@pytest.fixture
def sharp(face):
    made = [face(seed, 64) for seed in (11, 12)]
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
    with small(sharp_from=20, centering=centering) as matcher:
        result = matcher.match([far[0], *sharp, far[1]], portraits)
        gallery = matcher.enroll(portraits)
        probes, own = (matcher.lift(side).pool.templates[:, 0, 0] for side in (sharp, portraits))
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
    with small(sharp_from=20, centering=centering) as matcher:
        mixed = matcher.match([sharp[0], *far, sharp[1]], portraits)
        alone = matcher.match(far, portraits)
        assert np.array_equal(mixed.scores[1:3], alone.scores)
    with small(sharp_from=None, centering=centering) as matcher:
        assert np.array_equal(matcher.match(far, portraits).scores, alone.scores)
        assert not np.array_equal(matcher.match([sharp[0], *far, sharp[1]], portraits).scores[0], mixed.scores[0])


def test_a_pair_shows_them_to_the_network_of_the_portraits(small, make_matcher, sharp, portraits, tmp_path):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    config = MatchConfig(scales=(), paths="none", centering="none", faces="crop", sharp_from=20)
    with small(config, matcher=probe, gallery_matcher=gallery) as pair, small(config, matcher=gallery) as alone:
        assert np.array_equal(pair.match(sharp, portraits).scores, alone.match(sharp, portraits).scores)
    with small(replace(config, sharp_from=None), matcher=probe, gallery_matcher=gallery) as without:
        assert not np.allclose(without.match(sharp, portraits).scores, pair.match(sharp, portraits).scores)


def test_the_sharp_pictures_of_an_entry_stand_for_it(small, sharp, far, portraits):
    with small(sharp_from=20) as matcher:
        together = matcher.match([[far[0], sharp[0]], [far[0], far[1]]], portraits)
        assert np.array_equal(together.scores[:1], matcher.match(sharp[:1], portraits).scores)
        assert np.array_equal(together.scores[1:], matcher.match([far], portraits).scores)
        assert together.probe_size[0, 1] >= 20
        assert together.probe_status == ("ok: compared by the 1 sharp of 2 pictures", "ok")
        assert "1 of 2 probes hold 20 px or more and were compared as they are" in together.warnings


def test_their_scores_are_explained(small, sharp, far, portraits):
    with small(sharp_from=20, keep_crops=True) as matcher:
        result = matcher.match([*far, *sharp], portraits)
        told = result.explain(2, 3)
        assert (told.probe.scale, told.gallery.path, told.gallery.size) == (1, (), None)
        assert told.similarity == pytest.approx(result.scores[2, 3], abs=1e-5)
        assert [len(told.probe_shares), len(told.gallery_shares)] == [1, 1]
        assert len(result.explain(0, 3).gallery_shares) > 1


def test_native_sizes_have_no_gallery_for_them(small, sharp, far, portraits):
    with small(sharp_from=20, lr_size=None, keep_crops=True) as matcher:
        steps = []
        result = matcher.match([sharp[0], *far], portraits, progress=lambda done, total, stage: steps.append((stage, total)))
        assert sum(stage == "gallery" for stage, _ in steps) == len(portraits)  # enrolled once, for the far ones' size
        one = matcher.match(sharp[:1], portraits)
        assert np.array_equal(result.scores[:1], one.scores)
        assert one.explain(0, 0).similarity == pytest.approx(one.scores[0, 0], abs=1e-5)


def test_all_sharp_sets_need_no_mean_of_probes(small, sharp, far, portraits):
    with small(sharp_from=20, centering="set") as matcher:
        assert np.isfinite(matcher.match(sharp[:1], portraits).scores).all()
        with pytest.raises(ConfigError, match="at least 2 usable pictures on each side, got 1, 2 of 3 probes being sharp"):
            matcher.match([far[0], *sharp], portraits)


def test_means_are_learned_from_all_probes_of_a_cohort(small, sharp, far, portraits):
    with small(sharp_from=20) as matcher, small(sharp_from=None) as without:
        cohort = [*far, *sharp]
        assert np.array_equal(matcher.learn_means(cohort, portraits).probe, without.learn_means(cohort, portraits).probe)


def test_a_pair_of_other_crops_cannot_share_them(small, make_matcher, tmp_path):
    ours = make_matcher(tmp_path / "p", name="p", space="both")
    theirs = make_matcher(tmp_path / "g", name="g", space="both", alignment="arcface-96x112")
    with pytest.raises(ConfigError, match="sharp_from=20 shows the crops of 'p'"):
        small(matcher=ours, gallery_matcher=theirs, sharp_from=20)
    with Matcher("fast", matcher=ours, gallery_matcher=theirs, centering="none") as matcher:
        assert matcher.config.sharp_from is None


def test_what_goes_wrong_is_told():
    for changes in ({"identity": False}, {"scales": (1,)}):
        with pytest.raises(ConfigError, match="sharp_from expects identity=True and no scale 1"):
            MatchConfig(sharp_from=30, **changes)
    for value in (0, 1.5, "36", True):
        with pytest.raises(ConfigError, match="sharp_from expects"):
            MatchConfig(sharp_from=value)


def test_a_preset_leaves_them_where_probes_need_a_translation() -> None:
    for changes in ({"identity": False}, {"scales": (1,), "lr_size": 40}):
        assert configured(preset("balanced"), "m", None, None, None, changes).sharp_from is None
    assert configured(preset("balanced"), "m", None, None, None, {"scales": (2,)}).sharp_from == preset("balanced").sharp_from
    assert configured(preset("balanced"), "m", None, None, None, {"sharp_from": None}).sharp_from is None


def test_a_gallery_serves_every_threshold(portraits):
    assert MatchConfig(sharp_from=20).gallery_hash() == MatchConfig().gallery_hash()
    assert MatchConfig(sharp_from=20).hash() != MatchConfig(sharp_from=30).hash() != MatchConfig().hash()
