"""Probes of which something hides a part are also compared with that part covered on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from meetmid.config import DegradationOptions, MatchConfig
from meetmid.errors import ConfigError, StoreError
from meetmid.faces.covers import LABELS, covered
from meetmid.gallery.hypotheses import GalleryLayouts, gallery_picture
from meetmid.gallery.store import Gallery
from meetmid.gallery.tree import work_image
from meetmid.matcher import Matcher
from meetmid.presets import preset
from meetmid.resize import resize, to_float, to_uint8
from meetmid.templates.centering import ReferenceMeans

COVERS = sorted(LABELS)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def seen(network, pictures):
    """The templates of pictures by one of a Matcher's networks."""
    return network.raw(np.stack([resize(picture, network.network.card.contract.size) for picture in pictures]))


def face_without_detail(crop):
    return to_uint8(resize(resize(to_float(crop), (7, 7)), crop.shape[:2]))


def masked(crop, value):
    out = crop.copy()
    out[int(np.ceil(0.55 * len(crop))) :] = value
    return out


@pytest.mark.parametrize("cover", COVERS)
@pytest.mark.parametrize("changes", [{}, {"scales": ()}], ids=str)
def test_a_probe_has_one_more_scale_and_its_portraits_too(small, probes, portraits, cover, changes):
    with small(**changes) as plain, small(covered_by=cover, **changes) as matcher:
        without, lifted = plain.lift(probes).pool, matcher.lift(probes).pool
        before, enrolled = plain.enroll(portraits).pool, matcher.enroll(portraits).pool
        for few, more in ((without, lifted), (before, enrolled)):
            old = [k for k in range(more.templates.shape[1]) if k != 1]
            slots = few.templates.shape[2]
            assert np.array_equal(np.asarray(more.templates)[:, old, :slots], np.asarray(few.templates))
            assert np.array_equal(np.asarray(more.weights)[:, old, :slots], np.asarray(few.weights))
        want = seen(matcher.network, [covered(to_float(probe), cover) for probe in probes])
        np.testing.assert_allclose(np.asarray(lifted.templates)[:, 1, 0], want, atol=1e-6)
        assert np.array_equal(lifted.weights[:, 1], np.eye(lifted.weights.shape[2])[[0] * len(probes)])
        works = [work_image(portrait, 48) for portrait in portraits]
        want = seen(matcher.network, [covered(to_float(work), cover) for work in works])
        np.testing.assert_allclose(np.asarray(enrolled.templates)[:, 1, 0], want, atol=1e-6)
        assert (enrolled.weights[:, 1].sum(axis=1) == 3).all()


def test_what_hides_a_part_does_not_matter_to_its_scale(small, probes, portraits):
    with small(scales=(), covered_by="mask", keep_crops=True) as matcher:
        bare, white, dark = (matcher.lift([masked(p, v) for p in probes]).pool.templates for v in (70, 255, 0))
        assert np.array_equal(bare[:, 1], white[:, 1])
        assert np.array_equal(bare[:, 1], dark[:, 1])
        assert not np.isclose(bare[:, 0], dark[:, 0]).all()
        result = matcher.match([masked(p, 0) for p in probes], portraits)
    assert any(text.startswith("covered_by='mask': all faces were also compared with 55 to 100 %") for text in result.warnings)


@pytest.mark.parametrize("rules", [("T_add", "T_add"), ("S_add", "S_max"), ("T_concat", "T_concat")])
def test_scores_are_those_of_all_hypotheses(small, probes, portraits, rules):
    with small(scales=(), covered_by="glasses", fusion=rules) as matcher:
        got = matcher.match(probes, portraits).scores
        p, g = np.asarray(matcher.lift(probes).pool.templates), np.asarray(matcher.enroll(portraits).pool.templates)
        w = np.asarray(matcher.enroll(portraits).pool.weights)[..., None]
    assert (p.shape[1:3], g.shape[1:3]) == ((2, 1), (2, 3))
    p, g = p.astype(np.float64), g.astype(np.float64)
    if rules == ("T_add", "T_add"):
        want = unit(p.sum(axis=(1, 2))) @ unit((w * g).sum(axis=(1, 2))).T
    elif rules == ("S_add", "S_max"):
        want = np.einsum("psmd,gtnd->pgsmtn", unit(p), unit(g)).max(axis=(-2, -1)).mean(axis=(-2, -1))
    else:
        want = unit(p.sum(axis=2).reshape(len(p), -1)) @ unit((w * g).sum(axis=2).reshape(len(g), -1)).T
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_sharp_probes_are_compared_so_too(small, make_matcher, red_face, portraits, tmp_path):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    sharp = [red_face(seed, 64) for seed in (11, 12)]
    options = {"covered_by": "hat", "matcher": probe, "gallery_matcher": gallery, "fusion": ("T_add", "T_add"), "scales": (2,)}
    with small(sharp_between=(1, 1), keep_crops=True, **options) as matcher:
        result = matcher.match(sharp, portraits)
        works = [to_float(work_image(p, 48)) for p in (*sharp, *portraits)]
        own = [seen(matcher.gallery_network, [work, covered(work, "hat")]) for work in works]
        added = unit(np.array(own, np.float64).sum(axis=1))
        np.testing.assert_allclose(result.scores, added[:2] @ added[2:].T, atol=1e-5)
        told = result.explain(0, 1)
        assert {str(what) for what, _ in told.probe_shares} == {"as it is", "covered as by a hat"}
        assert {str(what) for what, _ in told.gallery_shares} == {"undegraded", "undegraded, covered as by a hat"}
        near = result.scores
    with small(sharp_between=None, **options) as matcher:
        away = matcher.match(sharp, portraits).scores
    with small(sharp_between=(5, 80), **options) as matcher:
        mixed = matcher.match(sharp, portraits)
        share = ((mixed.probe_size[:, 1] - 5) / 75)[:, None]
        np.testing.assert_allclose(mixed.scores, (1 - share) * away + share * near, atol=1e-5)
    one = {**options, "gallery_matcher": probe}
    with small(sharp_between=(5, 80), **one) as matcher:  # one network for both: its templates are not made twice
        alike = matcher.lift(sharp)
        assert np.array_equal(np.asarray(alike.plain.templates)[:, :, 0], np.asarray(alike.pool.templates)[:, :2, 0])


