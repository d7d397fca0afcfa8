"""Whether a face wears a mask, dark glasses or a hat, from its crop at a glance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIDE = 32
"""Of the crop, in pixels."""

WIDTHS = (16, 32, 48, 64)


class Wearing(nn.Module):
    """(N, 3, 32, 32) in [-1, 1] to (N, K): natural-log odds that each of K things is worn, less what ``doubt`` (K,) asks."""

    def __init__(self, kinds: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for k, width in enumerate(WIDTHS):
            layers += [nn.Conv2d(inputs, width, 3, 1 if k == 0 else 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(inputs * (SIDE // 2 ** (len(WIDTHS) - 1)) ** 2, kinds)
        self.register_buffer("doubt", torch.zeros(kinds))

    def forward(self, x: Tensor) -> Tensor:
        """Odds."""
        out: Tensor = self.head(self.body(x)) - self.doubt
        return out
