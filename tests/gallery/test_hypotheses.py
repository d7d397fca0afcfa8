"""The gallery side: which picture lies in which slot."""

from hashlib import blake2b

import numpy as np
import pytest

from meetmid.config import DegradationOptions, MatchConfig
from meetmid.faces.covers import covered
from meetmid.gallery.hypotheses import GalleryHypothesis, GalleryLayouts, gallery_hypotheses, gallery_picture
from meetmid.gallery.tree import walk
from meetmid.presets import PRESETS
from meetmid.resize import resize, to_float

PATHS = (("gblur",), ("gauss_noise", "downup"), ("gblur", "gauss_noise"))


def seed_of(draw):
    """The documented seed of a repetition of seed 0."""
    message = b"meetmid-draw-1" + bytes(8) + draw.to_bytes(8, "little")
    return int.from_bytes(blake2b(message, digest_size=8).digest(), "little") if draw else 0


def config(**changes):
    base = {"scales": (2, 4), "lr_size": 12, "paths": PATHS, "work_size": 48, "degradations": DegradationOptions()}
    return MatchConfig(**{**base, **changes})


def layout_of(*args, **changes):
    """That of a configuration of one size."""
    (layout,) = GalleryLayouts.of(config(**changes), *args).each
    return layout


def filled(work, layouts):
    weights = np.zeros((len(layouts.each[0].counts()), layouts.slots))
    found = {}
    runs = 0
    for hypothesis in gallery_hypotheses(work, layouts, weights):
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
    {"lr_size": (12, 20)}, {"lr_size": (8, 12, 16), "identity": False, "draws_per_node": 2},
    {"degrade_size": 24}, {"degrade_size": 25, "paths": ((), *PATHS), "scales": (), "draws_per_node": 2},
    {"degrade_size": 24, "paths": ((), *PATHS), "resolution_matching": False}, {"degrade_size": 40}, {"degrade_size": 90},
    {"degrade_size": 24, "degradations": DegradationOptions(resize="cv2", quantize=True), "lr_size": (12, 20)},
    {"covered_by": "mask"}, {"covered_by": "glasses", "scales": (), "paths": ((), *PATHS), "draws_per_node": 2},
    {"covered_by": "hat", "paths": (*PATHS[:1], (), *PATHS[1:]), "draws_per_node": 2, "portrait_weight": 5},
    {"covered_by": "hat", "lr_size": (12, 20), "degradations": DegradationOptions(quantize=True)},
    {"covered_by": "mask", "paths": "none"}, {"covered_by": "mask", "paths": "none", "scales": ()},
    {"covered_by": "mask", "lr_size": (12, 300), "resolution_matching": True, "degrade_size": 30, "portrait_weight": 2},
    {"lr_size": (12, 24), "paths": "none"}, {"lr_size": (12, 300), "paths": ((), ("gblur",)), "portrait_weight": 3},
], ids=str)
def test_every_slot_holds_what_it_is_described_as(face, changes):
    layouts = GalleryLayouts.of(config(**changes))
    work = face(1, 40)
    found, weights, runs = filled(work, layouts)
    assert runs == layouts.networks_runs()
    assert set(found) == {(int(s), int(n)) for s, n in np.argwhere(weights > 0)}
    assert len(layouts.each) == len(changes.get("lr_size", (1,)))
    for number, layout in enumerate(layouts.each):
        own = weights[:, number * layouts.block : (number + 1) * layouts.block]
        for scale, count in enumerate(layout.counts()):
            expected = [1.0] * count + [0.0] * (layouts.block - count)
            if scale == 0 and layout.identities:
                expected[: len(layout.identities)] = [changes.get("portrait_weight", 1)] * len(layout.identities)
            if scale == 1 and "covered_by" in changes:
                expected[0] = changes.get("portrait_weight", 1)
            assert own[scale].tolist() == expected
    options = layouts.each[0].config.degradations
    side = changes.get("degrade_size", 40)  # of what is degraded: the others keep their size
    start = np.floor(resize(work, (side, side), method=options.resize) * 255 + np.float32(0.5)).astype(np.uint8)
    for (scale, position), picture in found.items():
        number, slot = divmod(position, layouts.block)
        what = layouts.each[number].describe(scale, slot)
        want = to_float(work)
        if what.path:
            want = next(p for _, p in walk(start, (what.path,), seed=seed_of(what.draw), options=options))
        assert (what.covered_by != "nothing") == (scale == 1 and "covered_by" in changes)
        if what.covered_by != "nothing":
            assert what.size is None
            want = covered(want, what.covered_by)
            want = np.floor(want * 255 + np.float32(0.5)) * np.float32(1 / 255) if options.quantize else want
        if what.size is not None:
            want = resize(want, what.size, method=options.resize)
            want = np.floor(want * 255 + np.float32(0.5)) * np.float32(1 / 255) if options.quantize else want
        np.testing.assert_allclose(picture, want, atol=1e-7)
        told, again = gallery_picture(work, layouts.each[number], scale, slot)
        assert told == what
        assert np.array_equal(again, picture)


def test_a_path_does_the_same_to_portraits_of_other_sizes(face):
    small, large = face(1, 30), np.floor(resize(face(1, 30), (120, 120)) * 255 + np.float32(0.5)).astype(np.uint8)
    paths = (("disk",), ("disk", "gblur"))

    def apart(**changes):
        layouts = GalleryLayouts.of(config(paths=paths, identity=False, scales=(2,), **changes))
        (ours, *_), (theirs, *_) = filled(small, layouts), filled(large, layouts)
        return max(np.abs(ours[slot] - theirs[slot]).mean() for slot in ours)

    assert apart(degrade_size=60) < 0.01
    assert apart() > 0.05


