"""Columns of products as stacks of panels, which lie in memory as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from meetmid.scores import amx
from meetmid.scores.registers import WIDEST, products

MOST = 5
"""Panels of a stack."""

LINE = 16
"""Numbers in a line of the cache."""


@dataclass(frozen=True, eq=False)
class Stack:
    """``values`` (panels, D, WIDEST) of ``count`` columns, float32 or int32 of four bytes each, and what products with them
    begin with, ``begins`` (panels, WIDEST); what is left of the last panel is zero."""

    values: NDArray[Any]
    begins: NDArray[Any]
    count: int

    def __len__(self) -> int:
        return self.count


def stacks(columns: NDArray[Any]) -> Iterator[Stack]:
    """(n, D) columns as stacks of at most MOST panels; products begin with zero."""
    length = columns.shape[1]
    for start in range(0, len(columns), MOST * WIDEST):
        part = columns[start : start + MOST * WIDEST]
        shape = (-(-len(part) // WIDEST), length, WIDEST)
        size = shape[0] * length * WIDEST
        room = np.empty(size + LINE, columns.dtype)
        begin = -room.ctypes.data % (4 * LINE) // 4
        values = room[begin : begin + size].reshape(shape)
        _turned(part, values)
        yield Stack(values, np.zeros((shape[0], WIDEST), columns.dtype), len(part))


def multiplied(rows: NDArray[Any], stack: Stack) -> NDArray[Any]:
    """The products of rows (n, D) with a stack, (n, columns of whole panels)."""
    found = np.empty((len(rows), stack.begins.size), rows.dtype)
    (amx.products if amx.takes(rows) else products)(rows, stack.values, stack.begins, found)
    return found


@numba.njit(cache=True, nogil=True)
def _turned(columns: NDArray[Any], values: NDArray[Any]) -> None:
    count, length = columns.shape
    widest = values.shape[2]
    for panel in range(values.shape[0]):
        first = panel * widest
        here = min(widest, count - first)
        values[panel, :, here:] = 0
        for start in range(0, length, LINE):  # whole lines of the cache: where rows begin, they share its places
            for i in range(here):
                for k in range(start, min(start + LINE, length)):
                    values[panel, k, i] = columns[first + i, k]
