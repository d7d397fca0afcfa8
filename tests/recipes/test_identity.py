"""A matcher's PyTorch form computes what onnxruntime computes, and lets gradients through to the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import onnxruntime
import torch
from meetmid.models.recipes import identity
from meetmid.models.recipes.losses import cosine_distance

from meetmid.faces.alignment import ARCFACE_112, TEMPLATES, align
from meetmid.runtime.cards import CONTRACTS, read_card

MIDFACE = Path(identity.__file__).parents[1] / "midface_s"


def test_the_shipped_matcher_agrees_and_is_differentiable() -> None:
    matcher = identity.load_matcher(MIDFACE)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pictures.requires_grad_()
    templates = matcher(pictures)
    session = onnxruntime.InferenceSession(str(MIDFACE / "model.onnx"), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"input": matcher.prepare(pictures).detach().numpy()})[0]
    assert np.abs(templates.detach().numpy() - expected).max() < 1e-4 * np.abs(expected).max()
    cosine_distance(templates, templates.detach().roll(1, 0)).backward()
    assert torch.isfinite(pictures.grad).all()
    assert (pictures.grad != 0).float().mean() > 0.99
    assert not list(matcher.parameters())


def test_stages_are_the_last_maps_before_each_halving() -> None:
    network = identity.load_matcher(MIDFACE).network
    maps = network.maps(torch.zeros(1, 3, 112, 112), network.stages((112, 112)))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 56, 56), (64, 28, 28), (128, 14, 14), (256, 7, 7)]


@pytest.mark.parametrize("channels", ["bgr", "gray"])
def test_the_cards_order_and_range_are_kept(channels: str, tmp_path: Path, make_matcher) -> None:
    card = make_matcher(tmp_path, channels=channels, mean=[10.0] * 3, std=[2.0] * 3)
    matcher = identity.FrozenMatcher(torch.nn.Identity(), card)
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, 0] = 1.0
    prepared = matcher.prepare(picture)[0, :, 0, 0].tolist()
    red, rest = (255 - 10) / 2, (127.5 - 10) / 2
    wanted = [rest, rest, red] if channels == "bgr" else [(0.299 * 255 + 0.701 * 127.5 - 10) / 2]
    assert prepared == pytest.approx(wanted)


def test_a_wrong_conversion_and_an_unknown_operation_are_refused(tmp_path: Path, make_matcher, monkeypatch) -> None:
    card = make_matcher(tmp_path)
    assert identity.load_matcher(tmp_path)(torch.zeros(1, 3, 40, 40)).shape == (1, 24)
    with monkeypatch.context() as patch:
        patch.setitem(identity.OPERATIONS, "Relu", lambda _, x: x)
        with pytest.raises(ValueError, match="differs from onnxruntime by"):
            identity.load_matcher(tmp_path)
    model = onnx.load(str(card.path))
    model.graph.node[1].op_type = "Tanh"
    onnx.save(model, str(card.path))
    with pytest.raises(ValueError, match="no Tanh among"):
        identity.OnnxNetwork(read_card(tmp_path / "card.toml").path)


def test_lightcnn_becomes_differentiable(tmp_path: Path) -> None:
    from meetmid.export import export_onnx
    from meetmid.networks.lightcnn import LightCNN29

    torch.manual_seed(0)
    torch.save(LightCNN29(2).state_dict(), tmp_path / "lightcnn.pth")
    export_onnx(tmp_path / "lightcnn.pth", tmp_path / "out")
    matcher = identity.load_matcher(tmp_path / "out")
    pictures = (torch.rand(3, 3, 144, 144, generator=torch.Generator().manual_seed(1)) * 2 - 1).requires_grad_()
    templates = matcher(pictures)
    assert templates.shape == (3, 256)
    assert torch.isfinite(torch.autograd.grad(templates.square().sum(), pictures)[0]).all()


@pytest.mark.parametrize("alignment", ["arcface-112", "arcface-128", "arcface-96x112", "lightcnn-128"])
@pytest.mark.parametrize("side", [64, 112, 224])
def test_a_matcher_of_another_alignment_sees_its_own_crop(alignment: str, side: int, face) -> None:
    template = TEMPLATES[alignment]
    width, height = template.size
    big = face(1, 400)
    points = ARCFACE_112.scaled(400, 400)
    ours, wanted = align(big, points, ARCFACE_112, size=(side, side)), align(big, points, template, size=(width, height))
    contract = CONTRACTS["arcface"]
    pictures = torch.from_numpy(ours.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
    got = identity.framed(pictures, replace(contract, alignment=alignment, size=(height, width)))[0].permute(1, 2, 0).numpy()
    inner = (slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4))
    difference = np.abs((got + 1) * 127.5 - wanted)[inner]
    assert difference.mean() < (6 if side == 64 else 3)
    shifted = np.abs((np.roll(got, 3, 1) + 1) * 127.5 - wanted)[inner]
    assert difference.mean() < 0.7 * shifted.mean()


def test_operations_of_classifiers_agree_with_onnxruntime(tmp_path: Path) -> None:
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("LeakyRelu", ["input"], ["a"], alpha=0.2),
        helper.make_node("Split", ["a", "sizes"], ["b", "c", "d"], axis=1),
        helper.make_node("Max", ["b", "c", "d"], ["e"]),
        helper.make_node("Clip", ["e", "low", "high"], ["f"]),
        helper.make_node("Concat", ["f", "e"], ["g"], axis=1),
        helper.make_node("Transpose", ["g"], ["h"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["h", "shape"], ["i"]),
        helper.make_node("Softmax", ["i"], ["output"], axis=-1),
    ]
    constants = {
        "sizes": np.array([1, 1, 1]), "low": np.array(-0.5, np.float32), "high": np.array(0.5, np.float32),
        "shape": np.array([0, -1]),
    }
    graph = helper.make_graph(
        nodes, "scorer", [helper.make_tensor_value_info("input", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("output", 1, ["n", 128])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(tmp_path / "scorer.onnx"))
    network = identity.converted(tmp_path / "scorer.onnx", (3, 8, 8), 1.0)
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 128)
