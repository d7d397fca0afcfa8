"""A pool of earlier pictures for a discriminator (A. Shrivastava et al., CVPR 2017, section 2.3; networks.md section 11)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """The last ``capacity`` generated pictures; part of a recipe's checkpoint, so that a resumed run sees the same ones."""

    kept: Tensor

    def __init__(self, capacity: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_buffer("kept", torch.zeros(capacity, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def forward(self, pictures: Tensor) -> Tensor:
        """Fill the pool with the new (N, ...) pictures; once it is full, swap half of them on average for earlier ones."""
        taken = pictures.clone()
        for k, picture in enumerate(pictures):
            filled = int(self.filled)
            if filled < self.capacity:
                self.kept[filled] = picture
                self.filled += 1
            elif self.capacity and torch.rand(()) < 0.5:
                place = int(torch.randint(self.capacity, ()))
                taken[k] = self.kept[place]
                self.kept[place] = picture
        return taken
