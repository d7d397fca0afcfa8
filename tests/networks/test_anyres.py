"""ANYRES: sizes, maps, and the order of its operations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from meetmid.networks.anyres import AnyRes, Decode  # noqa: E402

SMALL = (16, 16, 32)


@pytest.mark.parametrize(
    ("widths", "parameters"),
    [((64, 128, 256, 512, 1024), 34_703_291), ((64, 128, 256, 512), 8_608_123), ((64, 128, 256, 512, 512), 22_903_739)],
)
def test_sizes_are_those_measured(widths: tuple[int, ...], parameters: int, count: Callable[..., int]) -> None:
    assert count(lambda: AnyRes(widths=widths)) == parameters


def test_the_default_is_the_published_shape() -> None:
    assert [m[0].out_channels for m in AnyRes(widths=(16, 32)).encoder] == [16, 32]
    with torch.device("meta"):
        model, shapes = AnyRes(), []
        for layer in [*model.encoder, *model.decoder]:
            layer.register_forward_hook(lambda _module, _inputs, out: shapes.append(tuple(out.shape[1:])))
        assert model(torch.zeros(1, 3, 128, 128)).shape == (1, 3, 128, 128)
    down = [(64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 16, 16), (1024, 8, 8)]
    assert shapes == [*down, *reversed(down[:-1])]


def test_a_skip_is_gated_after_the_concatenation() -> None:
    level = Decode(below=32, skip=16).eval()
    seen: dict[str, torch.Tensor] = {}
    level.up.register_forward_hook(lambda _m, _i, out: seen.update(up=out))
    level.merge.register_forward_hook(lambda _m, inputs, _o: seen.update(merged=inputs[0]))
    skip, below = torch.randn(2, 16, 8, 8), torch.randn(2, 32, 4, 4)
    level(skip, below)
    both = torch.cat([skip, seen["up"]], 1)
    w1, w2 = level.gate.fc1, level.gate.fc2
    weight = torch.sigmoid(
        (both.mean((2, 3)) @ w1.weight[:, :, 0, 0].T + w1.bias).relu() @ w2.weight[:, :, 0, 0].T + w2.bias
    )
    assert torch.allclose(seen["merged"], both * weight[:, :, None, None], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_output_is_visible_and_within_tanh(channels: int) -> None:
    out = AnyRes(channels, SMALL)(torch.randn(2, channels, 20, 12) * 50)
    assert out.shape == (2, 3, 20, 12)
    assert out.abs().max() <= 1


def test_the_levels_are_joined_as_in_equations_3_to_7() -> None:
    model, x = AnyRes(3, SMALL).eval(), torch.randn(2, 3, 16, 16)
    f0 = model.encoder[0](x)
    f1 = model.encoder[1](f0.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)))
    f2 = model.encoder[2](f1.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)))
    decoded = f2
    for level, skip in zip(model.decoder, (f1, f0), strict=True):
        up = level.up[1:](decoded.repeat_interleave(2, 2).repeat_interleave(2, 3))
        decoded = level.merge(level.gate(torch.cat([skip, up], 1)))
    assert torch.allclose(model(x), torch.tanh(model.image(decoded)), atol=1e-6)


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    assert unused(AnyRes(3, SMALL), torch.randn(2, 3, 16, 16)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(AnyRes(3, SMALL), torch.randn(3, 3, 16, 16))


def test_export_agrees_at_any_size(parity: Callable[..., float]) -> None:
    assert parity(AnyRes(3, SMALL), torch.rand(2, 3, 32, 32), sizes=[(16, 48)]) < 1e-4
