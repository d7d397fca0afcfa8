"""Networks whose own inputs or outputs differ from what the library hands over, wrapped so that one picture goes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meetmid.faces.alignment import TEMPLATES
from meetmid.networks.baselines import SRResNet
from meetmid.networks.edsr import GatedEDSR
from meetmid.networks.pcfh import PCFHGenerator
from meetmid.networks.rim import FHN
from meetmid.networks.rim_recognition import HRN, ResNet34
from meetmid.resize import resize


class FixedDown(nn.Module):
    """A gated EDSR for pictures that were reduced by its own scale: (N, 3, H, W) in [-1, 1] to (N, 3, scale*H, scale*W)."""

    def __init__(self, scale: int = 4, **options: Any) -> None:
        super().__init__()
        self.network = GatedEDSR(scale, **options)
        self.register_buffer("down", torch.tensor([[self.network.scale / 16.0, 1.0 / self.network.scale]]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge a batch."""
        out: Tensor = self.network(x, self.down.expand(x.shape[0], 2))
        return out


class UnitOutput(nn.Module):
    """SRGAN's generator with its output, meant for [-1, 1], brought to the [0, 1] of its input."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.network = SRResNet(**options)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, 4H, 4W)."""
        out: Tensor = 0.5 * self.network(x) + 0.5
        return out


class AlignedPCFH(nn.Module):
    """PCFH's generator for faces aligned to a template, whose points give the centres of the local patches.

    ``template`` names the alignment and ``size`` the side of the picture, 144 or 256 (networks.md section 7.1).
    """

    def __init__(self, *, size: int = 256, template: str = "lightcnn-128", **options: Any) -> None:
        super().__init__()
        self.network = PCFHGenerator(size=size, **options)
        points = TEMPLATES[template].scaled(size, size)
        centres = np.stack([points[0], points[1], points[2], points[3:].mean(axis=0)])
        for k, pair in enumerate(self.network.boxes(torch.tensor(centres, dtype=torch.float32)[None])):
            for name, selection in zip(("rows", "columns"), pair, strict=True):
                self.register_buffer(f"{name}{k}", selection, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, size, size) in [-1, 1] to (N, 3, size, size) in (-1, 1)."""
        boxes = [
            (self.get_buffer(f"rows{k}").expand(x.shape[0], -1, -1), self.get_buffer(f"columns{k}").expand(x.shape[0], -1, -1))
            for k in range(len(self.network.local_paths))
        ]
        return self.network.translate(x, boxes)[0]


class FromLowResolution(nn.Module):
    """RIM's FHN behind the bicubic enlargement by 8 that it expects: (N, 3, side, side) in [-1, 1], ``side`` 28 in the paper.

    The enlargement is linear and separable, so two constant matrices give the library's own (networks.md section 8.2).
    """

    def __init__(self, *, side: int = 28, **options: Any) -> None:
        super().__init__()
        self.network = FHN(**options)
        impulses = np.repeat(np.eye(side, dtype=np.float32)[:, :, None], 1, axis=2)
        shifted = resize(0.5 + 0.25 * impulses, (8 * side, side)) - 0.5  # kept within [0, 1], where resizing does not clip
        self.register_buffer("matrix", torch.tensor(4.0 * shifted[:, :, 0]), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(sr, coarse, landmarks, parsing) of :class:`meetmid.networks.rim.FHN`."""
        out: tuple[Tensor, Tensor, Tensor, Tensor] = self.network(self.matrix @ x @ self.matrix.T)
        return out


def hrn(sum_at: Any = "embedding", **options: Any) -> HRN:
    """RIM's student and assistant, both with the same options."""
    if sum_at not in ("embedding", "map"):
        raise ValueError(f"sum_at must be 'embedding' or 'map', got {sum_at!r}")
    return HRN(ResNet34(**options), ResNet34(**options), sum_at)
