"""One side of a fusion: the hypotheses of its entries, centred on the fly and laid out for the kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.scores import kernels
from meetmid.templates.pool import allocate

Templates = NDArray[Any]
BLOCK = 64 * 2**20
"""Bytes of padded rows held per side at a time; no bit depends on it."""


@dataclass(frozen=True)
class Side:
    """One side: templates of pictures (I, S, M, D), weights (I, S, M) with 0 = absent, grouped into entries.

    Entry e owns pictures first[e] .. first[e + 1]; their hypotheses are pooled. ``means`` (S, D) are subtracted on the
    fly, or, with ``per_vector``, every template's own mean over its components (Pearson).
    """

    templates: Templates
    weights: NDArray[Any]
    first: NDArray[np.int64]
    means: NDArray[np.float32] | None = None
    per_vector: bool = False

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def depth(self) -> int:
        """The largest number of pictures in one entry."""
        return int(np.diff(self.first).max(initial=0))

    def hypotheses(self, entry: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """One entry's centred templates (S, pictures * M, D) and weights (S, pictures * M)."""
        start, stop = self.first[entry], self.first[entry + 1]
        _, scales, _, length = self.templates.shape
        block = np.asarray(self.templates[start:stop], np.float32)
        if self.means is not None:
            block = block - self.means[None, :, None, :]
        if self.per_vector:
            block = block - block.mean(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
        pooled = block.transpose(1, 0, 2, 3).reshape(scales, -1, length)
        return pooled, self.weights[start:stop].transpose(1, 0, 2).reshape(scales, -1).astype(np.float64)

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        """Entries start..stop as zero-padded unit rows (n, R, D up to 16), their weights (n, R) and the rows' scales (R,)."""
        stop = min(stop, len(self))
        _, scales, count, length = self.templates.shape
        used = scales * count * self.depth
        padded = _up(used, kernels.TILE)
        out = np.zeros((stop - start, padded, _up(length, kernels.LANES)), np.float32)
        weights = np.zeros((stop - start, scales, count * self.depth))
        for k, entry in enumerate(range(start, stop)):
            templates, own = self.hypotheses(entry)
            weights[k, :, : own.shape[1]] = own
            for scale in range(scales):
                target = out[k, scale * count * self.depth :]
                kernels.unit_rows(templates[scale], target)
        numbers = np.full(padded, -1, np.int64)
        numbers[:used] = np.repeat(np.arange(scales), count * self.depth)
        flat = np.zeros((stop - start, padded))
        flat[:, :used] = weights.reshape(stop - start, used)
        return out, flat, numbers

    def added(self, per_scale: bool, limit: int) -> Side:
        """T_add (eq. 4): the weighted sum over all hypotheses, or over those of each scale; mapped beyond ``limit`` bytes."""
        _, scales, _, length = self.templates.shape
        groups = scales if per_scale else 1
        sums = np.asarray(allocate((len(self), groups, 1, length), limit))
        present = np.zeros((len(self), groups, 1))
        for entry in range(len(self)):
            templates, weights = self.hypotheses(entry)
            templates, weights = templates.reshape(groups, -1, length), weights.reshape(groups, -1)
            for group in range(groups):
                kernels.weighted_sum(templates[group], weights[group], sums[entry, group, 0])
                present[entry, group, 0] = float((weights[group] > 0).any())
        return Side(sums, present, np.arange(len(self) + 1))

    def at_scale(self, scale: int) -> Side:
        """Only the hypotheses of one scale."""
        means = None if self.means is None else self.means[scale : scale + 1]
        return replace(
            self, templates=self.templates[:, scale : scale + 1], weights=self.weights[:, scale : scale + 1], means=means
        )

    def totals(self) -> NDArray[np.float64]:
        """Total weight of every entry."""
        per_picture = self.weights.sum(axis=(1, 2), dtype=np.float64)
        return np.array([per_picture[a:b].sum() for a, b in pairwise(self.first)])

    def entry_bytes(self) -> int:
        """Bytes of one entry's padded rows."""
        _, scales, count, length = self.templates.shape
        return 4 * _up(scales * count * self.depth, kernels.TILE) * _up(length, kernels.LANES)


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
