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