def test_each_picture_is_seen_by_the_network_that_it_is_for(small, make_matcher, probes, portraits, tmp_path):
    probe, gallery = (make_matcher(tmp_path / name, seed=k, name=name, space="both") for k, name in enumerate(("p", "g")))
    options = {"scales": (), "covered_by": "mask", "matcher": probe, "gallery_matcher": gallery, "degraded_by": "probe"}
    options["degradations"] = DegradationOptions(quantize=True)
    with small(**options) as matcher:
        made = np.asarray(matcher.enroll(portraits).pool.templates)
        works = [work_image(portrait, 48) for portrait in portraits]
        hidden = [[np.rint(255 * covered(to_float(work), "mask")) / np.float32(255)] for work in works]
        layout = GalleryLayouts.of(matcher.config).each[0]
        degraded = [[gallery_picture(work, layout, 1, slot)[1] for slot in (1, 2)] for work in works]
        for slots, network, pictures in (([0], matcher.gallery_network, hidden), ([1, 2], matcher.network, degraded)):
            want = np.stack([seen(network, [np.rint(255 * p) / np.float32(255) for p in its]) for its in pictures])
            np.testing.assert_allclose(made[:, 1, slots], want, atol=0.02)
        lifted = np.asarray(matcher.lift(probes).pool.templates)[:, 1, 0]
        np.testing.assert_allclose(lifted, seen(matcher.network, [covered(to_float(p), "mask") for p in probes]), atol=0.02)


def test_sharp_probes_are_centred_by_the_means_of_both_scales(small, red_face, portraits):
    sharp = [red_face(seed, 64) for seed in (11, 12)]
    options = {"covered_by": "hat", "fusion": ("T_add", "T_add"), "scales": (), "centering": "reference"}
    with small(**options) as matcher:
        means = matcher.learn_means(sharp, portraits[2:])
    with small(sharp_between=(1, 1), reference=means, **options) as matcher:
        got = matcher.match([*sharp, sharp], portraits)
        own = [np.asarray(matcher.lift(side).plain.templates)[:, :, 0].astype(np.float64) for side in (sharp, portraits)]
        plate, hat = (means.of("gallery", (label,)) for label in (1, -3))
        added = [unit((its - np.concatenate([plate, hat])).sum(axis=1)) for its in own]
        np.testing.assert_allclose(got.scores[:2], added[0] @ added[1].T, atol=1e-5)
        broken = matcher.match([[sharp[0], face_without_detail(sharp[1])]], portraits)
    assert all("compared by" not in status for status in got.probe_status)
    assert np.isfinite(broken.scores).all()


def test_it_is_counted_how_many_pictures_are_compared_as_they_are(small, red_face, portraits):
    sharp = red_face(11, 64)
    far = face_without_detail(sharp)
    with small(covered_by="hat", sharp_between=(15, 15), scales=()) as matcher:
        (status,) = matcher.match([[sharp, far]], portraits).probe_status
    assert status == "ok: compared by 1 of 2 pictures as they are"


def test_pictures_at_their_own_size_weigh_alike(small, probes, portraits):
    scores = []
    for weight in (1.0, 2.0):
        with small(covered_by="mask", identity_weight=weight, scales=(), fusion=("T_add", "T_add")) as matcher:
            scores.append(matcher.match(probes, portraits).scores)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)


