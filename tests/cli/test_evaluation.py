"""``meetmid evaluate`` on small trees in the published layouts, with tiny real models."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import meetmid
from meetmid.cli import main
from meetmid.evaluation.protocols import scface as scface_module

MODEL = ["--matcher", "small", "--faces", "crop", "-q", "--device", "cpu", "--draws", "20"]


@pytest.fixture
def put(tmp_path: Path, face, make_matcher, monkeypatch: pytest.MonkeyPatch):
    """``put(name, person, size)`` writes a face; the matcher "small" is registered and the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    card = make_matcher(tmp_path / "made")
    meetmid.models.add(card.path, name="small", like="arcface", size=[32, 32], license="MIT")

    def write(name: str, person: int, size: int) -> None:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face(person, size)).save(path)

    return write


@pytest.fixture
def people(put) -> None:
    for person in range(4):
        for k in range(3):
            put(f"P{person}/{k}.png", person, 60 + k)


@pytest.fixture
def generators(make_hallucinator, tmp_path: Path) -> list[str]:
    for scale in (2, 4, 8):
        make_hallucinator(tmp_path / "family" / f"x{scale}", scale)
    return ["--hallucinator", str(tmp_path / "family")]


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_ordinary_portraits_climb_the_ladder(people, generators: list[str], capsys) -> None:
    arguments = ["evaluate", "folder", "--root", "data", "--simulate", "20", "--paths", "len<=1", "-o", "all.csv"]
    assert main([*arguments, "--report", "report.html", *MODEL, *generators]) == 0
    shown = capsys.readouterr().out
    assert "data, simulated far camera of 20 px" in shown
    assert "published" not in shown
    found = rows("all.csv")
    assert next(r for r in found if r["figure"] == "rank-1")["n"] == "8"
    ladder = [r for r in found if r["note"].startswith("rank-1, truncated")]
    assert {r["centring"] for r in ladder} == {"none", "set"}
    assert all(r["n"] == "8" and 0 <= int(r["k"]) <= 8 for r in ladder)
    html = Path("report.html").read_text(encoding="utf-8")
    assert "Steps of the fused scheme" in html
    assert "baseline" in html


def test_scface_stands_beside_the_published_tables(put, generators: list[str], monkeypatch, capsys) -> None:
    names = tuple(f"{k:03d}" for k in range(1, 5))
    monkeypatch.setattr(scface_module, "SUBJECTS", names)
    for person, name in enumerate(names):
        put(f"mugshot_frontal_original_all/{name}_frontal.jpg", person, 60)
        for camera in range(1, 6):
            put(f"surveillance_cameras_distance_1/cam_{camera}/{name}_cam{camera}_1.jpg", person, 18)
    arguments = ["evaluate", "scface", "--root", "data", "--centrings", "set", *MODEL, *generators]
    assert main([*arguments, "-o", "scface.csv"]) == 0
    shown = capsys.readouterr().out
    assert "SCface d1" in shown
    baseline = next(line for line in shown.splitlines() if line.strip().startswith("baseline"))
    assert baseline.endswith("39.84 / 50.61 / 64.00 / 74.61")
    headline = next(line for line in shown.splitlines() if "probe S_add, gallery S_max" in line)
    assert headline.rstrip().endswith("- / - / - / 93.53")
    assert next(r for r in rows("scface.csv") if r["figure"] == "baseline")["n"] == "20"
    Path("data/mugshot_frontal_original_all/003_frontal.jpg").unlink()
    assert main(arguments) == 2
    assert "mugshot_frontal_original_all/003_frontal.jpg" in capsys.readouterr().err


