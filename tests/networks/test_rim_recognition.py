"""RIM's HRN: sizes, keys, stages that match the teacher's, and the sum of student and assistant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from torch.nn import functional  # noqa: E402

from meetmid.networks.evolve import evolve  # noqa: E402
from meetmid.networks.rim_recognition import HRN, BasicBlock, ResNet34  # noqa: E402

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def narrow() -> ResNet34:
    return ResNet34((1, 2, 1, 1), (4, 6, 8, 8), length=12)


def test_the_size_is_the_one_measured(count: Callable[..., int]) -> None:
    assert count(ResNet34) == 34_132_288
    assert count(HRN) == 2 * 34_132_288


def test_keys_are_those_of_the_public_code() -> None:
    with torch.device("meta"):
        state = ResNet34().state_dict()
    expected = {"conv1.weight", "fc.weight", "fc.bias"}
    expected |= {f"{name}.{k}" for name in ("bn1", "bn_o1", "bn_o2") for k in BATCH_NORM}
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for unit in (f"layer{stage}.{k}" for k in range(blocks)):
            expected |= {f"{unit}.conv{n}.weight" for n in (1, 2)} | {f"{unit}.bn{n}.{k}" for n in (1, 2) for k in BATCH_NORM}
        if stage > 1:
            expected |= {f"layer{stage}.0.downsample.0.weight"} | {f"layer{stage}.0.downsample.1.{k}" for k in BATCH_NORM}
    assert set(state) == expected
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["fc.weight"].shape == (512, 25_088)


def test_the_stages_match_the_teachers() -> None:
    with torch.device("meta"):
        x = torch.zeros(2, 3, 112, 112)
        shapes = [[tuple(m.shape) for m in model.stages(x)] for model in (ResNet34(), evolve(50))]
    assert shapes[0] == shapes[1] == [(2, 64, 56, 56), (2, 128, 28, 28), (2, 256, 14, 14), (2, 512, 7, 7)]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_the_written_formula(stride: int) -> None:
    block, x = BasicBlock(4, 4, stride).eval(), torch.randn(2, 4, 8, 8)
    scale = (1 + 1e-5) ** -0.5
    y = functional.conv2d(x, block.conv1.weight, stride=stride, padding=1) * scale
    y = functional.conv2d(y.clamp(min=0), block.conv2.weight, padding=1) * scale
    shortcut = x if stride == 1 else functional.conv2d(x, block.downsample[0].weight, stride=2) * scale
    assert torch.allclose(block(x), (y + shortcut).clamp(min=0), atol=1e-6)


@pytest.mark.parametrize("sum_at", ["embedding", "map"])
def test_a_silent_assistant_leaves_the_student(sum_at: str) -> None:
    student, assistant = narrow(), narrow()
    for parameter in [*assistant.layer4.parameters(), *assistant.bn_o2.parameters()]:
        torch.nn.init.zeros_(parameter)
    model, x = HRN(student, assistant, sum_at).eval(), torch.randn(2, 3, 112, 112)
    assert torch.equal(model(x), student(x))


def test_the_sum_is_taken_where_it_is_asked_for() -> None:
    student, assistant, x = narrow().eval(), narrow().eval(), torch.randn(2, 3, 112, 112)
    assert torch.equal(HRN(student, assistant)(x), student(x) + assistant(x))
    maps = student.stages(x)[-1] + assistant.stages(x)[-1]
    by_map = HRN(student, assistant, "map")(x)
    assert torch.equal(by_map, student.head(maps))
    assert not torch.allclose(by_map, student(x) + assistant(x), atol=1e-3)


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    x = torch.randn(2, 3, 112, 112)
    assert unused(HRN(narrow(), narrow()), x) == []
    head = {f"assistant.{layer}.{name}" for layer in ("bn_o1", "fc", "bn_o2") for name in ("weight", "bias")}
    assert set(unused(HRN(narrow(), narrow(), "map"), x)) == head


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(HRN(narrow(), narrow()), torch.randn(3, 3, 112, 112))


@pytest.mark.parametrize("sum_at", ["embedding", "map"])
def test_export_agrees(sum_at: str, parity: Callable[..., float]) -> None:
    assert parity(HRN(narrow(), narrow(), sum_at), torch.rand(2, 3, 112, 112)) < 1e-4
