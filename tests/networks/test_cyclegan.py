"""CycleGAN's generator and the PatchGAN: sizes, public keys, shapes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from meetmid.networks.cyclegan import PatchDiscriminator, ResNetGenerator  # noqa: E402


def test_sizes_are_the_published_ones(count: Callable[..., int]) -> None:
    assert count(ResNetGenerator) == 11_378_179
    assert round(count(PatchDiscriminator) / 1e6, 2) == 2.76


@pytest.mark.parametrize(("blocks", "tail"), [(9, (19, 22, 26)), (6, (16, 19, 23))])
def test_keys_are_those_of_cyclegan(blocks: int, tail: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        state = ResNetGenerator(blocks).state_dict()
    layers = {f"model.{k}" for k in (1, 4, 7, *tail)}
    layers |= {f"model.{10 + k}.conv_block.{n}" for k in range(blocks) for n in (1, 5)}
    assert set(state) == {f"{layer}.{name}" for layer in layers for name in ("weight", "bias")}
    assert state[f"model.{tail[0]}.weight"].shape == (256, 128, 3, 3)  # transposed: inputs first


def test_features_and_image_are_the_two_halves_of_the_generator() -> None:
    model, x = ResNetGenerator(1, width=4), torch.randn(2, 3, 16, 20)
    features = model.features(x)
    assert features.shape == (2, 4, 16, 20)
    assert features.min() == 0
    assert torch.equal(model.image(features), model.model(x))


def test_the_discriminator_scores_30_by_30_patches_of_70_pixels() -> None:
    model = PatchDiscriminator(width=2)
    x = torch.zeros(1, 3, 256, 256, requires_grad=True)
    layers = [layer for layer in model.model if not isinstance(layer, torch.nn.InstanceNorm2d)]
    scores = torch.nn.Sequential(*layers)(x)  # a normalisation would look at the whole picture
    assert model(x).shape == scores.shape == (1, 1, 30, 30)
    scores[0, 0, 15, 15].backward()
    seen = x.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    assert unused(ResNetGenerator(1, width=4), torch.randn(1, 3, 16, 16)) == []
    assert unused(PatchDiscriminator(width=2), torch.randn(1, 3, 64, 64)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(ResNetGenerator(1, width=4), torch.randn(3, 3, 16, 16))


def test_export_agrees_at_any_size(parity: Callable[..., float]) -> None:
    assert parity(ResNetGenerator(2, width=8), torch.rand(2, 3, 16, 16), sizes=[(24, 20)]) < 1e-4