def test_pairs_have_their_accuracy_beside_rims(put, capsys) -> None:
    lines = ["10\t1"]
    for fold in range(10):
        put(f"lfw/A{fold}/A{fold}_0001.jpg", fold, 60)
        put(f"lfw/A{fold}/A{fold}_0002.jpg", fold, 50)
        lines += [f"A{fold}\t1\t2", f"A{fold}\t1\tA{(fold + 1) % 10}\t2"]
    Path("data/pairs.txt").write_text("\n".join(lines) + "\n")
    arguments = ["evaluate", "lfw", "--root", "data", "--lower", "28", "--preset", "plain", "--centering", "none"]
    assert main([*arguments, *MODEL, "-o", "lfw.csv", "--report", "lfw.html"]) == 0
    shown = capsys.readouterr().out
    assert "LFW, second pictures of 28 px" in shown
    accuracy = next(r for r in rows("lfw.csv") if r["figure"] == "accuracy")
    assert accuracy["n"] == "20"
    table = shown.split("RIM, table 2")[1].splitlines()
    assert table[2].split()[:2] == ["this", "run"]
    assert float(table[2].split()[-1]) == pytest.approx(float(accuracy["value"]), abs=1e-3)
    assert any(line.split() == ["RIM", "98.800"] for line in table)
    assert "RIM, table 4" in shown
    assert "PSNR" in Path("lfw.html").read_text(encoding="utf-8")


def test_ten_folds_are_averaged(put, capsys) -> None:
    lists = Path("data/protocols")
    lists.mkdir(parents=True)
    for person in range(4):
        put(f"s1/VIS/1000{person}/001.jpg", person, 60)
        put(f"s1/NIR/1000{person}/001.bmp", person, 40)
    for fold in range(1, 11):
        kept = [p for p in range(4) if p != fold % 4]
        (lists / f"vis_gallery_{fold}.txt").write_text("".join(f"s1\\VIS\\1000{p}\\001.jpg\n" for p in kept))
        (lists / f"nir_probe_{fold}.txt").write_text("".join(f"s1\\NIR\\1000{p}\\001.bmp\n" for p in kept))
    arguments = ["evaluate", "casia", "--root", "data", "--preset", "plain", "--centering", "none", *MODEL]
    each = []
    for fold in range(1, 11):
        assert main([*arguments, "--fold", str(fold), "-o", "one.csv"]) == 0
        each.append(float(next(r for r in rows("one.csv") if r["figure"] == "rank-1")["value"]))
    assert main([*arguments, "--fold", "all", "-o", "all.csv"]) == 0
    found = next(r for r in rows("all.csv") if r["figure"] == "rank-1")
    assert float(found["value"]) == pytest.approx(np.mean(each), abs=1e-3)
    assert f"sd {np.std(each, ddof=1):.2f} (ddof 1), {np.std(each):.2f} (ddof 0)" in found["note"]
    shown = capsys.readouterr().out
    assert "PCFH, table 2 (mean of ten folds)" in shown
    assert "fold 1)" not in shown.split("10 folds")[1]
    names = [r["figure"] for r in rows("all.csv")]
    assert len(set(names)) == len(names)
    assert main([*arguments, "--fold", "12"]) == 2
    assert "fold 1 to 10" in capsys.readouterr().err


def test_failures_are_listed_and_count(people, generators: list[str], capsys) -> None:
    Path("data/P1/1.png").write_bytes(b"no picture")
    arguments = ["evaluate", "folder", "--root", "data", "--simulate", "20", "--no-ladder", "--centering", "none"]
    assert main([*arguments, "-o", "x.csv", *MODEL, *generators]) == 1
    assert "failed probe P1/1.png: data/P1/1.png: expected a picture" in capsys.readouterr().err
    found = next(r for r in rows("x.csv") if r["figure"] == "failure to acquire")
    assert (found["k"], found["n"]) == ("1", "8")


@pytest.mark.parametrize(("arguments", "why"), [
    (["folder"], "expects --simulate PX"),
    (["folder", "--simulate", "20", "--lower", "20"], "not both"),
    (["folder", "--simulate", "20", "--scales", "2"], "the ladder fixes scales"),
    (["folder", "--simulate", "20", "-o", "x.txt"], "saved as .csv"),
    (["folder", "--simulate", "20", "--report", "x.pdf"], "saved as .html or .htm"),
    (["folder", "--simulate", "20", "--draws", "0"], "--draws expects at least 1"),
    (["tinyface"], "incomplete"),
])
def test_bad_requests_are_refused(people, generators: list[str], arguments: list[str], why: str, capsys) -> None:
    dataset, *more = arguments
    base = [a for a in MODEL if "--draws" not in arguments or a not in ("--draws", "20")]
    assert main(["evaluate", dataset, "--root", "data", *base, *generators, *more]) == 2
    assert why in capsys.readouterr().err


