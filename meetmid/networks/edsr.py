"""EDSR, the super-resolver of Grm et al. 2023 ("Meet-in-the-middle", section 3.2).

Source: B. Lim et al., "Enhanced deep residual networks for single image super-resolution", CVPR-W 2017, section 3 and
Fig. 3. Submodule names follow the public EDSR-PyTorch state dicts, so that its checkpoints load (networks.md section 2.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RGB_MEAN = (0.4488, 0.4371, 0.4040)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class MeanShift(nn.Conv2d):
    """Adds ``sign`` times the RGB mean, as a frozen 1 x 1 convolution."""

    def __init__(self, sign: int, value_range: float = 255.0) -> None:
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.bias = nn.Parameter(sign * value_range * torch.tensor(RGB_MEAN))
        self.requires_grad_(False)


class ResidualBlock(nn.Module):
    """x + s * conv(relu(conv(x))), no batch normalisation (Lim et al. 2017, Fig. 2c)."""

    def __init__(self, width: int, residual_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width))
        self.residual_scale = residual_scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.residual_scale * self.body(x)


class EDSR(nn.Module):
    """(N, 3, H, W) RGB 0..255 to (N, 3, scale*H, scale*W), not clipped; ``scale`` is 2, 3, 4 or 8."""

    def __init__(self, scale: int, blocks: int = 16, width: int = 64, residual_scale: float = 1.0) -> None:
        super().__init__()
        steps = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}
        if scale not in steps:
            raise ValueError(f"EDSR scale must be 2, 3, 4 or 8, got {scale}")
        self.scale = scale
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.Sequential(_conv(3, width))
        self.body = nn.Sequential(*(ResidualBlock(width, residual_scale) for _ in range(blocks)), _conv(width, width))
        upsample: list[nn.Module] = []
        for step in steps[scale]:
            upsample += [_conv(width, step * step * width), nn.PixelShuffle(step)]
        self.tail = nn.Sequential(nn.Sequential(*upsample), _conv(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge a batch."""
        x = self.head(self.sub_mean(x))
        out: Tensor = self.add_mean(self.tail(x + self.body(x)))
        return out
