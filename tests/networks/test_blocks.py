"""The shared blocks against their formulas."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from torch.nn import functional  # noqa: E402

from meetmid.networks.blocks import InstanceResidual, SqueezeExcite  # noqa: E402


@pytest.mark.parametrize("bias", [True, False])
def test_squeeze_excite_is_the_written_formula(bias: bool) -> None:
    gate = SqueezeExcite(32, 8, bias=bias)
    x = torch.randn(3, 32, 5, 6)
    w1, w2 = gate.fc1.weight[:, :, 0, 0], gate.fc2.weight[:, :, 0, 0]
    b1, b2 = (gate.fc1.bias, gate.fc2.bias) if bias else (0, 0)
    weight = torch.sigmoid((x.mean((2, 3)) @ w1.T + b1).clamp(min=0) @ w2.T + b2)
    assert torch.allclose(gate(x), x * weight[:, :, None, None], atol=1e-6)


def test_zeroed_weights_halve_the_input() -> None:
    gate = SqueezeExcite(16)
    for parameter in gate.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(gate(x), x / 2)


@pytest.mark.parametrize("bias", [True, False])
def test_an_instance_residual_is_the_written_formula(bias: bool) -> None:
    block = InstanceResidual(4, bias=bias)
    x = torch.randn(2, 4, 6, 5)

    def layer(y: torch.Tensor, conv: torch.nn.Conv2d) -> torch.Tensor:
        y = functional.conv2d(functional.pad(y, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias)
        return (y - y.mean((2, 3), keepdim=True)) / (y.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()

    residual = layer(layer(x, block.conv_block[1]).relu(), block.conv_block[5])
    assert torch.allclose(block(x), x + residual, atol=1e-5)
    names = {"weight", "bias"} if bias else {"weight"}
    assert set(block.state_dict()) == {f"conv_block.{k}.{name}" for k in (1, 5) for name in names}
