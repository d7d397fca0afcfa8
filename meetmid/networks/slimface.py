"""SlimFace, the matcher of the pair that ships: separable residual blocks with gates.

MobileFaceNet's bottlenecks and global depthwise head (S. Chen et al., "MobileFaceNets", CCBR 2018, section 3.1, table 1) with
squeeze-and-excitation (J. Hu et al., CVPR 2018, section 3) on what each block adds, and leaky rectifiers of one slope each.
There is no batch normalisation: the recipe starts from published weights into which it is folded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((128, 64, 8, 5), (256, 128, 16, 7), (512, 128, 16, 1), (256, 128, 16, 2))
"""Channels within the blocks, between them and of the gates, and how many blocks; all but the last begin with a stride of 2."""


class Gate(nn.Module):
    """Channels weighted by what is seen of them in the whole picture."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.squeeze, self.slope, self.excite = nn.Conv2d(width, narrow, 1), nn.LeakyReLU(), nn.Conv2d(narrow, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        return x * torch.sigmoid(self.excite(self.slope(self.squeeze(x.mean((2, 3), keepdim=True)))))


class Bottleneck(nn.Module):
    """Pointwise, depthwise and linear pointwise convolution, gated; added to the input where the shapes allow."""

    def __init__(self, inputs: int, within: int, outputs: int, narrow: int, stride: int) -> None:
        super().__init__()
        self.widen, self.first = nn.Conv2d(inputs, within, 1), nn.LeakyReLU()
        self.depthwise, self.second = nn.Conv2d(within, within, 3, stride, 1, groups=within), nn.LeakyReLU()
        self.narrow, self.gate = nn.Conv2d(within, outputs, 1), Gate(outputs, narrow)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        change: Tensor = self.gate(self.narrow(self.second(self.depthwise(self.first(self.widen(x))))))
        return x + change if self.adds else change


class SlimFace(nn.Module):
    """(N, 3, 128, 128) pictures normalised as the card says to (N, length) templates, not normalised."""

    def __init__(self, length: int = 256) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2, 1), nn.LeakyReLU(), nn.Conv2d(64, 64, 3, 1, 1, groups=64), nn.LeakyReLU(),
        )
        blocks, inputs = [], 64
        for stage, (within, outputs, narrow, count) in enumerate(STAGES):
            for k in range(count):
                blocks.append(Bottleneck(inputs, within, outputs, narrow, 2 if k == 0 and stage < 3 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Conv2d(inputs, 512, 1), nn.LeakyReLU(), nn.Conv2d(512, 512, 8, groups=512),
            nn.Conv2d(512, length, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        out: Tensor = self.head(self.blocks(self.stem(x))).flatten(1)
        return out
