"""MobileFaceNet in its two public forms: arcface_torch's "mbf" and the classic 128-number network (networks.md section 3.3).

Source: S. Chen et al., "MobileFaceNets", CCBR 2018, section 3.2 and Table 1 (expansion - depthwise - linear bottlenecks, a
global depthwise convolution instead of pooling). Names follow the public state dicts, which differ between the two.
"""

from __future__ import annotations

from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Convolution - BN - PReLU, or without the PReLU where ``linear``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        layers = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)
        ]
        self.layers = nn.Sequential(*layers) if linear else nn.Sequential(*layers, nn.PReLU(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        out: Tensor = self.layers(x)
        return out


class Bottleneck(nn.Module):
    """1 x 1 to ``expanded`` channels - 3 x 3 depthwise(stride) - linear 1 x 1; the input is added where ``residual``."""

    def __init__(self, inputs: int, outputs: int, expanded: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvBlock(inputs, expanded, 1),
            ConvBlock(expanded, expanded, 3, stride, 1, groups=expanded),
            ConvBlock(expanded, outputs, 1, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class ResidualStage(nn.Module):
    """``count`` residual bottlenecks of the same shape."""

    def __init__(self, channels: int, expanded: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Bottleneck(channels, channels, expanded, 1, residual=True) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        out: Tensor = self.layers(x)
        return out


class GlobalDepthwise(nn.Module):
    """(N, 512, 7, 7) to (N, length): one 7 x 7 filter per channel, a linear layer without bias, BN."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvBlock(512, 512, 7, groups=512, linear=True),
            nn.Flatten(),
            nn.Linear(512, length, bias=False),
            nn.BatchNorm1d(length),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Reduce the map to a template."""
        out: Tensor = self.layers(x)
        return out


class MobileFaceNet(nn.Module):
    """arcface_torch's "mbf": (N, 3, 112, 112) RGB in [-1, 1] to (N, length) templates, not normalised.

    ``scale`` multiplies the widths of 64 and 128, ``blocks`` counts the residual bottlenecks at 28, 14 and 7 pixels. The
    second convolution is grouped by 64, which is depthwise only at ``scale`` 1.
    """

    def __init__(self, length: int = 512, blocks: tuple[int, int, int] = (4, 6, 2), scale: int = 2) -> None:
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale
        self.layers = nn.Sequential(
            ConvBlock(3, narrow, 3, 2, 1),
            ConvBlock(narrow, narrow, 3, 1, 1, groups=64),
            Bottleneck(narrow, narrow, 128, 2, residual=False),
            ResidualStage(narrow, 128, blocks[0]),
            Bottleneck(narrow, wide, 256, 2, residual=False),
            ResidualStage(wide, 256, blocks[1]),
            Bottleneck(wide, wide, 512, 2, residual=False),
            ResidualStage(wide, 256, blocks[2]),
        )
        self.conv_sep = ConvBlock(wide, 512, 1)
        self.features = GlobalDepthwise(length)

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        out: Tensor = self.features(self.conv_sep(self.layers(x)))
        return out


class ClassicConvBlock(nn.Module):
    """:class:`ConvBlock` under the classic network's names."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        out: Tensor = self.prelu(self.bn(self.conv(x)))
        return out


class ClassicBottleneck(nn.Module):
    """:class:`Bottleneck` under the classic names; the input is added where the shape stays (Chen et al. 2018, Table 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        expanded = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, expanded, 1, bias=False),
            nn.BatchNorm2d(expanded),
            nn.PReLU(expanded),
            nn.Conv2d(expanded, expanded, 3, stride, 1, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            nn.PReLU(expanded),
            nn.Conv2d(expanded, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


TABLE = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Expansion, channels, repetitions and stride of the classic network's bottlenecks (Chen et al. 2018, Table 1)."""


class ClassicMobileFaceNet(nn.Module):
    """The classic network: (N, 3, 112, width) RGB in [-1, 1] to (N, 128) templates; ``width`` is 112 or 96."""

    def __init__(self, width: int = 112) -> None:
        super().__init__()
        if width not in (96, 112):
            raise ValueError(f"MobileFaceNet input width must be 96 or 112, got {width}")
        self.conv1 = ClassicConvBlock(3, 64, 3, 2, 1)
        self.dw_conv1 = ClassicConvBlock(64, 64, 3, 1, 1, groups=64)
        blocks, inputs = [], 64
        for expansion, channels, repetitions, stride in TABLE:
            for k in range(repetitions):
                blocks.append(ClassicBottleneck(inputs, channels, 1 if k else stride, expansion))
                inputs = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ClassicConvBlock(128, 512, 1)
        self.linear7 = ClassicConvBlock(512, 512, (7, width // 16), groups=512, linear=True)
        self.linear1 = ClassicConvBlock(512, 128, 1, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(x))))
        out: Tensor = self.linear1(self.linear7(x)).flatten(1)
        return out
