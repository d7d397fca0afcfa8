"""MidFace, the compact residual matcher that the library trains and ships.

Dense 3 x 3 convolutions in the pre-activation block of ArcFace's IResNet (J. Deng et al., "ArcFace", CVPR 2019, section
3.2.1: BN - conv - BN - PReLU - conv - BN), a stride-2 stem and a global depthwise head (S. Chen et al., "MobileFaceNets",
CCBR 2018, section 3.1).
"""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """BN - conv3x3 - BN - PReLU - conv3x3(stride) - BN, plus the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out


class MidFace(nn.Module):
    """(N, 3, 112, 112) RGB in [-1, 1] to (N, length) templates, not normalised."""

    def __init__(
        self,
        length: int = 256,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        depths: tuple[int, ...] = (1, 2, 3, 1),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        ]
        inputs = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                layers.append(nn.Sequential(
                    nn.Conv2d(inputs, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
                ))
            layers += [Block(width, width, 1) for _ in range(depth)]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.Conv2d(inputs, inputs, 7, groups=inputs, bias=False), nn.BatchNorm2d(inputs)
        )
        self.project = nn.Linear(inputs, length)

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        out: Tensor = self.project(self.pool(self.features(x)).flatten(1))
        return out
