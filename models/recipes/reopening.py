"""A published network trained further: its export folded the normalisation into the convolutions."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from meetmid.runtime.cards import file_sha256

STAGES = ("second", "third", "fourth")
"""Of a training after its first, as cards name them."""


@torch.no_grad()
def reopen(network: nn.Module, path: Path, pictures: Iterable[Tensor]) -> None:
    """Give ``network`` the weights of the ONNX file that it was exported to, in place.

    A normalisation that follows a convolution adds what was folded of it; its mean and variance are those that the convolution
    has over ``pictures``, batches as the network takes them, so that it does the same while it trains. Raises ValueError where
    the file is of another network.
    """
    batches = list(pictures)
    order = _executed(network, batches[0])
    filled = _weights(path)
    if len(order) != len(filled) or any(m.weight.shape != w.shape for (m, _), (w, _) in zip(order, filled, strict=True)):
        raise ValueError(f"{path} holds another network than {type(network).__name__}")
    sums: dict[nn.BatchNorm2d, list[tuple[Tensor, Tensor]]] = {}
    for (module, norm), (weight, bias) in zip(order, filled, strict=True):
        module.weight.copy_(torch.from_numpy(weight))
        if norm is None:
            module.bias.copy_(torch.from_numpy(bias))
            continue
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1.0)
        norm.bias.copy_(torch.from_numpy(bias))
        sums[norm] = []
    hooks = [norm.register_forward_pre_hook(lambda m, x: _note(sums, m, x[0])) for norm in sums]
    network.eval()
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    for norm, noted in sums.items():
        mean = torch.stack([first for first, _ in noted]).mean(0)
        variance = torch.stack([second for _, second in noted]).mean(0) - mean.square()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance.clamp(min=0))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(mean)


def continued(begin: Path | None, training: dict[str, Any]) -> dict[str, Any]:
    """What a card says of a ``training`` that began with a published model.onnx, if any: the stages before, and this one."""
    if begin is None:
        return training
    before: dict[str, Any] = tomllib.loads((begin.parent / "card.toml").read_text(encoding="utf-8"))["training"]
    stage = STAGES[sum(key.endswith("_stage_began_with") for key in before)]
    own = {f"{stage}_stage_{key}": value for key, value in training.items()}
    return before | own | {f"{stage}_stage_began_with": file_sha256(begin)}


def _note(sums: dict[nn.BatchNorm2d, list[tuple[Tensor, Tensor]]], norm: nn.Module, x: Tensor) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    sums[norm].append((x.mean((0, 2, 3)), x.square().mean((0, 2, 3))))


def _executed(network: nn.Module, batch: Tensor) -> list[tuple[nn.Conv2d | nn.Linear, nn.BatchNorm2d | None]]:
    """Convolutions and linear layers in the order in which they run, each with the normalisation that follows it."""
    ran: list[nn.Module] = []
    kinds = nn.Conv2d, nn.Linear, nn.BatchNorm2d
    hooks = [m.register_forward_hook(lambda m, *_: ran.append(m)) for m in network.modules() if isinstance(m, kinds)]
    network.eval()(batch)
    for hook in hooks:
        hook.remove()
    found: list[tuple[nn.Conv2d | nn.Linear, nn.BatchNorm2d | None]] = []
    for module, after in zip(ran, [*ran[1:], None], strict=True):
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.append((module, after if isinstance(after, nn.BatchNorm2d) else None))
    return found


def _weights(path: Path) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights and biases in the order in which they are used, single precision."""
    graph = onnx.load(str(path)).graph
    values = {t.name: numpy_helper.to_array(t).astype(np.float32) for t in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Cast", "Identity") and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    return [
        (values[node.input[1]], values[node.input[2]]) for node in graph.node
        if node.op_type in ("Conv", "Gemm") and node.input[1] in values
    ]
