"""Every command, its output and its exit code, on tiny real models."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import meetmid
from meetmid.cli import main
from meetmid.cli.bar import Bar
from meetmid.demo import POINTS
from meetmid.identification import short_way

MODEL = ["--matcher", "small", "--centering", "set", "--faces", "crop", "-q", "--device", "cpu"]


@pytest.fixture
def folders(tmp_path: Path, face, make_matcher, tiny_family: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """probes/ and gallery/ with ten faces each, three probes broken; the matcher "small" is registered."""
    monkeypatch.chdir(tmp_path)
    card = make_matcher(tmp_path / "made")
    meetmid.models.add(card.path, name="small", like="arcface", size=[32, 32], license="MIT")
    for side in ("probes", "gallery"):
        (tmp_path / side).mkdir()
        for k in range(10):
            picture = Image.fromarray(face(k, 20 if side == "probes" else 64)).convert("L")  # no status tells of its colours
            picture.convert("RGB").save(tmp_path / side / f"{k}.png")
    (tmp_path / "probes" / "2.png").write_bytes(b"this is no picture")
    (tmp_path / "probes" / "5.png").write_bytes((tmp_path / "probes" / "4.png").read_bytes()[:200])
    (tmp_path / "probes" / "7.png").write_bytes(b"")
    return tmp_path


@pytest.fixture
def generators(tiny_family: str) -> list[str]:
    return ["--hallucinator", tiny_family]


def test_three_broken_of_ten_probes_lose_nothing(folders: Path, generators: list[str], capsys) -> None:
    assert main(["match", "probes", "gallery", "-o", "scores.csv", *MODEL, *generators]) == 1
    with open("scores.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["probe", "status", *(f"{k}.png" for k in range(10))]
    assert rows[1] == ["", "gallery status", *["ok"] * 10]
    good = [row for row in rows[2:] if row[1] == "ok"]
    bad = {row[0]: row for row in rows[2:] if row[1] != "ok"}
    assert len(good) == 7
    assert all(np.isfinite([float(v) for v in row[2:]]).all() for row in good)
    assert set(bad) == {"2.png", "5.png", "7.png"}
    assert all(row[2:] == [""] * 10 for row in bad.values())
    assert "expected a picture" in bad["2.png"][1]
    assert "truncated" in bad["5.png"][1]
    shown = capsys.readouterr()
    assert "2.png: no score" in shown.out
    assert "failed probe 5.png" in shown.err


def test_translators_and_asymmetric_matchers(folders: Path, make_translator, make_matcher, capsys) -> None:
    make_translator(folders / "negative")
    networks = [make_matcher(folders / name, name=name, seed=k, space="s") for k, name in enumerate(("student", "teacher"))]
    command = ["match", "probes", "gallery", *MODEL[2:], "--matcher", "student", "--gallery-matcher", "teacher"]
    command += ["--hallucinator", "negative", "--scales", "1", "--lr-size", "40", "--no-identity", "-o", "r.npz"]
    assert main(command) == 1
    result = meetmid.MatchResult.load("r.npz")
    assert (result.config.scales, result.config.lr_size, result.config.identity) == ((1,), 40, False)
    assert result.config.gallery_matcher == "teacher"
    assert set(result.models) == {"student", "teacher", "tiny-tr"}
    assert np.isfinite(result.scores[0]).all()
    assert main([*command[:-2], "--lr-size", "24"]) == 2
    assert "set lr_size=40" in capsys.readouterr().err
    assert {card.name for card in networks} < set(result.models)


@pytest.mark.parametrize("name", ["r.npz", "r.json"])
def test_results_can_be_read_back(folders: Path, generators: list[str], name: str) -> None:
    main(["match", "probes", "gallery", "-o", name, *MODEL, *generators])
    result = meetmid.MatchResult.load(name)
    assert result.scores.shape == (10, 10)
    assert np.isnan(result.scores[[2, 5, 7]]).all()
    assert result.probe_status[2] != "ok"


def test_an_enrolled_gallery_gives_the_same_candidates(folders: Path, generators: list[str], capsys) -> None:
    for name in ("2.png", "5.png", "7.png"):
        (folders / "probes" / name).unlink()
    assert main(["enroll", "gallery", "store", *MODEL, *generators]) == 0
    assert "enrolled 10 of 10" in capsys.readouterr().out
    assert main(["identify", "probes", "store", "-k", "3", "-o", "hits.json", *MODEL, *generators]) == 0
    assert main(["identify", "probes", "gallery", "-k", "3", "-o", "hits.csv", *MODEL, *generators]) == 0
    hits = json.loads(Path("hits.json").read_text())
    with open("hits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    flat = [(p, str(c["rank"]), c["id"], c["score"]) for p, found in hits.items() for c in found]
    assert [(r["probe"], r["rank"], r["id"], float(r["score"])) for r in rows] == flat
    assert len(flat) == 21


def test_a_probe_without_candidates_has_a_row_that_says_why(folders: Path, generators: list[str]) -> None:
    assert main(["identify", "probes", "gallery", "-k", "2", "-o", "hits.csv", *MODEL, *generators]) == 1
    assert main(["match", "probes", "gallery", "-o", "scores.csv", *MODEL, *generators]) == 1
    with open("hits.csv", newline="") as file:
        head, *rows = csv.reader(file)
    with open("scores.csv", newline="") as file:
        told = {row[0]: row[1] for row in list(csv.reader(file))[2:]}
    assert head == ["probe", "status", "rank", "id", "score", "log10_lr", "decision"]
    assert [row[0] for row in rows] == [f"{k}.png" for k in range(10) for _ in range(1 if k in (2, 5, 7) else 2)]
    assert all(row[1] == told[row[0]] for row in rows)
    assert [row for row in rows if row[2] == ""] == [[f"{k}.png", told[f"{k}.png"], *[""] * 5] for k in (2, 5, 7)]


def test_a_name_that_is_no_unicode_keeps_its_bytes(folders: Path, generators: list[str], capsys) -> None:
    name = b"bad\xff.png"
    for side in ("probes", "gallery"):
        try:
            os.rename(f"{side}/0.png", os.path.join(os.fsencode(side), name))
        except OSError:
            pytest.skip("this file system takes Unicode alone")
    for verb, before in (("match", b""), ("identify", b"\n")):
        Path("w.csv").write_text("older")
        assert main([verb, "probes", "gallery", "-k", "10", "-o", "w.csv", *MODEL, *generators]) == 1
        assert before + name + b",ok" in Path("w.csv").read_bytes()
        with open("w.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
            assert os.fsdecode(name) in {cell for row in csv.reader(file) for cell in row[1:]}
        shown = capsys.readouterr().out
        assert "bad\\udcff.png: " in shown
        assert shown.count("bad\\udcff.png ") == 7


def test_what_hides_a_part_of_the_probes_is_said_to_both_commands(folders: Path, generators: list[str], capsys) -> None:
    said = ["--covered-by", "mask", *MODEL, *generators]
    assert main(["enroll", "gallery", "store", *said]) == 0
    assert main(["match", "probes", "store", "-o", "r.json", *said]) == 1
    result = meetmid.MatchResult.load("r.json")
    assert result.config.covered_by == "mask"
    assert any("covered_by='mask'" in text for text in result.warnings)
    assert main(["match", "probes", "store", "-o", "r.json", *MODEL, *generators]) == 2
    assert "differing: covered_by" in capsys.readouterr().err


def test_enrolling_tells_of_swapped_red_and_blue(folders: Path, generators: list[str], capsys) -> None:
    assert main(["enroll", "gallery", "store", *MODEL, *generators]) == 0
    assert "bluer" not in capsys.readouterr().err
    for k in (1, 2):
        skin = np.zeros((64, 64, 3), np.uint8) + np.array([90, 120, 170], np.uint8)
        Image.fromarray(skin).save(folders / "gallery" / f"{k}.png")
    assert main(["enroll", "gallery", "wrong", *MODEL, *generators]) == 0
    assert "note: 2 of 10 portraits: bluer than red" in capsys.readouterr().err


def test_one_enrolment_for_probes_of_several_sizes(folders: Path, generators: list[str], capsys) -> None:
    options = [*MODEL, *generators, "--preset", "fast", "--scales", "2", "--lr-size", "12,24"]
    assert main(["enroll", "gallery", "store", *options]) == 0
    assert main(["match", "probes", "store", "-o", "store.json", *options]) == 1
    assert main(["match", "probes", "gallery", "-o", "pictures.json", *options]) == 1
    one, other = (meetmid.MatchResult.load(name) for name in ("store.json", "pictures.json"))
    assert one.config.lr_size == (12, 24)
    assert np.array_equal(one.scores, other.scores, equal_nan=True)
    capsys.readouterr()
    assert main(["match", "probes", "store", *options[:-1], "24"]) == 2
    assert "differing: lr_size" in capsys.readouterr().err


def test_candidates_may_be_found_by_the_short_way(folders: Path, generators: list[str], capsys, monkeypatch) -> None:
    taken = []

    def short(*args: object) -> object:
        taken.append(args[5])
        return short_way(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("meetmid.matcher.short_way", short)
    monkeypatch.setattr("meetmid.identification.WORTH", 0)
    Path("gallery/10.png").write_bytes(b"this is no picture")
    rules = ["--fusion", "S_add,S_max", *MODEL, *generators]
    assert main(["enroll", "gallery", "store", *MODEL, *generators]) == 1
    capsys.readouterr()
    shown = []
    for short in ([], ["--miss", "1e-6"]):
        assert main(["identify", "probes", "store", "-k", "3", "-o", f"hits{len(short)}.csv", *short, *rules]) == 1
        shown.append(capsys.readouterr())
    assert shown[0] == shown[1]
    assert "failed gallery 10.png" in shown[1].err
    assert shown[1].err.count("failed probe ") == 3
    assert "uncalibrated" in shown[1].err
    assert Path("hits0.csv").read_bytes() == Path("hits2.csv").read_bytes()
    assert taken == [1e-6]
    for what, short, told in (("gallery", "0.1", "--miss expects an enrolled gallery"), ("store", "1", "expects a chance")):
        assert main(["identify", "probes", what, "--miss", short, *rules]) == 2
        assert told in capsys.readouterr().err


def test_match_explains_the_best_candidates(folders: Path, generators: list[str]) -> None:
    assert main(["match", "probes", "gallery", "--explain", "why.png", *MODEL, *generators]) == 1
    with Image.open("why.png") as sheet:
        assert sheet.width > 500
        assert "synthetic" in sheet.text["Comment"] or "Comment" not in sheet.text


def test_nothing_to_explain_loses_nothing(folders: Path, generators: list[str], capsys) -> None:
    for path in (folders / "probes").iterdir():
        path.write_bytes(b"this is no picture")
    command = ["match", "probes", "gallery", "--explain", "new/why.png", "-o", "scores.csv", *MODEL[:2], *MODEL[4:]]
    assert main([*command, "--centering", "none", *generators]) == 1
    shown = capsys.readouterr()
    assert "note: new/why.png was not written, there is nothing to explain: no probe has a score" in shown.err
    assert shown.err.count("failed probe ") == 10
    assert shown.out.count(": no score") == 10
    assert Path("scores.csv").is_file()
    assert not Path("new").exists()


def test_without_crops_the_matches_stay(folders: Path, generators: list[str], capsys) -> None:
    with meetmid.Matcher(
        matcher="small", hallucinator=generators[1], centering="set", faces="crop", device="cpu", keep_crops=False
    ) as matcher:
        matcher.enroll("gallery", path="store")
    command = ["match", "gallery", "store", "-o", "scores.csv", *MODEL, *generators]
    assert main(command) == 0
    assert main([*command, "--explain", "why.png"]) == 1
    shown = capsys.readouterr()
    assert "note: why.png was not written, there is nothing to explain: no crops were kept" in shown.err
    assert "failed" not in shown.err
    assert not Path("why.png").exists()


def test_the_folder_of_an_explanation_is_made(folders: Path, generators: list[str]) -> None:
    assert main(["match", "gallery", "gallery", "--explain", "new/one/why.PNG", *MODEL, *generators]) == 0
    assert Path("new/one/why.PNG").stat().st_size > 1000


def test_matching_and_identifying_tell_the_same_notes(folders: Path, generators: list[str], capsys) -> None:
    notes = []
    for verb in ("match", "identify"):
        assert main([verb, "gallery", "gallery", *MODEL, *generators]) == 0
        shown = capsys.readouterr()
        assert "note:" not in shown.out
        notes.append([line for line in shown.err.splitlines() if line.startswith("note: ")])
    assert notes[0] == notes[1]
    assert any("uncalibrated" in note for note in notes[0])


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


def test_plan_counts_what_a_match_costs(folders: Path, generators: list[str], capsys) -> None:
    assert main(["plan", "650", "130", "--preset", "paper", *MODEL[:2], *generators, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "570,570" in shown
    assert "31,200" in shown
    assert main(["plan", "1", "1", "--all", *MODEL[:2], *generators, "--device", "cpu"]) == 0
    assert capsys.readouterr().out.count("seconds here") == len(meetmid.PRESETS)


def test_plan_shows_the_curve_of_the_shipped_pair(capsys) -> None:
    assert main(["plan", "--curve", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    paths = meetmid.Matcher("accurate", device="cpu").config.paths
    assert [line.split()[-1] for line in lines[3:]] == ["+".join(path) for path in paths]
    assert main(["plan", "1"]) == 2
    assert "expects probes and a gallery" in capsys.readouterr().err


def test_models_are_listed_shown_and_added(folders: Path, capsys) -> None:
    assert main(["models"]) == 0
    assert "small" in capsys.readouterr().out
    assert main(["models", "show", "small"]) == 0
    assert 'name = "small"' in capsys.readouterr().out
    assert main(["models", "add", "made/model.onnx", "--as", "other"]) == 3  # 112 px is not what it takes
    assert main(["models", "add"]) == 2


def test_hallucinators_are_added_as_a_family(folders: Path, make_hallucinator, capsys) -> None:
    for scale in (2, 4):
        path = str(make_hallucinator(folders / f"sr{scale}", scale).path)
        command = ["models", "add", path, "--task", "hallucinator", "--scale", str(scale), "--family", "zoo"]
        assert main([*command, "--as", f"zoo-x{scale}", "--license", "MIT"]) == 0
        assert f"added zoo-x{scale}" in capsys.readouterr().out
    card = meetmid.models.get("zoo-x4")
    assert (card.task, card.family, card.contract.scale, card.license) == ("hallucinator", "zoo", 4, "MIT")
    assert (card.contract.size, card.contract.std) == ((0, 0), (1.0, 1.0, 1.0))  # those of --like edsr
    command = ["hallucinate", "probes/0.png", "--scale", "2", "4", "--levels", "1", "-o", "out", "--device", "cpu"]
    assert main([*command, "--hallucinator", "zoo"]) == 0
    assert len(list(Path("out").glob("*.png"))) == 2
    assert main(["models", "add", path, "--task", "hallucinator", "--scale", "4", "--like", "arcface", "--as", "a"]) == 0
    assert meetmid.models.get("a").contract.size == (112, 112)


def test_a_matcher_is_added_with_the_contract_of_arcface(folders: Path, make_matcher) -> None:
    path = str(make_matcher(folders / "big", size=112).path)
    assert main(["models", "add", path, "--as", "big", "--family", "tiny"]) == 0
    card = meetmid.models.get("big")
    assert (card.task, card.family, card.contract.size) == ("matcher", "tiny", (112, 112))
    assert card.contract.alignment == "arcface-112"


def test_doctor_examines_this_environment(capsys) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "onnxruntime" in shown
    assert "error" not in shown.split()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["match", "nowhere", "gallery", *MODEL], 2, "nowhere does not exist"),
        (["match", "probes", "gallery", *MODEL, "--fusion", "S_add"], 2, "PROBE_RULE,GALLERY_RULE"),
        (["match", "probes", "gallery", *MODEL, "--fusion", "T_concat,S_max"], 2, "T_concat needs both sides"),
        (["match", "probes", "gallery", *MODEL, "-o", "x.txt"], 2, "saved as .csv, .npz or .json"),
        (["match", "probes", "gallery", *MODEL, "--memory-limit", "0.001"], 2, "memory_limit expects at least"),
        (["match", "probes", "gallery", "--matcher", "nobody"], 3, "unknown model 'nobody'"),
        (["match", "probes", "gallery", *MODEL[:-1], "abacus"], 3, "device expects auto"),
        (["match", "probes", "gallery", *MODEL, "--detector", "yunet:none.onnx"], 3, "none.onnx does not exist"),
        (["degrade", "gallery/0.png", "--paths", "melt", "--sheet", "s.png"], 2, "melt"),
        (["match", "probes", "gallery", *MODEL, "-o", "no/x.csv"], 2, "expected a folder that exists, got no"),
        (["match", "probes", "gallery", *MODEL, "-o", "store.npz"], 2, "store.npz: expected a file to write, got a folder"),
        (["match", "probes", "gallery", *MODEL, "--explain", "x.jpg"], 2, "saved as .png, got '.jpg'"),
        (["match", "probes", "gallery", *MODEL, "--explain", "why"], 2, "saved as .png, got 'no ending'"),
        (["match", "probes", "gallery", *MODEL, "--explain", "dir.png"], 2, "expected a file to write, got a folder"),
        (["match", "probes", "gallery", *MODEL, "--explain", "gallery/0.png/a/b.png"], 2, "exists, got gallery/0.png"),
        (["match", "probes", "gallery", *MODEL, "-k", "0"], 2, "-k expects at least 1, got 0"),
        (["match", "probes", "gallery", *MODEL, "--errors", "raise"], 2, "probe 2.png: probes/2.png: expected a picture"),
        (["match", "probes", "gallery", *MODEL, "--threads", "0"], 2, "threads expects at least 1"),
        (["match", "probes", "gallery", *MODEL, "--seed", "-1"], 2, "seed expects"),
        (["match", "probes", "gallery", *MODEL, "--lr-size", "24,16"], 2, "two or more of them in rising order"),
        (["match", "probes", "gallery", *MODEL, "--reference", "no.npz"], 2, "no.npz: expected reference means"),
        (["identify", "probes", "gallery", "-k", "0"], 2, "-k expects at least 1, got 0"),
        (["identify", "probes", "gallery", "-o", "x.npz"], 2, "saved as .csv or .json, got '.npz'"),
        (["identify", "probes", "gallery", "--strength", "100"], 2, "--strength expects --calibration"),
        (["identify", "a", "b", "--calibration", "c.json", "--strength", "1"], 2, "a likelihood ratio above 1, got 1.0"),
        (["match", "a", "b", "--calibration", "c.json", "--strength", "nan"], 2, "a likelihood ratio above 1, got nan"),
        (["enroll", "gallery", "probes"], 2, "expected a new path or an enrolled gallery, it holds something else"),
        (["degrade", "gallery/0.png"], 2, "nothing to write"),
        (["degrade", "gallery/0.png", "-o", "gallery/1.png"], 2, "a folder to write, got the file gallery/1.png"),
        (["degrade", "gallery/0.png", "-o", "gallery/1.png/new"], 2, "new: expected a folder to write, got the file"),
        (["degrade", "gallery/0.png", "--paths", "len<=4", "--sheet", "s.png"], 2, "single paths are written as gblur+"),
        (["degrade", "gallery/0.png", "--paths", "gblur,gblur", "--sheet", "s.png"], 2, "each path once, got gblur twice"),
        (["degrade", "none.png", "--sheet", "s.png"], 2, "none.png: expected a readable picture file"),
        (["degrade", "gallery/0.png", "--seed", "-1", "--sheet", "s.png"], 2, "seed expects"),
        (["degrade", "gallery/0.png", "--sheet", "gallery/0.png/s.png"], 2, "gallery/0.png"),
        (["hallucinate", "gallery/0.png", "--levels", "0", "--sheet", "s.png"], 2, "--levels expects at least 1"),
        (["hallucinate", "gallery/0.png", "--lr-size", "-4", "--sheet", "s.png"], 2, "--lr-size expects at least 8 px"),
        (["hallucinate", "gallery/0.png", "--scale", "2", "2", "--sheet", "s.png"], 2, "each scale once, got 2 2"),
        (["hallucinate", "gallery/0.png", "--scale", "3", "--sheet", "s.png"], 3, "has no [3] x model"),
        (["plan", "-1", "5", "--matcher", "small"], 2, "plan expects counts of 0 or more"),
        (["models", "add", "x.onnx", "--task", "hallucinator"], 2, "expects --scale N with --task hallucinator"),
        (["models", "add", "x.onnx", "--scale", "2"], 2, "expects --scale N with --task hallucinator, and only there"),
        (["models", "add", "made/model.onnx", "--as", "a", "--family", "a/b"], 3, "a model family expects"),
        (["models", "show", "nobody"], 3, "unknown model 'nobody'"),
        (["models", "add", "none.onnx"], 3, "none.onnx does not exist"),
        (["models", "add", "made/model.onnx", "--like", "facenet"], 3, "unknown contract 'facenet'"),
        (["hallucinate", "probes/2.png", "--sheet", "s.png"], 2, "expected a picture"),
    ],
)
def test_wrong_use_is_told_and_coded(folders: Path, generators, command, code, message, capsys) -> None:
    for folder in ("dir.png", "store.npz"):
        (folders / folder).mkdir()
    if command[0] == "match":
        command = [*command, *generators]
    assert main(command) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        [], ["match"], ["match", "a"], ["fly"], ["models", "burn"],
        ["models", "add", "x.onnx", "--task", "detector"], ["models", "add", "x.onnx", "--scale", "two"],
        ["match", "a", "b", "--preset", "best"], ["match", "a", "b", "--memory-limit", "nan"],
        ["match", "a", "b", "--memory-limit", "much"], ["match", "a", "b", "--lr-size", "16,large"],
    ],
)
def test_usage_errors_exit_with_two(command: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_nothing_is_computed_for_an_output_that_cannot_be_written(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("meetmid.matcher.Matcher.match", lambda *_: pytest.fail("matched before the output was checked"))
    for verb in ("match", "identify"):
        assert main([verb, "probes", "gallery", *MODEL, "-o", "scores.txt"]) == 2
        assert main([verb, "probes", "gallery", *MODEL, "--calibration", "c.json", "--strength", "0.5"]) == 2
    for sheet in ("why.jpg", "gallery", "gallery/0.png/why.png"):
        assert main(["match", "probes", "gallery", *MODEL, "--explain", sheet]) == 2
    monkeypatch.setattr("meetmid.gallery.tree.walk", lambda *_, **__: pytest.fail("degraded before the output was checked"))
    assert main(["degrade", "gallery/0.png", "-o", "gallery/1.png"]) == 2
    Path("old.csv").write_text("older")
    capsys.readouterr()
    monkeypatch.setattr("os.access", lambda path, mode: path != Path("."))
    for command in (["match", "probes", "gallery", *MODEL, "-o", "old.csv"], ["degrade", "gallery/0.png", "-o", "new"]):
        assert main(command) == 2
        assert f"{command[-1]}: expected to write there, but . is read-only" in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert main(["match", "probes", "gallery", *MODEL, "--explain", "new/why.png"]) == 2
    assert "new/why.png: expected to write there, but . is read-only" in capsys.readouterr().err
    assert not Path("new").exists()


def test_an_enrolment_with_failures_is_listed_and_can_be_replaced(folders: Path, generators: list[str], capsys) -> None:
    assert main(["enroll", "probes", "store", *MODEL, *generators]) == 1
    shown = capsys.readouterr()
    assert "enrolled 7 of 10 entries in store" in shown.out
    assert "failed gallery 5.png" in shown.err
    assert main(["enroll", "gallery", "store", "--overwrite", *MODEL, *generators]) == 0
    assert main(["match", "gallery", "store", "-k", "1", *MODEL, *generators]) == 0
    assert "3.png: 3.png" in capsys.readouterr().out


def test_a_subject_with_several_pictures_is_one_row(folders: Path, generators: list[str], capsys) -> None:
    for name in ("3.png", "4.png", "5.png"):
        (folders / "probes" / "ann").mkdir(exist_ok=True)
        (folders / "probes" / name).rename(folders / "probes" / "ann" / name)
    assert main(["identify", "probes", "gallery", "-k", "1", *MODEL, *generators]) == 1
    shown = capsys.readouterr()
    assert "ann: " in shown.out
    assert "failed probe ann" not in shown.err


def test_a_broken_environment_exits_with_three(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken(options: object) -> int:
        raise ImportError("no module")

    monkeypatch.setattr("meetmid.cli.commands.models", broken)
    assert main(["models"]) == 3
    assert "run `meetmid doctor`" in capsys.readouterr().err


def test_a_missing_optional_package_exits_with_three(
    folders: Path, generators: list[str], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name in ("insightface", "insightface.model_zoo"):
        monkeypatch.setitem(sys.modules, name, None)
    command = ["match", "gallery", "gallery", *MODEL, *generators, "--faces", "detect", "--detector"]
    assert main([*command, "insightface:buffalo_l"]) == 3
    assert "pip install 'meetmid[insightface]'" in capsys.readouterr().err
    assert main([*command, "abacus:x"]) == 2


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("meetmid.cli.commands.models", interrupted)
    assert main(["models"]) == 130
    assert "cancelled" in capsys.readouterr().err


def test_the_doctor_tells_and_mends(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from meetmid.runtime.doctor import Finding

    bad = (Finding("python", "ok", "fine"), Finding("onnxruntime", "error", "is gone", (("pip", "install", "it"),)))
    monkeypatch.setattr("meetmid.runtime.doctor.diagnose", lambda: bad)
    assert main(["doctor"]) == 3
    shown = capsys.readouterr().out
    assert "error   onnxruntime: is gone" in shown
    assert "cure: pip install it" in shown
    monkeypatch.setattr("meetmid.runtime.repair.repair", lambda findings: findings[:1])
    assert main(["doctor", "--repair"]) == 0
    assert "repairing onnxruntime" in capsys.readouterr().err


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "meetmid", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, f"meetmid {meetmid.__version__}")


def test_the_bar_is_drawn_on_terminals_only(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    Bar()(1, 2, "probe")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    bar = Bar()
    bar(1, 2, "probe")
    now = iter((10.0, 10.0, 12.0, 14.0))
    monkeypatch.setattr("meetmid.cli.bar.time.monotonic", lambda: next(now))
    bar(3, 10, "gallery")  # three were done by an earlier run
    bar(4, 10, "gallery")
    bar(10, 10, "gallery")
    shown = capsys.readouterr().err
    assert "1/2" in shown
    assert "3/10 " in shown
    assert "4/10    0.5/s     12 s left" in shown
    assert shown.rstrip(" \n").endswith("10/10    1.8/s      0 s left")
    assert shown.endswith("\n")


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


def test_the_demo_matches_six_faces_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    pytest.importorskip("insightface", reason="the demo uses the photograph inside the insightface package")
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "-o", "out", "--device", "cpu"]) == 0
    assert "6 of 6 probes" in capsys.readouterr().out
    assert {p.name for p in Path("out").iterdir()} == {"scores.csv", "result.npz", "pipeline.png", "explained.png"}
    result = meetmid.MatchResult.load("out/result.npz")
    assert (result.scores.argmax(axis=1) == np.arange(6)).all()


def test_the_demo_takes_the_photograph_without_importing_its_package(
    tmp_path: Path, face, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    folder = tmp_path / "site" / "insightface"
    (folder / "data" / "images").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('must not be imported')")
    photo = np.full((886, 1280, 3), 120, np.uint8)
    for k, points in enumerate(POINTS):
        x, y = np.mean(points, axis=0).astype(int) - 60
        photo[y : y + 120, x : x + 120] = face(k, 120)
    Image.fromarray(photo).save(folder / "data" / "images" / "t1.jpg", quality=95)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert main(["demo", "-o", str(tmp_path / "out"), "--device", "cpu", "--preset", "plain", "--size", "32"]) == 0
    assert "probe 6" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 4
    with Image.open(tmp_path / "out" / "explained.png") as sheet:
        assert "Comment" not in sheet.text  # the plain preset has no super-resolution


def test_the_demo_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo", "-o", str(tmp_path)]) == 3
    assert "pip install 'meetmid[insightface]'" in capsys.readouterr().err
