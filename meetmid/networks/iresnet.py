"""IResNet, the ArcFace backbone that Grm et al. 2023 match with (section 4.1; networks.md section 3.1).

Source: J. Deng et al., "ArcFace", CVPR 2019, section 3.2.1 (the block BN - conv - BN - PReLU - conv - BN, stride in the
second convolution). Names follow arcface_torch's state dicts.
"""

from __future__ import annotations

from torch import Tensor, nn

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}
"""Blocks per stage of each published depth."""


class IResBlock(nn.Module):
    """BN - conv3x3 - BN - PReLU - conv3x3(stride) - BN, plus the shortcut; no activation after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity() if stride == 1 else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        residual = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: Tensor = self.bn3(self.conv2(residual)) + self.downsample(x)
        return out


class IResNet(nn.Module):
    """(N, 3, 112, 112) RGB in [-1, 1] to (N, length) templates, not normalised.

    ``blocks`` and ``widths`` per stage; every stage starts with a stride of 2. The last normalisation only centres and
    scales by its statistics: its weight stays 1 (networks.md section 3.1).
    """

    def __init__(
        self, blocks: tuple[int, ...] = DEPTHS[50], widths: tuple[int, ...] = (64, 128, 256, 512), length: int = 512
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(*(IResBlock(width if k else before, width, 1 if k else 2) for k in range(count)))
            for before, width, count in zip((widths[0], *widths), widths, blocks, strict=False)
        )
        self.bn2 = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1] * 7 * 7, length)
        self.features = nn.BatchNorm1d(length)
        self.features.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return out


def iresnet(depth: int) -> IResNet:
    """The published network of 18, 34, 50, 100 or 200 layers ("r50", "r100", ...)."""
    if depth not in DEPTHS:
        raise ValueError(f"IResNet depth must be one of {', '.join(map(str, DEPTHS))}, got {depth}")
    return IResNet(DEPTHS[depth])
