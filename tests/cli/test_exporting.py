"""``meetmid export``: what it prints, writes and refuses, and its exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="exporting needs torch (extra: export)")
pytest.importorskip("safetensors", reason="exporting needs safetensors (extra: export)")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript (extra: export)")

import meetmid.exporting  # noqa: E402
from meetmid.cli import main  # noqa: E402
from meetmid.networks.edsr import EDSR  # noqa: E402
from meetmid.networks.iresnet import IResNet  # noqa: E402
from meetmid.runtime.cards import read_card  # noqa: E402


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with checkpoints of a super-resolver and a matcher, text, and a file of two networks."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sr = EDSR(2, 1, 8).state_dict()
    torch.save(sr, "sr.pth")
    torch.save(IResNet((1, 1, 1, 1), (4, 8, 12, 16), 16).state_dict(), "net.pth")
    torch.save({"genA2B": sr, "genB2A": EDSR(4, 1, 8).state_dict()}, "two.pth")
    Path("text.pth").write_text("no network")
    return tmp_path


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"sr.pth", "net.pth", "two.pth", "text.pth"}


def test_a_matcher_is_exported_and_told_of(here: Path, capsys) -> None:
    assert main(["export", "net.pth", "out", "--license", "MIT", "--name", "mine", "--space", "faces"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["family", "takes", "gives", "agrees", "wrote"]
    assert lines[0] == "family  iresnet (blocks=(1, 1, 1, 1), widths=(4, 8, 12, 16), length=16)"
    assert lines[1] == "takes   112 x 112 px, rgb, (255 x - 127.5) / 127.5, aligned to arcface-112"
    assert lines[2] == "gives   templates of 16 numbers"
    assert lines[3].startswith("agrees  fp32 relative error ")
    assert lines[3].endswith("(uniform noise and random pictures of a natural spectrum, batches of 1 and 3, CPU)")
    assert lines[4].startswith(f"wrote   {Path('out') / 'model.onnx'} (")
    card = read_card(here / "out" / "card.toml")
    assert (card.name, card.license, card.space) == ("mine", "MIT", "faces")
    assert left(here) == {"out"}


def test_how_a_network_was_trained_goes_into_its_card(here: Path, capsys) -> None:
    Path("training.toml").write_text('recipe = "models/x/train.py"\nsteps = 5\n')
    assert main(["export", "net.pth", "out", "--training", "training.toml"]) == 0
    assert read_card(here / "out" / "card.toml").facts["training"] == {"recipe": "models/x/train.py", "steps": 5}
    capsys.readouterr()
    for text in ("no toml", "[table]\nx = 1\n"):
        Path("training.toml").write_text(text)
        assert main(["export", "net.pth", "other", "--training", "training.toml"]) == 2
        assert "training expects" in capsys.readouterr().err
    assert left(here) == {"out", "training.toml"}


def test_options_part_and_half_precision(here: Path, capsys) -> None:
    arguments = ["export", "two.pth", "out", "--arch", "edsr", "--part", "genB2A", "--precision", "fp16"]
    assert main([*arguments, "--option", "residual_scale=0.1", "--option", "value_range=1"]) == 0
    shown = capsys.readouterr().out
    assert "edsr (scale=4, blocks=1, width=8, residual_scale=0.1, value_range=1)" in shown
    assert "takes   any size, rgb, (255 x - 0) / 255\n" in shown
    assert "gives   pictures 4 times as large\n" in shown
    assert "fp16 cosine " in shown
    assert "fp16)" in shown
    facts = read_card(here / "out" / "card.toml").facts
    assert facts["source"]["part"] == "genB2A"
    assert facts["export"]["precision"] == "fp16"


def test_eight_bits_from_a_folder_of_pictures(here: Path, face, capsys) -> None:
    (here / "faces" / "someone").mkdir(parents=True)
    for k in range(3):
        Image.fromarray(face(k, 32)).save(here / "faces" / ("someone" if k else "") / f"{k}.png")
    assert main(["export", "sr.pth", "out", "--precision", "int8", "--pictures", "faces"]) == 0
    shown = capsys.readouterr().out
    assert "int8 cosine 0.9" in shown
    assert "3 given pictures" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.pth", "out"], 3, "none.pth: expected a checkpoint file, found none"),
        (["text.pth", "out"], 3, "text.pth: expected"),
        (["sr.pth", "out", "--arch", "iresnet"], 3, "Closest: iresnet: "),
        (["sr.pth", "out", "--part", "genA2B"], 3, "expected a part 'genA2B', got one network"),
        (["sr.pth", "out", "--arch", "nothing"], 2, "arch expects one of"),
        (["sr.pth", "out", "--option", "scale"], 2, "--option expects KEY=VALUE, got 'scale'"),
        (["sr.pth", "out", "--option", "=3"], 2, "--option expects KEY=VALUE"),
        (["sr.pth", "out", "--option", "contract=3"], 2, "--option expects an option of the network, got 'contract'"),
        (["sr.pth", "out", "--option", "depth=3"], 2, "takes the options"),
        (["sr.pth", "out", "--option", "scale=five"], 2, "cannot be built with"),
        (["sr.pth", "out", "--precision", "int8"], 2, "expects pictures="),
        (["sr.pth", "out", "--precision", "int8", "--pictures", "empty"], 2, "empty"),
        (["sr.pth", "out", "--pictures", "nowhere"], 2, "nowhere"),
        (["sr.pth", "empty"], 2, "expected a new folder, it exists"),
        (["sr.pth", "sr.pth/below"], 2, "could not be written"),
        (["sr.pth", "out", "--name", "a b"], 2, "a model name expects"),
    ],
)
def test_what_is_refused_leaves_nothing(here: Path, arguments: list[str], code: int, message: str, capsys) -> None:
    (here / "empty").mkdir()
    assert main(["export", *arguments]) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("meetmid: ")
    assert "Traceback" not in shown.err
    assert not shown.out
    assert left(here) == {"empty"}


def test_without_torch_the_environment_is_at_fault(here: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(meetmid, "exporting", meetmid.exporting)  # a second import would take its place
    for name in [name for name in sys.modules if name.startswith("meetmid.exporting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["export", "sr.pth", "out"]) == 3
    assert "pip install 'meetmid[export]'" in capsys.readouterr().err
    assert not left(here)


def test_a_wrong_precision_is_bad_usage(here: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", "sr.pth", "out", "--precision", "fp64"])
    assert caught.value.code == 2
