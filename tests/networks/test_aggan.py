"""AG-GAN and AG-GAN+: sizes, U-GAT-IT's keys, attention, heat map, and the discriminators."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from meetmid.networks.aggan import AGGAN, AdaLINResidual, Attention, class_activation  # noqa: E402
from meetmid.networks.aggan_discriminator import AGGANDiscriminator  # noqa: E402


def small(attention: Attention = "cam", full_size: int | None = None) -> AGGAN:
    """A narrow generator with the mixing of the two normalisations at random."""
    model = AGGAN(attention, blocks=2, full_size=full_size, width=8)
    for name, parameter in model.named_parameters():
        if name.endswith("rho"):
            torch.nn.init.uniform_(parameter)
    return model


@pytest.mark.parametrize(
    ("attention", "full_size", "parameters"),
    [("cam", None, 10_589_888), ("cam", 256, 278_959_808), ("se", None, 10_466_512)],
)
def test_sizes_are_those_measured(
    attention: Attention, full_size: int | None, parameters: int, count: Callable[..., int]
) -> None:
    assert count(lambda: AGGAN(attention, full_size=full_size)) == parameters


@pytest.mark.parametrize("blocks", [4, 6])
def test_keys_are_those_of_ugatit(blocks: int) -> None:
    with torch.device("meta"):
        state = AGGAN(blocks=blocks).state_dict()
    names = {f"DownBlock.{k}.weight" for k in (1, 5, 9)} | {f"UpBlock2.{k}.weight" for k in (2, 7, 11)}
    names |= {f"DownBlock.{12 + k}.conv_block.{n}.weight" for k in range(blocks) for n in (1, 5)}
    names |= {f"UpBlock1_{k + 1}.conv{n}.weight" for k in range(blocks) for n in (1, 2)}
    names |= {f"UpBlock1_{k + 1}.norm{n}.rho" for k in range(blocks) for n in (1, 2)}
    names |= {f"UpBlock2.{k}.{name}" for k in (3, 8) for name in ("rho", "gamma", "beta")}
    names |= {f"{name}.weight" for name in ("gap_fc", "gmp_fc", "conv1x1", "FC.0", "FC.2", "gamma", "beta")}
    assert set(state) == names | {"conv1x1.bias"}
    assert state["DownBlock.1.weight"].shape == (64, 3, 7, 7)
    assert state["FC.0.weight"].shape == (256, 256)
    assert state["UpBlock1_1.norm1.rho"].shape == (1, 256, 1, 1)


def test_variants_can_be_told_apart_by_their_keys() -> None:
    with torch.device("meta"):
        full, gated = AGGAN(full_size=256).state_dict(), AGGAN("se").state_dict()
    assert 4 * (full["FC.0.weight"].shape[1] / full["FC.0.weight"].shape[0]) ** 0.5 == 256
    assert not {"gap_fc.weight", "gmp_fc.weight", "conv1x1.weight"} & set(gated)


@pytest.mark.parametrize(("attention", "outputs"), [("cam", 3), ("se", 2)])
def test_outputs_have_the_stated_shapes(attention: Attention, outputs: int) -> None:
    shapes = [tuple(out.shape) for out in small(attention)(torch.randn(2, 3, 24, 32))]
    assert shapes == [(2, 3, 24, 32), (2, 1, 6, 8), (2, 2)][:outputs]


def test_class_activation_is_the_written_formula() -> None:
    model = small()
    x = torch.randn(2, 3, 16, 16)
    features = model.DownBlock(x)
    gap, gmp = model.gap_fc.weight, model.gmp_fc.weight
    attended, logits = model.attend(x)
    largest = features.flatten(2).max(2).values
    assert torch.allclose(logits, torch.cat([features.mean((2, 3)) @ gap.T, largest @ gmp.T], 1), atol=1e-5)
    both = torch.cat([torch.einsum("nchw,c->nchw", features, w[0]) for w in (gap, gmp)], 1)
    mixed = torch.einsum("nchw,dc->ndhw", both, model.conv1x1.weight[:, :, 0, 0]) + model.conv1x1.bias[:, None, None]
    assert torch.allclose(attended, mixed.clamp(min=0), atol=1e-5)


@pytest.mark.parametrize("attention", ["cam", "se"])
def test_the_heat_map_is_the_channel_mean_of_the_attended_features(attention: Attention) -> None:
    model, x = small(attention), torch.randn(2, 3, 16, 16)
    assert torch.equal(model(x)[1], model.attend(x)[0].mean(1, keepdim=True))


def test_gamma_and_beta_reach_every_adaptive_block() -> None:
    model, x = small(), torch.randn(1, 3, 16, 16)
    seen = []
    for k in (1, 2):
        model.get_submodule(f"UpBlock1_{k}").register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[1:]))
    model(x)
    style = model.FC(model.attend(x)[0].mean((2, 3)))
    for gamma, beta in seen:
        assert torch.allclose(gamma, model.gamma(style), atol=1e-6)
        assert torch.allclose(beta, model.beta(style), atol=1e-6)
    assert len(seen) == 2


def test_an_adaptive_block_is_the_written_formula() -> None:
    block, x = AdaLINResidual(4), torch.randn(2, 4, 6, 5)
    gamma, beta = torch.randn(2, 4), torch.randn(2, 4)

    def layer(y: torch.Tensor, conv: torch.nn.Conv2d, norm: torch.nn.Module) -> torch.Tensor:
        padded = torch.nn.functional.pad(y, (1, 1, 1, 1), mode="reflect")
        return norm(torch.nn.functional.conv2d(padded, conv.weight), gamma, beta)

    y = layer(layer(x, block.conv1, block.norm1).clamp(min=0), block.conv2, block.norm2)
    assert torch.allclose(block(x, gamma, beta), x + y, atol=1e-5)


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    x = torch.randn(2, 3, 16, 16)
    assert unused(small(), x) == unused(small("cam", 16), x) == unused(small("se"), x) == []
    pair = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    assert unused(AGGANDiscriminator(5, width=4), *pair) == unused(AGGANDiscriminator(5, "se", width=4), *pair) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(small("se"), torch.randn(3, 3, 16, 16))
    steady(small(), torch.randn(3, 3, 16, 16))


@pytest.mark.parametrize(
    ("attention", "full_size", "outputs", "sizes"),
    [
        ("cam", None, ("image", "heat", "logits"), [(24, 20)]),
        ("cam", 16, ("image", "heat", "logits"), []),
        ("se", None, ("image", "heat"), [(24, 20)]),
    ],
)
def test_export_agrees(
    attention: Attention, full_size: int | None, outputs: tuple[str, ...], sizes: list[tuple[int, int]],
    parity: Callable[..., float],
) -> None:
    assert parity(small(attention, full_size), torch.rand(2, 3, 16, 16), outputs=outputs, sizes=sizes) < 1e-4


@pytest.mark.parametrize(("layers", "patches", "millions"), [(7, 6, 53.1), (5, 30, 3.3)])
def test_discriminators_have_the_measured_size(
    layers: int, patches: int, millions: float, count: Callable[..., int]
) -> None:
    assert round(count(lambda: AGGANDiscriminator(layers)) / 1e6, 1) == millions
    picture = torch.zeros(2, 3, 256, 256)
    scores, logits = AGGANDiscriminator(layers, width=2)(picture, picture)
    assert scores.shape == (2, 1, patches, patches)
    assert logits.shape == (2, 2)
    (only,) = AGGANDiscriminator(layers, "se", width=4)(picture, picture)
    assert only.shape == scores.shape


def test_a_discriminator_scores_the_attended_features() -> None:
    model = AGGANDiscriminator(5, width=4).eval().double()  # libraries' float32 rounds in its own way on every processor
    thermal, picture = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64)
    scores, logits = model(thermal, picture)
    features = model.model(torch.cat([thermal, picture], 1))
    attended, expected = class_activation(features, model.gap_fc, model.gmp_fc, model.conv1x1)
    padded = torch.nn.functional.pad(torch.where(attended > 0, attended, attended / 5), (1, 1, 1, 1), mode="reflect")
    assert torch.allclose(scores, torch.nn.functional.conv2d(padded, model.conv.weight), atol=1e-6)
    assert torch.equal(logits, expected)


def test_discriminator_keys_are_those_of_ugatit() -> None:
    state = AGGANDiscriminator(5, width=4).state_dict()
    normalised = {"model.1", "model.4", "model.7", "model.10", "gap_fc", "gmp_fc", "conv"}
    names = {f"{name}.weight_{k}" for name in normalised for k in ("orig", "u", "v")}
    names |= {f"model.{k}.bias" for k in (1, 4, 7, 10)} | {"conv1x1.weight", "conv1x1.bias"}
    assert set(state) == names


def test_discriminators_see_both_pictures_and_bound_their_gain() -> None:
    model = AGGANDiscriminator(5, width=4)
    thermal, picture = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    for _ in range(30):
        model(thermal, picture)
    model.eval()
    assert not torch.allclose(model(thermal, picture)[0], model(0 * thermal, picture)[0], atol=1e-4)
    assert not torch.allclose(model(thermal, picture)[0], model(thermal, 0 * picture)[0], atol=1e-4)
    for k in (1, 4, 7):
        assert torch.linalg.matrix_norm(model.model[k].weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
