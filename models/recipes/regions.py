"""Regions of a face from K landmarks: the patches of local discriminators and paths, and substitutes for parsing labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from meetmid.networks.pcfh import crop, selection

FIVE_POINTS = ((0,), (1,), (2,), (3, 4))
"""Which of the five landmarks mark left eye, right eye, nose and mouth; with other landmarks name their own."""
PATCHES_128 = ((32, 32), (32, 32), (40, 32), (28, 48))
"""Height and width of ANYRES's local crops at 128 pixels (a choice of networks.md section 5.2)."""
PARTS = 11
_ELLIPSES = (
    # class, part (0 left eye, 1 right eye, 2 nose, 3 mouth, 4 face), x and y offset, half width and half height
    (10, 4, 0.0, -0.15, 1.5, 1.85), (1, 4, 0.0, 0.1, 1.15, 1.6), (2, 0, 0.0, -0.32, 0.34, 0.12),
    (3, 1, 0.0, -0.32, 0.34, 0.12), (4, 0, 0.0, 0.0, 0.26, 0.14), (5, 1, 0.0, 0.0, 0.26, 0.14),
    (6, 2, 0.0, -0.1, 0.26, 0.42), (7, 3, 0.0, -0.12, 0.48, 0.13), (8, 3, 0.0, 0.12, 0.45, 0.14), (9, 3, 0.0, 0.0, 0.4, 0.06),
)


def part_centres(points: Tensor, parts: Sequence[Sequence[int]] = FIVE_POINTS) -> Tensor:
    """(N, K, 2) landmarks to the centres of left eye, right eye, nose and mouth, (N, 4, 2)."""
    return torch.stack([points[:, list(part)].mean(1) for part in parts], 1)


def patches(pictures: Tensor, centres: Tensor) -> list[Tensor]:
    """Four crops (N, C, h, w) around ``centres``, of ANYRES's sizes scaled to the pictures', zero outside the picture."""
    height, width = pictures.shape[2:]
    return [
        crop(
            pictures,
            selection(centres[:, k, 1], round(h * height / 128), height),
            selection(centres[:, k, 0], round(w * width / 128), width),
        )
        for k, (h, w) in enumerate(PATCHES_128)
    ]


def region_labels(centres: Tensor, size: int, grid: int) -> Tensor:
    """Synthetic parsing labels (N, grid, grid): ellipses at the face's parts, a substitute for annotated regions.

    0 ground, 1 skin, 2 3 brows, 4 5 eyes, 6 nose, 7 8 lips, 9 mouth, 10 hair: the eleven classes of RIM's parsing maps. The
    unit of their sizes is the distance between the eyes; ``centres`` (N, 4, 2) are in a picture of ``size`` pixels.
    """
    centres = (centres + 0.5) * (grid / size) - 0.5
    unit = (centres[:, 1] - centres[:, 0]).norm(dim=1).clamp(min=1e-6)[:, None, None]
    every = torch.cat([centres, centres.mean(1, keepdim=True)], 1)
    cells = torch.arange(grid, dtype=centres.dtype, device=centres.device)
    labels = torch.zeros(len(centres), grid, grid, dtype=torch.long, device=centres.device)
    for label, part, dx, dy, half_width, half_height in _ELLIPSES:
        x = (cells[None, None] - every[:, part, 0, None, None]) / unit - dx
        y = (cells[None, :, None] - every[:, part, 1, None, None]) / unit - dy
        labels[(x / half_width) ** 2 + (y / half_height) ** 2 < 1] = label
    return labels
