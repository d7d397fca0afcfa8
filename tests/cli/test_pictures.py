"""The commands that write pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import meetmid
from meetmid.cli import main


def test_degrade_writes_pictures_and_a_sheet(folders: Path) -> None:
    command = ["degrade", "gallery/0.png", "--paths", "len=1+identity", "-o", "out", "--sheet", "sheet.png"]
    assert main(command) == 0
    assert len(list(Path("out").glob("*.png"))) == 12
    with Image.open("out/gblur.png") as picture:
        expected = meetmid.degrade("gallery/0.png", "gblur")
        assert (np.array(picture) == expected).all()
    assert Path("sheet.png").stat().st_size > 1000


def test_degrade_takes_single_paths(folders: Path) -> None:
    for paths, names in (("gblur+downup", ["gblur+downup"]), ("disk,identity, gblur+disk", ["disk", "gblur+disk", "identity"])):
        assert main(["degrade", "gallery/0.png", "--paths", paths, "-o", paths, "-q"]) == 0
        assert sorted(path.stem for path in Path(paths).iterdir()) == names


def test_hallucinate_marks_what_it_writes(folders: Path, generators: list[str]) -> None:
    command = ["hallucinate", "probes/0.png", "--scale", "2", "4", "--levels", "3", "-o", "out", "--sheet", "s.png"]
    assert main([*command, *generators, "--device", "cpu"]) == 0
    names = sorted(path.name for path in Path("out").glob("*.png"))
    assert len(names) == 6
    assert all(name.startswith("synthetic-") for name in names)
    with Image.open(Path("out") / names[0]) as picture:
        assert picture.size == (48, 48)
        assert picture.text["Comment"].startswith("synthetic")


@pytest.mark.parametrize(("levels", "last"), [(1, "0.00"), (101, "1.00"), (102, "1.000")])
def test_every_level_has_a_file(folders: Path, generators: list[str], levels: int, last: str, capsys) -> None:
    command = ["hallucinate", "probes/0.png", "--scale", "2", "--levels", str(levels), "--lr-size", "8", "-o", "out"]
    assert main([*command, *generators, "--device", "cpu", "-q"]) == 0
    assert f"wrote {levels} pictures" in capsys.readouterr().out
    names = sorted(path.stem for path in Path("out").iterdir())
    assert len(names) == levels
    assert names[-1] == f"synthetic-2x-blur-{last}"


@pytest.mark.parametrize(
    ("command", "stage", "steps"),
    [
        (["degrade", "gallery/0.png", "--paths", "len=1"], "degrade", 11),
        (["hallucinate", "probes/0.png", "--levels", "1", "--device", "cpu", "--scale", "2", "4"], "scales", 2),
    ],
)
def test_pictures_are_made_with_a_bar(
    folders: Path, generators, command, stage, steps, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    command = [*command, *(generators if command[0] == "hallucinate" else ()), "--sheet", "s.png"]
    assert main(command) == 0
    shown = capsys.readouterr().err
    assert [f"] {k}/{steps} " in shown for k in range(steps + 2)] == [False, *[True] * steps, False]
    assert shown.count(f"\r{stage}") == steps
    assert main([*command, "-q"]) == 0
    assert capsys.readouterr().err == ""
