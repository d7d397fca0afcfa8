"""The whole pipeline on tiny real networks: the same bits whatever the order, the threads, the memory and the process."""

import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import meetmid
from meetmid.config import MatchConfig
from meetmid.errors import Cancelled, ConfigError, InputError, ModelError
from meetmid.faces.alignment import TEMPLATES
from meetmid.faces.crops import Face, cut, given_faces
from meetmid.gallery.store import Gallery
from meetmid.scores.fusion import fuse


def same(a, b):
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)


def pooled(matcher, pictures, gallery):
    """One entry's uncentred templates (1, S, N, D) and weights, hypotheses of all its pictures side by side."""
    [(_, side, _)] = matcher.comparison.sides(pictures, gallery, None)
    return np.concatenate(side.templates, axis=1)[None], np.concatenate(side.weights, axis=1)[None]


def test_pictures_and_an_enrolled_gallery_give_the_same_bits(small, probes, portraits, tmp_path):
    with small() as matcher:
        result = matcher.match(probes, portraits)
        assert result.scores.shape == (4, 5)
        assert np.isfinite(result.scores).all()
        gallery = matcher.enroll(portraits, path=tmp_path / "g")
        assert same(matcher.match(probes, gallery), result)
        assert same(matcher.match(probes, Gallery.open(tmp_path / "g")), result)
        want = [
            fuse(*[t[0] for t in (pooled(matcher, [p], gallery), (np.array(gallery.pool.templates),))], add="mean",
                 probe_weights=pooled(matcher, [p], gallery)[1], gallery_weights=gallery.pool.weights)[0] for p in probes
        ]
        assert same(result, want)


def test_neither_order_nor_company_nor_threads_nor_memory_change_a_bit(small, probes, portraits, monkeypatch):
    with small(threads=1) as matcher:
        want = matcher.match(probes, portraits).scores
        rows, columns = [2, 0, 3, 1], [4, 1, 0, 3, 2]
        mixed = matcher.match([probes[k] for k in rows], [portraits[k] for k in columns])
        assert same(mixed, want[rows][:, columns])
        assert same(matcher.match(probes[2], portraits[3]), want[2:3, 3:4])
        monkeypatch.setattr("meetmid.intake.LIVE", 0)
        matcher._memory = 1024  # far below what is allowed: everything is mapped and the blocks cut through entries
        assert isinstance(matcher.enroll(portraits).pool.templates, np.memmap)
        assert same(matcher.match(probes, portraits), want)
    for options in ({"threads": 2}, {"threads": None}, {"memory_limit": 128 * 2**20}):
        with small(**options) as matcher:
            assert same(matcher.match(probes, portraits), want)


def test_a_path_has_the_same_template_in_any_selection(small, portraits):
    paths = (("gblur",), ("gauss_noise", "downup"), ("speckle",))
    with small(paths=paths) as matcher:
        whole = matcher.enroll(portraits).pool.templates
    with small(paths=(paths[2],)) as matcher:
        alone = matcher.enroll(portraits).pool.templates
    assert same(alone[:, 1:, 0], whole[:, 1:, 2])
    assert same(alone[:, 0], whole[:, 0])


def test_eight_callers_share_one_matcher(small, probes, portraits):
    with small() as matcher:
        want = matcher.match(probes, portraits)
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: matcher.match(probes, portraits), range(8)))
    assert all(same(r, want) for r in results)


