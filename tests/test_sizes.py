"""One enrolment serves probes of every size: portraits matched to several, of which each probe meets its own."""

import math

import numpy as np
import pytest

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, InputError, StoreError
from meetmid.gallery.store import Gallery
from meetmid.probes.resolution import Detail
from meetmid.resize import resize, to_float, to_uint8

SIZES = (12, 22, 40)


@pytest.fixture
def mixed(face):
    """Probes of 15, 25, 25 and 40 px of detail, all 40 px large, with a broken one between."""
    made = [to_uint8(resize(to_float(face(seed, side)), (40, 40))) for seed, side in ((13, 7), (11, 14), (14, 26))]
    return [*made[:2], b"broken", made[2], face(12, 40)]


def resolution(crop):
    return Detail.of(crop).resolution


def nearest(number):
    return min(SIZES, key=lambda size: (abs(math.log(size / number)), -size))


def test_the_nearest_size_in_octaves():
    config = MatchConfig(lr_size=SIZES)
    assert config.sizes == SIZES
    for number in range(1, 100):
        assert SIZES[config.nearest(number)] == nearest(number)
        assert config.at_resolution(number) == MatchConfig(lr_size=nearest(number))
    assert config.nearest(math.nan) == 0
    assert MatchConfig(lr_size=(8, 32)).nearest(16) == 1
    for one in (24, None):
        assert MatchConfig(lr_size=one).sizes == ()
        assert MatchConfig(lr_size=one).at_resolution(10) == MatchConfig(lr_size=one)
    assert MatchConfig.from_dict(config.to_dict()) == config
    assert config.gallery_hash() not in {MatchConfig(lr_size=size).gallery_hash() for size in SIZES}


@pytest.mark.parametrize("lr_size", [(), (24,), (24, 16), (24, 24), (4, 24), (16, 24.5), (16, None)])
def test_other_sizes_are_refused(lr_size):
    with pytest.raises(ConfigError, match=r"lr_size expects .* two or more of them in rising order, or None for native, got"):
        MatchConfig(lr_size=lr_size)
    for changes in ({"scales": ()}, {"resolution_matching": False}):
        with pytest.raises(ConfigError, match=r"expects scales and resolution_matching=True, got scales"):
            MatchConfig(lr_size=(16, 24), **changes)


@pytest.mark.parametrize("changes", [
    {}, {"centering": "vector"}, {"fusion": ("T_add", "T_add")}, {"fusion": ("T_concat", "T_concat")}, {"select": "best"},
    {"portraits": "max"}, {"sharp_between": (10, 30)}, {"sharp_between": (20, 20)}, {"flip": True}, {"paths": ((), ("gblur",))},
    {"identity": False, "pairing": "same_scale"}, {"keep_crops": False}, {"draws_per_node": 2}, {"memory_limit": 128 * 2**20},
], ids=str)
def test_every_probe_scores_as_with_its_own_size_alone(small, mixed, portraits, tmp_path, changes):
    gallery = [portraits[:2], b"broken", *portraits[2:]]
    with small(lr_size=SIZES, **changes) as matcher:
        got = matcher.match(mixed, gallery)
        enrolled = matcher.enroll(gallery, path=tmp_path / "enrolled")
        assert np.array_equal(matcher.match(mixed, enrolled).scores, got.scores, equal_nan=True)
        assert np.array_equal(matcher.match(matcher.lift(mixed), enrolled).scores, got.scores, equal_nan=True)
        assert np.array_equal(matcher.match(mixed[1], enrolled).scores[0], got.scores[1], equal_nan=True)
    own = [None if isinstance(probe, bytes) else nearest(resolution(probe)) for probe in mixed]
    assert set(own) == {None, *SIZES}
    for size in SIZES:
        with small(lr_size=size, **changes) as alone:
            want = alone.match(mixed, gallery)
        for row in (k for k, its in enumerate(own) if its in (None, size)):
            assert np.array_equal(got.scores[row], want.scores[row], equal_nan=True)
            assert got.probe_status[row] == want.probe_status[row]


def test_the_set_of_portraits_is_centred_at_each_size(small, mixed, portraits):
    probes = [mixed[0], mixed[1]]
    with small(lr_size=SIZES, centering="set") as matcher:
        got = matcher.match(probes, portraits)
        means = matcher.comparison.set_means(matcher.lift(probes))
    for row, probe in enumerate(probes):
        with small(lr_size=nearest(resolution(probe)), centering="set") as alone:
            compare = alone.comparison
            want = compare.fused(*compare.far_sides(alone.lift(probe).pool, alone.enroll(portraits).pool, means))
        assert np.array_equal(got.scores[row : row + 1], want)


