"""Translating generators and asymmetric matchers in the pipeline, against compositions made by hand."""

import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest

from meetmid.errors import ConfigError, ModelError, StoreError
from meetmid.matcher import Matcher
from meetmid.presets import preset
from meetmid.probes.blur import blur
from meetmid.probes.hallucination import hallucinate
from meetmid.probes.hypotheses import ProbeHypothesis, scale_labels
from meetmid.resize import resize, to_float, to_uint8
from meetmid.runtime.cards import file_sha256
from meetmid.runtime.sessions import Network, to_planes
from meetmid.sheets import explanation_sheet

BASE = {"scales": (1,), "sigmas": (0.0,), "paths": "none", "resolution_matching": False, "work_size": None}


@pytest.fixture
def translating(small, make_translator, tmp_path):
    """``translating(channels=..., **options)``: a Matcher whose generator makes negatives of 40 px pictures."""

    def make(channels="rgb", heat=True, **options):
        card = make_translator(tmp_path / channels, channels=channels, heat=heat)
        return small(hallucinator=str(card.path.parent), **{**BASE, "lr_size": 40, **options})

    return make


def templates(matcher, pictures):
    """Templates (N, D) of float pictures, straight through the network."""
    size = matcher.card.contract.size
    return np.concatenate([matcher.network.raw(resize(picture, size)[None]) for picture in pictures])


def cosines(a, b):
    a, b = (t.astype(np.float64) / np.linalg.norm(t.astype(np.float64), axis=1, keepdims=True) for t in (a, b))
    return a @ b.T


def negative(probe):
    """What the translator makes of a probe."""
    return 1.0 - resize(to_float(probe), (40, 40))


def test_a_translated_probe_stands_for_the_probe(translating, probes, portraits):
    with translating(identity=False) as matcher:
        result = matcher.match(probes, portraits)
        want = cosines(templates(matcher, map(negative, probes)), templates(matcher, map(to_float, portraits)))
        np.testing.assert_allclose(result.scores, want, atol=2e-5)
        assert scale_labels(matcher.config) == (0,)
        (shown,) = matcher.show_probe(probes[0])
        assert shown[0] == ProbeHypothesis(0, 0.0)
        assert str(shown[0]) == "translated, blur 0.00"
        assert np.abs(shown[1].astype(int) - to_uint8(negative(probes[0]))).max() <= 1


@pytest.mark.parametrize("weight", [0.5, 0.25])
def test_the_mean_with_the_original_is_that_of_pcfh(translating, probes, portraits, weight):
    """score = (1 - w) cos(original) + w cos(translated) (networks.md section 7.4)."""
    with translating(identity_weight=(1 - weight) / weight, fusion=("S_add", "S_max")) as matcher:
        got = matcher.match(probes, portraits).scores
        gallery = templates(matcher, map(to_float, portraits))
        original, translated = (
            cosines(templates(matcher, pictures), gallery) for pictures in (map(to_float, probes), map(negative, probes))
        )
        np.testing.assert_allclose(got, (1 - weight) * original + weight * translated, atol=2e-5)
    with translating(fusion=("S_add", "S_max")) as matcher:  # an enrolled gallery does not depend on the weight
        enrolled = matcher.enroll(portraits)
    with translating(identity_weight=3.0, fusion=("S_add", "S_max")) as matcher:
        assert np.isfinite(matcher.match(probes, enrolled).scores).all()


def test_an_identity_generator_gives_the_raw_score(small, make_translator, tmp_path, probes, portraits):
    """PCFH's average with G_A = identity (networks.md section 16): two negatives are the picture."""
    card = make_translator(tmp_path / "n", size=32)
    with small(hallucinator=str(card.path.parent), **BASE, lr_size=32) as matcher:
        twice = [to_uint8(1.0 - to_float(resize_to(p, 32))) for p in probes]
        translated = matcher.match(twice, portraits, faces="crop")
        plain = small(scales=(), paths="none").match([to_uint8(to_float(resize_to(p, 32))) for p in probes], portraits)
        gallery = templates(matcher, map(to_float, portraits))
        own = cosines(templates(matcher, map(to_float, twice)), gallery)
        np.testing.assert_allclose(translated.scores, 0.5 * (own + plain.scores), atol=3e-3)


def resize_to(picture, side):
    return to_uint8(resize(to_float(picture), (side, side)))


def test_grey_generators_see_the_luma(translating, probes, portraits):
    with translating("gray", identity=False) as matcher:
        ((_, shown),) = matcher.show_probe(probes[0])
        luma = resize(to_float(probes[0]), (40, 40)) @ np.array([0.299, 0.587, 0.114], np.float32)
        assert np.abs(shown.astype(int) - to_uint8(1.0 - np.repeat(luma[..., None], 3, 2))).max() <= 1
        assert np.isfinite(matcher.match([p[..., 0] for p in probes], portraits).scores).all()


