"""Fixtures for the PyTorch definitions: random statistics, and the comparison of an exported graph with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

if TYPE_CHECKING:
    from torch import Tensor, nn


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Reproducible, and polite to the machine."""
    torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")
    torch.set_num_threads(1)
    torch.manual_seed(0)


def randomise(model: nn.Module) -> nn.Module:
    """Give normalisations and slopes other values than the identity, so that agreement is not vacuous."""
    import torch
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.1
            module.running_var = torch.rand_like(module.running_var) + 0.5
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d) and module.affine:
            module.weight.data = torch.rand_like(module.weight) + 0.5
            module.bias.data = torch.randn_like(module.bias) * 0.1
        if isinstance(module, nn.PReLU):
            module.weight.data = torch.rand_like(module.weight) * 0.4
    return model.eval()


@pytest.fixture
def count() -> Callable[..., int]:
    """The parameters of what a function builds, without memory for them."""
    import torch

    def parameters(build: Callable[[], nn.Module]) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in build().parameters())

    return parameters


@pytest.fixture
def steady() -> Callable[..., None]:
    """In evaluation the same input gives the same bits, and a picture's result does not depend on the rest of its batch."""
    import torch

    def check(model: nn.Module, *inputs: Tensor) -> None:
        randomise(model)
        with torch.no_grad():
            first, again, alone = model(*inputs), model(*inputs), model(*(x[:1] for x in inputs))
        first, again, alone = ((x,) if isinstance(x, torch.Tensor) else x for x in (first, again, alone))
        for one, two, single in zip(first, again, alone, strict=True):
            assert torch.equal(one, two)
            assert torch.allclose(one[:1], single, rtol=1e-4, atol=1e-5 * float(one.abs().max()))
            assert (one[0] - one[1]).abs().max() > 1e-4 * one.abs().max()

    return check


@pytest.fixture
def unused() -> Callable[..., list[str]]:
    """The trainable parameters that no output depends on: layers that are defined and never called."""
    import torch

    def names(model: nn.Module, *inputs: Tensor) -> list[str]:
        outputs = model(*inputs)
        sum(out.sum() for out in ((outputs,) if isinstance(outputs, torch.Tensor) else outputs)).backward()
        return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]

    return names


@pytest.fixture
def parity(tmp_path: Path) -> Callable[..., float]:
    """Export at batch 2, run batches 1 and 3 (and other sizes), and return the largest difference over the largest value."""
    import torch

    def check(
        model: nn.Module, *examples: Tensor, outputs: Sequence[str] = ("output",), sizes: Sequence[tuple[int, int]] = ()
    ) -> float:
        randomise(model)
        names = [f"input{k}" for k in range(len(examples))]
        axes: dict[str, dict[int, str]] = {name: {0: "batch"} for name in [*names, *outputs]}
        if sizes:
            axes["input0"] |= {2: "height", 3: "width"}
        path = tmp_path / "model.onnx"
        torch.onnx.export(
            model, examples, str(path), input_names=names, output_names=list(outputs), dynamic_axes=axes, opset_version=17,
            dynamo=False,
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert [value.name for value in session.get_outputs()] == list(outputs)
        worst = 0.0
        for batch in (1, 3):
            for size in (examples[0].shape[2:], *sizes):
                first = torch.randn(batch, examples[0].shape[1], *size) * examples[0].abs().max()
                inputs = [first, *(e[torch.arange(batch) % len(e)] for e in examples[1:])]
                with torch.no_grad():
                    expected = model(*inputs)
                expected = (expected,) if isinstance(expected, torch.Tensor) else expected
                got = session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
                for g, e in zip(got, expected, strict=True):
                    assert g.shape == e.shape
                    worst = max(worst, float(np.abs(g - e.numpy()).max() / e.abs().max()))
        return worst

    return check
