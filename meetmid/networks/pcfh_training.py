"""What PCFH needs for training besides its generators: warping, attention and the mutual-information critic.

The pieces of networks.md sections 7.2 and 7.3. The warp is Shepard's interpolation of 68 landmark displacements (D. Ruprecht
and H. Müller, "Image warping with scattered data interpolation", IEEE CGA 1995); the paper gives no architectures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def _pixels(height: int, width: int, like: Tensor) -> Tensor:
    """The x, y of every pixel, (height, width, 2)."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=like.dtype, device=like.device),
        torch.arange(width, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    return torch.stack([x, y], -1)


def displacement(points: Tensor, targets: Tensor, height: int, width: int, power: float = 2.0) -> Tensor:
    """The displacement of every pixel p, u(p) = sum_i w_i(p) (target_i - point_i), by inverse-distance weights.

    w_i(p) = |p - point_i|^-power / sum_j |p - point_j|^-power over all points, and 1 for a point that p hits exactly.
    (N, P, 2) x, y pixels of the points (NIR) and of their targets (VIS) to (N, height, width, 2).
    """
    pixels = _pixels(height, width, points)
    squared = (pixels[None, :, :, None] - points[:, None, None]).square().sum(-1)
    hit = (squared == 0).to(points.dtype)
    # relative to the nearest point all powers stay finite
    nearest = squared.amin(-1, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny)
    weights = torch.where(hit.amax(-1, keepdim=True) > 0, hit, (nearest / squared.clamp(min=nearest)) ** (power / 2))
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("nhwp,npc->nhwc", weights, targets - points)


def warp(visible: Tensor, points: Tensor, targets: Tensor, power: float = 2.0) -> Tensor:
    """The VIS picture on the NIR geometry: (N, C, H, W), bilinear at p + u(p), its border continued outside.

    ``points`` (N, P, 2) are the NIR and ``targets`` the VIS landmarks, x, y in pixels.
    """
    height, width = visible.shape[2:]
    sources = _pixels(height, width, points) + displacement(points, targets, height, width, power)
    grid = 2 * sources / torch.tensor([width - 1, height - 1], dtype=sources.dtype, device=sources.device) - 1
    return functional.grid_sample(visible, grid, mode="bilinear", padding_mode="border", align_corners=True)


class AttentionMap(nn.Module):
    """The map Att in (0, 1) of PCFH's A(x) = Att * x: (N, channels, H, W) to (N, 1, H, W).

    It looks at the warped VIS picture, or with ``channels`` = 6 at that and the generated one (networks.md section 7.2).
    """

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Where generated and warped pictures are to agree."""
        out: Tensor = self.layers(x)
        return out


class InformationCritic(nn.Module):
    """N_E of PCFH's eq. 10: a pair of pictures (N, C1, H, W), (N, C2, H, W) to one unbounded score each, (N,).

    It is trained to score joint pairs above shuffled ones; ``channels`` counts those of the two pictures together.
    """

    def __init__(self, channels: int = 6, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*layers)
        self.score = nn.Linear(8 * width, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Score a batch of pairs."""
        out: Tensor = self.score(self.encoder(torch.cat([first, second], 1)).mean((2, 3))).squeeze(1)
        return out
