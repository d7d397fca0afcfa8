"""Blocks that several families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """x * sigmoid(fc2(relu(fc1(gap(x))))): (N, C, H, W) to the same shape, each channel scaled by one number in (0, 1).

    Source: J. Hu et al., "Squeeze-and-excitation networks", CVPR 2018, eqs. 2-4; ``reduction`` is its r.
    """

    def __init__(self, channels: int, reduction: int = 16, *, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=bias)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Gate the channels."""
        squeezed = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(squeezed))))


class InstanceResidual(nn.Module):
    """x plus (reflect-pad - conv3x3 - IN - ReLU - reflect-pad - conv3x3 - IN) of it: (N, C, H, W) to the same shape.

    The residual block of CycleGAN's generator (J.-Y. Zhu et al., ICCV 2017, appendix 7.2), under its public names.
    """

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual."""
        out: Tensor = x + self.conv_block(x)
        return out
