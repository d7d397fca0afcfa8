"""IResNet: the published sizes, arcface_torch's keys, and the block's equation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from torch.nn import functional  # noqa: E402

from meetmid.networks.iresnet import DEPTHS, IResBlock, IResNet, iresnet  # noqa: E402

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def small() -> IResNet:
    return IResNet((1, 2, 1, 1), (4, 6, 8, 10), length=12)


@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 24_025_600), (34, 34_139_328), (50, 43_590_848), (100, 65_156_160), (200, 118_833_920)]
)
def test_sizes_are_the_published_ones(depth: int, parameters: int, count: Callable[..., int]) -> None:
    assert count(lambda: iresnet(depth)) == parameters


def test_depths_count_the_units_and_nothing_else_is_accepted() -> None:
    assert {sum(blocks): depth for depth, blocks in DEPTHS.items()} == {8: 18, 16: 34, 24: 50, 49: 100, 98: 200}
    with pytest.raises(ValueError, match="18, 34, 50, 100, 200, got 101"):
        iresnet(101)


def test_keys_are_those_of_arcface_torch() -> None:
    with torch.device("meta"):
        state = iresnet(18).state_dict()
    expected = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"}
    expected |= {f"{name}.{k}" for name in ("bn1", "bn2", "features") for k in BATCH_NORM}
    for stage in (1, 2, 3, 4):
        expected |= {f"layer{stage}.0.downsample.0.weight"} | {f"layer{stage}.0.downsample.1.{k}" for k in BATCH_NORM}
        for unit in (f"layer{stage}.0", f"layer{stage}.1"):
            expected |= {f"{unit}.{name}.weight" for name in ("conv1", "prelu", "conv2")}
            expected |= {f"{unit}.{name}.{k}" for name in ("bn1", "bn2", "bn3") for k in BATCH_NORM}
    assert set(state) == expected
    assert state["conv1.weight"].shape == (64, 3, 3, 3)
    assert state["fc.weight"].shape == (512, 25_088)
    assert state["layer1.0.prelu.weight"].shape == (64,)


def test_the_maps_are_those_of_the_layer_table() -> None:
    with torch.device("meta"):
        model, x = iresnet(50), torch.zeros(2, 3, 112, 112)
        x = model.prelu(model.bn1(model.conv1(x)))
        for layer, (channels, size) in zip(
            (model.layer1, model.layer2, model.layer3, model.layer4), ((64, 56), (128, 28), (256, 14), (512, 7)), strict=True
        ):
            x = layer(x)
            assert x.shape == (2, channels, size, size)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_follows_its_equation(stride: int) -> None:
    block = IResBlock(4, 4, stride).train()
    x = torch.randn(3, 4, 8, 8) * 2 + 1

    def normal(y: torch.Tensor) -> torch.Tensor:
        return (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()

    y = normal(functional.conv2d(normal(x), block.conv1.weight, padding=1))
    y = torch.where(y > 0, y, 0.25 * y)
    y = normal(functional.conv2d(y, block.conv2.weight, padding=1, stride=stride))
    shortcut = x if stride == 1 else normal(functional.conv2d(x, block.downsample[0].weight, stride=2))
    assert torch.allclose(block(x), y + shortcut, atol=1e-5)


def test_the_embedding_normalisation_has_no_trainable_weight() -> None:
    model = small()
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["features.weight"]
    assert (model.features.weight == 1).all()


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    assert unused(small(), torch.randn(2, 3, 112, 112)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(small(), torch.randn(3, 3, 112, 112))


def test_export_agrees(parity: Callable[..., float]) -> None:
    assert parity(small(), torch.rand(2, 3, 112, 112)) < 1e-4
