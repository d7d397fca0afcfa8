"""Results: files, ranks, and explanations that add up."""

import csv
import json
import os
import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from meetmid.errors import InputError, StoreError
from meetmid.gallery.store import Gallery
from meetmid.result import MatchResult

RULES = [*product(("T_add", "S_max", "S_add"), repeat=2), ("T_concat", "T_concat")]


@pytest.fixture
def sides(face):
    return [face(1, 20), b"broken", [face(2, 18), face(3, 25)]], [face(4, 60), face(5, 48), b"broken"]


@pytest.fixture
def result(small, sides):
    with small() as matcher:
        yield matcher.match(*sides)


def test_it_is_an_array(result):
    assert np.array_equal(np.asarray(result), result.scores, equal_nan=True)
    assert np.asarray(result, dtype=np.float64).dtype == np.float64
    copied = np.array(result)
    copied[:] = 0
    assert np.isfinite(result.scores[0, 0])
    assert result.scores[0, 0] != 0


@pytest.mark.parametrize("ending", ["npz", "json", "NPZ", "JSON"])
def test_files_hold_everything(result, tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    result.save(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    back = MatchResult.load(path)
    for name in ("scores", "probe_size"):
        assert getattr(back, name).dtype == np.float32
        assert np.array_equal(getattr(back, name), getattr(result, name), equal_nan=True)
    for name in ("probe_ids", "gallery_ids", "probe_status", "gallery_status", "warnings", "config", "models", "seconds"):
        assert getattr(back, name) == getattr(result, name)
    assert back.failed == result.failed
    assert back.rank(2) == result.rank(2)
    if ending.lower() == "npz":
        assert np.array_equal(back.probe_first, [0, 1, 2, 4])
        assert all(np.array_equal(back.probe_crops.crop(k), result.probe_crops.crop(k)) for k in (0, 2, 3))
        assert back.probe_crops.crop(1) is None


def test_csv_holds_the_matrix(result, tmp_path):
    result.save(tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["probe", "status", *result.gallery_ids]
    assert rows[1] == ["", "gallery status", *result.gallery_status]
    assert [r[0] for r in rows[2:]] == list(result.probe_ids)
    assert [r[1] for r in rows[2:]] == list(result.probe_status)
    values = np.array([[float(v) if v else np.nan for v in row[2:]] for row in rows[2:]], np.float32)
    assert np.array_equal(values, result.scores, equal_nan=True)


def test_csv_keeps_the_bytes_of_names_and_an_older_file(result, tmp_path):
    path, name = tmp_path / "x.csv", os.fsdecode(b"bad\xff.jpg")
    replace(result, probe_ids=(name, *result.probe_ids[1:])).save(path)
    assert b"\nbad\xff.jpg,ok," in path.read_bytes()
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        replace(result, probe_ids=("\ud800", *result.probe_ids[1:])).save(path)  # no name of any file
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.csv"]


def test_a_list_has_at_least_one_candidate(result):
    for k in (0, -1):
        with pytest.raises(InputError, match=f"^k expects at least 1, got {k}$"):
            result.rank(k)
    assert [len(row) for row in result.rank(1)] == [1, 0, 1]


@pytest.mark.parametrize("name", ["probe_ids", "gallery_ids", "probe_status", "gallery_status", "probe_size", "scores"])
@pytest.mark.parametrize("change", ["longer", "shorter"])
def test_a_file_whose_parts_do_not_fit_is_refused(result, tmp_path, name, change):
    path = tmp_path / "x.json"
    result.save(path)
    values = json.loads(path.read_text())
    values[name] = [*values[name], values[name][0]] if change == "longer" else values[name][:-1]
    path.write_text(json.dumps(values))
    with pytest.raises(StoreError, match=r"ids, statuses or sizes that are not those of scores \(\d, 3\)$"):
        MatchResult.load(path)


def test_a_file_with_other_parts_is_refused(result, tmp_path):
    path = tmp_path / "x.json"
    for name, value, told in (
        ("scores", [[0.0] * 4] * 2, "not those of scores"), ("scores", [0.0] * 3, "TypeError"), ("scores", [], "not those"),
        ("probe_size", [], "IndexError"), ("probe_ids", [0, 1, 2], "no texts"), ("gallery_status", [None] * 3, "no texts"),
    ):
        result.save(path)
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
        with pytest.raises(StoreError, match=told):
            MatchResult.load(path)
    for first in ([0, 1, 2], [0, 1, 2, 5]):
        replace(result, probe_first=np.array(first)).save(tmp_path / "x.npz")
        with pytest.raises(StoreError, match="crops that are not those of the probes"):
            MatchResult.load(tmp_path / "x.npz")


def test_other_files_are_refused(result, tmp_path):
    with pytest.raises(InputError, match="no ending"):
        result.save(tmp_path / "x")
    with pytest.raises(InputError, match=r"\.xlsx"):
        result.save(tmp_path / "x.xlsx")
    result.save(tmp_path / "x.npz")
    result.save(tmp_path / "x.csv")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:300])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("no")
    np.savez(tmp_path / "other.npz", a=1)
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("x.csv", "cut.npz", "empty.npz", "list.json", "text.json", "other.npz", "array.npy", "missing.npz"):
        with pytest.raises(StoreError, match="expected a result saved as") as caught:
            MatchResult.load(tmp_path / name)
        assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("rules", RULES, ids="-".join)
def test_explanations_add_up(small, sides, rules):
    for pairing, order, select in (("all", "gallery_first", "all"), ("same_scale", "probe_first", "all"),
                                   ("all", "gallery_first", "best")):
        with small(fusion=rules, pairing=pairing, order=order, select=select, centering="vector") as matcher:
            result = matcher.match(*sides)
            for p, g in ((0, 0), (2, 1)):
                found = result.explain(p, g)
                assert found.score == float(result.scores[p, g])
                assert (found.probe_id, found.gallery_id) == (result.probe_ids[p], result.gallery_ids[g])
                for shares in (found.probe_shares, found.gallery_shares):
                    assert sum(share for _, share in shares) == pytest.approx(1)
                    assert [s for _, s in shares] == sorted((s for _, s in shares), reverse=True)
                assert found.probe in [what for what, _ in found.probe_shares]
                assert found.gallery in [what for what, _ in found.gallery_shares]
                assert found.synthetic == (found.probe.scale > 1)
                assert str(found.gallery) in str(found)
                if select == "best":
                    assert len(found.probe_shares) == 1
                if rules == ("S_max", "S_max"):
                    assert found.similarity == pytest.approx(found.score, rel=1e-5)
                if pairing == "same_scale" and found.gallery.size:
                    assert found.gallery.size[0] == 12 * found.probe.scale or found.probe.scale == 1


def test_the_pictures_are_those_that_were_compared(small, face):
    with small(fusion=("S_max", "S_max")) as matcher:
        result = matcher.match(face(1, 20), face(4, 60))
        found = result.explain(0, 0)
        probe, gallery = dict(matcher.show_probe(face(1, 20))), dict(matcher.show_gallery(face(4, 60)))
    assert np.array_equal(found.probe_picture, probe[found.probe])
    assert np.array_equal(found.gallery_picture, gallery[found.gallery])


def test_names_and_failed_entries(result):
    assert result.explain("0", "1").score == result.explain(0, 1).score == result.explain(-3, -2).score
    for key in (("x", 0), (0, "x"), (3, 0), (0, -4)):
        with pytest.raises(InputError):
            result.explain(*key)
    for key in ((1, 0), (0, 2)):
        with pytest.raises(InputError, match="no score to explain"):
            result.explain(*key)


def test_a_loaded_result_needs_its_matcher_and_gallery(small, sides, face, tmp_path):
    with small() as matcher:
        gallery = matcher.enroll(sides[1])
        result = matcher.match(sides[0], gallery)
        result.save(tmp_path / "x.npz")
        result.save(tmp_path / "x.json")
        back = MatchResult.load(tmp_path / "x.npz")
        with pytest.raises(InputError, match="matcher= and gallery="):
            back.explain(0, 0)
        first, again = result.explain(2, 1), back.explain(2, 1, matcher=matcher, gallery=gallery)
        assert again.probe_shares == first.probe_shares
        assert np.array_equal(again.probe_picture, first.probe_picture)
        with pytest.raises(InputError, match="crops"):
            MatchResult.load(tmp_path / "x.json").explain(0, 0, matcher=matcher, gallery=gallery)
        with pytest.raises(InputError, match="these are others"):
            back.explain(0, 0, matcher=matcher, gallery=matcher.enroll([face(9)]))
        changed = matcher.enroll([*sides[1][:1], *sides[1][:1], *sides[1][2:]], ids=gallery.ids)
        with pytest.raises(InputError, match=r"this one has changed since: .* have .* now, not"):
            back.explain(2, 1, matcher=matcher, gallery=changed)
        assert back.explain(2, 0, matcher=matcher, gallery=changed).probe_shares == result.explain(2, 0).probe_shares
        lost = matcher.enroll([sides[1][0], b"broken", *sides[1][2:]], ids=gallery.ids)
        with pytest.raises(InputError, match=r"this one has changed since: .* have nan now, not"):
            back.explain(2, 1, matcher=matcher, gallery=lost)
        for stored in ("float16", "int8"):
            gallery.save(tmp_path / stored, stored=stored)
            less = back.explain(2, 1, matcher=matcher, gallery=Gallery.open(tmp_path / stored))
            assert dict(less.probe_shares) == pytest.approx(dict(first.probe_shares), abs=0.02)
    with small(sigmas=(0.0,)) as other, pytest.raises(InputError, match="these are others"):
        back.explain(0, 0, matcher=other, gallery=gallery)
    with small(seed=4) as other, pytest.raises(StoreError):
        back.explain(0, 0, matcher=other, gallery=other.enroll(sides[1]))


def test_without_crops_there_is_no_explanation(small, sides):
    with small(keep_crops=False) as matcher, pytest.raises(InputError, match="keep_crops=False"):
        matcher.match(*sides).explain(0, 0)


def test_set_means_are_kept_for_explanations(small, sides, tmp_path):
    with small(centering="set", fusion=("S_max", "S_max")) as matcher:
        gallery = matcher.enroll(sides[1])
        result = matcher.match(sides[0], gallery)
        result.save(tmp_path / "x.npz")
        for one in (result, MatchResult.load(tmp_path / "x.npz")):
            found = one.explain(2, 1, matcher=matcher, gallery=gallery)
            assert found.similarity == pytest.approx(found.score, rel=1e-5)


def test_sizes_warnings_and_pickling(small, face, sides):
    with small() as matcher:
        result = matcher.match([face(1, 8), face(2, 30)], sides[1])
        assert result.probe_size[:, 0].tolist() == [8, 30]
        assert any("1 of 2 probes are smaller than 16 px" in w for w in result.warnings)
        assert "uncalibrated" in result.warnings[0]
        gallery = matcher.enroll(sides[1])
        back = pickle.loads(pickle.dumps(matcher.match(face(2, 30), gallery)))
        assert back.source is None
        assert np.array_equal(back.scores, result.scores[1:], equal_nan=True)
        again = back.explain(0, 1, matcher=matcher, gallery=gallery)
        assert again.probe_shares == result.explain(1, 1).probe_shares
        assert set(result.seconds) == {"probe", "gallery", "scores"}