def test_blur_levels_and_matching_hold_for_translations_too(translating, probes, portraits):
    with translating(sigmas=(0.0, 0.8), resolution_matching=True, paths=(("gblur",),)) as matcher:
        names = [what for what, _ in matcher.show_probe(probes[0])]
        assert names == [ProbeHypothesis(1, 0.0), ProbeHypothesis(0, 0.0), ProbeHypothesis(0, 0.8)]
        pictures = dict(matcher.show_probe(probes[0]))
        want = 1.0 - blur(resize(to_float(probes[0]), (40, 40)), 0.8)
        assert np.abs(pictures[names[2]].astype(int) - to_uint8(want)).max() <= 1
        assert {what.size for what, _ in matcher.show_gallery(portraits[0])} == {None, (40, 40)}


def test_the_heat_map_appears_in_the_explanation(translating, probes, portraits):
    with translating(identity=False) as matcher:
        found = matcher.match(probes, portraits).explain(1, 2)
        assert found.synthetic
        raw = 2.0 * resize(to_float(probes[1]), (40, 40)).mean(axis=2) - 1.0
        raw = raw.reshape(20, 2, 20, 2).mean(axis=(1, 3))
        unit = (raw - raw.min()) / (raw.max() - raw.min())
        np.testing.assert_allclose(found.heat, cv2.resize(unit, (40, 40), interpolation=cv2.INTER_LINEAR), atol=1e-4)
        sheet = explanation_sheet([found], "x")
    with translating("gray", heat=False, identity=False) as matcher:
        plain = matcher.match(probes, portraits).explain(1, 2)
        assert plain.heat is None
        assert explanation_sheet([plain], "x").shape != sheet.shape


def test_a_generator_of_one_size_says_which(translating):
    for lr_size in (24, None):
        with pytest.raises(ConfigError, match=r"takes pictures of 40 x 40 px, .*lr_size=(24|None); set lr_size=40"):
            translating(lr_size=lr_size)


def test_translations_on_their_own(translating, probes):
    folder = translating().config.hallucinator
    got = hallucinate(probes[0], 1, sigmas=(0.0,), lr_size=40, model=folder, device="cpu")
    assert np.abs(got[0].astype(int) - to_uint8(negative(probes[0]))).max() <= 1
    with pytest.raises(ConfigError, match="set lr_size=40"):
        hallucinate(probes[0], 1, model=folder)


def test_two_networks_of_one_space_share_the_work(small, make_matcher, tmp_path, probes, portraits):
    student = make_matcher(tmp_path / "s", seed=1, name="student", space="rim")
    teacher = make_matcher(tmp_path / "t", seed=2, size=48, name="teacher", space="rim")
    options = {"scales": (), "paths": "none", "work_size": None, "matcher": student, "gallery_matcher": teacher}
    with small(**options) as matcher:
        result = matcher.match(probes, portraits)
        a, b = (Network(card, device="cpu") for card in (student, teacher))
        p = np.concatenate([a.run(resize(to_float(x), (32, 32))[None]) for x in probes])
        g = np.concatenate([b.run(resize(to_float(x), (48, 48))[None]) for x in portraits])
        np.testing.assert_allclose(result.scores, cosines(p, g), atol=2e-5)
        assert set(result.models) == {"student", "teacher"}
        enrolled = matcher.enroll(portraits, path=tmp_path / "g")
        assert np.array_equal(matcher.match(probes, enrolled).scores, result.scores)
        again = pickle.loads(pickle.dumps(matcher))
        assert np.array_equal(again.match(probes, portraits).scores, result.scores)
        means = matcher.learn_means(probes, portraits)
        for gallery in (None, enrolled):
            assert result.explain(0, 1, matcher=matcher, gallery=gallery).score == result.scores[0, 1]
        plan = matcher.plan(4, 5)
        assert (plan.probe_templates, plan.gallery_templates) == (4, 5)
        assert plan.flops == pytest.approx(2e9 * 9 * 0.001 + 2 * 20 * 24)
    alone = {"scales": (), "paths": "none", "work_size": None}
    with small(**alone, matcher=teacher) as matcher:  # it made the templates, so it may match against them
        assert np.isfinite(matcher.match(probes, enrolled).scores).all()
    with small(**alone, matcher=student) as matcher, pytest.raises(StoreError, match="two networks"):
        matcher.match(probes, enrolled)
    with small(**options, centering="reference", reference=means) as matcher:
        assert np.isfinite(matcher.match(probes, portraits).scores).all()
    strict = small(**{**options, "gallery_matcher": None}, centering="reference", reference=means)
    with pytest.raises(ConfigError, match="reference means were learned for"):
        strict.match(probes, portraits)