def test_reader_options_are_typed(put, capsys) -> None:
    for person in range(3):
        for light in ("Strong", "Weak"):
            for expression in ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise"):
                for spectrum in ("VL", "NI"):
                    put(f"{spectrum}/{light}/P00{person}/{expression}/1.jpeg", person, 40)
    base = ["evaluate", "oulu", "--root", "data", "--preset", "plain", "--centering", "none", *MODEL]
    assert main([*base, "-o", "x.csv", "--reader", "light=Weak", "each=1", "subjects=P000,P002"]) == 0
    found = next(r for r in rows("x.csv") if r["figure"] == "rank-1")
    assert found["n"] == "12"
    assert "note: the papers test 20" not in capsys.readouterr().err
    known = "NAME=VALUE of subjects, light, each"
    for wrong, why in (("each=x", "whole numbers"), ("nothing=1", known), ("light", known)):
        assert main([*base, "--reader", wrong]) == 2
        assert why in capsys.readouterr().err


def test_probes_without_mates_do_not_count_in_the_ladder(people, generators: list[str], capsys) -> None:
    lines = ["side,file,subject", *(f"gallery,P{k}/0.png,P{k}" for k in range(3))]
    lines += [f"probe,P{k}/1.png,P{k}" for k in range(3)] + ["probe,P3/1.png,P3"]
    Path("data/list.csv").write_text("\n".join(lines) + "\n")
    arguments = ["evaluate", "table", "--root", "data/list.csv", "--ladder", "-o", "x.csv", *MODEL, *generators]
    assert main([*arguments, "--report", "x.html"]) == 0
    found = rows("x.csv")
    assert {r["n"] for r in found if r["note"].startswith("rank-1, truncated")} == {"3"}
    assert next(r for r in found if r["figure"] == "probes without a mate")["k"] == "1"
    assert "open set" not in capsys.readouterr().err
    assert "False negative over false positive" in Path("x.html").read_text(encoding="utf-8")


def test_one_person_has_a_rank_and_nothing_else(put, capsys) -> None:
    put("P0/0.png", 0, 60)
    put("P0/1.png", 0, 60)
    base = ["evaluate", "folder", "--root", "data", "--simulate", "20", "--no-ladder", "--centering", "none"]
    assert main([*base, "--preset", "plain", "-o", "x.csv", "--report", "x.html", *MODEL]) == 0
    assert [r["figure"] for r in rows("x.csv")][:3] == ["failure to acquire", "failure to enrol", "rank-1"]


def test_warnings_are_printed_and_nothing_is_enlarged(people, generators: list[str], capsys) -> None:
    base = ["evaluate", "folder", "--root", "data", "--no-ladder", "--centering", "none", "--preset", "plain", *MODEL]
    assert main([*base, "--simulate", "12"]) == 0
    assert "8 of 8 probes are smaller than 16 px" in capsys.readouterr().err
    assert main([*base, "--simulate", "100"]) == 2
    assert "face crops of at least 100 px" in capsys.readouterr().err


def test_match_writes_a_report(people, generators: list[str], capsys) -> None:
    Path("probes").mkdir()
    for k in range(2):
        Path(f"data/P{k}/1.png").rename(f"probes/{k}.png")
    model = ["--matcher", "small", "--faces", "crop", "--centering", "none", "-q", "--device", "cpu", *generators]
    assert main(["match", "probes", "data", "--report", "match.html", *model]) == 0
    assert "wrote match.html" in capsys.readouterr().out
    html = Path("match.html").read_text(encoding="utf-8")
    assert "Candidates for 0.png" in html
    assert "SYNTHETIC" in html
