"""MobileFaceNet: sizes, the keys of both public layouts, and the residual rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from meetmid.networks.mobilefacenet import Bottleneck, ClassicMobileFaceNet, MobileFaceNet  # noqa: E402

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def normalised(name: str) -> set[str]:
    return {f"{name}.{k}" for k in BATCH_NORM}


def test_mbf_has_the_published_size(count: Callable[..., int]) -> None:
    assert count(MobileFaceNet) == 2_059_520


@pytest.mark.parametrize("width", [96, 112])
def test_the_classic_network_has_one_million_parameters(width: int, count: Callable[..., int]) -> None:
    def bottleneck(inputs: int, outputs: int, expansion: int) -> int:
        expanded = inputs * expansion
        return inputs * expanded + 9 * expanded + expanded * outputs + 2 * 3 * expanded + 2 * outputs

    stem = 27 * 64 + 9 * 64 + 2 * 3 * 64
    body = 5 * bottleneck(64, 64, 2) + bottleneck(64, 128, 4) + 8 * bottleneck(128, 128, 2) + bottleneck(128, 128, 4)
    head = 128 * 512 + 3 * 512 + 512 * 7 * (width // 16) + 2 * 512 + 512 * 128 + 2 * 128
    assert count(lambda: ClassicMobileFaceNet(width)) == stem + body + head
    assert 0.98e6 < stem + body + head < 1.01e6


def test_keys_of_mbf_are_those_of_arcface_torch() -> None:
    state = MobileFaceNet().state_dict()

    def block(name: str, linear: bool = False) -> set[str]:
        return {f"{name}.layers.0.weight"} | normalised(f"{name}.layers.1") | (set() if linear else {f"{name}.layers.2.weight"})

    def bottleneck(name: str) -> set[str]:
        return block(f"{name}.layers.0") | block(f"{name}.layers.1") | block(f"{name}.layers.2", linear=True)

    expected = block("layers.0") | block("layers.1") | block("conv_sep") | block("features.layers.0", linear=True)
    expected |= {"features.layers.2.weight"} | normalised("features.layers.3")
    for stage in (2, 4, 6):
        expected |= bottleneck(f"layers.{stage}")
    for stage, repetitions in ((3, 4), (5, 6), (7, 2)):
        for k in range(repetitions):
            expected |= bottleneck(f"layers.{stage}.layers.{k}")
    assert set(state) == expected
    assert state["layers.0.layers.0.weight"].shape == (128, 3, 3, 3)
    assert state["layers.1.layers.0.weight"].shape == (128, 2, 3, 3)
    assert state["conv_sep.layers.0.weight"].shape == (512, 256, 1, 1)
    assert state["features.layers.0.layers.0.weight"].shape == (512, 1, 7, 7)


def test_keys_of_the_classic_network() -> None:
    state = ClassicMobileFaceNet().state_dict()
    expected: set[str] = set()
    for name in ("conv1", "dw_conv1", "conv2", "linear7", "linear1"):
        expected |= {f"{name}.conv.weight"} | normalised(f"{name}.bn")
        expected |= set() if name.startswith("linear") else {f"{name}.prelu.weight"}
    for k in range(15):
        expected |= {f"blocks.{k}.conv.{n}.weight" for n in (0, 2, 3, 5, 6)}
        expected |= {key for n in (1, 4, 7) for key in normalised(f"blocks.{k}.conv.{n}")}
    assert set(state) == expected


def test_the_classic_network_adds_its_input_where_the_shape_stays() -> None:
    residual = [k for k, block in enumerate(ClassicMobileFaceNet().blocks) if block.residual]
    assert residual == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14]


def test_a_bottleneck_ends_linearly() -> None:
    block = Bottleneck(4, 4, 8, 1, residual=True).eval()
    x = torch.randn(2, 4, 6, 6)
    torch.nn.init.zeros_(block.layers[2].layers[0].weight)
    torch.nn.init.constant_(block.layers[2].layers[1].bias, -2.0)
    assert torch.allclose(block(x), x - 2)


def test_maps_and_templates_have_the_stated_shapes() -> None:
    with torch.device("meta"):
        x, sizes = torch.zeros(2, 3, 112, 112), []
        for layer in MobileFaceNet().layers:
            x = layer(x)
            sizes.append(tuple(x.shape[1:]))
        assert ClassicMobileFaceNet(96)(torch.zeros(2, 3, 112, 96)).shape == (2, 128)
        assert ClassicMobileFaceNet()(torch.zeros(2, 3, 112, 112)).shape == (2, 128)
        assert MobileFaceNet()(torch.zeros(2, 3, 112, 112)).shape == (2, 512)
    assert sizes == [(128, 56, 56)] * 2 + [(128, 28, 28)] * 2 + [(256, 14, 14)] * 2 + [(256, 7, 7)] * 2
    with pytest.raises(ValueError, match="96 or 112, got 100"):
        ClassicMobileFaceNet(100)


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    assert unused(MobileFaceNet(8, (1, 1, 1), 1), torch.randn(2, 3, 112, 112)) == []
    assert unused(ClassicMobileFaceNet(96), torch.randn(2, 3, 112, 96)) == []


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(MobileFaceNet(8, (1, 1, 1), 1), torch.randn(3, 3, 112, 112))
    steady(ClassicMobileFaceNet(), torch.randn(3, 3, 112, 112))


def test_export_agrees(parity: Callable[..., float]) -> None:
    assert parity(MobileFaceNet(16, (1, 1, 1), 1), torch.rand(2, 3, 112, 112)) < 1e-4
    assert parity(ClassicMobileFaceNet(96), torch.rand(2, 3, 112, 96)) < 1e-4