def test_another_process_gives_the_same_bits(small, probes, portraits, tmp_path):
    with small() as matcher:
        want = matcher.match(probes, portraits)
        (tmp_path / "in").write_bytes(pickle.dumps((matcher, probes, portraits)))
    script = (
        "import pickle, sys, numpy as np\n"
        "m, p, g = pickle.load(open(sys.argv[1], 'rb'))\n"
        "np.save(sys.argv[2], m.match(p, g).scores)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "in"), str(tmp_path / "out.npy")], check=True)
    assert same(np.load(tmp_path / "out.npy"), want)


def test_close_releases_and_the_next_use_opens_again(small, probes, portraits):
    matcher = small()
    want = matcher.match(probes, portraits)
    matcher.close()
    assert matcher.network.network._session is None
    assert all(n._session is None for n in matcher.hallucinator.networks.values())
    assert same(matcher.match(probes, portraits), want)
    matcher.close()
    with small(faces="auto") as matcher:  # looks at what it takes as crops
        matcher.match(probes, portraits)
        finder = matcher.equipment.detector
        assert finder._network._session is not None
    assert finder._network._session is None


def test_a_group_is_one_subject_whose_hypotheses_are_pooled(small, face, tmp_path):
    for k in range(2):
        folder = tmp_path / "portraits" / "anna"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face(k, 48)).save(folder / f"{k}.png")
    Image.fromarray(face(2, 48)).save(tmp_path / "portraits" / "bert.png")
    groups = [[face(10, 20), face(11, 22)], face(12, 20)]
    for rules in (("S_add", "S_max"), ("T_add", "T_add"), ("T_concat", "T_concat"), ("S_max", "S_add")):
        with small(fusion=rules) as matcher:
            result = matcher.match(groups, tmp_path / "portraits")
            assert result.gallery_ids == ("anna", "bert.png")
            assert result.scores.shape == (2, 2)
            single = matcher.enroll([face(k, 48) for k in range(3)]).pool
            pairs = [(single.templates[a:b], single.weights[a:b]) for a, b in ((0, 2), (2, 3))]
            g = [(np.concatenate(t, axis=1)[None], np.concatenate(w, axis=1)[None]) for t, w in pairs]
            some = matcher.enroll(face(0, 48))
            p = [pooled(matcher, pictures, some) for pictures in (groups[0], groups[1:])]
            for i, j in np.ndindex(2, 2):
                want = fuse(p[i][0], g[j][0], rules=[rules], probe_weights=p[i][1], gallery_weights=g[j][1], add="mean")[0]
                assert result.scores[i, j] == want[0, 0]


def test_the_best_portrait_of_a_group_may_count_alone(small, face, probes):
    alone = [face(0, 48), face(1, 50), face(2, 48), b"broken"]
    for rules in (("S_add", "S_max"), ("T_add", "T_add"), ("T_concat", "T_concat")):
        with small(fusion=rules) as matcher:
            single = matcher.match(probes, alone).scores
        with small(fusion=rules, portraits="max") as matcher:
            result = matcher.match(probes, [[*alone[:2], b"broken"], alone[2], alone[3:]])
            assert same(result.scores[:, 0], single[:, :2].max(axis=1))
            assert same(result.scores[:, 1:], single[:, 2:])
            best = int(single[1, :2].argmax())
            found = result.explain(1, 0)
            assert found.score == single[1, best]
            assert sum(share for _, share in found.gallery_shares) == pytest.approx(1)
            shown = dict(matcher.show_gallery(alone[best]))
            assert same(found.gallery_picture, shown[found.gallery])


