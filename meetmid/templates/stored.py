"""Templates that lie in several files, read as if they were one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Stored = Literal["float32", "float16", "int8"]

LEVELS = 127
"""Whole numbers either side of zero that an int8 component takes."""

@dataclass(frozen=True, eq=False)
class Shard:
    """Templates of some pictures: ``rows`` (I, S, N, D) float32 or float16, or int8 in ``steps`` (I, S, N) float32."""

    rows: NDArray[Any]
    steps: NDArray[np.float32] | None = None

    def take(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, D) float32 of the stream of rows, a view where they are float32 and next to each other."""
        rows = np.asarray(_taken(self.rows, index), np.float32)
        return rows if self.steps is None else rows * _taken(self.steps[..., None], index)

    def coded(self, start: int, stop: int, stored: Stored) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
        """Pictures start .. stop as :func:`encoded` gives them; bit for bit what lies here where it is ``stored`` so."""
        rows, steps = self.rows[start:stop], None if self.steps is None else self.steps[start:stop]
        if rows.dtype == stored:
            return rows, steps
        exact = np.asarray(rows, np.float32)
        return encoded(exact if steps is None else exact * steps[..., None], stored)

    def cut(self, scales: slice, slots: slice) -> Shard:
        """Some scales and slots of every picture."""
        return Shard(self.rows[:, scales, slots], None if self.steps is None else self.steps[:, scales, slots])


@dataclass(frozen=True, eq=False)
class StoredTemplates:
    """Templates (I, S, N, D) of the pictures that ``spans`` (K, 3) int64 name in order: shard, first and last + 1 picture of
    it. What is read is float32."""

    shards: tuple[Shard, ...]
    spans: NDArray[np.int64]
    pattern: tuple[int, int, int]

    @classmethod
    def of(cls, shard: Shard, pattern: tuple[int, int, int]) -> StoredTemplates:
        """All pictures of one shard."""
        return cls((shard,), np.array([[0, 0, len(shard.rows)]], np.int64), pattern)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(K + 1,) the pictures of span k are starts[k] .. starts[k + 1]."""
        return np.concatenate([[0], np.cumsum(self.spans[:, 2] - self.spans[:, 1])]).astype(np.int64)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(I, S, N, D)."""
        return (len(self), *self.pattern)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, picture: int | np.integer[Any]) -> NDArray[np.float32]:
        """(S, N, D) of one picture."""
        scales, slots, length = self.pattern
        stream = np.arange(scales * slots) + int(picture) * scales * slots
        return self.take(stream).reshape(scales, slots, length)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of them, (I, S, N, D), in memory."""
        if copy is False:
            raise ValueError("templates in several files cannot become one array without a copy")
        made = np.zeros(self.shape, np.float32)
        for k, templates in enumerate(self):
            made[k] = templates
        return made if dtype is None else made.astype(dtype)

    def part(self, start: int, stop: int) -> StoredTemplates:
        """Pictures start .. stop."""
        starts = self.starts
        cut = np.clip(np.stack([starts[:-1], starts[1:]], axis=1), start, stop) - starts[:-1, None]
        spans = np.column_stack([self.spans[:, 0], self.spans[:, 1] + cut[:, 0], self.spans[:, 1] + cut[:, 1]])
        return StoredTemplates(self.shards, spans[spans[:, 1] < spans[:, 2]], self.pattern)

    def picked(self, pictures: NDArray[np.int64]) -> StoredTemplates:
        """Pictures at these positions, none copied."""
        span = np.searchsorted(self.starts, pictures, "right") - 1
        shard, local = self.spans[span, 0], pictures - self.starts[span] + self.spans[span, 1]
        begins = np.flatnonzero(np.append(True, (np.diff(shard) != 0) | (np.diff(local) != 1))[: len(pictures)])
        ends = np.append(begins[1:], len(pictures))[: len(begins)]
        return StoredTemplates(
            self.shards, np.column_stack([shard[begins], local[begins], local[ends - 1] + 1]), self.pattern
        )

    def coded(self, start: int, stop: int, stored: Stored) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
        """Pictures start .. stop as :meth:`Shard.coded`."""
        parts = [self.shards[k].coded(a, b, stored) for k, a, b in self.part(start, stop).spans.tolist()]
        rows = np.concatenate([part[0] for part in parts])
        return rows, np.concatenate([steps for _, steps in parts if steps is not None]) if stored == "int8" else None

    def cut(self, scales: slice, slots: slice) -> StoredTemplates:
        """Some scales and slots of every picture, none copied."""
        pattern = len(range(self.pattern[0])[scales]), len(range(self.pattern[1])[slots]), self.pattern[2]
        return StoredTemplates(tuple(shard.cut(scales, slots) for shard in self.shards), self.spans, pattern)

    def take(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, D) rows at positions of the stream: picture by picture, scale by scale, hypothesis by hypothesis."""
        each = self.pattern[0] * self.pattern[1]
        if not len(index):
            return np.empty((0, self.pattern[2]), np.float32)
        span = np.searchsorted(self.starts, index // each, "right") - 1
        local = index - (self.starts[span] - self.spans[span, 1]) * each
        cuts = [0, *(np.flatnonzero(np.diff(span)) + 1).tolist(), len(index)]
        parts = [self.shards[int(self.spans[span[a], 0])].take(local[a:b]) for a, b in pairwise(cuts)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _taken(array: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """Rows (n, D) of an array (I, S, N, D); neighbours are not copied."""
    first, last = int(index[0]), int(index[-1])
    if not array.flags.c_contiguous:
        picture, slot = np.divmod(index, array.shape[1] * array.shape[2])
        return array[picture, *np.divmod(slot, array.shape[2])]
    flat = array.reshape(-1, array.shape[-1])
    return flat[first : last + 1] if last - first == len(index) - 1 and (np.diff(index) == 1).all() else flat[index]


Templates = NDArray[np.float32] | StoredTemplates


def concatenated(pattern: tuple[int, int, int], parts: Sequence[StoredTemplates]) -> StoredTemplates:
    """Templates one after the other, none copied."""
    shards: list[Shard] = []
    spans: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    for part in parts:
        spans.append(part.spans + np.array([len(shards), 0, 0]))
        shards += part.shards
    return StoredTemplates(tuple(shards), np.concatenate(spans), pattern)


def as_stored(templates: Templates) -> StoredTemplates:
    """The same templates, none copied; those of one array are one shard."""
    if isinstance(templates, StoredTemplates):
        return templates
    scales, slots, length = templates.shape[1:]
    return StoredTemplates.of(Shard(templates), (scales, slots, length))


def part_of(templates: Templates, start: int, stop: int) -> Templates:
    """Pictures start .. stop, none copied."""
    return templates.part(start, stop) if isinstance(templates, StoredTemplates) else templates[start:stop]


def cut_of(templates: Templates, scales: slice, slots: slice) -> Templates:
    """Some scales and slots of every picture, none copied."""
    return templates.cut(scales, slots) if isinstance(templates, StoredTemplates) else templates[:, scales, slots]


def encoded(rows: NDArray[np.float32], stored: Stored) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """Rows (..., D) as they are stored, and for int8 the (...,) steps: every row's largest component is 127 steps. float16
    rows beyond its range become infinite, which the caller refuses."""
    if stored != "int8":
        with np.errstate(over="ignore"):
            return rows.astype(stored), None
    steps = np.abs(rows).max(axis=-1) / np.float32(LEVELS)
    whole = np.divide(rows, steps[..., None], out=np.zeros_like(rows), where=steps[..., None] > 0)
    return np.rint(whole).astype(np.int8), steps.astype(np.float32)
