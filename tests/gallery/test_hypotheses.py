"""The gallery side: which picture lies in which slot."""

from hashlib import blake2b

import numpy as np
import pytest

from meetmid.config import DegradationOptions, MatchConfig
from meetmid.gallery.hypotheses import GalleryHypothesis, GalleryLayout, gallery_hypotheses, gallery_picture
from meetmid.gallery.tree import walk
from meetmid.resize import resize, to_float

PATHS = (("gblur",), ("gauss_noise", "downup"), ("gblur", "gauss_noise"))


def seed_of(draw):
    """The documented seed of a repetition of seed 0."""
    message = b"meetmid-draw-1" + bytes(8) + draw.to_bytes(8, "little")
    return int.from_bytes(blake2b(message, digest_size=8).digest(), "little") if draw else 0


def config(**changes):
    base = {"scales": (2, 4), "lr_size": 12, "paths": PATHS, "work_size": 48, "degradations": DegradationOptions()}
    return MatchConfig(**{**base, **changes})


def filled(work, layout):
    weights = np.zeros((len(layout.counts()), layout.slots))
    found = {}
    runs = 0
    for hypothesis in gallery_hypotheses(work, layout, weights):
        runs += 1
        for slot in hypothesis.slots:
            assert slot not in found
            found[slot] = hypothesis.picture.copy()
    return found, weights, runs


@pytest.mark.parametrize("changes", [
    {}, {"identity": False}, {"resolution_matching": False}, {"draws_per_node": 3}, {"paths": ((), *PATHS)},
    {"scales": ()}, {"scales": (), "paths": ((), *PATHS), "draws_per_node": 2}, {"scales": (), "paths": "none"},
    {"paths": "none"}, {"scales": (8,), "draws_per_node": 2, "identity": False},
    {"paths": ((), ("gblur",)), "resolution_matching": False},
    {"degradations": DegradationOptions(resize="cv2", quantize=True)},
], ids=str)
def test_every_slot_holds_what_it_is_described_as(face, changes):
    layout = GalleryLayout.of(config(**changes))
    work = face(1, 40)
    found, weights, runs = filled(work, layout)
    assert runs == layout.networks_runs()
    assert set(found) == {(int(s), int(n)) for s, n in np.argwhere(weights > 0)}
    assert layout.slots == max(layout.counts())
    for scale, count in enumerate(layout.counts()):
        assert weights[scale].tolist() == [1.0] * count + [0.0] * (layout.slots - count)
    options = layout.config.degradations
    for (scale, slot), picture in found.items():
        what = layout.describe(scale, slot)
        want = to_float(work)
        if what.path:
            want = next(p for _, p in walk(work, (what.path,), seed=seed_of(what.draw), options=options))
        if what.size is not None:
            want = resize(want, what.size, method=options.resize)
            want = np.floor(want * 255 + np.float32(0.5)) * np.float32(1 / 255) if options.quantize else want
        np.testing.assert_allclose(picture, want, atol=1e-7)
        told, again = gallery_picture(work, layout, scale, slot)
        assert told == what
        assert np.array_equal(again, picture)


def test_slots_in_order():
    layout = GalleryLayout.of(config(draws_per_node=2))
    assert layout.counts() == [3, 6, 6]
    assert [layout.describe(0, k).size for k in range(3)] == [None, (24, 24), (48, 48)]
    for scale, size in ((1, (24, 24)), (2, (48, 48))):
        got = [layout.describe(scale, k) for k in range(6)]
        assert got == [GalleryHypothesis(p, size, draw) for draw in (0, 1) for p in PATHS]
    native = GalleryLayout.of(config(lr_size=None), (30, 20))
    assert native.describe(2, 1) == GalleryHypothesis(PATHS[1], (120, 80))
    assert str(native.describe(2, 1)) == "gauss_noise+downup, matched to 80 x 120 px"
    assert str(native.describe(0, 0)) == "undegraded"
    assert str(layout.describe(1, 3)) == "gblur, draw 1, matched to 24 x 24 px"
    assert GalleryLayout.of(config(identity=False)).identities == ()
    assert GalleryLayout.of(config(paths=((), *PATHS))).identities == (None,)
    assert GalleryLayout.of(config(resolution_matching=False)).describe(2, 0) == GalleryHypothesis(PATHS[0], None)


def test_without_scales_the_degraded_portraits_join_the_identity_scale():
    layout = GalleryLayout.of(config(scales=(), paths=((), *PATHS), draws_per_node=2))
    assert layout.counts() == [1 + 2 * len(PATHS)]
    got = [layout.describe(0, k) for k in range(7)]
    assert got == [GalleryHypothesis((), None), *(GalleryHypothesis(p, None, draw) for draw in (0, 1) for p in PATHS)]


def test_without_matching_one_picture_fills_the_slot_of_every_scale(face):
    layout = GalleryLayout.of(config(resolution_matching=False))
    weights = np.zeros((3, 3))
    got = [h.slots for h in gallery_hypotheses(face(1, 40), layout, weights)]
    assert got[0] == ((0, 0),)
    assert sorted(got[1:]) == [[(1, k), (2, k)] for k in range(3)]


def test_draws_differ_in_their_noise_only(face):
    layout = GalleryLayout.of(config(draws_per_node=2, identity=False))
    found, *_ = filled(face(1, 40), layout)
    assert np.array_equal(found[0, 0], found[0, 3])
    assert not np.array_equal(found[0, 1], found[0, 4])
    seeded, *_ = filled(face(1, 40), GalleryLayout.of(config(seed=seed_of(1), identity=False)))
    assert np.array_equal(seeded[0, 1], found[0, 4])
    following, *_ = filled(face(1, 40), GalleryLayout.of(config(seed=1, identity=False)))
    assert not np.array_equal(following[0, 1], found[0, 4])
    last, *_ = filled(face(1, 40), GalleryLayout.of(config(seed=2**64 - 1, draws_per_node=2)))
    assert (1, 3) in last


def test_a_subset_of_paths_has_the_same_pictures(face):
    whole, *_ = filled(face(1, 40), GalleryLayout.of(config()))
    part, *_ = filled(face(1, 40), GalleryLayout.of(config(paths=(PATHS[2], PATHS[0]))))
    for scale in (1, 2):
        assert np.array_equal(part[scale, 0], whole[scale, 2])
        assert np.array_equal(part[scale, 1], whole[scale, 0])
