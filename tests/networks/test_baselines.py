"""The baselines: published sizes, pix2pix's keys, shapes, and the equations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from torch.nn import functional  # noqa: E402

from meetmid.networks.baselines import Pix2PixUNet, SRResBlock, SRResNet, UNetLevel  # noqa: E402


def test_srresnet_has_the_layers_of_figure_4(count: Callable[..., int]) -> None:
    ends = 2 * 3 * 64 * 81 + 64 + 3 + 64
    convolution = 64 * 64 * 9 + 64
    body = 16 * (2 * convolution + 4 * 64 + 64) + convolution + 2 * 64
    upsampling = 2 * (64 * 256 * 9 + 256 + 64)
    assert count(SRResNet) == ends + body + upsampling
    assert sum(type(m) is SRResBlock for m in SRResNet(width=4).modules()) == 16


@pytest.mark.parametrize("size", [(6, 6), (9, 7)])
def test_srresnet_enlarges_by_four(size: tuple[int, int]) -> None:
    assert SRResNet(1, 4)(torch.rand(2, 3, *size)).shape == (2, 3, 4 * size[0], 4 * size[1])


def test_a_residual_block_is_the_written_formula() -> None:
    block, x = SRResBlock(3).eval(), torch.randn(2, 3, 6, 6)
    first, second, scale = block.body[0], block.body[3], (1 + 1e-5) ** -0.5
    y = functional.conv2d(x, first.weight, first.bias, padding=1) * scale
    y = functional.conv2d(torch.where(y > 0, y, y / 4), second.weight, second.bias, padding=1) * scale
    assert torch.allclose(block(x), x + y, atol=1e-6)


@pytest.mark.parametrize(("depth", "millions"), [(8, 54.414), (7, 41.829)])
def test_the_unet_has_the_published_size(depth: int, millions: float, count: Callable[..., int]) -> None:
    assert round(count(lambda: Pix2PixUNet(depth)) / 1e6, 3) == millions


def test_unet_keys_are_nested_as_published() -> None:
    state = Pix2PixUNet(6, width=2).state_dict()
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected, prefix = {"model.model.0.weight", "model.model.3.weight", "model.model.3.bias"}, "model.model.1"
    for _ in range(4):
        expected |= {f"{prefix}.model.1.weight", f"{prefix}.model.5.weight"}
        expected |= {f"{prefix}.model.{k}.{name}" for k in (2, 6) for name in norm}
        prefix += ".model.3"
    expected |= {f"{prefix}.model.1.weight", f"{prefix}.model.3.weight"} | {f"{prefix}.model.4.{name}" for name in norm}
    assert set(state) == expected


def test_a_level_keeps_its_input_alongside() -> None:
    level, x = UNetLevel(3, 4, None), torch.randn(2, 3, 8, 8)
    out = level(x)
    assert out.shape == (2, 6, 8, 8)
    assert torch.equal(out[:, :3], x)


def test_the_unet_drops_out_in_training_only_at_its_widest_levels() -> None:
    dropouts = {depth: sum(isinstance(m, torch.nn.Dropout) for m in Pix2PixUNet(depth, width=1).modules()) for depth in (5, 8)}
    assert dropouts == {5: 0, 8: 3}
    with torch.device("meta"):
        assert Pix2PixUNet(8, channels=1)(torch.zeros(2, 1, 256, 512)).shape == (2, 3, 256, 512)


def test_srresnet_has_a_long_skip() -> None:
    model, x = SRResNet(2, 4).eval(), torch.rand(1, 3, 6, 6)
    first = model.head(x)
    assert torch.allclose(model(x), model.tail(model.upsample(first + model.body(first))), atol=1e-6)


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    assert unused(SRResNet(2, 4), torch.rand(1, 3, 8, 8)) == unused(Pix2PixUNet(7, width=2), torch.randn(2, 3, 128, 128)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(SRResNet(1, 4), torch.rand(3, 3, 8, 8))
    steady(Pix2PixUNet(6, width=2), torch.randn(3, 3, 64, 64))


def test_export_agrees_at_any_size(parity: Callable[..., float]) -> None:
    assert parity(SRResNet(2, 8), torch.rand(2, 3, 12, 12), sizes=[(9, 7)]) < 1e-4
    assert parity(Pix2PixUNet(6, width=4), torch.rand(2, 3, 64, 64), sizes=[(128, 64)]) < 1e-4
