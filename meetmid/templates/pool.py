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

    ``templates`` (I, S, N, D) float32, uncentred; ``weights`` (I, S, N) float32, 0 = absent; ``first`` (E + 1,) the pictures
    of entry e are first[e] .. first[e + 1].
    """

    templates: NDArray[np.float32]
    weights: NDArray[np.float32]
    first: NDArray[np.int64]

    @classmethod
    def empty(cls, counts: list[int], shape: tuple[int, int, int], limit: int) -> TemplatePool:
        """Room for entries with ``counts`` pictures each, ``shape`` = (S, N, D)."""
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        pictures = int(first[-1])
        return cls(allocate((pictures, *shape), limit), allocate((pictures, *shape[:2]), limit // 8), first)


    def part(self, entries: Sequence[int], limit: int) -> TemplatePool:
        """A copy of some entries."""
        counts = [int(self.first[entry + 1] - self.first[entry]) for entry in entries]
        scales, slots, length = self.templates.shape[1:]
        pool = TemplatePool.empty(counts, (scales, slots, length), limit)
        for start, entry, count in zip(pool.first, entries, counts, strict=False):
            for k in range(count):
                pool.templates[start + k] = self.templates[self.first[entry] + k]
                pool.weights[start + k] = self.weights[self.first[entry] + k]
        return pool
