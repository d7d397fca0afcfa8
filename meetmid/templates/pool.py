"""Room for many templates: in memory while they are few, in an unnamed mapped file when they are many."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import StoreError
from meetmid.templates.stored import Templates


def allocate(shape: tuple[int, ...], limit: int) -> NDArray[np.float32]:
    """A zeroed float32 array; above ``limit`` bytes it is mapped onto a temporary file that vanishes with it."""
    size = 4 * math.prod(shape)
    if size <= limit:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(prefix="meetmid-") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise StoreError(
                f"{size / 1e9:.1f} GB of templates do not fit in {tempfile.gettempdir()} ({error.strerror}); set TMPDIR "
                f"to a larger disk, raise memory_limit, or choose a smaller preset"
            ) from error
        return np.memmap(file, np.float32, "r+", shape=shape)


@dataclass(frozen=True, eq=False)
class TemplatePool:
    """Templates of many pictures, grouped into entries.

    ``templates`` (I, S, N, D) float32, uncentred, in memory or in a store's shards; ``weights`` (I, S, N) float32, 0 =
    absent; ``first`` (E + 1,) the pictures of entry e are first[e] .. first[e + 1].
    """

    templates: Templates
    weights: NDArray[np.float32]
    first: NDArray[np.int64]

    @property
    def pattern(self) -> tuple[int, int, int]:
        """(S, N, D) of every picture's templates."""
        scales, slots, length = self.templates.shape[1:]
        return scales, slots, length

    @classmethod
    def empty(cls, counts: list[int], shape: tuple[int, int, int], limit: int) -> TemplatePool:
        """Room for entries with ``counts`` pictures each, ``shape`` = (S, N, D)."""
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        pictures = int(first[-1])
        return cls(allocate((pictures, *shape), limit), allocate((pictures, *shape[:2]), limit // 8), first)


    def part(self, entries: Sequence[int], limit: int) -> TemplatePool:
        """A copy of some entries."""
        counts = [int(self.first[entry + 1] - self.first[entry]) for entry in entries]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        pictures, pattern = int(first[-1]), self.templates.shape[1:]
        templates, weights = allocate((pictures, *pattern), limit), allocate((pictures, *pattern[:2]), limit // 8)
        for start, entry, count in zip(first, entries, counts, strict=False):
            for k in range(count):
                templates[start + k] = self.templates[int(self.first[entry]) + k]
                weights[start + k] = self.weights[self.first[entry] + k]
        return TemplatePool(templates, weights, first)
