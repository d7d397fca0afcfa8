"""PCFH, the pose-preserving near-infrared-to-visible generator (networks.md section 7.1).

The paper gives patch sizes and the max-out of local and global features (TP-GAN, R. Huang et al., ICCV 2017); the layers are
the choices of networks.md section 7.1: CycleGAN's 9-block generator as the global path, four small local paths of the same
layers. No weights were published; ``global_path`` carries CycleGAN's names, so that a CycleGAN checkpoint loads into it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from meetmid.networks.blocks import InstanceResidual
from meetmid.networks.cyclegan import ResNetGenerator, conv_layer, deconv_layer

PATCHES = {
    144: ((32, 32), (32, 32), (40, 32), (28, 52)),
    256: ((52, 52), (52, 52), (60, 52), (36, 72)),
}
"""Height and width of the patches of left eye, right eye, nose and mouth, by the picture's size."""


class LocalPath(nn.Module):
    """One patch (N, channels, h, w) in [-1, 1] to its features (N, width, h, w) and its picture (N, 3, h, w) in (-1, 1)."""

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *conv_layer(channels, width, 7, 1),
            *conv_layer(width, 2 * width, 3, 2),
            *(InstanceResidual(2 * width, bias=True) for _ in range(2)),
            *deconv_layer(2 * width, width),
        )
        self.image = nn.Sequential(nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features for the fusion, picture for the local pixel loss."""
        features = self.model(x)
        return features, self.image(features)


def selection(centres: Tensor, length: int, size: int) -> Tensor:
    """Which of ``size`` rows are those of a box: (N,) centres in pixels to a 0/1 matrix (N, length, size).

    The box starts at round(centre - length / 2). Its matrix crops when multiplied from the left and pastes when transposed;
    rows outside the picture are zero. Unlike slicing it is differentiable, batched and free of control flow.
    """
    first = torch.round(centres - length / 2)
    wanted = first[:, None, None] + torch.arange(length, device=centres.device)[:, None]
    return (wanted == torch.arange(size, device=centres.device)).to(centres.dtype)


def crop(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, C, H, W), (N, h, H) and (N, w, W) to the patches (N, C, h, w)."""
    return rows[:, None] @ x @ columns.transpose(1, 2)[:, None]


def paste(patch: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, C, h, w) onto a canvas of zeros (N, C, H, W); the inverse of :func:`crop` inside the box."""
    return rows.transpose(1, 2)[:, None] @ patch @ columns[:, None]


def max_out(maps: list[Tensor]) -> Tensor:
    """The elementwise maximum of maps of one shape."""
    return torch.stack(maps).amax(0)


class PCFHGenerator(nn.Module):
    """G_A: (N, channels, size, size) NIR in [-1, 1] to (N, 3, size, size) VIS in (-1, 1); ``size`` is 144 or 256.

    ``centres`` (N, 4, 2) are the x, y pixels of left eye, right eye, nose tip and mouth; without them only the global path
    runs, which loses the detail that the local paths were trained for. ``fuse`` "max" takes the maximum of local and global
    features, "concat" convolves their concatenation, as TP-GAN does.
    """

    def __init__(
        self, size: int = 256, fuse: Literal["max", "concat"] = "max", channels: int = 3, width: int = 64, blocks: int = 9
    ) -> None:
        super().__init__()
        if size not in PATCHES:
            raise ValueError(f"PCFH picture size must be 144 or 256, got {size}")
        self.size, self.fuse = size, fuse
        self.global_path = ResNetGenerator(blocks, channels, width)
        self.local_paths = nn.ModuleList(LocalPath(channels, width) for _ in PATCHES[size])
        if fuse == "concat":
            self.merge = nn.Conv2d(2 * width, width, 3, padding=1)

    def boxes(self, centres: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The (rows, columns) selections of the four patches around ``centres``."""
        return [
            (selection(centres[:, k, 1], height, self.size), selection(centres[:, k, 0], width, self.size))
            for k, (height, width) in enumerate(PATCHES[self.size])
        ]

    def translate(self, x: Tensor, boxes: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """The picture, and the four local pictures that the local pixel loss compares."""
        canvases, pictures = [], []
        for path, (rows, columns) in zip(self.local_paths, boxes, strict=True):
            features, picture = path(crop(x, rows, columns))
            canvases.append(paste(features, rows, columns))
            pictures.append(picture)
        # features follow a ReLU, so zero is below all of them and a canvas counts only inside its box
        local, whole = max_out(canvases), self.global_path.features(x)
        fused = self.merge(torch.cat([local, whole], 1)) if self.fuse == "concat" else max_out([local, whole])
        return self.global_path.image(fused), pictures

    def forward(self, x: Tensor, centres: Tensor | None = None) -> Tensor:
        """Translate a batch."""
        if centres is None:
            out: Tensor = self.global_path(x)
            return out
        return self.translate(x, self.boxes(centres))[0]