def test_broken_probes_cost_their_rows_only(small, red_face, portraits, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    good = [red_face(k, 20) for k in range(7)]
    text, gone = tmp_path / "text.jpg", tmp_path / "gone.png"
    batch = [good[0], text, *good[1:4], np.zeros((5, 5), np.float32), *good[4:6], gone, good[6]]
    bad = [1, 5, 8]
    with small() as matcher:
        want = matcher.match(good, portraits)
        result = matcher.match(batch, portraits)
        assert np.isnan(result.scores[bad]).all()
        assert same(np.delete(result.scores, bad, axis=0), want)
        assert [result.probe_status[k] == "ok" for k in range(10)] == [k not in bad for k in range(10)]
        assert [side for side, _, _ in result.failed] == ["probe"] * 3
        for (_, name, reason), word in zip(result.failed, ("something else", "float32", "readable"), strict=True):
            assert name in result.probe_ids
            assert word in reason
        assert np.isnan(result.probe_size[bad]).all()
        assert [len(row) for row in matcher.identify(batch, portraits, k=3)] == [0 if k in bad else 3 for k in range(10)]
        columns = matcher.match(good[:2], [portraits[0], b"broken", [portraits[1], b"broken"], []])
        assert np.isnan(columns.scores).all(axis=0).tolist() == [False, True, False, True]
        assert same(columns.scores[:, [0, 2]], want.scores[:2, :2])
        assert columns.gallery_status[2].startswith("ok: 1 of 2 pictures")
        assert columns.gallery_status[3] == "no pictures"
    with small(errors="raise") as matcher, pytest.raises(InputError, match=r"probe 1: .*something else"):
        matcher.match([good[0], (tmp_path / "text.jpg").read_bytes()], portraits)
    with small(errors="raise") as matcher:
        for gallery, message in (
            ([b"broken"], "gallery 0"), ([portraits[0], []], "gallery 1: no pictures"),
            ([portraits[0], tmp_path / "none"], "gallery none: .*at least one picture"),
        ):
            (tmp_path / "none").mkdir(exist_ok=True)
            with pytest.raises(InputError, match=message):
                matcher.match(good[0], gallery)


def test_a_face_finder_that_breaks_costs_one_picture(small, face):
    class Fragile:
        def detect(self, image):
            if image.shape[0] == 66:
                raise ZeroDivisionError("boxes of no area")
            return [Face((10, 10, 40, 40))]

    with small(faces="detect", detector=Fragile()) as matcher:
        result = matcher.match([face(1), face(2, 66), face(3)], [face(9)])
    assert np.isnan(result.scores[:, 0]).tolist() == [False, True, False]
    assert "the face finder failed on a 66 x 66 px picture: boxes of no area" in result.probe_status[1]


def test_sides_may_be_iterators_and_ids_too(small, probes, portraits):
    with small() as matcher:
        want = matcher.match(probes, portraits)
        assert same(matcher.match(iter(probes), (p for p in portraits)), want)
        gallery = matcher.enroll((p for p in portraits), ids=(f"p{k}" for k in range(5)))
        assert gallery.ids == ("p0", "p1", "p2", "p3", "p4")
        assert same(matcher.match([iter(probes[:1]), *probes[1:]], gallery), want)
        coded = io.BytesIO()
        Image.fromarray(probes[0]).save(coded, "png")
        for one in (coded, bytearray(coded.getvalue()), memoryview(coded.getvalue())):
            result = matcher.match(one, portraits)
            assert result.scores.shape == (1, 5)
            assert "a picture is a path, bytes, a PIL image or an array, got" in result.probe_status[0]
        for side in ({"a": probes[0]}, {b"a", b"b"}):
            with pytest.raises(InputError, match="expected a list, which has an order"):
                matcher.match(side, portraits)


@pytest.mark.parametrize(("given", "message"), [
    ({"detector": 5}, r"detector expects a name or an object with detect\(\), got int"),
    ({"threads": "2"}, "threads expects at least 1, got '2'"),
    ({"threads": 1.5}, "threads expects at least 1, got 1.5"),
    ({"threads": True}, "threads expects at least 1, got True"),
    ({"memory_limit": "1G"}, "memory_limit expects at least 134217728 bytes, a whole number, got '1G'"),
    ({"memory_limit": 1e9}, "memory_limit expects at least 134217728 bytes, a whole number, got 1000000000.0"),
    ({"config": {}}, "config expects a MatchConfig, got dict"),
])
def test_keywords_of_another_kind_are_refused(small, given, message):
    with pytest.raises(ConfigError, match=message):
        small(**given)


@pytest.mark.parametrize("k", [0, -1, "3", 1.5, None])
def test_a_list_of_no_length_is_refused(small, probes, portraits, k):
    with small() as matcher, pytest.raises(InputError, match=f"k expects at least 1, got {k!r}"):
        matcher.identify(probes, portraits, k)


def test_the_path_of_an_enrolled_gallery_is_told_from_pictures(small, probes, portraits, tmp_path):
    with small() as matcher:
        matcher.enroll(portraits, path=tmp_path / "g")
        store = str(tmp_path / "g")
        for ask, sides in (
            (matcher.match, (probes, store)), (matcher.match, (store, portraits)), (matcher.identify, (probes, store)),
            (matcher.enroll, (store,)), (matcher.lift, (store,)), (matcher.plan, (probes, store)), (matcher.plan, (store, 2)),
        ):
            with pytest.raises(InputError, match=r"it is an enrolled gallery: pass meetmid\.Gallery\.open\("):
                ask(*sides)
    with small(memory_limit=np.int64(2**30)) as matcher:
        assert len(matcher.enroll(portraits, path=tmp_path / "h")) == 5


def test_means_are_learned_from_usable_pictures_alone_and_count_them(small, face):
    cohort, people = [face(k, 20) for k in range(3)], [face(k, 60) for k in range(2)]
    with small(centering="reference", faces="crop") as matcher:
        want = matcher.learn_means(cohort, people)
        got = matcher.learn_means([*cohort[:2], b"broken", *cohort[2:]], [b"x", b"y", *people])
        assert (got.conditions["probes"], got.conditions["portraits"]) == (3, 2)
        assert same(got.probe, want.probe)
        assert same(got.gallery, want.gallery)
        for sides, what in ((([b"x", b"y"], people), "probes"), ((cohort, [b"x"]), "portraits")):
            with pytest.raises(InputError, match=f"{what}: expected at least one usable picture, got none"):
                matcher.learn_means(*sides)


def test_templates_that_are_zero_are_never_scored(small, face, make_matcher, tmp_path):
    black = np.zeros((20, 20, 3), np.uint8)
    with small(matcher=make_matcher(tmp_path / "blind", mean=[0.0] * 3, std=[1.0] * 3)) as matcher:
        result = matcher.match([face(1, 20), black], [black, face(2, 48)])
        assert np.isnan(result.scores).tolist() == [[False, False], [True, True]]  # noise makes a black portrait usable
        assert result.probe_status == ("ok", "every template was zero or not finite")
        assert any("3 probe hypotheses" in w and "dropped" in w for w in result.warnings)
        gallery = matcher.enroll([black, face(2, 48)], path=tmp_path / "g")
        assert gallery.dropped == 7 - 2
        assert any("5 gallery hypotheses" in w for w in result.warnings)
        assert any("5 gallery hypotheses" in w for w in matcher.match(face(1, 20), gallery).warnings)
        assert same(result.scores[:1, 1:], matcher.match(face(1, 20), face(2, 48)))
    strict = small(matcher=matcher.card, errors="raise")
    with pytest.raises(InputError, match="probe 1: every template was zero"):
        strict.match([face(1, 20), black], face(2, 48))


def test_sides_that_cannot_be_used(small, face):
    with small() as matcher:
        for probe, gallery in (([], [face(1)]), ([face(1, 20)], []), ("/nowhere", face(1))):
            with pytest.raises(InputError):
                matcher.match(probe, gallery)
        with pytest.raises(InputError, match="k expects"):
            matcher.identify(face(1, 20), face(1), k=0)
        with pytest.raises(ConfigError, match="keys"):
            matcher.match(face(1, 20), face(1), faces={"probes": "crop"})
        result = matcher.match(np.full((20, 20, 3), 120, np.uint8), face(1), faces={"probe": "detect"})
        assert "no face found" in result.probe_status[0]


def test_progress_is_reported_and_cancels(small, probes, portraits):
    seen = []
    with small(progress=lambda *step: seen.append(step)) as matcher:
        want = matcher.match(probes, portraits)
        steps = [(k, 4, "probe") for k in (1, 2, 3, 4)] + [(k, 5, "gallery") for k in (1, 2, 3, 4, 5)] + [(1, 1, "scores")]
        assert seen == steps
        for stage, total in (("probe", 4), ("gallery", 5), ("scores", 1)):
            with pytest.raises(Cancelled, match=f"during {stage} at 1 of {total}"):
                matcher.match(probes, portraits, progress=lambda done, total, now, stop=stage: now != stop)
        assert same(matcher.match(probes, portraits), want)


@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_given_faces_are_cut_and_matched(small, face, kind):
    scenes = {"probe": [face(1, 90), face(2, 80)], "gallery": [face(3, 200), face(4, 210)]}
    if kind == "boxes":
        hints = {side: [np.array([[12, 14, 40, 44 + k]], float) for k in range(2)] for side in scenes}
    else:
        template = TEMPLATES["arcface-112"].scaled(112, 112)
        hints = {side: [(template * (0.4 + k / 9) + 9)[None] for k in range(2)] for side in scenes}
    with small(crop="box" if kind == "boxes" else "arcface5") as matcher:
        got = matcher.match(scenes["probe"], scenes["gallery"], faces=hints)
        crops = {
            side: [cut(image, given_faces(hint)[0], how=matcher.config.crop, template=TEMPLATES["arcface-112"])
                   for image, hint in zip(scenes[side], hints[side], strict=True)]
            for side in scenes
        }
        assert same(got, matcher.match(crops["probe"], crops["gallery"]))
        mixed = matcher.match(crops["probe"], scenes["gallery"], faces={"gallery": hints["gallery"]})
        assert same(mixed, got)


def test_native_size_matches_every_probe_on_its_own(small, face, portraits):
    probes = [face(1, 20), face(2, 16)[:, :12], b"broken", face(3, 20), face(4, 6)]
    with small(lr_size=None) as matcher:
        seen = []
        result = matcher.match(probes, portraits, progress=lambda *step: seen.append(step))
        assert sum(stage == "gallery" for *_, stage in seen) == 3 * len(portraits)
        for k, probe in enumerate(probes):
            assert same(result.scores[k : k + 1], matcher.match([probe], portraits))
        for p, g in ((1.0, 2), (1, len(portraits)), (True, 2)):
            with pytest.raises(InputError, match="an id or a position below"):
                result.explain(p, g)
        found = result.explain(1, 2)
        alone = matcher.match([probes[1]], [portraits[2]]).explain(0, 0)
        assert (found.probe, found.gallery, found.score) == (alone.probe, alone.gallery, alone.score)
        assert same(found.gallery_picture, alone.gallery_picture)
        assert found.gallery.size is None or found.gallery.size[0] % 16 == 0
        for call in (lambda: matcher.enroll(portraits), lambda: matcher.show_gallery(portraits[0])):
            with pytest.raises(ConfigError, match="native"):
                call()
        assert np.isnan(matcher.match([b"broken"], portraits).scores).all()
    for options in ({"centering": "set"}, {"select": "best"}, {"keep_crops": False}):
        with small(lr_size=None, **options) as matcher:
            result = matcher.match(probes, portraits)
            assert np.isfinite(result.scores[[0, 1, 3, 4]]).all()
            if "keep_crops" in options:
                with pytest.raises(InputError, match="keep_crops=False"):
                    result.explain(0, 0)
            else:
                assert result.explain(4, 1).score == result.scores[4, 1]
        with small(lr_size=None) as matcher:
            result = matcher.match(probes, portraits)
            for other in (None, matcher):
                with pytest.raises(InputError, match="explain such a result before it is saved"):
                    result.explain(0, 0, matcher=other, gallery=result.source[1])
            with pytest.raises(InputError, match="before it is saved or pickled"):
                pickle.loads(pickle.dumps(result)).explain(0, 0, matcher=matcher)
    with small(lr_size=None, resolution_matching=False) as matcher:
        assert same(matcher.match(probes, matcher.enroll(portraits)), matcher.match(probes, portraits))


def test_what_is_too_large_is_told_and_not_left_out_silently(small, red_face):
    with small(lr_size=None, scales=(2, 8), sigmas=(0.0,), work_size=None, paths="none") as matcher:
        result = matcher.match([red_face(1, 140), red_face(2, 20)], red_face(3))
        alone = matcher.match(red_face(1, 140), red_face(3))
        assert alone.scores[0, 0] == result.scores[0, 0]
        assert {what.scale for what, _ in alone.explain(0, 0).probe_shares} == {1, 2}
        assert {what.size for what, _ in alone.explain(0, 0).gallery_shares} <= {None, (280, 280)}
        assert "no 8x hypotheses: 8x of 140 x 140 px is more than" in result.probe_status[0]
        assert result.probe_status[0].startswith("ok: ")
        assert result.probe_status[1] == "ok"
        assert not result.failed
        assert any("1 of 2 probes are too large" in w for w in result.warnings)
        matcher._memory = 700_000
        result = matcher.match([red_face(1, 140), red_face(2, 20)], red_face(3))
        assert "140 x 140 px does not fit in half of memory_limit" in result.probe_status[0]
        assert np.isnan(result.scores[:, 0]).tolist() == [True, False]
    with small(degrade_size=400) as matcher:
        matcher._memory = 10_000_000
        (status,) = matcher.enroll(red_face(1)).status
        assert status.startswith("a crop of 400 x 400 px does not fit in half of memory_limit")
        assert status.endswith("as floats: set degrade_size, or raise memory_limit")
        assert matcher.lift(red_face(1)).status == ("ok",)  # probes are not degraded
    with small(degrade_size=400, paths="none") as matcher:
        matcher._memory = 10_000_000
        assert matcher.enroll(red_face(1)).status == ("ok",)


def test_pickling_leaves_the_callback_behind(small, probes, portraits):
    with small(progress=lambda *_: None) as matcher:
        again = pickle.loads(pickle.dumps(matcher))
        assert same(again.match(probes, portraits), matcher.match(probes, portraits))
        assert matcher._progress is not None


def test_without_scales_the_gallery_is_still_degraded(small, probes, portraits):
    paths = (("gblur",), ("gauss_noise",))
    with small(scales=(), paths=paths) as matcher, small(scales=(), paths="none") as plain:
        gallery = matcher.enroll(portraits)
        assert gallery.pool.templates.shape == (5, 1, 3, 24)
        assert same(gallery.pool.templates[:, :, :1], plain.enroll(portraits).pool.templates)
        assert not same(matcher.match(probes, gallery), plain.match(probes, portraits))


def test_identify_ranks_and_fusion_overrides(small, probes, portraits):
    for fusion in (("S_max", "S_max"), ("T_add", "S_max"), ("T_concat", "T_concat")):
        with small(fusion=fusion) as matcher:
            assert (matcher.config.probe_rule, matcher.config.gallery_rule) == fusion
            scores = matcher.match(probes, portraits).scores
            for row, hits in zip(scores, matcher.identify(probes, portraits, k=4), strict=True):
                assert [h.index for h in hits] == list(np.argsort(-row, kind="stable")[:4])
                assert [h.score for h in hits] == [float(row[h.index]) for h in hits]
    with pytest.raises(ConfigError, match="both sides"):
        small(fusion=("T_concat", "S_max"))


def test_wrong_construction_is_refused(small, tiny):
    for options, error in (
        ({"threads": 0}, ConfigError), ({"memory_limit": 2**20}, ConfigError), ({"colour": "rgb"}, ConfigError),
        ({"centering": "mean"}, ConfigError), ({"scales": (3,)}, ModelError), ({"matcher": "/nowhere"}, ModelError),
    ):
        with pytest.raises(error):
            small(**options)
    with pytest.raises(ConfigError, match="presets are"):
        meetmid.Matcher("best", matcher=tiny)


def test_lists_in_a_configuration_are_as_good_as_tuples(small, probes, portraits):
    lists = {"scales": [2, 4], "sigmas": [0.0, 0.5, 1.0], "paths": [["gblur"], ["gauss_noise", "downup"]]}
    with small(**lists) as matcher, small() as plain:
        assert matcher.config == plain.config == MatchConfig.from_dict(matcher.config.to_dict())
        assert same(matcher.match(probes, portraits), plain.match(probes, portraits))
