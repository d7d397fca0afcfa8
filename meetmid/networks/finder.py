"""The face finder: boxes, scores and five points on three strides, of YuNet's class (S. Wu et al., "YuNet: a tiny
millisecond-level face detector", Machine Intelligence Research 20, 2023): depthwise separable, without anchors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
CHANNELS = 15
"""Score logit, box (centre x and y in strides from the cell's centre, log width and height in strides), and five points (x and
y in sizes of the box, the root of its area, from its centre)."""


FACE = ((-0.2, -0.13), (0.2, -0.13), (0.0, 0.1), (-0.175, 0.28), (0.175, 0.28))
"""Where the five points of a face are about, in sizes of its box from its centre."""


class Separable(nn.Sequential):
    """A depthwise 3 x 3 convolution, then a pointwise one, each normalised; ReLU after the pointwise one."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
        )


class Refining(nn.Module):
    """A depthwise 5 x 5 convolution and two pointwise ones, twice the channels between them, added to what they are given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(width, width, 5, 1, 2, groups=width, bias=False), nn.BatchNorm2d(width),
            nn.Conv2d(width, 2 * width, 1), nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width),
        )
        nn.init.zeros_(self.change[5].weight)  # nothing at first

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        out: Tensor = x + self.change(x)
        return out


class Finder(nn.Module):
    """(N, 3, H, W) in [-1, 1], sides multiples of 32, to (N, 15, H/s, W/s) for each stride s of :data:`STRIDES`."""

    def __init__(self, stem: int = 16, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True),
            Separable(stem, 2 * stem, 2), Separable(2 * stem, 2 * stem), Separable(2 * stem, width, 2),
        )
        self.levels = nn.ModuleList([
            nn.Sequential(Separable(width, width), Separable(width, width)),
            nn.Sequential(Separable(width, width, 2), Separable(width, width), *(Refining(width) for _ in range(3))),
            nn.Sequential(Separable(width, width, 2), Separable(width, width), *(Refining(width) for _ in range(3))),
        ])
        self.merged = nn.ModuleList(Separable(width, width) for _ in STRIDES)
        self.heads = nn.ModuleList(
            nn.Sequential(Separable(width, width), nn.Conv2d(width, CHANNELS, 1)) for _ in STRIDES
        )
        for head in self.heads:
            nn.init.normal_(head[1].weight, std=0.01)
            nn.init.zeros_(head[1].bias)
            nn.init.constant_(head[1].bias[:1], -4.6)  # one cell in a hundred is a face
            with torch.no_grad():
                head[1].bias[5:] = torch.tensor(FACE).ravel()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of all strides, finest first."""
        maps = []
        x = self.stem(x)
        for level in self.levels:
            x = level(x)
            maps.append(x)
        out: list[Tensor] = []
        above: Tensor | None = None
        for map_, merge, head in zip(maps[::-1], list(self.merged)[::-1], list(self.heads)[::-1], strict=True):
            total = map_ if above is None else map_ + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = merge(total)
            out.append(head(above))
        return tuple(out[::-1])


class FlatFinder(nn.Module):
    """The exported form of a finder: (N, 3, H, W) to (N, K, 15), the cells of all strides row by row, finest first."""

    def __init__(self, finder: Finder) -> None:
        super().__init__()
        self.finder = finder

    def forward(self, x: Tensor) -> Tensor:
        """All cells."""
        return torch.cat([found.flatten(2).transpose(1, 2) for found in self.finder(x)], 1)


def decode(maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Score logits (N, K), boxes (N, K, 4) as left, top, width, height and points (N, K, 5, 2), in pixels of the picture."""
    scores, boxes, points = [], [], []
    for stride, found in zip(STRIDES, maps, strict=True):
        n, _, height, width = found.shape
        y, x = torch.meshgrid(
            torch.arange(height, device=found.device), torch.arange(width, device=found.device), indexing="ij"
        )
        centre = torch.stack([x, y], -1).reshape(-1, 2) + 0.5
        rows = found.permute(0, 2, 3, 1).reshape(n, -1, CHANNELS)
        middle, size = (centre + rows[..., 1:3]) * stride, rows[..., 3:5].clamp(max=6).exp() * stride
        scores.append(rows[..., 0])
        boxes.append(torch.cat([middle - size / 2, size], -1))
        extent = size.prod(-1).sqrt()[..., None, None]
        points.append(middle[:, :, None] + extent * rows[..., 5:].reshape(n, -1, 5, 2) - 0.5)
    return torch.cat(scores, 1), torch.cat(boxes, 1), torch.cat(points, 1)
