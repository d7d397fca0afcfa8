"""From checkpoint to a model folder that meetmid runs: cards, graphs, precisions, and what is left behind after failures."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting needs torch (extra: export)")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript (extra: export)")

import onnx  # noqa: E402

import meetmid  # noqa: E402
from meetmid.errors import ConfigError, InputError, ModelError, StoreError  # noqa: E402
from meetmid.export import export_onnx  # noqa: E402
from meetmid.exporting import graphs, parity  # noqa: E402
from meetmid.exporting.checkpoints import load_checkpoint  # noqa: E402
from meetmid.exporting.recognition import recognise  # noqa: E402
from meetmid.resize import resize, to_float  # noqa: E402
from meetmid.runtime.cards import file_sha256, read_card  # noqa: E402
from meetmid.runtime.sessions import Network, check_contract, make_session, to_planes  # noqa: E402

HALF = {"edsr", "iresnet", "mobilefacenet", "lightcnn-29", "rim-hrn", "aggan", "cyclegan", "pcfh", "rim-fhn", "anyres"}
"""Families that are exported in half precision here: one of every kind of layer."""

SMALLER = {name: {"contract": {"size": [64, 64]}} for name in ("aggan", "cyclegan", "anyres")} | {"pcfh": {"size": 144}}
"""What makes large pictures small where the network takes them."""


@pytest.fixture
def checkpoint(sample, saved):
    """``checkpoint(name)``: the file of a sample."""
    return lambda name: saved(sample(name).state, f"{name}.pth")


def pictures_of(card, count: int, seed: int = 1):
    """(N, H, W, 3) in [0, 1] of the size that the card asks for, 24 x 20 where any will do."""
    size = card.contract.size if min(card.contract.size) else (24, 20)
    return np.random.default_rng(seed).random((count, *size, 3), dtype=np.float32)


def outputs_of(network, x):
    """All outputs of PyTorch."""
    with torch.no_grad():
        found = network(torch.from_numpy(x))
    return [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]


def nothing_left(folder: Path, *expected: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(expected)


def test_every_family_is_exported_and_agrees(family_name, checkpoint, tmp_path: Path) -> None:
    """The card, the dynamic batch, other sizes where they are free, and meetmid's own runtime."""
    path = checkpoint(family_name)
    precision = "fp16" if family_name in HALF else "fp32"
    smaller = SMALLER.get(family_name, {})
    card = export_onnx(path, tmp_path / "out", precision=precision, license="MIT", space="faces", **smaller)
    assert card == read_card(tmp_path / "out" / "card.toml")
    assert nothing_left(tmp_path / "out", "model.onnx", "card.toml")
    assert nothing_left(tmp_path, "out", path.name)
    card.verify()
    source = load_checkpoint(path)
    found = recognise(source, **{key: value for key, value in smaller.items() if key != "contract"})
    assert (card.name, card.family, card.task, card.license, card.space) == (
        "out", family_name, found.family.task, "MIT", "faces"
    )
    assert card.sha256 == file_sha256(tmp_path / "out" / "model.onnx")
    assert card.facts["source"] | {"options": ""} == {
        "file": path.name, "sha256": file_sha256(path), "part": "", "options": ""
    }
    assert card.facts["source"]["options"] == ", ".join(f"{key}={value}" for key, value in found.options.items())
    export = card.facts["export"]
    assert export["precision"] == precision
    assert export["opset"] == 18
    assert export["bytes"] == (tmp_path / "out" / "model.onnx").stat().st_size
    for name in ("torch", "onnx", "onnxscript", "onnxruntime"):
        assert f"{name} " in export["versions"]
    figures = card.facts["parity"]
    assert 0 <= figures["fp32_relative_error"] <= 1e-4
    assert ("fp16_cosine" in figures) == (precision == "fp16")
    assert figures.get("fp16_cosine", 1.0) >= 0.999
    assert card.contract.input == "input"
    assert card.contract.output == found.outputs[0]
    assert card.contract.heat == ("heat" if "heat" in found.outputs else "")
    assert check_contract(card) == card.contract.template_length
    assert (card.contract.template_length > 0) == (card.task == "matcher")

    content = card.path.read_bytes() + (tmp_path / "out" / "card.toml").read_bytes()
    for place in (str(Path(meetmid.__file__).parent), str(tmp_path), sys.prefix, ".py"):
        assert place.encode() not in content, "the files tell of the machine that exported"

    session = make_session(card.path, card.name, device="cpu", threads=1)
    assert [value.name for value in session.get_outputs()] == list(found.outputs)
    (source_input,) = session.get_inputs()
    assert not isinstance(source_input.shape[0], int)
    assert all(isinstance(side, int) != found.any_size for side in source_input.shape[2:])
    tolerance = 1e-4 if precision == "fp32" else 5e-2
    sizes = [pictures_of(card, 1).shape[1:3], *([(32, 48)] if found.any_size else [])]
    for count, size in ((1, sizes[0]), (2, sizes[-1]), (5, sizes[-1])):
        x = to_planes(np.random.default_rng(count).random((count, *size, 3), dtype=np.float32), card)
        for got, wanted in zip(session.run(None, {"input": x}), outputs_of(found.network, x), strict=True):
            assert got.dtype == np.float32
            assert got.shape == wanted.shape
            assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()
            assert (got * wanted).sum() >= 0.999 * np.linalg.norm(got) * np.linalg.norm(wanted)

    pictures = pictures_of(card, 3)
    got = Network(card, device="cpu", threads=1).run(pictures)
    wanted = outputs_of(found.network, to_planes(pictures, card))[0]
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()
    assert np.abs(wanted[0] - wanted[1]).max() > 0.02 * np.abs(wanted).max(), "agreement would be vacuous"


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint, tmp_path: Path) -> None:
    path = checkpoint("edsr")
    cards = [export_onnx(path, tmp_path / folder, name="same") for folder in ("a", "b")]
    assert cards[0].sha256 == cards[1].sha256


