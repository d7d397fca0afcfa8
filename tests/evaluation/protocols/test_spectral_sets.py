"""Near-infrared and thermal sets on small trees in the exact layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from meetmid.errors import InputError
from meetmid.evaluation.protocols import (
    read_arl_vtf,
    read_buaa,
    read_casia,
    read_oulu,
    read_speaking_faces,
    read_tufts,
    read_vis_th,
)


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")


def test_casia_reads_the_lists_of_a_fold(tmp_path: Path) -> None:
    put(tmp_path, "s1/VIS/10001/001.jpg", "s3/NIR/20385/008.bmp", "s4/NIR/30001/002.jpg")
    lists = tmp_path / "protocols"
    lists.mkdir()
    (lists / "vis_gallery_2.txt").write_text("s1\\VIS\\10001\\001.jpg\r\n")
    (lists / "nir_probe_2.txt").write_text("s3\\NIR\\20385\\008.bmp\r\ns4\\NIR\\30001\\002.bmp\r\n")
    found = read_casia(tmp_path, 2)
    assert [(s.id, s.subject) for s in found.probes] == [("s3/NIR/20385/008", "20385"), ("s4/NIR/30001/002", "30001")]
    assert found.probes[1].picture.name == "002.jpg"
    assert found.gallery_subjects == ["10001"]
    with pytest.raises(InputError, match=r"2 files are missing \(protocols/vis_gallery_1\.txt, protocols/nir_probe_1\.txt\)"):
        read_casia(tmp_path, 1)
    with pytest.raises(InputError, match="fold 1 to 10 or 'dev', got 11"):
        read_casia(tmp_path, 11)
    (lists / "nir_probe_2.txt").write_text("nonsense\n")
    with pytest.raises(InputError, match="lines like"):
        read_casia(tmp_path, 2)


def test_buaa_takes_even_pictures_as_probes(tmp_path: Path) -> None:
    put(tmp_path, *(f"{s}/{n}.bmp" for s in (50, 51, 52) for n in range(1, 29)), "readme.txt")
    found = read_buaa(tmp_path)
    assert found.gallery_subjects == ["51", "52"]
    assert [s.id for s in found.probes][:3] == ["51/2", "51/4", "51/6"]
    assert len(found.probes) == 28
    (tmp_path / "52" / "6.bmp").unlink()
    with pytest.raises(InputError, match=r"1 files are missing \(52/6\.bmp\)"):
        read_buaa(tmp_path)


def test_oulu_takes_eight_of_every_expression(tmp_path: Path) -> None:
    expressions = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
    for spectrum in ("NI", "VL"):
        put(
            tmp_path,
            *(f"{spectrum}/Strong/P00{s}/{e}/{n:03d}.jpeg" for e in expressions for s in (1, 2) for n in range(1, 10)),
        )
    found = read_oulu(tmp_path)
    assert (len(found.gallery), len(found.probes)) == (96, 96)  # 48 of each subject
    assert found.probes[0].id == "NI/Strong/P001/Anger/001"
    assert found.probes[0].tag("expression") == "Anger"
    assert set(read_oulu(tmp_path, subjects=("P002",)).probe_subjects) == {"P002"}
    (tmp_path / "VL/Strong/P002/Fear/001.jpeg").unlink()
    (tmp_path / "VL/Strong/P002/Fear/002.jpeg").unlink()
    with pytest.raises(InputError, match="VL/Strong/P002/Fear: 1 of 8 pictures"):
        read_oulu(tmp_path)
    with pytest.raises(InputError, match="light 'Strong', 'Weak' or 'Dark', got 'Noon'"):
        read_oulu(tmp_path, light="Noon")


def test_arl_vtf_resolves_its_row_numbers(tmp_path: Path) -> None:
    put(tmp_path, "images/test/7/a/BAS_RGB2_x.png", "images/test/7/a/FLIR_USB_x.png")
    (tmp_path / "metadata.csv").write_text(
        ",timestamp,camera,condition,eyewear,subid,filepath\n"
        "0,1,BAS_RGB2,baseline,,7,test/7/a/BAS_RGB2_x.png\n12,1,FLIR_USB,baseline,glasses,7,images/test/7/a/FLIR_USB_x.png\n"
    )
    put(tmp_path, "splits/test/x")
    (tmp_path / "splits/test/gallery_0010.txt").write_text("0\n")
    (tmp_path / "splits/test/probes_0010_baseline.txt").write_text("12\n")
    found = read_arl_vtf(tmp_path)
    assert found.probe_subjects == found.gallery_subjects == ["7"]
    assert (found.probes[0].tag("camera"), found.probes[0].tag("eyewear")) == ("FLIR_USB", "glasses")
    assert found.probes[0].truth == tmp_path / "images/test/7/a/BAS_RGB2_x.png"
    assert found.gallery[0].truth is None
    (tmp_path / "splits/test/probes_0010_baseline.txt").write_text("13\n")
    with pytest.raises(InputError, match=r"row numbers of metadata\.csv in probes_0010_baseline\.txt, got '13'"):
        read_arl_vtf(tmp_path)
    (tmp_path / "metadata.csv").write_text(",camera\n0,x\n")
    with pytest.raises(InputError, match="columns subid and filepath"):
        read_arl_vtf(tmp_path)


def test_speaking_faces_enrols_trial_one_and_searches_trial_two(tmp_path: Path) -> None:
    for position in range(1, 10):
        put(
            tmp_path, f"sub_101/trial_1/rgb_image/101_1_1_{position}_1_2.png",
            f"sub_101/trial_2/thr_image/101_2_1_{position}_1_1.png",
            f"sub_101/trial_1/rgb_image_aligned/101_1_1_{position}_1_3.png",
        )
    found = read_speaking_faces(tmp_path, subjects=(101,))
    assert (len(found.gallery), len(found.probes)) == (9, 9)
    assert found.probes[3].truth is None
    put(tmp_path, "sub_101/trial_2/rgb_image_aligned/101_2_1_4_1_3.png")
    truth = read_speaking_faces(tmp_path, subjects=(101,)).probes[3].truth
    assert truth == tmp_path / "sub_101/trial_2/rgb_image_aligned/101_2_1_4_1_3.png"
    assert found.probes[3].picture.name == "101_2_1_4_1_1.png"
    assert read_speaking_faces(tmp_path, subjects=(101,), aligned=True).gallery[0].picture.parent.name == "rgb_image_aligned"
    with pytest.raises(InputError, match=r"738 files are missing \(sub_102/"):
        read_speaking_faces(tmp_path)  # 41 other subjects, 9 positions, 2 trials


@pytest.mark.parametrize("tops", [("", ""), ("TD_RGB_E_Set1/", "TD_IR_E_Set2/")])
def test_tufts_searches_five_expressions(tmp_path: Path, tops: tuple[str, str]) -> None:
    for s in (3, 12):
        put(tmp_path, f"{tops[0]}{s}/TD_RGB_E_1.jpg", *(f"{tops[1]}{s}/TD_IR_E_{n}.jpg" for n in range(1, 6)))
    found = read_tufts(tmp_path)
    assert found.gallery_subjects == ["3", "12"]
    assert len(found.probes) == 10
    assert set(read_tufts(tmp_path, subjects=("12",)).probe_subjects) == {"12"}
    with pytest.raises(InputError, match="6 files are missing"):
        read_tufts(tmp_path, subjects=("3", "99"))


def test_vis_th_reads_the_names_of_its_files(tmp_path: Path) -> None:
    for s in range(41, 51):
        put(tmp_path, f"VIS/VIS_1_{s:03d}_1_01_NN.bmp", f"VIS/VIS_1_{s:03d}_1_02_EH.bmp", f"TH/TH_1_{s:03d}_1_01_NN.bmp")
        put(tmp_path, f"TH/TH_1_{s:03d}_1_09_PU.bmp")
    put(tmp_path, "VIS/VIS_1_007_1_01_NN.bmp")
    found = read_vis_th(tmp_path)
    assert len(found.gallery) == 10
    assert len(found.probes) == 20
    assert found.probes[1].tags == (("code", "PU"), ("variation", "09"))
    with pytest.raises(InputError, match="VIS pictures of subject 1, "):
        read_vis_th(tmp_path, subjects=(1,))
