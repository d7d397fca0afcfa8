"""SCface and the generic protocol, on small trees in the exact layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from meetmid.errors import InputError
from meetmid.evaluation.protocols import read_folders, read_portraits, read_scface, read_table, subsets
from meetmid.evaluation.protocols import scface as module


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")


@pytest.fixture
def scface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "SUBJECTS", ("001", "002", "003"))
    for s in ("001", "002", "003"):
        put(tmp_path, f"mugshot_frontal_cropped_all/{s}_frontal.JPG", f"mugshot_frontal_original_all/{s}_frontal.jpg")
        for camera in range(1, 8):
            for distance in (1, 2, 3):
                put(tmp_path, f"surveillance_cameras_distance_{distance}/cam_{camera}/{s}_cam{camera}_{distance}.jpg")
    return tmp_path


def test_scface_pairs_mugshots_with_one_distance(scface: Path) -> None:
    found = read_scface(scface, distance=2, cameras=(1, 5))
    assert [s.id for s in found.probes] == [f"{s}_cam{c}_2" for c in (1, 5) for s in ("001", "002", "003")]
    assert found.probes[0].picture == scface / "surveillance_cameras_distance_2/cam_1/001_cam1_2.jpg"
    assert found.probes[4].tag("camera") == "5"
    assert found.probe_subjects[:3] == found.gallery_subjects == ["001", "002", "003"]
    cropped = read_scface(scface, mugshots="cropped")
    assert cropped.gallery[0].picture.name == "001_frontal.JPG"
    assert len(cropped.probes) == 15
    assert [s.tag("camera") for s in read_scface(scface, cameras=(6, 7)).probes][::3] == ["6", "7"]


def test_the_flat_copy_of_scface_serves_too(scface: Path) -> None:
    picture = scface / "surveillance_cameras_distance_1/cam_3/002_cam3_1.jpg"
    (scface / "surveillance_cameras_all").mkdir()
    picture.rename(scface / "surveillance_cameras_all" / "002_CAM3_1.JPG")
    assert read_scface(scface).probes[7].picture.name == "002_CAM3_1.JPG"


def test_an_incomplete_scface_says_what_is_missing_and_where_it_is_from(scface: Path) -> None:
    (scface / "mugshot_frontal_original_all/003_frontal.jpg").unlink()
    (scface / "surveillance_cameras_distance_1/cam_4/001_cam4_1.jpg").unlink()
    told = r"2 files are missing \(mugshot_frontal_original_all/003_frontal\.jpg, .*001_cam4_1\.jpg\); it is handed out at .*sc"
    with pytest.raises(InputError, match=told):
        read_scface(scface)
    with pytest.raises(InputError, match=r"expected its folder, found none at .*nowhere.*handed out at"):
        read_scface(scface / "nowhere")
    with pytest.raises(InputError, match="distance 1, 2 or 3"):
        read_scface(scface, distance=4)


def test_scface_has_130_subjects_and_650_visible_probes() -> None:
    assert len(module.SUBJECTS) * len(module.VISIBLE) == 650
    assert (module.SUBJECTS[0], module.SUBJECTS[-1]) == ("001", "130")


def test_subsets_restrict_both_sides_and_repeat(scface: Path) -> None:
    names = [f"{k:03d}" for k in range(130)]
    drawn = subsets(names, 80, 10)
    assert [len(chosen) for chosen in drawn] == [80] * 10
    assert len(set(drawn)) == 10
    assert subsets(reversed(names), 80, 10) == drawn
    found = read_scface(scface)
    kept = found.restricted(lambda s: s.subject != "002")
    assert kept.gallery_subjects == ["001", "003"]
    assert len(kept.probes) == 10
    with pytest.raises(InputError, match="at most 130 subjects, got 131"):
        subsets(names, 131, 1)


def test_a_table_names_sides_subjects_and_tags(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b/c.png")
    table = tmp_path / "mine.csv"
    table.write_text("side,file,subject,camera\ngallery,a.png,ann,\nprobe,b/c.png,ann,7\n")
    found = read_table(table)
    assert (found.name, found.gallery[0].id, found.probes[0].picture) == ("mine", "a.png", tmp_path / "b" / "c.png")
    assert found.probes[0].tags == (("camera", "7"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("side,file\nprobe,a.png\n", "got none of subject"),
        ("side,file,subject\nprobes,a.png,ann\n", "line 2: expected side probe or gallery"),
        ("side,file,subject\nprobe,a.png,\n", "line 2"),
        ("side,file,subject\nprobe,z.png,ann\ngallery,a.png,ann\n", r"1 pictures are missing \(z\.png\)"),
        ("side,file,subject\nprobe,a.png,ann\n", "expected gallery pictures, got none"),
        ("side,file,subject\nprobe,a.png,ann\nprobe,a.png,bob\ngallery,a.png,ann\n", "probe id once, got a.png more than once"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, told: str) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        read_table(tmp_path / "t.csv")


def test_folders_have_a_sub_folder_per_subject(tmp_path: Path) -> None:
    put(tmp_path, "p/ann/1.png", "p/bob/2.JPG", "p/bob/notes.txt", "g/ann/x.bmp", "g/bob/y.png")
    found = read_folders(tmp_path / "p", tmp_path / "g")
    assert [(s.id, s.subject) for s in found.probes] == [("ann/1.png", "ann"), ("bob/2.JPG", "bob")]
    with pytest.raises(InputError, match="sub-folder per subject, found none"):
        read_folders(tmp_path / "q", tmp_path / "g")


def test_portraits_keep_the_first_picture_of_everyone_as_gallery(tmp_path: Path) -> None:
    put(tmp_path, "ann/2.png", "ann/1.png", "ann/3.png", "bob/1.png", "cy/1.jpg", "cy/2.jpg", "cy/notes.txt")
    found = read_portraits(tmp_path)
    assert [s.id for s in found.gallery] == ["ann/1.png", "cy/1.jpg"]
    assert [s.id for s in found.probes] == ["ann/2.png", "ann/3.png", "cy/2.jpg"]
    with pytest.raises(InputError, match="at least two pictures"):
        read_portraits(tmp_path / "bob")


def test_scface_infrared_mugshots(scface: Path) -> None:
    put(scface, *(f"surveillance_cameras_IR_cam8/{s}_cam8.jpg" for s in ("001", "002", "003")))
    found = read_scface(scface, cameras=(6, 7), mugshots="infrared")
    assert found.gallery[2].picture == scface / "surveillance_cameras_IR_cam8/003_cam8.jpg"
    assert {s.tag("camera") for s in found.probes} == {"6", "7"}