def test_they_are_explained_and_shown(small, probes, portraits):
    with small(covered_by="mask", keep_crops=True, fusion=("T_add", "T_add")) as matcher:
        result = matcher.match(probes, portraits)
        told = result.explain(1, 2)
        assert sum(value for _, value in told.probe_shares) == pytest.approx(1, abs=1e-6)
        hidden = [what for what, _ in told.probe_shares if what.covered_by == "mask"]
        assert [(str(what), what.synthetic) for what in hidden] == [("covered as by a mask", False)]
        assert sum(what.covered_by == "mask" for what, _ in told.gallery_shares) == 3
        shown = {str(what): picture for what, picture in matcher.show_probe(probes[1])}
        want = np.rint(255 * covered(to_float(probes[1]), "mask"))
        np.testing.assert_allclose(shown["covered as by a mask"], want, atol=1)
        assert "undegraded, covered as by a mask" in {str(what) for what, _ in matcher.show_gallery(portraits[0])}


def test_a_gallery_is_enrolled_for_it(small, probes, portraits, tmp_path):
    with small() as plain, small(covered_by="mask") as matcher, small(covered_by="hat") as other:
        bare = plain.enroll(portraits)
        with pytest.raises(StoreError, match="differing: covered_by"):
            matcher.match(probes, bare)
        enrolled = matcher.enroll(portraits, path=tmp_path / "gallery")
        want = matcher.match(probes, portraits).scores
        assert np.array_equal(matcher.match(probes, Gallery.open(tmp_path / "gallery")).scores, want)
        for strange in (plain, other):
            with pytest.raises(StoreError, match="differing: covered_by"):
                strange.match(probes, enrolled)
        assert np.array_equal(matcher.match(matcher.lift(probes[1]), enrolled).scores[0], want[1])


def test_means_are_learned_for_it(small, probes, portraits, tmp_path):
    with small(covered_by="glasses", centering="reference") as matcher:
        with pytest.raises(ConfigError, match="no reference means"):
            matcher.match(probes, portraits)
        means = matcher.learn_means(probes, portraits)
    assert means.scales == (1, -2, 2, 4)
    means.save(tmp_path / "means.npz")
    with small(covered_by="glasses", centering="reference", reference=tmp_path / "means.npz") as matcher:
        assert np.isfinite(matcher.match(probes, portraits).scores).all()
    other = small(covered_by="mask", centering="reference", reference=ReferenceMeans.load(tmp_path / "means.npz"))
    with other, pytest.raises(ConfigError, match=r"learned for scales \(1, -2, 2, 4\), not for \[-1\] .* covered_by"):
        other.match(probes, portraits)


def test_the_plan_counts_them(small, probes, portraits):
    # undegraded: as it is, matched to 24 and 48 px, covered; two degraded ones: matched to these, covered
    wanted = (({}, 2 + 2 * 3, 4 + 2 * 3), ({"scales": ()}, 2, 2 + 2 * 2), ({"draws_per_node": 2}, 2 + 2 * 3, 4 + 2 * 2 * 3))
    for changes, a_probe, a_portrait in wanted:
        with small(covered_by="mask", **changes) as matcher:
            plan = matcher.plan(len(probes), len(portraits), measure=False)
            assert plan.probe_templates == a_probe * len(probes)
            assert plan.gallery_templates == a_portrait * len(portraits)
            assert plan.gallery_bytes == np.asarray(matcher.enroll(portraits).pool.templates).nbytes


@pytest.mark.parametrize("changes", [{"crop": "box"}, {"crop": "square"}, {"identity": False}, {"scales": (1,)}], ids=str)
def test_faces_that_are_not_aligned_or_translated_cannot_be_covered(changes):
    with pytest.raises(ConfigError, match="covered_by='mask' expects identity=True, no scale 1 and crop='arcface5', got"):
        MatchConfig(covered_by="mask", **changes)


def test_other_alignments_are_refused(small, make_matcher, tmp_path):
    card = make_matcher(tmp_path, alignment="lightcnn-128")
    with pytest.raises(ConfigError, match=r"covered_by='hat' expects matchers of faces .* like ArcFace's, got 'lightcnn-128'"):
        small(matcher=card, covered_by="hat")
    small(matcher=card).close()


def test_hashes_of_what_is_not_covered_stay():
    assert "covered_by" in preset("balanced").to_dict()
    assert MatchConfig.from_dict({k: v for k, v in MatchConfig().to_dict().items() if k != "covered_by"}) == MatchConfig()
    assert len({MatchConfig(covered_by=cover).gallery_hash() for cover in ("nothing", *COVERS)}) == 4


@pytest.mark.parametrize("name", ["slimface-probe", "midface-s", "midface-s-int8"])
def test_the_matchers_that_ship_have_means_for_every_cover(name, face):
    for cover in COVERS:
        with Matcher("fast", matcher=name, covered_by=cover, faces="crop", device="cpu", threads=1) as matcher:
            assert {1, *LABELS.values()} <= set(matcher.reference.scales)
            assert np.isfinite(matcher.match(face(1, 24), [face(1, 90), face(2, 90)]).scores).all()
