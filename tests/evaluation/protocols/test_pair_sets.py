"""LFW and its relatives on small trees in the exact layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from meetmid.errors import InputError
from meetmid.evaluation.protocols import read_calfw, read_cplfw, read_lfw, read_xqlfw


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")


PAIRS = (
    "2\t2\nAnn_A\t1\t2\nBob_B\t1\t3\nAnn_A\t1\tBob_B\t1\nAnn_A\t2\tCy\t1\n"
    "Cy\t1\t2\nAnn_A\t1\t2\nCy\t2\tBob_B\t3\nBob_B\t1\tCy\t1\n"
)
NAMES = ["Ann_A/Ann_A_0001", "Ann_A/Ann_A_0002", "Bob_B/Bob_B_0001", "Bob_B/Bob_B_0003", "Cy/Cy_0001", "Cy/Cy_0002"]


@pytest.mark.parametrize("top", ["lfw/", "lfw-deepfunneled/", ""])
def test_lfw_reads_its_pairs_and_folds(tmp_path: Path, top: str) -> None:
    put(tmp_path, *(f"{top}{name}.jpg" for name in NAMES))
    (tmp_path / "pairs.txt").write_text(PAIRS)
    found = read_lfw(tmp_path)
    assert found.mated.tolist() == [True, True, False, False, True, True, False, False]
    assert found.fold.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (found.first[1].id, found.second[1].id) == ("Bob_B/Bob_B_0001", "Bob_B/Bob_B_0003")
    assert [s.subject for s in found.second[2:4]] == ["Bob_B", "Cy"]
    assert all((a.subject == b.subject) == m for a, b, m in zip(found.first, found.second, found.mated, strict=True))


def test_xqlfw_has_lfws_format(tmp_path: Path) -> None:
    put(tmp_path, *(f"lfw_original_imgs_min_qual0.85variant11/{name}.jpg" for name in NAMES))
    (tmp_path / "xqlfw_pairs.txt").write_text(PAIRS)
    assert len(read_xqlfw(tmp_path).first) == 8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Ann_A\t1\t2\n", "expected a first line '10 300'"),
        ("2\t2\nAnn_A\t1\t2\n", "expected 8 pairs in pairs.txt, got 1"),
        (PAIRS.replace("Cy\t1\t2", "Cy\tone\t2"), "in line 6 of pairs.txt"),
        (PAIRS.replace("Cy\t1\t2", "Cy\t1\t7"), r"1 files are missing \(lfw/Cy/Cy_0007\.jpg\); it is handed out at"),
    ],
)
def test_damaged_lists_are_refused(tmp_path: Path, text: str, told: str) -> None:
    put(tmp_path, *(f"lfw/{name}.jpg" for name in NAMES))
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=told):
        read_lfw(tmp_path)


@pytest.mark.parametrize(("read", "name"), [(read_calfw, "pairs_CALFW.txt"), (read_cplfw, "pairs_CPLFW.txt")])
def test_two_lines_are_a_pair(tmp_path: Path, read, name: str) -> None:
    put(tmp_path, *(f"aligned images/{n}.jpg" for n in ("Ann_A_0001", "Ann_A_0002", "Bob_0001")))
    (tmp_path / name).write_text("Ann_A_0001.jpg 1\nAnn_A_0002.jpg 1\nAnn_A_0001.jpg 0\nBob_0001.jpg 0\n" * 10)
    found = read(tmp_path)
    assert found.mated.tolist() == [True, False] * 10
    assert found.fold.tolist() == [k // 2 for k in range(20)]
    assert (found.first[0].subject, found.second[1].subject) == ("Ann_A", "Bob")
    mates = "".join(f"Ann_A_0001.jpg {k}\nAnn_A_0002.jpg {k}\n" for k in (3, 1, 2, 1))  # all of a kind first, their folds told
    (tmp_path / name).write_text(mates + "Ann_A_0001.jpg 0\nBob_0001.jpg 0\n" * 6)
    assert read(tmp_path).fold.tolist() == [2, 0, 1, 0, 0, 0, 1, 1, 2, 2]
    (tmp_path / name).write_text("Ann_A_0001.jpg 1\n")
    with pytest.raises(InputError, match="two lines 'picture label' for every pair"):
        read(tmp_path)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 files are missing \(pairs\.txt\)"):
        read_lfw(tmp_path)
