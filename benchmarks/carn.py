"""CARN-M, the published super-resolver that EDSR-face is measured beside; its weights are not the project's.

N. Ahn et al., "Fast, accurate, and lightweight super-resolution with cascading residual network", ECCV 2018, section 3 and
figures 3 and 4; submodules are named as in the published weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

WIDTH, GROUPS = 64, 4


class Shift(nn.Module):
    """A 1 x 1 convolution that takes the mean colour away or adds it."""

    def __init__(self) -> None:
        super().__init__()
        self.shifter = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the same shape."""
        return self.shifter(x)


class Fusion(nn.Module):
    """What was found so far, (N, inputs, H, W), in one pointwise convolution."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inputs, WIDTH, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """To (N, 64, H, W)."""
        return self.body(x)


class EfficientBlock(nn.Module):
    """Residual block of two grouped convolutions and a pointwise one (section 3.3)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=GROUPS), nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=GROUPS), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 64, H, W) to the same shape."""
        return torch.relu(self.body(x) + x)


class Cascade(nn.Module):
    """Three passes, each fused with all before it; the local block's passes share one residual block (section 3.3)."""

    def __init__(self, local: bool) -> None:
        super().__init__()
        self.local = local
        self.b1 = EfficientBlock() if local else Cascade(local=True)
        if not local:
            self.b2, self.b3 = Cascade(local=True), Cascade(local=True)
        self.c1, self.c2, self.c3 = Fusion(2 * WIDTH), Fusion(3 * WIDTH), Fusion(4 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 64, H, W) to the same shape."""
        kept, out = x, x
        blocks = (self.b1,) * 3 if self.local else (self.b1, self.b2, self.b3)
        for block, fusion in zip(blocks, (self.c1, self.c2, self.c3), strict=True):
            kept = torch.cat([kept, block(out)], 1)
            out = fusion(kept)
        return out


class Enlarge(nn.Module):
    """Sub-pixel convolutions, one per factor, grouped."""

    def __init__(self, factors: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for factor in factors:
            layers += [nn.Conv2d(WIDTH, WIDTH * factor**2, 3, padding=1, groups=GROUPS), nn.ReLU(), nn.PixelShuffle(factor)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 64, H, W) enlarged."""
        return self.body(x)


class CarnM(Cascade):
    """(N, 3, H, W) RGB 0..1 to (N, 3, scale H, scale W); ``scale`` 2, 3 or 4."""

    def __init__(self, path: Path, scale: int) -> None:
        super().__init__(local=False)
        self.scale = scale
        self.sub_mean, self.add_mean, self.entry = Shift(), Shift(), nn.Conv2d(3, WIDTH, 3, padding=1)
        self.upsample = nn.ModuleDict({"up2": Enlarge((2,)), "up3": Enlarge((3,)), "up4": Enlarge((2, 2))})
        self.exit = nn.Conv2d(WIDTH, 3, 3, padding=1)
        self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge a batch."""
        out = super().forward(self.entry(self.sub_mean(x)))
        return self.add_mean(self.exit(self.upsample[f"up{self.scale}"](out)))
