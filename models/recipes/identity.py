"""A frozen matcher as a differentiable PyTorch module, for identity losses: converted from its ONNX file and checked.

The converter knows the operations of ordinary convolutional matchers and refuses any other by name; general converters bring
dependencies that replace the PyTorch build they find.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from meetmid.models.recipes.losses import frozen, luminance, resized
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from meetmid.faces.alignment import ARCFACE_112, TEMPLATES, similarity
from meetmid.runtime.cards import Contract, ModelCard, read_card

LIMIT = 1e-4
Attributes = dict[str, Any]


def _pads(attributes: Attributes, x: Tensor, value: float = 0.0) -> Tensor:
    """Pad H and W as the node says; ONNX lists the beginnings, then the ends."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ValueError("automatic padding cannot be converted: export with explicit pads")
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    return functional.pad(x, (left, right, top, bottom), value=value) if top or left or bottom or right else x


def _conv(attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride, dilation = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    return functional.conv2d(_pads(attributes, x), weight, bias, stride, 0, dilation, attributes.get("group", 1))


def _batch_norm(attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, bias, eps=attributes.get("epsilon", 1e-5))


def _prelu(_: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    return functional.prelu(x, slope.flatten())


def _gemm(attributes: Attributes, a: Tensor, b: Tensor, c: Tensor | float = 0.0) -> Tensor:
    a, b = (m.T if attributes.get(key, 0) else m for m, key in ((a, "transA"), (b, "transB")))
    return attributes.get("alpha", 1.0) * (a @ b) + attributes.get("beta", 1.0) * c


def _average_pool(attributes: Attributes, x: Tensor) -> Tensor:
    if any(attributes.get("pads", ())) and not attributes.get("count_include_pad", 0):
        raise ValueError("average pooling that leaves its padding out cannot be converted")
    return functional.avg_pool2d(_pads(attributes, x), attributes["kernel_shape"], attributes.get("strides", (1, 1)))


def _max_pool(attributes: Attributes, x: Tensor) -> Tensor:
    padded = _pads(attributes, x, float("-inf"))
    return functional.max_pool2d(padded, attributes["kernel_shape"], attributes.get("strides", (1, 1)))


def _flatten(attributes: Attributes, x: Tensor) -> Tensor:
    return x.reshape(int(np.prod(x.shape[: attributes.get("axis", 1)])), -1)


def _reshape(attributes: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    wanted = [int(n) for n in shape]
    if not attributes.get("allowzero", 0):
        wanted = [x.shape[k] if n == 0 else n for k, n in enumerate(wanted)]
    if len(wanted) > 1 and wanted[0] == 1 and -1 in wanted[1:]:
        wanted[0] = len(x)  # exported with a batch of one
    return x.reshape(wanted)


def _split(attributes: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = attributes.get("axis", 0)
    if sizes is not None:
        return x.split([int(n) for n in sizes], axis)
    return x.chunk(attributes.get("num_outputs", 2), axis)


def _clip(attributes: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bounds = (attributes.get("min") if low is None else low, attributes.get("max") if high is None else high)
    return x if bounds == (None, None) else torch.clamp(x, *bounds)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, a, b: a + b,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda _, x: x,
    "LeakyRelu": lambda a, x: functional.leaky_relu(x, a.get("alpha", 0.01)),
    "MatMul": lambda _, a, b: a @ b,
    "Max": lambda _, *parts: functools.reduce(torch.maximum, parts),
    "MaxPool": _max_pool,
    "Mul": lambda _, a, b: a * b,
    "PRelu": _prelu,
    "Relu": lambda _, x: torch.relu(x),
    "Reshape": _reshape,
    "Sigmoid": lambda _, x: torch.sigmoid(x),
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Split": _split,
    "Sub": lambda _, a, b: a - b,
    "Transpose": lambda a, x: x.permute(a.get("perm", tuple(reversed(range(x.ndim))))),
}
"""What a node of each type computes from its attributes and inputs."""


class OnnxNetwork(nn.Module):
    """An ONNX graph of one input, run by PyTorch: (N, C, H, W) in the network's own range to its first output.

    ``sides`` are the input's height and width, 0 where they are free. The weights are buffers, so the network is frozen;
    gradients flow to the input. Raises ValueError on an operation it lacks.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = onnx.load(str(path)).graph
        unknown = sorted({node.op_type for node in graph.node} - set(OPERATIONS))
        if unknown:
            raise ValueError(f"{path.name} cannot be converted: no {', '.join(unknown)} among {', '.join(OPERATIONS)}")
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.keys = {name: f"w{index}" for index, name in enumerate(weights)}
        for name, value in weights.items():
            array = value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value.copy()
            self.register_buffer(self.keys[name], torch.from_numpy(array))
        entry = next(value for value in graph.input if value.name not in weights)
        self.input = entry.name
        self.sides = tuple(side.dim_value for side in entry.type.tensor_type.shape.dim[2:])
        self.output = graph.output[0].name
        self.nodes = [
            (node.op_type, list(node.input), list(node.output),
             {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
            for node in graph.node
        ]

    def maps(self, x: Tensor, wanted: Sequence[str]) -> list[Tensor]:
        """The named values of the graph; nothing behind the last of them is computed."""
        found = {self.input: x}
        missing = set(wanted)
        for kind, inputs, outputs, attributes in self.nodes:
            given = [None if not i else self.get_buffer(self.keys[i]) if i in self.keys else found[i] for i in inputs]
            made = OPERATIONS[kind](attributes, *given)
            found |= zip(outputs, made if isinstance(made, tuple) else (made,), strict=True)
            missing -= set(outputs)
            if not missing:
                return [found[name] for name in wanted]
        raise ValueError(f"the network has no values {', '.join(sorted(missing))}")

    def stages(self, size: tuple[int, int]) -> list[str]:
        """Names of the last maps before each halving of a picture of ``size``, largest first, without the first size."""
        with torch.no_grad():
            names = [name for node in self.nodes for name in node[2]]
            maps = self.maps(torch.zeros(1, 3, *size), names)
        shapes = [(name, tuple(value.shape)) for name, value in zip(names, maps, strict=True)]
        last = {shape[2:]: name for name, shape in shapes if len(shape) == 4 and shape[2] > 1}
        return [name for shape, name in sorted(last.items(), reverse=True) if shape < size]

    def forward(self, x: Tensor) -> Tensor:
        """The first output."""
        return self.maps(x, [self.output])[0]


def framed(pictures: Tensor, contract: Contract) -> Tensor:
    """Crops of ArcFace's alignment as those of the contract's, at its size; what lies outside of them is black."""
    height, width = contract.size
    template = TEMPLATES.get(contract.alignment, ARCFACE_112)
    if np.allclose(template.scaled(1.0, 1.0), ARCFACE_112.scaled(1.0, 1.0)):
        return resized(pictures, contract.size)
    side = pictures.shape[-1]
    ours = (ARCFACE_112.scaled(side, side) + 0.5) / side  # shares of the side, a pixel's place being its centre
    matrix = similarity(template.scaled(width, height), ours)  # pixels of their crop to shares of ours
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    theta = np.empty((2, 3))  # in the convention of affine_grid: -1 to 1 from border to border
    theta[:, 0], theta[:, 1] = matrix[:, 0] * width, matrix[:, 1] * height
    theta[:, 2] = 2 * (matrix[:, :2] @ centre + matrix[:, 2]) - 1
    grid = functional.affine_grid(
        torch.from_numpy(theta).to(pictures)[None].expand(len(pictures), 2, 3), [len(pictures), 3, height, width],
        align_corners=False,
    )
    near = resized(pictures, (round(1.0 / float(np.hypot(matrix[0, 0], matrix[1, 0]))),) * 2)  # so that the warp never aliases
    return functional.grid_sample(near + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - 1


class FrozenMatcher(nn.Module):
    """Pictures (N, 3, H, W) RGB in [-1, 1], aligned as the card says, to its templates (N, length), differentiably.

    They are crops aligned as ArcFace's; a matcher of another alignment sees them turned to its own. They are resized by
    :func:`meetmid.models.recipes.losses.resized` and brought into the card's range and channel order.
    """

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network, self.contract = frozen(network), card.contract
        self.register_buffer("mean", torch.tensor(card.contract.mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(card.contract.std, dtype=torch.float32).view(1, 3, 1, 1))

    def prepare(self, pictures: Tensor) -> Tensor:
        """What the network is fed."""
        x = 127.5 * (framed(pictures, self.contract) + 1)
        if self.contract.channels == "gray":
            return (luminance(x) - self.mean[:, :1]) / self.std[:, :1]
        return ((x.flip(1) if self.contract.channels == "bgr" else x) - self.mean) / self.std

    def forward(self, pictures: Tensor) -> Tensor:
        """Templates, not normalised."""
        return self.network(self.prepare(pictures)).flatten(1)


def parity(network: nn.Module, path: Path, shape: tuple[int, int, int], scale: float) -> float:
    """The largest difference from onnxruntime over its largest value, on three random inputs of up to ``scale``."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    x = (2 * torch.rand(3, *shape, generator=generator) - 1) * scale
    name = session.get_inputs()[0].name
    expected = np.concatenate([session.run(None, {name: one[None].numpy()})[0] for one in x])  # some graphs take one picture
    with torch.no_grad():
        got = network(x).numpy()
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def converted(path: Path, shape: tuple[int, int, int], scale: float) -> OnnxNetwork:
    """The PyTorch form of a graph; raises ValueError if it differs from onnxruntime by more than 1e-4 (:func:`parity`)."""
    network = OnnxNetwork(path)
    worst = parity(network, path, shape, scale)
    if not worst <= LIMIT:
        raise ValueError(f"{path.name}: PyTorch differs from onnxruntime by {worst:.2e} of the largest value (limit {LIMIT})")
    return network


def load_matcher(folder: Path) -> FrozenMatcher:
    """The matcher of a folder with ``card.toml``, converted with a check of parity."""
    card = read_card(folder / "card.toml")
    planes = 1 if card.contract.channels == "gray" else 3
    scale = max((255.0 - m) / s for m, s in zip(card.contract.mean, card.contract.std, strict=True))
    return FrozenMatcher(converted(card.path, (planes, *card.contract.size), scale), card)
