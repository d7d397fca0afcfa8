"""TinyFace, QMUL-SurvFace, FRMDB and Helen, on small trees in the exact layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from meetmid.errors import InputError
from meetmid.evaluation.protocols import read_frmdb, read_helen, read_survface, read_survface_pairs, read_tinyface


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")


def cells(names: list[str]) -> np.ndarray:
    column = np.empty((len(names), 1), object)
    column[:, 0] = names
    return column


@pytest.fixture
def tinyface(tmp_path: Path) -> Path:
    top = tmp_path / "Testing_Set"
    put(top, "Gallery_Match/9_1.jpg", "Gallery_Match/12_1.jpg", "Gallery_Match/12_4.jpg", "Probe/12_2.jpg", "Probe/9_7.jpg")
    put(top, "Gallery_Distractor/a.jpg", "Gallery_Distractor/b.jpg")
    ids = np.array([[9], [12], [12]], np.uint16)
    names = cells(["9_1.jpg", "12_1.jpg", "12_4.jpg"])
    savemat(top / "gallery_match_img_ID_pairs.mat", {"gallery_set": names, "gallery_ids": ids})
    savemat(top / "probe_img_ID_pairs.mat", {"probe_set": cells(["12_2.jpg", "9_7.jpg"]), "probe_ids": ids[[1, 0]]})
    return tmp_path


def test_tinyface_pairs_the_lists_with_the_pictures(tinyface: Path) -> None:
    found = read_tinyface(tinyface)
    assert found.probe_subjects == ["12", "9"]
    assert found.gallery_subjects == ["9", "12", "12", "distractor a", "distractor b"]
    assert found.gallery[3].tag("role") == "distractor"
    assert found.probes[0].picture == tinyface / "Testing_Set" / "Probe" / "12_2.jpg"
    assert len(read_tinyface(tinyface, distractors=False).gallery) == 3


def test_tinyface_says_what_is_missing_and_where_it_is_handed_out(tinyface: Path) -> None:
    (tinyface / "Testing_Set" / "Probe" / "9_7.jpg").unlink()
    (tinyface / "Testing_Set" / "gallery_match_img_ID_pairs.mat").unlink()
    with pytest.raises(InputError, match=r"(?s)gallery_match_img_ID_pairs.mat.*Probe/9_7.jpg.*qmul-tinyface"):
        read_tinyface(tinyface)


def test_tinyface_refuses_damaged_tables(tinyface: Path) -> None:
    table = tinyface / "Testing_Set" / "probe_img_ID_pairs.mat"
    table.write_bytes(b"not a MATLAB file")
    with pytest.raises(InputError, match="expected a MATLAB file"):
        read_tinyface(tinyface)
    savemat(table, {"something": np.zeros(2)})
    with pytest.raises(InputError, match="expected the variable probe_set"):
        read_tinyface(tinyface)
    savemat(table, {"probe_set": cells(["12_2.jpg"]), "probe_ids": np.array([[1], [2]])})
    with pytest.raises(InputError, match=r"as many probe_set as probe_ids.*1 and 2"):
        read_tinyface(tinyface)


def test_survface_has_probes_without_mates(tmp_path: Path) -> None:
    top = tmp_path / "Face_Identification_Test_Set"
    put(top, "gallery/1_cam1_1.jpg", "mated_probe/1_cam2_1.jpg", "unmated_probe/77_cam1_1.jpg")
    one = np.array([[1]], np.uint16)
    savemat(top / "gallery_img_ID_pairs.mat", {"gallery_set": cells(["1_cam1_1.jpg"]), "gallery_ids": one})
    savemat(top / "mated_probe_img_ID_pairs.mat", {"mated_probe_set": cells(["1_cam2_1.jpg"]), "mated_probe_ids": one})
    found = read_survface(tmp_path)
    assert found.gallery_subjects == ["1"]
    assert found.probe_subjects == ["1", "unmated 77_cam1_1"]
    assert len(read_survface(tmp_path, unmated=False).probes) == 1
    (top / "unmated_probe" / "77_cam1_1.jpg").unlink()
    with pytest.raises(InputError, match=r"unmated_probe/\*.jpg"):
        read_survface(tmp_path)


def test_survface_pairs_keep_their_kind_and_fold(tmp_path: Path) -> None:
    top = tmp_path / "Face_Verification_Test_Set"
    names = [f"{person}_cam1_{k}.jpg" for person in (1, 2) for k in range(20)]
    put(top, *(f"verification_images/{name}" for name in names))
    for kind, step in (("positive", 1), ("negative", 20)):
        rows = [(names[k], names[step + k]) for k in range(10)]
        table = np.empty((10, 2), object)
        table[:] = rows
        savemat(top / f"{kind}_pairs_names.mat", {f"{kind}_pairs_names": table})
    found = read_survface_pairs(tmp_path)
    assert found.mated.tolist() == [True] * 10 + [False] * 10
    assert found.fold.tolist() == [*range(10), *range(10)]
    assert (found.first[10].subject, found.second[10].subject) == ("1", "2")


def test_frmdb_takes_views_and_frames(tmp_path: Path) -> None:
    for n in range(1, 40):
        put(tmp_path, *(f"cropped/surveillance/{n:03d}/Img_0{k}.png" for k in range(1, 6)))
        put(tmp_path, *(f"cropped/mugshots/{n:03d}/Img_{view}.png" for view in ("33", "53")))
        put(tmp_path, f"original/{n:03d}/{n:03d}_Mugshots/Img_33.JPG")
        put(tmp_path, *(f"original/{n:03d}/{n:03d}_Frames/Img_0{k}.jpg" for k in range(1, 6)))
    found = read_frmdb(tmp_path)
    assert (len(found.gallery), len(found.probes)) == (39, 195)
    assert (found.probes[6].subject, found.probes[6].tag("camera")) == ("002", "02")
    assert len(read_frmdb(tmp_path, views=("33", "53")).gallery) == 78
    assert read_frmdb(tmp_path, cropped=False).gallery[0].picture == tmp_path / "original/001/001_Mugshots/Img_33.JPG"
    with pytest.raises(InputError, match=r"39 files are missing \(cropped/mugshots/001/Img_03.png.*airtlab"):
        read_frmdb(tmp_path, views=("03",))


def test_helen_pairs_pictures_with_themselves_and_with_others(tmp_path: Path) -> None:
    names = [f"{k}_1" for k in range(30)]
    put(tmp_path, *(f"images/{name}.jpg" for name in names))
    (tmp_path / "testing.txt").write_text("".join(f"{k} , {name}\n" for k, name in enumerate(names)))
    found = read_helen(tmp_path, pairs=20)
    same = np.array([a.id == b.id for a, b in zip(found.first, found.second, strict=True)])
    assert np.array_equal(same, found.mated)
    assert (len(same), int(same.sum())) == (40, 20)
    assert np.bincount(found.fold).tolist() == [4] * 10
    again = read_helen(tmp_path, pairs=20)
    assert [s.id for s in again.second] == [s.id for s in found.second]
    assert [s.id for s in read_helen(tmp_path, pairs=20, seed=1).second] != [s.id for s in found.second]
    with pytest.raises(InputError, match="expected part"):
        read_helen(tmp_path, part="training")
