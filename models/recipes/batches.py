"""Batches of paired pictures, and the random changes that both pictures of a pair and their landmarks share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from meetmid.models.recipes.pairs import Pairs
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MIRRORED = (1, 0, 2, 4, 3)
"""Which of the five landmarks of a picture stands in the place of each in the mirrored one."""


@dataclass(frozen=True)
class Batch:
    """Pictures (N, 3, size, size) in [-1, 1] of both spectra, and their landmarks (N, K, 2) in pixels."""

    source: Tensor
    target: Tensor
    source_points: Tensor
    target_points: Tensor


def make_batch(pairs: Pairs, index: NDArray[np.int64], device: str) -> Batch:
    """The pairs of ``index``."""
    first, second = pairs.source.take(index), pairs.target.take(index)
    pictures = [
        torch.from_numpy(p.pictures.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1).to(device) for p in (first, second)
    ]
    points = [torch.from_numpy(p.points).to(device) for p in (first, second)]
    return Batch(*pictures, *points)


@dataclass(frozen=True)
class Augmentation:
    """Changes drawn anew for each pair of a batch.

    Pictures are enlarged by ``enlarge``, turned by up to ``rotation`` degrees, cropped back to their size (at a random place or
    the centre) and half of the time mirrored: ``mirror`` numbers the landmarks of the mirrored picture, and is empty where
    nothing shall be mirrored. ``contrast`` c scales both pictures by 1 - c to 1 + c and shifts them by up to c. ``sharpness``
    s sharpens or smooths the source alone, since the target is what shall come out: half of the time by a factor of 1 - s to
    1 + s, where 0 is a 3 x 3 smoothing and 1 changes nothing.
    """

    enlarge: float = 1.0
    centred: bool = False
    rotation: float = 0.0
    mirror: tuple[int, ...] = MIRRORED
    contrast: float = 0.0
    sharpness: float = 0.0

    @classmethod
    def of(cls, options: argparse.Namespace) -> Augmentation:
        """That of a recipe's command line."""
        return cls(
            options.enlarge, options.crop == "centre", options.rotation, tuple(options.mirror), options.contrast,
            options.sharpness,
        )

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The changed batch; raises ValueError where ``mirror`` does not number the batch's landmarks."""
        count = batch.source_points.shape[1]
        if self.mirror and sorted(self.mirror) != list(range(count)):
            raise ValueError(f"mirroring expects the order of {count} landmarks, got {len(self.mirror)} numbers (--mirror)")
        flipped = (rng.random(len(batch.source)) < 0.5) & bool(self.mirror)
        matrix = self._matrices(flipped, rng).to(batch.source)
        pictures = [_moved(p, matrix) for p in (batch.source, batch.target)]
        points = [self._points(p, matrix, flipped, batch.source.shape[-1]) for p in (batch.source_points, batch.target_points)]
        scale, shift = (torch.from_numpy(rng.uniform(-self.contrast, self.contrast, (2, len(flipped), 1, 1, 1)))).to(matrix)
        source, target = (p * (1 + scale) + shift for p in pictures)
        factor = np.where(rng.random(len(flipped)) < 0.5, rng.uniform(-self.sharpness, self.sharpness, len(flipped)), 0.0)
        if self.sharpness:
            source = source + torch.from_numpy(factor).to(matrix)[:, None, None, None] * (source - smoothed(source))
        return Batch(source.clamp(-1, 1), target.clamp(-1, 1), *points)

    def _matrices(self, flipped: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
        """(N, 2, 3): places in the new picture to places in the old one, both -1 to 1 from border to border."""
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, len(flipped)))
        reach = 0.0 if self.centred else 1 - 1 / self.enlarge
        matrix = np.empty((len(flipped), 2, 3))
        matrix[:, 0, 0] = matrix[:, 1, 1] = np.cos(angle)
        matrix[:, 1, 0], matrix[:, 0, 1] = np.sin(angle), -np.sin(angle)
        matrix[:, :, 0] *= np.where(flipped, -1.0, 1.0)[:, None]
        matrix[:, :, :2] /= self.enlarge
        matrix[:, :, 2] = rng.uniform(-reach, reach, (len(flipped), 2))
        return torch.from_numpy(matrix)

    def _points(self, points: Tensor, matrix: Tensor, flipped: NDArray[np.bool_], size: int) -> Tensor:
        places = (2 * points + 1) / size - 1 - matrix[:, None, :, 2]
        moved = (torch.linalg.solve(matrix[:, :, :2], places.transpose(1, 2)).transpose(1, 2) + 1) * size / 2 - 0.5
        if not flipped.any():
            return moved
        order = moved[:, list(self.mirror)]
        return torch.where(torch.from_numpy(flipped).to(points.device)[:, None, None], order, moved)


def _moved(pictures: Tensor, matrix: Tensor) -> Tensor:
    grid = functional.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def smoothed(pictures: Tensor) -> Tensor:
    """Each channel through the 3 x 3 kernel of ones around a 5, divided by 13 (Pillow's SMOOTH); borders are repeated."""
    kernel = pictures.new_ones(3, 1, 3, 3)
    kernel[:, :, 1, 1] = 5
    return functional.conv2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), kernel / 13, groups=3)
