"""The two generators that the papers compare with and that are wanted as baselines (networks.md section 11).

SRResNet, SRGAN's generator: C. Ledig et al., CVPR 2017, section 2.1.1 and Fig. 4; names are this library's own. pix2pix's
U-Net: P. Isola et al., CVPR 2017, section 3.2.1 and appendix 6.1; names follow its public state dicts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SRResBlock(nn.Module):
    """x plus (conv3x3 - BN - PReLU - conv3x3 - BN) of it: (N, C, H, W) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual."""
        out: Tensor = x + self.body(x)
        return out


class SRResNet(nn.Module):
    """(N, 3, H, W) RGB in [0, 1] to (N, 3, 4H, 4W), meant for [-1, 1] but not clipped (Ledig et al. 2017, section 3.2)."""

    def __init__(self, blocks: int = 16, width: int = 64) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU(width))
        self.body = nn.Sequential(
            *(SRResBlock(width) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        )
        upsample: list[nn.Module] = []
        for _ in range(2):
            upsample += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(width)]
        self.upsample = nn.Sequential(*upsample)
        self.tail = nn.Conv2d(width, 3, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge a batch."""
        x = self.head(x)
        out: Tensor = self.tail(self.upsample(x + self.body(x)))
        return out


class UNetLevel(nn.Module):
    """One level of the U-Net around the next inner one: (N, outer, H, W) to (N, 2 outer, H, W), its input kept alongside.

    LReLU - conv4x4(s2) - BN - inner level - ReLU - deconv4x4(s2) - BN - dropout; the innermost level normalises only after
    its deconvolution.
    """

    def __init__(self, outer: int, inner: int, level: nn.Module | None, dropout: bool = False) -> None:
        super().__init__()
        between = [] if level is None else [nn.BatchNorm2d(inner), level]
        widened = inner if level is None else 2 * inner
        self.model = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Conv2d(outer, inner, 4, 2, 1, bias=False),
            *between,
            nn.ReLU(),
            nn.ConvTranspose2d(widened, outer, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outer),
            *([nn.Dropout(0.5)] if dropout else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The skip connection."""
        return torch.cat([x, self.model(x)], 1)


class UNetEnds(nn.Module):
    """The outermost level: conv4x4(s2) - inner level - ReLU - deconv4x4(s2) - tanh, without normalisation or skip."""

    def __init__(self, channels: int, width: int, level: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1, bias=False),
            level,
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, 3, H, W) in (-1, 1)."""
        out: Tensor = self.model(x)
        return out


class Pix2PixUNet(nn.Module):
    """(N, channels, H, W) in [-1, 1] to (N, 3, H, W) in (-1, 1); H and W are multiples of 2 ** ``depth``.

    ``depth`` halvings: 8 for 256 pixels, 7 for 128. Widths double up to 8 ``width``; the levels of 8 ``width`` channels on
    both sides drop out half of their output in training.
    """

    def __init__(self, depth: int = 8, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        level = UNetLevel(8 * width, 8 * width, None)
        for _ in range(depth - 5):
            level = UNetLevel(8 * width, 8 * width, level, dropout=True)
        for outer in (4 * width, 2 * width, width):
            level = UNetLevel(outer, 2 * outer, level)
        self.model = UNetEnds(channels, width, level)

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        out: Tensor = self.model(x)
        return out
