"""EDSR, the super-resolver of Grm et al. 2023 ("Meet-in-the-middle", section 3.2), in its two public conventions.

Source: B. Lim et al., "Enhanced deep residual networks for single image super-resolution", CVPR-W 2017, section 3 and
Fig. 3. Submodule names follow the public state dicts, so that their checkpoints load (networks.md section 2.1):
:class:`EDSR` those of EDSR-PyTorch; :class:`TanhEDSR` and :class:`GatedEDSR` those of a face-trained network without mean
shift.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RGB_MEAN = (0.4488, 0.4371, 0.4040)
STEPS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _steps(scale: int) -> tuple[int, ...]:
    if scale not in STEPS:
        raise ValueError(f"EDSR scale must be 2, 3, 4 or 8, got {scale}")
    return STEPS[scale]


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
    """(N, 3, H, W) RGB 0..255 to (N, 3, scale*H, scale*W), not clipped; ``scale`` is 2, 3, 4 or 8.

    The defaults are the baseline (Lim et al. 2017, Table 1); :func:`large_edsr` is the full model.
    """

    def __init__(self, scale: int, blocks: int = 16, width: int = 64, residual_scale: float = 1.0) -> None:
        super().__init__()
        steps = _steps(scale)
        self.scale = scale
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.Sequential(_conv(3, width))
        self.body = nn.Sequential(*(ResidualBlock(width, residual_scale) for _ in range(blocks)), _conv(width, width))
        upsample: list[nn.Module] = []
        for step in steps:
            upsample += [_conv(width, step * step * width), nn.PixelShuffle(step)]
        self.tail = nn.Sequential(nn.Sequential(*upsample), _conv(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge a batch."""
        x = self.head(self.sub_mean(x))
        out: Tensor = self.add_mean(self.tail(x + self.body(x)))
        return out


def large_edsr(scale: int) -> EDSR:
    """The full EDSR: 32 blocks of 256 channels, residuals scaled by 0.1 (Lim et al. 2017, section 3.3 and Table 1)."""
    return EDSR(scale, blocks=32, width=256, residual_scale=0.1)


class TanhResidualBlock(nn.Module):
    """x + 0.1 * conv(relu(conv(x))) under the second convention's names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + 0.1 * self.residual(x)


class GatedResidualBlock(TanhResidualBlock):
    """x + g * conv(relu(conv(x))): a squeeze-excite gate g, told the down factor, in place of the constant 0.1.

    g = sigmoid(W2 relu(W1 [W0 gap(r) ; d])), r the residual and d the two numbers of the down factor; the squeeze W0 is
    linear, to C / 4 channels (networks.md section 2.1).
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        narrow = width // 4
        self.pre = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, narrow, 1))
        self.seblock = nn.Sequential(nn.Conv2d(narrow + 2, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor, down: Tensor) -> Tensor:  # type: ignore[override]
        """(N, C, H, W) and (N, 2, 1, 1) to the shape of ``x``."""
        residual = self.residual(x)
        return x + residual * self.seblock(torch.cat([self.pre(residual), down], 1))


class TanhUpsample(nn.Module):
    """Convolution to 4 C channels and a pixel shuffle: (N, C, H, W) to (N, C, 2H, 2W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _conv(width, 4 * width)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width."""
        out: Tensor = self.shuffle(self.conv(x))
        return out


class TanhEDSR(nn.Module):
    """(N, 3, H, W) RGB in [-1, 1] to (N, 3, scale*H, scale*W) in (-1, 1); ``scale`` is 2, 4 or 8.

    The full EDSR without mean shift and with a final tanh (networks.md section 2.1, second public convention).
    """

    block: type[TanhResidualBlock] = TanhResidualBlock

    def __init__(self, scale: int = 4, blocks: int = 32, width: int = 256) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"this EDSR's scale must be 2, 4 or 8, got {scale}")
        self.scale = scale
        self.conv1 = _conv(3, width)
        self.res_blocks = nn.ModuleList(self.block(width) for _ in range(blocks))
        self.conv2 = _conv(width, width)
        self.upsampler = nn.Sequential(*(TanhUpsample(width) for _ in _steps(scale)))
        self.conv3 = _conv(width, 3)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        """Enlarge a batch; ``condition`` goes to every block."""
        x = features = self.conv1(x)
        for block in self.res_blocks:
            features = block(features, *condition)
        return torch.tanh(self.conv3(self.upsampler(x + self.conv2(features))))


class GatedEDSR(TanhEDSR):
    """:class:`TanhEDSR` whose residuals are gated by a squeeze-excite that knows the down factor.

    The second input is (N, 2): for a picture that was reduced by d, (d / 16, 1 / d) (networks.md section 2.1).
    """

    block = GatedResidualBlock

    def forward(self, x: Tensor, down: Tensor) -> Tensor:
        """Enlarge a batch of which the down factors are known."""
        return super().forward(x, down[:, :, None, None])