@pytest.mark.parametrize("name", ["edsr", "mobilefacenet", "lightcnn-29"])
def test_eight_bits_are_calibrated_on_pictures(name, checkpoint, tmp_path: Path, face, capsys) -> None:
    path = checkpoint(name)
    pictures = [face(k, 112) for k in range(6)]
    card = export_onnx(path, tmp_path / "int8", precision="int8", pictures=pictures)
    assert capsys.readouterr() == ("", "")
    assert nothing_left(tmp_path / "int8", "model.onnx", "card.toml")
    figures = card.facts["parity"]
    assert figures["inputs"].startswith("uniform noise and 6 given pictures")
    assert 0.9 < figures["int8_cosine"] < 1
    assert figures["int8_relative_error"] > figures["fp32_relative_error"]
    types = {node.op_type for node in onnx.load(card.path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types
    found = recognise(load_checkpoint(path))
    size = card.contract.size if min(card.contract.size) else (24, 24)
    crops = np.stack([resize(to_float(picture), size) for picture in pictures])
    got = Network(card, device="cpu", threads=1).run(crops).reshape(6, -1)
    wanted = outputs_of(found.network, to_planes(crops, card))[0].reshape(6, -1)
    cosines = (got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > 0.9
    assert check_contract(card) == card.contract.template_length


def test_options_contract_and_name_reach_the_card(checkpoint, tmp_path: Path) -> None:
    path = checkpoint("edsr")
    card = export_onnx(
        path, tmp_path / "deep" / "er" / "x", name="mine-2x", arch="edsr", contract={"std": [255.0] * 3}, residual_scale=0.5
    )
    assert card.name == "mine-2x"
    assert card.contract.std == (255.0,) * 3
    assert "residual_scale=0.5" in card.facts["source"]["options"]
    picture = pictures_of(card, 1)
    network = recognise(load_checkpoint(path), residual_scale=0.5).network
    np.testing.assert_allclose(
        Network(card, device="cpu").run(picture), outputs_of(network, picture.transpose(0, 3, 1, 2))[0], rtol=1e-4, atol=1e-3
    )


def test_one_part_of_several(sample, saved, tmp_path: Path) -> None:
    states = {"genA2B": sample("edsr").state, "genB2A": sample("edsr-x4").state, "disGA": sample("iresnet").state}
    card = export_onnx(saved(states), tmp_path / "out", part="genB2A")
    assert card.facts["source"]["part"] == "genB2A"
    assert card.contract.scale == 4


@pytest.mark.parametrize("name", ["iresnet", "lightcnn-9"])
def test_an_exported_matcher_matches(name, checkpoint, tmp_path: Path, small, probes, portraits) -> None:
    card = export_onnx(checkpoint(name), tmp_path / "out")
    with small(matcher=str(tmp_path / "out"), scales=(), paths="none", work_size=None) as matcher:
        result = matcher.match(probes, portraits)
        assert result.scores.shape == (4, 5)
        network = recognise(load_checkpoint(tmp_path / f"{name}.pth")).network

        def templates(pictures):
            crops = np.stack([resize(to_float(picture), card.contract.size) for picture in pictures])
            found = outputs_of(network, to_planes(crops, card))[0].astype(np.float64)
            return found / np.linalg.norm(found, axis=1, keepdims=True)

        np.testing.assert_allclose(result.scores, templates(probes) @ templates(portraits).T, atol=1e-4)


def test_exported_super_resolvers_lift_probes(checkpoint, tmp_path: Path, small, probes, portraits) -> None:
    for scale in (2, 4):
        export_onnx(checkpoint("edsr" if scale == 2 else "edsr-x4"), tmp_path / "family" / f"x{scale}")
    with small(hallucinator=str(tmp_path / "family")) as matcher:
        assert np.isfinite(matcher.match(probes, portraits).scores).all()
        assert {f"x{scale}" for scale in (2, 4)} <= set(matcher.match(probes, portraits).models)


def test_a_graph_that_does_not_agree_leaves_nothing(checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight is changed between export and comparison."""
    path = checkpoint("edsr")
    honest = graphs.export_graph

    def corrupted(network, example, target, outputs, *, any_size):
        honest(network, example, target, outputs, any_size=any_size)
        model = onnx.load(target)
        (bias,) = [value for value in model.graph.initializer if value.name.endswith("head.0.bias")]
        changed = onnx.numpy_helper.to_array(bias) + np.float32(0.3)
        bias.CopyFrom(onnx.numpy_helper.from_array(changed, bias.name))
        onnx.save(model, target)

    monkeypatch.setattr(graphs, "export_graph", corrupted)
    with pytest.raises(ModelError, match=r"out: the graph differs from PyTorch by .* nothing was written"):
        export_onnx(path, tmp_path / "new" / "folders" / "out")
    assert nothing_left(tmp_path, path.name)


def test_half_precision_that_does_not_agree_leaves_nothing(checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint("edsr")
    monkeypatch.setattr(parity, "MIN_COSINE", 1.1)
    with pytest.raises(ModelError, match=r"the fp16 graph's cosine with PyTorch is .*export fp32 instead"):
        export_onnx(path, tmp_path / "out", precision="fp16")
    assert nothing_left(tmp_path, path.name)


def test_numbers_that_overflow_half_precision_do_not_agree(sample, saved, tmp_path: Path) -> None:
    state = sample("edsr").state
    state["head.0.weight"] *= 1e6
    path = saved(state)
    with pytest.raises(ModelError, match="export fp32 instead"):
        export_onnx(path, tmp_path / "out", precision="fp16")
    assert nothing_left(tmp_path, path.name)


@pytest.mark.parametrize("what", ["convert_float_to_float16", "quantize_static"])
def test_a_converter_that_fails_leaves_nothing(checkpoint, tmp_path: Path, monkeypatch, face, what: str) -> None:
    def fail(*_, **__):
        raise ValueError("no such operator")

    monkeypatch.setattr(graphs, what, fail)
    path = checkpoint("edsr")
    precision = "fp16" if "float16" in what else "int8"
    with pytest.raises(ModelError, match=rf"could not be converted to {precision} \(no such operator\)"):
        export_onnx(path, tmp_path / "out", precision=precision, pictures=[face(0)])
    assert nothing_left(tmp_path, path.name)


def test_a_network_that_cannot_be_traced_leaves_nothing(checkpoint, tmp_path: Path) -> None:
    path = checkpoint("rim-fhn")
    with pytest.raises(ModelError, match="could not be exported"):
        export_onnx(path, tmp_path / "out", side=7)  # 56 pixels, which the hourglass cannot halve often enough
    assert nothing_left(tmp_path, path.name)


def test_wrong_arguments_are_refused_before_the_work(checkpoint, tmp_path: Path, face) -> None:
    path = checkpoint("edsr")
    for options, error, message in (
        ({"precision": "fp64"}, ConfigError, "precision expects one of fp32, fp16, int8, got 'fp64'"),
        ({"precision": "int8"}, ConfigError, r"precision='int8' expects pictures=\[...\]"),
        ({"name": "a b"}, ConfigError, "a model name expects"),
        ({"name": "net.onnx"}, ConfigError, "a model name expects"),
        ({"arch": "nothing"}, ConfigError, "arch expects one of"),
        ({"depth": 3}, ConfigError, "takes the options"),
        ({"arch": "iresnet"}, ModelError, "Closest: iresnet"),
        ({"part": "genA2B"}, ModelError, "expected a part 'genA2B'"),
        ({"contract": {"sizes": [3, 3]}}, ModelError, "unknown contract keys"),
        ({"pictures": [tmp_path / "none.png"]}, InputError, "none.png"),
    ):
        with pytest.raises(error, match=message):
            export_onnx(path, tmp_path / "out", **options)
        assert nothing_left(tmp_path, path.name)


def test_an_existing_folder_is_kept(checkpoint, tmp_path: Path) -> None:
    path = checkpoint("edsr")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name in ("out", "file"):
        with pytest.raises(StoreError, match="expected a new folder, it exists"):
            export_onnx(path, tmp_path / name)
    with pytest.raises(StoreError, match="could not be written"):
        export_onnx(path, tmp_path / "file" / "below")
    assert nothing_left(tmp_path, path.name, "out", "file")
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_a_folder_that_cannot_be_written_is_refused(checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint("edsr")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("meetmid.export.tempfile.mkdtemp", refuse)
        with pytest.raises(StoreError, match=r"could not be written.*Permission denied"):
            export_onnx(path, tmp_path / "above" / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(StoreError, match=r"could not be written.*Permission denied"):
            export_onnx(path, tmp_path / "above" / "out")
    assert nothing_left(tmp_path, path.name)


@pytest.mark.parametrize("content", [b"", b"text", bytes(100)])
def test_a_damaged_checkpoint_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.pth"):
        export_onnx(path, tmp_path / "above" / "out")
    assert nothing_left(tmp_path, path.name)


@pytest.mark.parametrize("missing", ["torch", "onnx", "onnxscript", "safetensors"])
def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing) -> None:
    monkeypatch.setattr(meetmid, "exporting", sys.modules["meetmid.exporting"])  # a second import would take its place
    for name in [name for name in sys.modules if name.startswith("meetmid.exporting") or name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def blocked(name, *rest, **options):
        if name.split(".")[0] == missing:
            raise ImportError(f"No module named {missing!r}", name=missing)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(ModelError, match=rf"{missing}.*pip install 'meetmid\[export\]'") as caught:
        export_onnx(tmp_path / "net.pth", tmp_path / "out")
    assert isinstance(caught.value.__cause__, ImportError)


def test_inference_works_without_the_extra(tmp_path: Path, make_matcher) -> None:
    make_matcher(tmp_path / "m")
    code = f"""
import sys
for name in ("torch", "onnx", "onnxscript", "safetensors"):
    sys.modules[name] = None
import numpy as np
import meetmid
side = [np.random.default_rng(k).integers(0, 256, (24, 24, 3), dtype=np.uint8) for k in range(2)]
result = meetmid.match(side, side, preset="plain", matcher={str(tmp_path / "m")!r}, faces="crop", device="cpu")
assert np.isfinite(result.scores).all()
meetmid.export_onnx
try:
    meetmid.export_onnx("none.pth", "out")
except meetmid.ModelError as error:
    print(type(error.__cause__).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("ModuleNotFoundError export needs torch, onnx, onnxscript and safetensors")
    assert nothing_left(tmp_path, "m")