@pytest.mark.parametrize("changes", [{}, {"sharp_between": (10, 60)}, {"portraits": "max"}, {"keep_crops": False}], ids=str)
def test_the_most_detailed_picture_of_an_entry_decides_for_all(small, mixed, portraits, changes):
    entries = [[mixed[0], b"broken", mixed[4], b"broken"], [mixed[1], mixed[0]], [b"broken"], []]
    with small(lr_size=SIZES, **changes) as matcher:
        got = matcher.match(entries, portraits)
        if "keep_crops" not in changes:
            assert got.explain(0, 1).score == got.scores[0, 1]
    for row, size in ((0, 40), (1, 22)):
        with small(lr_size=size, **changes) as alone:
            want = alone.match(entries, portraits)
        assert np.array_equal(got.scores[row], want.scores[row])
        assert got.probe_status[row] == want.probe_status[row]
    assert np.isnan(got.scores[2:]).all()
    assert got.probe_status[2:] == want.probe_status[2:]


def test_only_sizes_that_far_probes_have_are_compared(small, mixed, portraits):
    with small(lr_size=SIZES, sharp_between=(30, 30)) as matcher:
        gallery = matcher.enroll(portraits)

        def runs(side):
            met = matcher.comparison.runs(gallery, None, matcher.lift(side), None)
            return [(run.gallery.lr_shape[0], run.entries) for run in met]

        assert runs([b"broken", mixed[1], mixed[4], mixed[0]]) == [(12, (0, 2, 3)), (22, (1,))]
        assert runs([b"broken", mixed[1]]) == [(22, (0, 1))]
        assert runs([mixed[4], b"broken"]) == [(12, (0, 1))]
        assert runs([mixed[3], mixed[1]]) == [(22, (0, 1))]


@pytest.mark.parametrize("changes", [{}, {"fusion": ("T_add", "T_add"), "sharp_between": (10, 60)}], ids=str)
def test_an_explanation_names_the_size_that_was_met(small, mixed, portraits, tmp_path, changes):
    with small(lr_size=SIZES, **changes) as matcher:
        enrolled = matcher.enroll(portraits, path=tmp_path / "enrolled")
        result = matcher.match(mixed, portraits)
        result.save(tmp_path / "result.npz")
        read = type(result).load(tmp_path / "result.npz")
        for row in (0, 1, 3, 4):
            with small(lr_size=nearest(resolution(mixed[row])), **changes) as alone:
                want = alone.match(mixed[row], portraits).explain(0, 2)
            again = matcher.match(mixed, enrolled).explain(row, 2)
            for told in (result.explain(row, 2), again, read.explain(row, 2, matcher=matcher, gallery=enrolled)):
                assert (told.probe, told.gallery, told.score) == (want.probe, want.gallery, want.score)
                assert told.gallery_shares == want.gallery_shares
                assert told.probe_shares == want.probe_shares
                assert np.array_equal(told.probe_picture, want.probe_picture)
                assert np.array_equal(told.gallery_picture, want.gallery_picture)


def test_galleries_of_several_sizes_are_kept_like_others(small, mixed, portraits, tmp_path):
    with small(lr_size=SIZES) as matcher, small(lr_size=SIZES[:2]) as other, small(lr_size=SIZES[0]) as one:
        want = matcher.match(mixed, portraits).scores
        parts = [matcher.enroll(portraits, path=tmp_path / f"part{k}", part=(k, 2)) for k in (1, 2)]
        merged = Gallery.merged(parts, ids=[str(k) for k in range(len(portraits))])
        merged.save(tmp_path / "merged")
        merged.export(tmp_path / "gallery.npz")
        for gallery in (merged, Gallery.open(tmp_path / "merged"), Gallery.load(tmp_path / "gallery.npz")):
            assert np.array_equal(matcher.match(mixed, gallery).scores, want, equal_nan=True)
            for stranger in (other, one):
                with pytest.raises(StoreError, match="differing: lr_size"):
                    stranger.match(mixed, gallery)
        for gallery, size in ((merged.matched(k), size) for k, size in enumerate(SIZES)):
            gallery.export(tmp_path / f"{size}.npz")
            with small(lr_size=size) as alone:
                own = alone.enroll(portraits)
                assert np.array_equal(np.asarray(gallery.pool.templates), own.pool.templates)
                assert (gallery.config, gallery.pattern) == (alone.config, own.pattern)
                assert len(Gallery.load(tmp_path / f"{size}.npz")) == len(portraits)
        assert merged.matched(-1).lr_shape == (40, 40)
        for stored in ("float16", "int8"):
            merged.save(tmp_path / stored, stored=stored)
            near = matcher.match(mixed, Gallery.open(tmp_path / stored)).scores
            np.testing.assert_allclose(near, want, atol=0.02)


