"""Matching, enrolling, identifying and planning at the command line."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_model import MODEL

import meetmid
from meetmid.cli import main
from meetmid.identification import short_way


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