def test_presets_degrade_portraits_at_one_size():
    sizes = {name: preset.degrade_size for name, preset in PRESETS.items()}
    assert sizes == {"plain": None, "fast": 130, "balanced": 130, "accurate": 130, "paper": None, "paper-set": None}


def test_sizes_in_order_and_none_is_made_twice():
    layouts = GalleryLayouts.of(config(lr_size=(12, 24)))
    assert [layout.lr_shape for layout in layouts.each] == [(12, 12), (24, 24)]
    assert [layout.config.lr_size for layout in layouts.each] == [12, 24]
    assert (layouts.block, layouts.slots) == (3, 6)
    # 4 x 12 and 2 x 24 px are the same picture
    assert layouts.undegraded == {None: [(0, 0), (0, 3)], (24, 24): [(0, 1)], (48, 48): [(0, 2), (0, 4)], (96, 96): [(0, 5)]}
    assert layouts.degraded == {(24, 24): [(1, 0)], (48, 48): [(2, 0), (1, 3)], (96, 96): [(2, 3)]}
    assert layouts.networks_runs() == 4 + 3 * 3


def test_slots_in_order():
    layout = layout_of(draws_per_node=2)
    assert layout.counts() == [3, 6, 6]
    assert [layout.describe(0, k).size for k in range(3)] == [None, (24, 24), (48, 48)]
    for scale, size in ((1, (24, 24)), (2, (48, 48))):
        got = [layout.describe(scale, k) for k in range(6)]
        assert got == [GalleryHypothesis(p, size, draw) for draw in (0, 1) for p in PATHS]
    native = layout_of((30, 20), lr_size=None)
    assert native.describe(2, 1) == GalleryHypothesis(PATHS[1], (120, 80))
    assert str(native.describe(2, 1)) == "gauss_noise+downup, matched to 80 x 120 px"
    assert str(native.describe(0, 0)) == "undegraded"
    assert str(layout.describe(1, 3)) == "gblur, draw 1, matched to 24 x 24 px"
    assert layout_of(identity=False).identities == ()
    assert layout_of(paths=((), *PATHS)).identities == (None,)
    assert layout_of(resolution_matching=False).describe(2, 0) == GalleryHypothesis(PATHS[0], None)


def test_covered_portraits_are_a_scale_of_their_own():
    layout = layout_of(covered_by="hat", paths=(*PATHS[:2], (), *PATHS[2:]), draws_per_node=2)
    assert layout.counts() == [1, 7, 8, 8]
    got = [layout.describe(1, k) for k in range(7)]
    wanted = [((), 0), *((path, draw) for draw in (0, 1) for path in PATHS)]
    assert got == [GalleryHypothesis(path, None, draw, "hat") for path, draw in wanted]
    assert str(got[0]) == "undegraded, covered as by a hat"
    assert str(got[5]) == "gauss_noise+downup, draw 1, covered as by a hat"
    assert layout.describe(2, 0) == GalleryHypothesis(PATHS[0], (24, 24))
    assert layout.describe(3, 2) == GalleryHypothesis((), (48, 48))


def test_without_scales_the_degraded_portraits_join_the_identity_scale():
    layout = layout_of(scales=(), paths=((), *PATHS), draws_per_node=2)
    assert layout.counts() == [1 + 2 * len(PATHS)]
    got = [layout.describe(0, k) for k in range(7)]
    assert got == [GalleryHypothesis((), None), *(GalleryHypothesis(p, None, draw) for draw in (0, 1) for p in PATHS)]


def test_without_matching_one_picture_fills_the_slot_of_every_scale(face):
    layouts = GalleryLayouts.of(config(resolution_matching=False))
    weights = np.zeros((3, 3))
    got = [h.slots for h in gallery_hypotheses(face(1, 40), layouts, weights)]
    assert got[0] == [(0, 0)]
    assert sorted(got[1:]) == [[(1, k), (2, k)] for k in range(3)]


def test_draws_differ_in_their_noise_only(face):
    found, *_ = filled(face(1, 40), GalleryLayouts.of(config(draws_per_node=2, identity=False)))
    assert np.array_equal(found[0, 0], found[0, 3])
    assert not np.array_equal(found[0, 1], found[0, 4])
    seeded, *_ = filled(face(1, 40), GalleryLayouts.of(config(seed=seed_of(1), identity=False)))
    assert np.array_equal(seeded[0, 1], found[0, 4])
    following, *_ = filled(face(1, 40), GalleryLayouts.of(config(seed=1, identity=False)))
    assert not np.array_equal(following[0, 1], found[0, 4])
    last, *_ = filled(face(1, 40), GalleryLayouts.of(config(seed=2**64 - 1, draws_per_node=2)))
    assert (1, 3) in last


def test_a_subset_of_paths_has_the_same_pictures(face):
    whole, *_ = filled(face(1, 40), GalleryLayouts.of(config()))
    part, *_ = filled(face(1, 40), GalleryLayouts.of(config(paths=(PATHS[2], PATHS[0]))))
    for scale in (1, 2):
        assert np.array_equal(part[scale, 0], whole[scale, 2])
        assert np.array_equal(part[scale, 1], whole[scale, 0])
