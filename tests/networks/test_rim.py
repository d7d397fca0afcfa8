"""RIM's FHN: size, v1's keys, maps, sharing of weights, and the domain discriminator."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from torch.nn import functional  # noqa: E402

from meetmid.networks.rim import FHN, DomainDiscriminator, Hourglass, ResidualBlock, from_v1  # noqa: E402

OUTPUTS = ("sr", "coarse", "landmarks", "parsing")


def small(*, separate_priors: bool = False, passes: int = 1) -> FHN:
    return FHN(5, 3, separate_priors=separate_priors, passes=passes, width=4)


def v1_state(width: int, landmarks: int, parts: int) -> dict[str, torch.Tensor]:
    """The tensors of a public v1 checkpoint at a reduced width."""
    state: dict[str, torch.Tensor] = {}

    def conv(name: str, outputs: int, inputs: int, kernel: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) / (inputs * kernel * kernel) ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(outputs) * 0.1

    def norm(name: str, channels: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(channels) + 0.5, torch.randn(channels) * 0.1

    def slope(name: str, channels: int) -> None:
        state[f"{name}.weight"] = torch.rand(channels) * 0.4

    def group(name: str, channels: int) -> None:
        for k in range(3):
            for n in (1, 2):
                conv(f"{name}.{k}.conv{n}", channels, channels, 3, bias=False)
                norm(f"{name}.{k}.in{n}", channels)
            slope(f"{name}.{k}.relu", channels)
            slope(f"{name}.{k}.relu_out", channels)

    coarse, encoder, decoder = "_coarse_sr_network", "_fine_sr_encoder", "_fine_sr_decoder"
    for part, inputs, kernel in ((coarse, 3, 3), (encoder, 3, 7), (decoder, 3 * width, 3)):
        conv(f"{part}.conv_input", width, inputs, kernel)
        norm(f"{part}.bn_mid", width)
        slope(f"{part}.relu", width)
        group(f"{part}.residual", width)
    for part in (coarse, encoder):  # the encoder inherits the coarse net's last layers and never calls them
        conv(f"{part}.conv_mid", 3, width, 3)
        norm(f"{part}.bn_end", 3)
    conv(f"{encoder}.conv_end", width, width, 3)
    conv(f"{decoder}.deconv", width, width, 7)
    conv(f"{decoder}.conv_out", 3, width, 3)
    norm(f"{decoder}.instance_norm", 3)
    prior, wide = "_prior_estimation_network", 2 * width
    conv(f"{prior}.conv", wide, 3, 7)
    norm(f"{prior}.bn", wide)
    slope(f"{prior}.relu", wide)
    group(f"{prior}.residual", wide)
    group(f"{prior}.residual_next", wide)
    for level, branches in ((0, 4), (1, 3)):
        for branch in range(branches):
            for k in range(2):
                unit = f"{prior}.hg.hg.{level}.{branch}.{k}"
                conv(f"{unit}.conv1", wide, wide, 3, bias=False)
                conv(f"{unit}.conv2", wide, wide, 3, bias=False)
                slope(f"{unit}.relu", wide)
    conv(f"{prior}.fc_landmark", landmarks, wide, 1)
    conv(f"{prior}.fc", parts, wide, 1)
    state["_discriminator.fc.bias"] = torch.zeros(512)
    return state


def test_the_size_is_the_one_measured(count: Callable[..., int]) -> None:
    assert count(FHN) == 6_094_419


def test_outputs_have_the_stated_shapes() -> None:
    with torch.device("meta"):
        model = FHN()
        shapes = [tuple(out.shape) for out in model(torch.zeros(2, 3, 224, 224))]
    assert shapes == [(2, 3, 224, 224), (2, 3, 224, 224), (2, 194, 56, 56), (2, 11, 56, 56)]
    assert model.features == 192
    assert model.state_dict()["_prior_estimation_network.fc_landmark.weight"].shape == (194, 128, 1, 1)


def instance_norm(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return functional.instance_norm(x, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])


def test_a_v1_checkpoint_loads_and_its_groups_run_three_times() -> None:
    state = v1_state(4, 5, 3)
    model = small(passes=3)
    model.load_state_dict(from_v1(state), strict=True)
    x, part = torch.randn(1, 3, 32, 32), "_coarse_sr_network"

    def layer(y: torch.Tensor, name: str, norm: str, slope: str) -> torch.Tensor:
        y = functional.conv2d(y, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=1)
        y = instance_norm(y, state, norm)
        return functional.prelu(y, state[slope]) if slope else y

    y = layer(x, f"{part}.conv_input", f"{part}.bn_mid", f"{part}.relu.weight")
    for _ in range(3):
        for k in range(3):
            unit = f"{part}.residual.{k}"
            inner = layer(y, f"{unit}.conv1", f"{unit}.in1", f"{unit}.relu.weight")
            inner = layer(inner, f"{unit}.conv2", f"{unit}.in2", "")
            y = functional.prelu(y + inner, state[f"{unit}.relu_out.weight"])
    y = instance_norm(y, state, f"{part}.bn_mid")
    y = functional.conv2d(y, state[f"{part}.conv_mid.weight"], state[f"{part}.conv_mid.bias"], padding=1)
    assert torch.allclose(model(x)[1], y, atol=1e-4)
    decoder = model.get_submodule("_fine_sr_decoder")
    assert torch.equal(decoder.bn_out.weight, state["_fine_sr_decoder.bn_mid.weight"])
    assert torch.equal(decoder.relu_out.weight, state["_fine_sr_decoder.relu.weight"])


def test_a_shuffled_v1_key_is_refused() -> None:
    state = v1_state(4, 5, 3)
    state["_fine_sr_decoder.conv_last.weight"] = state.pop("_fine_sr_decoder.conv_out.weight")
    with pytest.raises(RuntimeError, match=r"conv_last\.weight"):
        small(passes=3).load_state_dict(from_v1(state), strict=True)


def test_priors_describe_the_coarse_picture() -> None:
    model, x = small().eval(), torch.randn(2, 3, 32, 32)
    sr, coarse, landmarks, parsing = model(x)
    features, *maps = model.describe(coarse)
    assert features.shape == (2, 12, 8, 8)
    assert torch.equal(maps[0], landmarks)
    assert torch.equal(maps[1], parsing)
    assert torch.equal(model.get_submodule("_fine_sr_decoder")(features), sr)


def test_separate_priors_have_a_trunk_each() -> None:
    model, x = small(separate_priors=True).eval(), torch.randn(1, 3, 32, 32)
    before = model(x)
    assert model.features == 20
    torch.nn.init.zeros_(model.get_submodule("_prior_estimation_network.parsing_trunk.conv").weight)
    after = model(x)
    assert torch.equal(before[2], after[2])
    assert not torch.allclose(before[3], after[3])


def test_a_residual_block_is_the_written_formula() -> None:
    block, x = ResidualBlock(3), torch.randn(2, 3, 7, 6)
    y = functional.instance_norm(functional.conv2d(x, block.conv1.weight, padding=1))
    y = functional.instance_norm(functional.conv2d(torch.where(y > 0, y, y / 4), block.conv2.weight, padding=1)) + x
    assert torch.allclose(block(x), torch.where(y > 0, y, y / 4), atol=1e-5)


def test_the_hourglass_halves_twice_and_keeps_every_scale() -> None:
    model, x = Hourglass(3), torch.randn(2, 3, 8, 8)
    (kept, before, after, inner), (kept2, before2, after2) = model.hg[0], model.hg[1]

    def enlarged(y: torch.Tensor) -> torch.Tensor:
        return y.repeat_interleave(2, 2).repeat_interleave(2, 3)

    half = before2(functional.max_pool2d(x, 2))
    quarter = after(inner(before(functional.max_pool2d(half, 2))))
    expected = kept2(x) + enlarged(after2(kept(half) + enlarged(quarter)))
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_the_last_normalisation_of_coarse_net_and_decoder_is_their_own_again() -> None:
    model, features = small(), torch.randn(2, 12, 8, 8)
    decoder = model.get_submodule("_fine_sr_decoder")
    inner = decoder.relu_out(decoder.bn_out(decoder.deconv(decoder.relu(decoder.bn_mid(decoder.conv_input(features))))))
    expected = decoder.conv_out(functional.instance_norm(decoder.residual(inner)))
    assert torch.allclose(decoder(features), expected, atol=1e-5)


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    x = torch.randn(1, 3, 32, 32)
    assert unused(small(), x) == unused(small(separate_priors=True, passes=3), x) == []
    assert unused(DomainDiscriminator(12, 4, 8, 16), torch.randn(2, 12, 8, 8)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(small(), torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize(("separate_priors", "passes"), [(False, 1), (True, 3)])
def test_export_agrees(separate_priors: bool, passes: int, parity: Callable[..., float]) -> None:
    model = small(separate_priors=separate_priors, passes=passes)
    assert parity(model, torch.rand(2, 3, 32, 32), outputs=OUTPUTS, sizes=[(48, 64)]) < 1e-4


def test_the_discriminator_embeds_features(count: Callable[..., int]) -> None:
    assert count(DomainDiscriminator) == 192 * 64 * 9 + 64 + 3 * 64 + 64 * 56 * 56 * 512 + 512 + 2 * 512
    embeddings = DomainDiscriminator(12, 4, 8, 16)(small().describe(torch.randn(3, 3, 32, 32))[0])
    assert embeddings.shape == (3, 16)
    assert embeddings.mean(0).abs().max() < 1e-5  # its last normalisation centres the batch