def test_the_short_way_is_not_taken(small, mixed, portraits, monkeypatch):
    monkeypatch.setattr("meetmid.identification.WORTH", 0)
    monkeypatch.setattr("meetmid.matcher.short_way", None)
    with small(lr_size=SIZES, gallery_rule="S_max") as matcher:
        want = matcher.match(mixed, portraits).rank(2)
        assert matcher.identify(mixed, portraits, 2, miss=1e-3) == want
        assert matcher.identify(mixed, matcher.enroll(portraits), 2, miss=1e-3) == want


def test_a_writer_appends_and_replaces(small, mixed, portraits, tmp_path):
    with small(lr_size=SIZES) as matcher:
        matcher.enroll(portraits[:2], path=tmp_path / "g", ids=["a", "b"])
        matcher.enroll(portraits[2:4], path=tmp_path / "g", ids=["c", "d"], add="append")
        matcher.enroll([portraits[4]], path=tmp_path / "g", ids=["b"], add="replace")
        got = matcher.match(mixed, Gallery.open(tmp_path / "g"))
        want = matcher.match(mixed, [portraits[k] for k in (0, 2, 3, 4)])
        assert got.gallery_ids == ("a", "c", "d", "b")
        assert np.array_equal(got.scores, want.scores, equal_nan=True)


def test_a_size_of_fewer_scales_has_fewer_slots(small, portraits, mixed, tmp_path):
    options = {"scales": (2, 8), "sigmas": (0.0,)}
    with small(lr_size=(12, 300), **options) as matcher, small(lr_size=300, **options) as alone:
        gallery = matcher.enroll(portraits)
        assert gallery.matched(1).pattern == alone.enroll(portraits).pattern
        assert np.array_equal(matcher.match(mixed[4], gallery).scores, matcher.match(mixed[4], portraits).scores)


def test_means_and_z_norm_are_those_of_all_sizes(small, mixed, portraits):
    rules = {"fusion": ("T_add", "T_add"), "score_norm": "z", "centering": "reference"}
    probes = [*mixed[:2], *mixed[3:]]
    with small(lr_size=SIZES, fusion=("T_add", "T_add")) as matcher:
        means = matcher.learn_means(probes, portraits[:3])
    with small(lr_size=SIZES, reference=means, **rules) as matcher:
        got = matcher.match(mixed, portraits)
    for size in SIZES:
        with small(lr_size=size, reference=means, **rules) as alone:
            want = alone.match(mixed, portraits)
        for row in (k for k in (0, 1, 3, 4) if nearest(resolution(mixed[k])) == size):
            assert np.array_equal(got.scores[row], want.scores[row])


def test_what_is_shown_and_planned(small, mixed, portraits):
    with small(lr_size=(12, 24)) as matcher, small(lr_size=24) as alone:
        shown = [what for what, _ in matcher.show_gallery(portraits[0])]
        assert len(shown) == len(set(shown)) == 4 + 2 * 3
        own = {what for what in shown if what.size in (None, (48, 48), (96, 96))}
        assert {what for what, _ in alone.show_gallery(portraits[0])} == own
        assert len(matcher.show_probe(mixed[4])) == len(alone.show_probe(mixed[4]))
        assert {p.shape for _, p in matcher.show_probe(mixed[0])} == {(40, 40, 3), (24, 24, 3), (48, 48, 3)}
        plan, other = matcher.plan(3, 5), alone.plan(3, 5, measure=False)
        assert plan.gallery_templates == 5 * len(shown)
        assert (plan.similarities, plan.probe_templates) == (other.similarities, other.probe_templates)
        assert plan.gallery_bytes == 2 * other.gallery_bytes
        assert plan.gallery_bytes == 4 * matcher.enroll(portraits).pool.templates.size
        assert plan.seconds > 0
        with pytest.raises(InputError, match="crops"):
            small(lr_size=(12, 24), keep_crops=False).match(mixed, portraits).explain(0, 0)
