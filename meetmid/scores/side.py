"""One side of a fusion: the hypotheses of its entries, centred on the fly and streamed to the kernels as rows."""

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
"""Bytes of rows held per side at a time; no bit depends on it."""


@dataclass(frozen=True)
class Side:
    """One side: templates of pictures (I, S, M, D), weights (I, S, M) with 0 = absent, grouped into entries.

    Entry e owns pictures first[e] .. first[e + 1]; their hypotheses are pooled. ``means`` (S, D) are subtracted on the
    fly, or, with ``per_vector``, every template's own mean over its components (Pearson).

    The kernels read a side as one stream of rows: picture by picture, scale by scale, hypothesis by hypothesis, every
    picture padded to whole tiles. A block of the stream may begin and end anywhere, inside a picture too.
    """

    templates: Templates
    weights: NDArray[Any]
    first: NDArray[np.int64]
    means: NDArray[np.float32] | None = None
    per_vector: bool = False

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def stride(self) -> int:
        """Rows of one picture in the stream."""
        return _up(self.weights.shape[1] * self.weights.shape[2], kernels.TILE)

    @property
    def starts(self) -> NDArray[np.int64]:
        """(E + 1,) the rows of entry e are starts[e] .. starts[e + 1]."""
        starts: NDArray[np.int64] = np.asarray(self.first, np.int64) * self.stride
        return starts

    def step(self, block: int) -> int:
        """How many rows fit in ``block`` bytes, in whole tiles."""
        tile = 4 * kernels.TILE * _up(self.templates.shape[3], kernels.LANES)
        return kernels.TILE * max(1, block // tile)

    def centred(self, picture: int, start: int, stop: int) -> NDArray[np.float32]:
        """Centred templates start .. stop of one picture, scale by scale: (n, D)."""
        _, scales, count, length = self.templates.shape
        rows = np.asarray(self.templates[picture].reshape(scales * count, length)[start:stop], np.float32)
        if self.means is not None:
            rows = rows - self.means[np.arange(start, start + len(rows)) // count]
        if self.per_vector:
            rows = rows - rows.mean(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
        return rows

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        """Rows start .. stop of the stream: unit vectors (n, D up to 16), weights (n,) and scales (n,), -1 in the padding."""
        _, scales, count, length = self.templates.shape
        stop = min(stop, int(self.starts[-1]))
        out = np.zeros((stop - start, _up(length, kernels.LANES)), np.float32)
        weights, numbers = np.zeros(stop - start), np.full(stop - start, -1, np.int64)
        for picture in range(start // self.stride, -(-stop // self.stride)):
            base = picture * self.stride
            low, high = max(start - base, 0), min(stop - base, scales * count)
            if low < high:
                here = slice(base + low - start, base + high - start)
                kernels.unit_rows(self.centred(picture, low, high), out[here])
                weights[here] = self.weights[picture].reshape(-1)[low:high]
                numbers[here] = np.arange(low, high) // count
        return out, weights, numbers

    def added(self, per_scale: bool, limit: int) -> Side:
        """T_add (eq. 4): the weighted sum over all hypotheses, or over those of each scale; mapped beyond ``limit`` bytes,
        which also bounds the templates held at a time."""
        _, scales, count, length = self.templates.shape
        groups = scales if per_scale else 1
        sums = np.asarray(allocate((len(self), groups, 1, length), limit))
        present = np.zeros((len(self), groups, 1))
        step = self.step(limit)
        for entry, (start, stop) in enumerate(pairwise(self.first)):
            totals = np.zeros((groups, length))
            for picture in range(start, stop):
                for scale in range(scales):
                    weights = self.weights[picture, scale].astype(np.float64)
                    group = scale if per_scale else 0
                    present[entry, group, 0] += weights.sum()
                    for low in range(0, count, step):
                        high = min(low + step, count)
                        rows = self.centred(picture, scale * count + low, scale * count + high)
                        kernels.weighted_sum(rows, weights[low:high], totals[group])
            sums[entry, :, 0] = totals
        return Side(sums, (present > 0).astype(np.float64), np.arange(len(self) + 1))

    def at_scale(self, scale: int) -> Side:
        """Only the hypotheses of one scale."""
        means = None if self.means is None else self.means[scale : scale + 1]
        return replace(
            self, templates=self.templates[:, scale : scale + 1], weights=self.weights[:, scale : scale + 1], means=means
        )

    def entries(self, start: int, stop: int) -> Side:
        """Only entries start .. stop."""
        pictures = slice(int(self.first[start]), int(self.first[stop]))
        first = self.first[start : stop + 1] - self.first[start]
        return replace(self, templates=self.templates[pictures], weights=self.weights[pictures], first=first)

    def alone(self) -> Side:
        """Every picture an entry of its own."""
        return replace(self, first=np.arange(len(self.weights) + 1))

    def totals(self) -> NDArray[np.float64]:
        """Total weight of every entry."""
        per_picture = self.weights.sum(axis=(1, 2), dtype=np.float64)
        return np.array([per_picture[a:b].sum() for a, b in pairwise(self.first)])


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
