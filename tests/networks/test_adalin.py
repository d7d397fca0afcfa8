"""The fused normalisation against the formula as it is written."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from torch.nn import functional  # noqa: E402

from meetmid.networks.adalin import LIN, AdaLIN, clamp_rho  # noqa: E402


def naive(x: torch.Tensor, rho: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    instance = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()
    layer = (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), keepdim=True) + 1e-5).sqrt()
    return gamma * (rho * instance + (1 - rho) * layer) + beta


def picture(dtype: torch.dtype) -> torch.Tensor:
    """Channels of different means and spreads, few pixels, so that Bessel's corrections show."""
    x = torch.randn(3, 6, 4, 5, dtype=dtype)
    return x * torch.linspace(0.1, 3, 6, dtype=dtype)[:, None, None] + torch.linspace(-2, 2, 6, dtype=dtype)[:, None, None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
def test_adalin_is_the_written_formula(dtype: torch.dtype, tolerance: float) -> None:
    layer = AdaLIN(6).to(dtype)
    assert torch.allclose(layer.rho, torch.tensor(0.9, dtype=dtype))
    layer.rho.data = torch.rand(1, 6, 1, 1, dtype=dtype)
    x, gamma, beta = picture(dtype), torch.randn(3, 6, dtype=dtype), torch.randn(3, 6, dtype=dtype)
    expected = naive(x, layer.rho, gamma[:, :, None, None], beta[:, :, None, None])
    assert (layer(x, gamma, beta) - expected).abs().max() < tolerance


def test_lin_is_the_written_formula() -> None:
    layer = LIN(6).double()
    for parameter in layer.parameters():
        parameter.data = torch.rand(1, 6, 1, 1, dtype=torch.float64)
    x = picture(torch.float64)
    assert (layer(x) - naive(x, layer.rho, layer.gamma, layer.beta)).abs().max() < 1e-12


def test_the_ends_of_rho_are_layer_and_instance_normalisation() -> None:
    layer, x = LIN(6).double(), picture(torch.float64)
    # PyTorch's own normalisations take the biased variance v (n - 1) / n, so eps shrinks with it
    bessel = 119 / 120
    expected = functional.layer_norm(x, x.shape[1:], eps=1e-5 * bessel) * bessel**0.5
    assert torch.allclose(layer(x), expected, atol=1e-10)
    torch.nn.init.ones_(layer.rho)
    bessel = 19 / 20
    assert torch.allclose(layer(x), functional.instance_norm(x, eps=1e-5 * bessel) * bessel**0.5, atol=1e-10)


def test_the_dynamo_exporter_folds_the_sizes(tmp_path: Path) -> None:
    path = tmp_path / "lin.onnx"
    torch.onnx.export(
        LIN(4).eval(), (torch.randn(2, 4, 8, 8),), str(path), dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True,
        verbose=False,
    )
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "ReduceMean" in operators
    assert not operators & {"Cast", "Shape"}


def test_clamping_touches_rho_only() -> None:
    model = torch.nn.ModuleList([LIN(2), AdaLIN(2)])
    for layer in model:
        layer.rho.data = torch.tensor([-0.5, 1.5]).view(1, 2, 1, 1)
    model[0].gamma.data.fill_(3)
    clamp_rho(model)
    assert all(layer.rho.flatten().tolist() == [0, 1] for layer in model)
    assert (model[0].gamma == 3).all()
