"""face.evoLVe's IR and IR-SE: sizes, keys, and what sets them apart from IResNet."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from torch.nn import functional  # noqa: E402

from meetmid.networks.evolve import DEPTHS, EvolveIR, IRUnit, evolve  # noqa: E402

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def small(*, squeeze_excite: bool = False) -> EvolveIR:
    return EvolveIR((2, 1, 1, 1), (16, 16, 32, 32), squeeze_excite=squeeze_excite, length=12)


@pytest.mark.parametrize(("size", "parameters"), [(112, 43_574_976), (224, 82_110_144)])
def test_the_teacher_has_the_published_size(size: int, parameters: int, count: Callable[..., int]) -> None:
    assert count(lambda: evolve(50, size=size)) == parameters


@pytest.mark.parametrize(("depth", "units"), [(50, 24), (101, 49), (152, 50)])
def test_keys_are_those_of_face_evolve(depth: int, units: int) -> None:
    with torch.device("meta"):
        state = evolve(depth, squeeze_excite=True).state_dict()
    expected = {"input_layer.0.weight", "input_layer.2.weight", "output_layer.3.weight", "output_layer.3.bias"}
    expected |= {f"{name}.{k}" for name in ("input_layer.1", "output_layer.0", "output_layer.4") for k in BATCH_NORM}
    for unit in (f"body.{k}" for k in range(units)):
        expected |= {f"{unit}.res_layer.{k}.weight" for k in (1, 2, 3)}
        expected |= {f"{unit}.res_layer.{n}.{k}" for n in (0, 4) for k in BATCH_NORM}
        expected |= {f"{unit}.res_layer.5.fc{n}.weight" for n in (1, 2)}
    for first in (sum(DEPTHS[depth][:stage]) for stage in (1, 2, 3)):
        expected |= {f"body.{first}.shortcut_layer.0.weight"} | {f"body.{first}.shortcut_layer.1.{k}" for k in BATCH_NORM}
    assert set(state) == expected
    assert state["body.0.res_layer.5.fc1.weight"].shape == (4, 64, 1, 1)


@pytest.mark.parametrize(("size", "features"), [(112, 25_088), (224, 100_352)])
def test_the_input_size_can_be_read_off_the_linear_layer(size: int, features: int) -> None:
    with torch.device("meta"):
        model = evolve(50, size=size)
        assert model(torch.zeros(2, 3, size, size)).shape == (2, 512)
    assert model.output_layer[3].weight.shape == (512, features)
    assert not any("res_layer.5" in key for key in model.state_dict())


def test_other_depths_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="50, 101, 152, got 100"):
        evolve(100)
    with pytest.raises(ValueError, match="112 or 224, got 128"):
        evolve(50, size=128)


def test_stages_end_after_units_2_6_20_and_23() -> None:
    with torch.device("meta"):
        model = evolve(50)
        maps = model.stages(torch.zeros(1, 3, 112, 112))
    assert [end - 1 for end in model.stage_ends] == [2, 6, 20, 23]
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]


def test_the_first_unit_subsamples_its_input_as_the_shortcut() -> None:
    unit = IRUnit(4, 4, 2, squeeze_excite=False).eval()
    torch.nn.init.zeros_(unit.res_layer[4].weight)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(unit(x), x[:, :, ::2, ::2])


def test_no_normalisation_lies_between_the_first_convolution_and_its_prelu() -> None:
    unit = IRUnit(4, 4, 1, squeeze_excite=False).eval()
    x = torch.randn(2, 4, 8, 8)
    scale = (1 + 1e-5) ** -0.5
    y = functional.conv2d(x * scale, unit.res_layer[1].weight, padding=1)
    y = functional.conv2d(torch.where(y > 0, y, y / 4), unit.res_layer[3].weight, padding=1) * scale
    assert torch.allclose(unit(x), x + y, atol=1e-6)


def test_only_training_drops_out() -> None:
    model, x = small().train(), torch.randn(4, 3, 112, 112)
    assert not torch.equal(model(x), model(x))


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    assert unused(small(squeeze_excite=True), torch.randn(2, 3, 112, 112)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(small(squeeze_excite=True), torch.randn(3, 3, 112, 112))


@pytest.mark.parametrize("squeeze_excite", [False, True])
def test_export_agrees(squeeze_excite: bool, parity: Callable[..., float]) -> None:
    assert parity(small(squeeze_excite=squeeze_excite), torch.rand(2, 3, 112, 112)) < 1e-4
