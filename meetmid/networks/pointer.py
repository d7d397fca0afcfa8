"""Five points of a face in a close view, for faces so small that the face finder's are too rough to align by."""

from __future__ import annotations

from torch import Tensor, nn

from meetmid.networks.finder import Refining, Separable

SIDE = 80
"""Of the view, in pixels."""


class Pointer(nn.Module):
    """(N, 3, 80, 80) in [-1, 1] to (N, 10): x and y of five points, in sides of the view from its centre."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        w = width
        self.body = nn.Sequential(
            nn.Conv2d(3, w, 3, 2, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU(inplace=True),
            Separable(w, 2 * w), Separable(2 * w, 3 * w, 2), Refining(3 * w),
            Separable(3 * w, 5 * w, 2), *(Refining(5 * w) for _ in range(3)),
            Separable(5 * w, 6 * w, 2), *(Refining(6 * w) for _ in range(2)),
        )
        self.head = nn.Sequential(
            nn.Conv2d(6 * w, 6 * w, SIDE // 16, groups=6 * w), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * w, 10)
        )
        nn.init.normal_(self.head[3].weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Points."""
        out: Tensor = self.head(self.body(x))
        return out
