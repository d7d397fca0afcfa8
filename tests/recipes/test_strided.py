"""Quick gradients of strided depthwise convolutions are those of the plain ones."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes.strided import ByTwo, quickened  # noqa: E402

from meetmid.networks.slimface import SlimFace  # noqa: E402


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (9, 5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_equal(size, layout) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv2d(6, 6, 3, 2, 1, groups=6))
    quick = quickened(copy.deepcopy(plain))
    assert isinstance(quick[0], ByTwo)
    x = torch.randn(3, 6, *size, generator=generator).contiguous(memory_format=layout)
    gradients = []
    for network in (plain, quick):
        own = x.clone().requires_grad_()
        out = network(own)
        out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(1)))
        gradients.append([out.detach(), own.grad, *(p.grad for p in network.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_gradients_agree_with_differences() -> None:
    quick = quickened(torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3, 2, 1, groups=2))).double()
    x = torch.randn(1, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(quick, (x,))


def test_only_strided_depthwise_convolutions_are_replaced_and_parameters_keep_their_names() -> None:
    network = SlimFace()
    names, before = set(network.state_dict()), dict(network.named_parameters())
    quickened(network)
    assert set(network.state_dict()) == names
    assert all(parameter is before[name] for name, parameter in network.named_parameters())
    assert [m.kernel_size for m in network.modules() if isinstance(m, ByTwo)] == [(3, 3)] * 3


@pytest.mark.parametrize("options", [
    {"dilation": 2}, {"padding": 0}, {"padding_mode": "reflect"}, {"bias": False}, {"out_channels": 8}, {"groups": 2},
], ids=str)
def test_other_convolutions_stay(options) -> None:
    layer = torch.nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1, "groups": 4,
                               **options})
    assert quickened(torch.nn.Sequential(layer))[0] is layer


def test_autocast_computes_in_bfloat16_and_keeps_gradients_in_float32() -> None:
    quick = quickened(torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, 2, 1, groups=4)))
    with torch.autocast("cpu", torch.bfloat16):
        out = quick(torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert quick[0].weight.grad.dtype == torch.float32