def test_a_matchers_partner_sees_the_portraits(small, make_matcher, tmp_path, probes, portraits):
    student = make_matcher(tmp_path / "s", seed=1, name="student", space="rim")
    teacher = make_matcher(tmp_path / "t", seed=2, size=48, name="teacher", space="rim")
    sheet = tmp_path / "s" / "card.toml"
    sheet.write_text('partner = "../t"\n' + sheet.read_text())
    alone = {"scales": (), "paths": "none", "work_size": None}
    with small(**alone, matcher=tmp_path / "s") as matcher:
        scores = matcher.match(probes, portraits).scores
        assert matcher.config.gallery_matcher == "teacher"
        means = matcher.learn_means(probes, portraits)
    with small(**alone, matcher=student, gallery_matcher=teacher) as matcher:
        assert np.array_equal(matcher.match(probes, portraits).scores, scores)
    with small(**alone, matcher=student) as matcher:
        by_itself = matcher.match(probes, portraits).scores
    with small(**alone, matcher=tmp_path / "s", gallery_matcher=tmp_path / "s") as matcher:
        assert np.array_equal(matcher.match(probes, portraits).scores, by_itself)
    means.save(tmp_path / "s" / "means.npz")
    digest = file_sha256(tmp_path / "s" / "means.npz")
    sheet.write_text(sheet.read_text() + f'\n[means]\nfile = "means.npz"\nsha256 = "{digest}"\n')
    with small(**alone, matcher=tmp_path / "s", centering="reference") as matcher:
        assert np.array_equal(matcher.reference.gallery, means.gallery)
    with pytest.raises(ConfigError, match="no reference means"):
        small(**alone, matcher=tmp_path / "s", gallery_matcher=tmp_path / "s", centering="reference").match(probes, portraits)
    (tmp_path / "t" / "card.toml").unlink()
    with pytest.raises(ModelError, match="unknown model"):
        small(**alone, matcher=tmp_path / "s")


def test_networks_of_different_spaces_are_refused(small, make_matcher, tmp_path):
    ours = make_matcher(tmp_path / "a", name="ours", space="one")
    for name, space, length, message in (
        ("theirs", "two", 24, "must state the same template space"), ("silent", "", 24, "must state the same template space"),
        ("longer", "one", 32, "templates of 24 numbers, gallery_matcher 'longer' of 32"),
    ):
        other = make_matcher(tmp_path / name, name=name, space=space, length=length)
        with pytest.raises(ConfigError, match=message):
            small(matcher=ours, gallery_matcher=other)
    silent = [make_matcher(tmp_path / f"s{k}", name=f"s{k}", seed=k) for k in range(2)]
    with pytest.raises(ConfigError, match="same template space"):
        Matcher("plain", matcher=silent[0], gallery_matcher=silent[1])


def test_thermal_pictures_may_be_stretched_to_their_own_range(tiny, face):
    pictures = np.stack([0.3 + 0.1 * to_float(face(k, 32)) for k in range(2)] + [np.full((32, 32, 3), 0.4, np.float32)])
    card = replace(tiny, contract=replace(tiny.contract, stretch=True))
    planes = to_planes(pictures, card)
    for picture, plane in zip(pictures[:2], planes, strict=False):
        want = (picture - picture.min()) / (picture.max() - picture.min()) * 2.0 - 1.0
        np.testing.assert_allclose(plane.transpose(1, 2, 0), want, atol=1e-5)
    assert (planes[2] == -1.0).all()


def test_a_matchers_card_has_a_say_in_presets_but_not_in_configurations(make_matcher, tmp_path):
    make_matcher(tmp_path)
    sheet = tmp_path / "card.toml"
    sheet.write_text(sheet.read_text() + '\n[presets]\nbalanced = {scales = [], paths = [["disk"]], centering = "set"}\n')
    with Matcher(matcher=tmp_path, device="cpu") as matcher:
        assert (matcher.config.scales, matcher.config.paths, matcher.config.centering) == ((), (("disk",),), "set")
    with Matcher(matcher=tmp_path, paths="none", device="cpu") as matcher:
        assert (matcher.config.scales, matcher.config.paths) == ((), "none")
    with Matcher(matcher=tmp_path, hallucinator="edsr-face", device="cpu") as matcher:
        assert (matcher.config.scales, matcher.config.paths) == ((4,), (("disk",),))
    for other in ({"preset": "paper"}, {"config": preset("balanced")}):
        with Matcher(matcher=tmp_path, device="cpu", **other) as matcher:
            assert matcher.config.scales != ()
    sheet.write_text(sheet.read_text().replace("scales = []", "scale = 2"))
    with pytest.raises(ConfigError, match=r"a card's preset 'balanced' gives \['scale'\]"):
        Matcher(matcher=tmp_path, device="cpu")
