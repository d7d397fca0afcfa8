"""A matcher's PyTorch form computes what onnxruntime computes, and lets gradients through to the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import onnxruntime
import torch
from meetmid.models.recipes import identity
from meetmid.models.recipes.losses import cosine_distance

from meetmid.runtime.cards import read_card

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
