"""The generators of AG-GAN and AG-GAN+ (attention-guided thermal to visible; networks.md section 6).

Derived from J. Kim et al., "U-GAT-IT", ICLR 2020, section 2.1; AG-GAN weighs the encoder's features by class activation,
AG-GAN+ by squeeze-excitation (AG-GAN, eqs. 6, 8 and 9). Names follow U-GAT-IT's public state dicts, so that its checkpoints
load; the names of the squeeze-excitation are this library's own.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from meetmid.networks.adalin import LIN, AdaLIN
from meetmid.networks.blocks import InstanceResidual, SqueezeExcite

Attention = Literal["cam", "se"]


def class_activation(
    features: Tensor, gap_fc: nn.Linear, gmp_fc: nn.Linear, conv1x1: nn.Conv2d
) -> tuple[Tensor, Tensor]:
    """Class activation by average and maximum (Kim et al. 2020, section 2.1.1; networks.md section 6.2).

    (N, C, H, W) to the attended features before their activation, (N, C, H, W), and the two logits (N, 2).
    """
    average, largest = features.mean((2, 3)), features.amax((2, 3))
    logits = torch.cat([gap_fc(average), gmp_fc(largest)], 1)
    weighed = [features * fc.weight[:, :, None, None] for fc in (gap_fc, gmp_fc)]
    return conv1x1(torch.cat(weighed, 1)), logits


class AdaLINResidual(nn.Module):
    """x plus (reflect-pad - conv3x3 - AdaLIN - ReLU - reflect-pad - conv3x3 - AdaLIN) of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(1)
        self.conv1 = nn.Conv2d(channels, channels, 3, bias=False)
        self.norm1 = AdaLIN(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, bias=False)
        self.norm2 = AdaLIN(channels)

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """(N, C, H, W), (N, C) and (N, C) to the shape of ``x``."""
        y = torch.relu(self.norm1(self.conv1(self.pad(x)), gamma, beta))
        out: Tensor = x + self.norm2(self.conv2(self.pad(y)), gamma, beta)
        return out


def _down(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.ReflectionPad2d(kernel // 2),
        nn.Conv2d(inputs, outputs, kernel, stride, bias=False),
        nn.InstanceNorm2d(outputs),
        nn.ReLU(),
    ]


def _up(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ReflectionPad2d(1),
        nn.Conv2d(inputs, outputs, 3, bias=False),
        LIN(outputs),
        nn.ReLU(),
    ]


class AGGAN(nn.Module):
    """(N, channels, H, W) thermal in [-1, 1] to the picture, its heat map and, with class activation, two logits.

    The picture is (N, 3, H, W) RGB in (-1, 1), the heat map (N, 1, H / 4, W / 4), the mean of the attended features over
    their channels (networks.md section 6.2), the logits (N, 2). H and W are multiples of 4, 256 in the paper.
    ``attention`` is "cam" for AG-GAN and "se" for AG-GAN+. gamma and beta follow from the average of the attended features
    ("light"), or from all of them ("full") where ``full_size`` fixes H = W. ``blocks`` residual blocks lie on either side.
    """

    def __init__(
        self,
        attention: Attention = "cam",
        blocks: int = 4,
        full_size: int | None = None,
        channels: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__()
        inner = 4 * width
        self.blocks, self.full_size = blocks, full_size
        self.DownBlock = nn.Sequential(
            *_down(channels, width, 7, 1),
            *_down(width, 2 * width, 3, 2),
            *_down(2 * width, inner, 3, 2),
            *(InstanceResidual(inner, bias=False) for _ in range(blocks)),
        )
        self.attention = attention
        if attention == "cam":
            self.gap_fc = nn.Linear(inner, 1, bias=False)
            self.gmp_fc = nn.Linear(inner, 1, bias=False)
            self.conv1x1 = nn.Conv2d(2 * inner, inner, 1)
        else:
            self.squeeze_excite = SqueezeExcite(inner)
        pooled = inner if full_size is None else inner * (full_size // 4) ** 2
        self.FC = nn.Sequential(
            nn.Linear(pooled, inner, bias=False), nn.ReLU(), nn.Linear(inner, inner, bias=False), nn.ReLU()
        )
        self.gamma = nn.Linear(inner, inner, bias=False)
        self.beta = nn.Linear(inner, inner, bias=False)
        for k in range(blocks):
            self.add_module(f"UpBlock1_{k + 1}", AdaLINResidual(inner))
        self.UpBlock2 = nn.Sequential(
            *_up(inner, 2 * width),
            *_up(2 * width, width),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7, bias=False),
            nn.Tanh(),
        )

    def attend(self, x: Tensor) -> tuple[Tensor, ...]:
        """The attended features (N, 4 width, H / 4, W / 4) and, with class activation, the logits (N, 2)."""
        features = self.DownBlock(x)
        if self.attention == "se":
            return (self.squeeze_excite(features),)
        attended, logits = class_activation(features, self.gap_fc, self.gmp_fc, self.conv1x1)
        return torch.relu(attended), logits

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(image, heat, logits), or (image, heat) with squeeze-excitation."""
        attended, *logits = self.attend(x)
        pooled = functional.adaptive_avg_pool2d(attended, 1) if self.full_size is None else attended
        style = self.FC(pooled.flatten(1))
        gamma, beta = self.gamma(style), self.beta(style)
        decoded = attended
        for k in range(self.blocks):
            decoded = self.get_submodule(f"UpBlock1_{k + 1}")(decoded, gamma, beta)
        return self.UpBlock2(decoded), attended.mean(1, keepdim=True), *logits
