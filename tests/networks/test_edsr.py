"""EDSR: published sizes, keys of the public checkpoints, and the equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from meetmid.networks.edsr import EDSR, RGB_MEAN, GatedEDSR, GatedResidualBlock, TanhEDSR, large_edsr  # noqa: E402


@pytest.mark.parametrize(("scale", "parameters"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571), (8, 1_665_283)])
def test_the_baseline_has_the_published_size(scale: int, parameters: int, count: Callable[..., int]) -> None:
    assert count(lambda: EDSR(scale)) == parameters + 24
    assert sum(p.numel() for p in EDSR(scale, 1, 4).parameters() if not p.requires_grad) == 24


@pytest.mark.parametrize(("scale", "parameters"), [(2, 40_729_603), (4, 43_089_923), (8, 45_450_243)])
def test_the_large_model_has_the_published_size(scale: int, parameters: int, count: Callable[..., int]) -> None:
    assert count(lambda: large_edsr(scale)) == parameters + 24
    # without mean shift the second convention has the same convolutions
    assert count(lambda: TanhEDSR(scale)) == parameters


@pytest.mark.parametrize("size", [(8, 8), (29, 22), (24, 24)])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_edsr_enlarges_any_size(scale: int, size: tuple[int, int]) -> None:
    out = EDSR(scale, blocks=2, width=8)(torch.rand(3, 3, *size) * 255)
    assert out.shape == (3, 3, size[0] * scale, size[1] * scale)


def test_edsr_refuses_other_scales() -> None:
    with pytest.raises(ValueError, match="2, 3, 4 or 8, got 5"):
        EDSR(5)


def test_mean_shift_adds_what_it_subtracted() -> None:
    model = EDSR(2, blocks=1, width=4)
    x = torch.rand(2, 3, 9, 9) * 255
    mean = torch.tensor(RGB_MEAN).view(1, 3, 1, 1) * 255
    assert torch.allclose(model.sub_mean(x), x - mean, atol=1e-4)
    assert torch.allclose(model.add_mean(model.sub_mean(x)), x, atol=1e-4)


def test_state_dict_keys_are_those_of_edsr_pytorch() -> None:
    keys = set(EDSR(8, blocks=2, width=8).state_dict())
    assert {"head.0.weight", "body.0.body.0.weight", "body.0.body.2.bias", "body.2.weight", "tail.0.4.weight",
            "tail.1.weight", "sub_mean.weight", "add_mean.bias"} <= keys


def test_the_residual_scale_multiplies_the_residual_only() -> None:
    one, tenth = EDSR(2, 1, 4).body[0], EDSR(2, 1, 4, residual_scale=0.1).body[0]
    tenth.load_state_dict(one.state_dict())
    x = torch.randn(1, 4, 8, 8)
    assert torch.allclose(tenth(x) - x, (one(x) - x) / 10, atol=1e-6)


@pytest.mark.parametrize("step", [2, 3])
def test_the_pixel_shuffle_interleaves_channels_in_crd_order(step: int) -> None:
    shuffle = EDSR(step, 1, 4).tail[0][1]
    index = torch.arange(4 * step * step * 2 * 3).reshape(1, 4 * step * step, 2, 3).float()
    out = np.zeros((4, 2 * step, 3 * step))
    for c, y, x in np.ndindex(out.shape):
        out[c, y, x] = index[0, c * step * step + (y % step) * step + x % step, y // step, x // step]
    assert np.array_equal(shuffle(index)[0].numpy(), out)


def test_state_dict_keys_of_the_second_convention() -> None:
    model = GatedEDSR(8, blocks=1, width=8)
    tensors = {"conv1", "res_blocks.0.residual.0", "res_blocks.0.residual.2", "conv2", "upsampler.0.conv", "upsampler.1.conv",
               "upsampler.2.conv", "conv3"}
    gates = {"res_blocks.0.pre.1", "res_blocks.0.seblock.0", "res_blocks.0.seblock.2"}
    both = {"weight", "bias"}
    assert set(TanhEDSR(8, blocks=1, width=8).state_dict()) == {f"{t}.{b}" for t in tensors for b in both}
    assert set(model.state_dict()) == {f"{t}.{b}" for t in tensors | gates for b in both}


def test_the_second_convention_stays_within_tanh_and_refuses_three() -> None:
    out = TanhEDSR(4, blocks=1, width=8)(torch.rand(1, 3, 9, 7) * 200 - 100)
    assert out.shape == (1, 3, 36, 28)
    assert out.abs().max() <= 1
    with pytest.raises(ValueError, match="2, 4 or 8, got 3"):
        TanhEDSR(3)


def test_the_second_convention_is_edsr_without_mean_shift_and_with_tanh() -> None:
    plain, model = EDSR(4, 2, 8, residual_scale=0.1), TanhEDSR(4, 2, 8)
    tensors = [value for key, value in plain.state_dict().items() if "_mean" not in key]
    model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=True)))
    x = torch.rand(1, 3, 8, 9) * 2 - 1
    features = plain.head(x)
    assert torch.allclose(model(x), torch.tanh(plain.tail(features + plain.body(features))), atol=1e-6)


def test_a_gate_scales_the_residual_by_the_written_formula() -> None:
    block = GatedResidualBlock(8)
    x, down = torch.randn(2, 8, 6, 5), torch.tensor([[0.5, 0.125], [1.0, 0.0625]])
    residual = block.residual(x)
    squeeze = residual.mean((2, 3)) @ block.pre[1].weight[:, :, 0, 0].T + block.pre[1].bias
    hidden = torch.cat([squeeze, down], 1) @ block.seblock[0].weight[:, :, 0, 0].T + block.seblock[0].bias
    gate = torch.sigmoid(hidden.clamp(min=0) @ block.seblock[2].weight[:, :, 0, 0].T + block.seblock[2].bias)
    assert torch.allclose(block(x, down[:, :, None, None]), x + residual * gate[:, :, None, None], atol=1e-6)


def test_the_down_factor_matters() -> None:
    model, x = GatedEDSR(2, blocks=2, width=8), torch.rand(1, 3, 8, 8)
    assert not torch.equal(model(x, torch.tensor([[0.25, 0.25]])), model(x, torch.tensor([[1.0, 0.0625]])))


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    x = torch.rand(2, 3, 8, 8)
    assert unused(EDSR(8, 2, 4), x) == unused(TanhEDSR(8, 2, 4), x) == unused(GatedEDSR(8, 2, 4), x, torch.rand(2, 2)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(EDSR(2, 1, 4), torch.rand(3, 3, 12, 10) * 255)
    steady(GatedEDSR(2, 1, 8), torch.rand(3, 3, 12, 10), torch.rand(3, 2))


def test_export_agrees_at_any_size(parity: Callable[..., float]) -> None:
    assert parity(EDSR(8, 2, 8), torch.full((2, 3, 24, 24), 128.0), sizes=[(8, 8), (29, 22)]) < 1e-4
    assert parity(EDSR(3, 1, 8), torch.full((2, 3, 24, 24), 128.0), sizes=[(29, 22)]) < 1e-4
    assert parity(TanhEDSR(4, 2, 8), torch.rand(2, 3, 24, 24), sizes=[(29, 22)]) < 1e-4
    assert parity(GatedEDSR(4, 2, 8), torch.rand(2, 3, 24, 24), torch.rand(2, 2), sizes=[(29, 22)]) < 1e-4
