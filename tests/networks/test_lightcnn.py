"""LightCNN: sizes, the published keys, and max-feature-map against a direct maximum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from meetmid.networks.lightcnn import (  # noqa: E402
    MFM,
    LightCNN9,
    LightCNN29,
    LightCNNV4,
    MaxPlusAverage,
    MFMLinear,
    max_feature_map,
)

SMALL = (4, 6, 8, 4)
BOTH = ("weight", "bias")


def with_both(names: set[str]) -> set[str]:
    return {f"{name}.{k}" for name in names for k in BOTH}


@pytest.mark.parametrize(
    ("version", "classes", "parameters"),
    [(1, None, 12_573_280), (1, 79_077, 32_896_069), (2, None, 10_475_872), (2, 80_013, 30_959_200)],
)
def test_sizes_are_the_published_ones(version: int, classes: int | None, parameters: int, count: Callable[..., int]) -> None:
    assert count(lambda: LightCNN29(version, classes=classes)) == parameters


def test_a_maximum_of_halves() -> None:
    x = torch.randn(2, 6, 3, 4)
    expected = np.maximum(x[:, :3].numpy(), x[:, 3:].numpy())
    assert np.array_equal(max_feature_map(x).numpy(), expected)
    assert np.array_equal(max_feature_map(x.mean((2, 3))).numpy(), np.maximum(*np.split(x.mean((2, 3)).numpy(), 2, axis=1)))


def test_swapping_the_halves_of_a_filter_changes_nothing() -> None:
    for layer, x in ((MFM(3, 5), torch.randn(2, 3, 6, 6)), (MFMLinear(7, 5), torch.randn(2, 7))):
        before = layer(x)
        for parameter in layer.parameters():
            parameter.data = parameter.data.roll(5, 0)
        assert torch.allclose(layer(x), before, atol=1e-6)
        for parameter in layer.parameters():
            parameter.data = parameter.data.roll(1, 0)
        assert not torch.allclose(layer(x), before, atol=1e-2)


def test_the_second_pool_adds_maximum_and_mean() -> None:
    x = torch.randn(2, 3, 4, 6)
    cells = x.reshape(2, 3, 2, 2, 3, 2)
    assert torch.allclose(MaxPlusAverage()(x), cells.amax((3, 5)) + cells.mean((3, 5)), atol=1e-6)


def test_keys_of_lightcnn_9() -> None:
    state = LightCNN9(classes=10).state_dict()
    groups = {f"features.{k}.{name}.filter" for k in (2, 4, 6, 7) for name in ("conv_a", "conv")}
    assert set(state) == with_both({"features.0.filter", "fc1.filter", "fc2"} | groups)
    assert state["features.0.filter.weight"].shape == (96, 1, 5, 5)
    assert state["fc1.filter.weight"].shape == (512, 8192)


@pytest.mark.parametrize("version", [1, 2])
def test_keys_of_lightcnn_29(version: int) -> None:
    with torch.device("meta"):
        state = LightCNN29(version, classes=10).state_dict()
    names = {"conv1.filter", "fc.filter" if version == 1 else "fc", "fc2"}
    for stage in (1, 2, 3, 4):
        names |= {f"group{stage}.{name}.filter" for name in ("conv_a", "conv")}
        names |= {f"block{stage}.{k}.conv{n}.filter" for k in range(stage) for n in (1, 2)}
    assert set(state) == with_both(names) - (set() if version == 1 else {"fc2.bias"})
    shape = state["fc.filter.weight" if version == 1 else "fc.weight"].shape
    assert shape == ((512, 8192) if version == 1 else (256, 8192))


def test_keys_of_lightcnn_v4() -> None:
    with torch.device("meta"):
        state = LightCNNV4().state_dict()
    blocks = {f"block{stage}.{k}.conv{n}.filter" for stage in (1, 2, 3, 4) for k in range(stage) for n in (1, 2)}
    assert set(state) == with_both({f"conv{k}.filter" for k in (1, 2, 3, 4, 5)} | blocks | {"fc"})
    assert state["conv1.filter.weight"].shape == (96, 3, 3, 3)


def test_embeddings_and_logits_have_the_stated_shapes() -> None:
    with torch.device("meta"):
        grey, colour = torch.zeros(2, 1, 128, 128), torch.zeros(2, 3, 128, 128)
        assert LightCNN29(1)(grey).shape == LightCNN29(2)(grey).shape == LightCNNV4()(colour).shape == (2, 256)
        for model in (LightCNN9(classes=10), LightCNN29(classes=10)):
            assert model.classify(model(grey)).shape == (2, 10)
    with pytest.raises(ValueError, match="1 or 2, got 3"):
        LightCNN29(3)


def test_only_training_drops_out() -> None:
    model, embedding = LightCNN9(SMALL, classes=5), torch.randn(4, 256)
    assert not torch.equal(model.train().classify(embedding), model.classify(embedding))
    assert torch.equal(model.eval().classify(embedding), model.fc2(embedding))


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    grey, colour = torch.rand(1, 1, 128, 128), torch.rand(1, 3, 128, 128)
    assert unused(LightCNN9(SMALL), grey) == unused(LightCNNV4(SMALL), colour) == []
    assert unused(LightCNN29(1, SMALL), grey) == unused(LightCNN29(2, SMALL), grey) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(LightCNN29(2, SMALL), torch.rand(3, 1, 128, 128) * 100)


@pytest.mark.parametrize("version", [1, 2])
def test_export_of_29_agrees(version: int, parity: Callable[..., float]) -> None:
    assert parity(LightCNN29(version, SMALL), torch.rand(2, 1, 128, 128)) < 1e-4


def test_export_of_9_and_v4_agrees(parity: Callable[..., float]) -> None:
    assert parity(LightCNN9(SMALL), torch.rand(2, 1, 128, 128)) < 1e-4
    assert parity(LightCNNV4(SMALL), torch.rand(2, 3, 128, 128)) < 1e-4
