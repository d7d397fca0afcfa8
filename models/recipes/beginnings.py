"""The published weights that SlimFace's training starts from, and the same function with weights of even sizes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from meetmid.networks.slimface import Bottleneck, SlimFace


def published(path: Path) -> tuple[SlimFace, tuple[list[float], list[float]]]:
    """The network of face-reidentification-retail-0095 (Intel Open Model Zoo, Apache-2.0) and its input's mean and standard
    deviation per channel (B, G, R), as a card states them."""
    graph = onnx.load(str(path)).graph
    values = {t.name: numpy_helper.to_array(t).astype(np.float32) for t in graph.initializer}
    used = [values[name] for node in graph.node for name in node.input if name in values]
    scale, shift = (array.ravel().astype(float) for array in used[:2])
    network, rest = SlimFace(), iter(used[2:])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            for parameter in (module.weight, module.bias):
                if parameter is not None:
                    _fill(parameter, next(rest))
        elif isinstance(module, nn.LeakyReLU):
            module.negative_slope = float(next(rest).item())
    left = sum(1 for _ in rest)
    if left:
        raise ValueError(f"{path.name} has {left} weights more than SlimFace")
    return network.eval(), ((-shift / scale).tolist(), (1 / scale).tolist())


def _fill(parameter: Tensor, array: NDArray[np.float32]) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(array).reshape(parameter.shape))


@torch.no_grad()
def evened(network: SlimFace, pictures: Tensor) -> SlimFace:
    """Divide every channel's weights by the channel's spread over ``pictures`` and multiply those that read it, in place.

    Rectifiers of one slope commute with positive factors, so the function stays; folded normalisation had left weights from
    1e-5 to 100 in one tensor, on which no step length is right.
    """
    spread: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        values = out.std((0, 2, 3))
        spread[module] = values.clamp(min=0.05 * float(values.median()))

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    blocks = [b for b in network.blocks if isinstance(b, Bottleneck)]
    hooks = [m.register_forward_hook(keep) for m in [*convolutions, *blocks]]
    network(pictures)
    for hook in hooks:
        hook.remove()
    first, second, head, pooled, last = network.stem[0], network.stem[2], network.head[0], network.head[2], network.head[3]
    _scale(first, spread[first], [second])
    _scale(second, spread[second], [blocks[0].widen])
    for block in blocks:
        _scale(block.widen, spread[block.widen], [block.depthwise])
        _scale(block.depthwise, spread[block.depthwise], [block.narrow])
        _scale(block.gate.squeeze, spread[block.gate.squeeze], [block.gate.excite])
    begins = [k for k, block in enumerate(blocks) if not block.adds] + [len(blocks)]
    for begin, end in pairwise(begins):  # what blocks of one width add up has one scale
        factor = spread[blocks[end - 1]]
        for block in blocks[begin:end]:
            _scale(block.narrow, factor, [block.gate.squeeze])
        for reader in [*(block.widen for block in blocks), head][begin + 1 : end + 1]:
            _read(reader, factor)
    _scale(head, spread[head], [pooled])
    _scale(pooled, spread[pooled], [last])
    return network


def _scale(writer: nn.Module, factor: Tensor, readers: list[nn.Module]) -> None:
    writer.weight /= factor.view(-1, 1, 1, 1)
    if writer.bias is not None:
        writer.bias /= factor
    for reader in readers:
        _read(reader, factor)


def _read(reader: nn.Module, factor: Tensor) -> None:
    depthwise = reader.weight.shape[1] == 1 and reader.groups > 1
    reader.weight *= factor.view(-1, 1, 1, 1) if depthwise else factor.view(1, -1, 1, 1)
