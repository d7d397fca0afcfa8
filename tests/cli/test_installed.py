"""Models, the doctor and the demo at the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import meetmid
from meetmid.cli import main
from meetmid.demo import POINTS


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
