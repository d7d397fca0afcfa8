"""Exit codes, wrong use, and the bar."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_model import MODEL

import meetmid
from meetmid.cli import main
from meetmid.cli.bar import Bar


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


def test_a_broken_environment_exits_with_three(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken(options: object) -> int:
        raise ImportError("no module")

    monkeypatch.setattr("meetmid.cli.installed.models", broken)
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

    monkeypatch.setattr("meetmid.cli.installed.models", interrupted)
    assert main(["models"]) == 130
    assert "cancelled" in capsys.readouterr().err


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
