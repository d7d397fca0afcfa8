"""Products of rows with stacks of panels of columns, of floats and of bytes, and their maxima, taken where the products are: in
the first cache, and none is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from meetmid.scores.registers import (
    LANES,
    TOGETHER,
    VECTORS,
    WIDEST,
    block_by_1,
    block_by_2,
    block_by_3,
    one_by_1,
    one_by_2,
    one_by_3,
    tops_by_1,
    tops_by_2,
    tops_by_3,
)

Rows = NDArray[np.float32]
Wholes = NDArray[np.int32]
Positions = NDArray[np.int64]

MOST, STRIP = 5, 64
"""Panels of a stack, and rows that meet all of them before the next rows do: those stay in the second cache."""

ALIGNED, LINE = 64, 16
"""Bytes of a line of the cache, and numbers in it."""

FINITE = np.finfo(np.float32).max
_ZEROS = np.zeros(WIDEST, np.float32)
_strict = {"cache": True, "nogil": True}
_finite = {"fastmath": {"nnan", "nsz"}, "cache": True, "nogil": True}


def stacks(columns: NDArray[Any]) -> Iterator[tuple[NDArray[Any], int]]:
    """(n, D) columns of numbers of four bytes as stacks (panels, D, WIDEST) of at most MOST panels, and the columns of each;
    what is left of the last panel is zero."""
    length = columns.shape[1]
    for start in range(0, len(columns), MOST * WIDEST):
        part = columns[start : start + MOST * WIDEST]
        shape = (-(-len(part) // WIDEST), length, WIDEST)
        room = np.empty(shape[0] * length * WIDEST + ALIGNED, columns.dtype)
        begin = -room.ctypes.data % ALIGNED // room.itemsize
        stack = room[begin : begin + shape[0] * length * WIDEST].reshape(shape)
        _turned(part, stack)
        yield stack, len(part)


@numba.njit(**_strict)
def _turned(columns: Rows, stack: Rows) -> None:
    count, length = columns.shape
    for panel in range(stack.shape[0]):
        first = panel * WIDEST
        here = min(WIDEST, count - first)
        stack[panel, :, here:] = 0
        for start in range(0, length, LINE):  # whole lines of the cache: where rows begin, they share its places
            for i in range(here):
                for k in range(start, min(start + LINE, length)):
                    stack[panel, k, i] = columns[first + i, k]


@numba.njit(**_strict)
def _block(rows: Rows, first: int, panel: Rows, begin: Rows, columns: int, out: Rows) -> int:
    """Products of some rows from the ``first`` on with the first columns of a panel, to ``out``; how many rows those were."""
    whole = first + TOGETHER <= rows.shape[0]
    if columns > 2 * LANES:
        if whole:
            block_by_3(rows, first, panel, begin, out)
        else:
            one_by_3(rows, first, panel, begin, out)
    elif columns > LANES:
        if whole:
            block_by_2(rows, first, panel, begin, out)
        else:
            one_by_2(rows, first, panel, begin, out)
    elif whole:
        block_by_1(rows, first, panel, begin, out)
    else:
        one_by_1(rows, first, panel, begin, out)
    return TOGETHER if whole else 1


@numba.njit(**_strict)
def products(rows: NDArray[Any], stack: NDArray[Any], begins: NDArray[Any], out: NDArray[Any]) -> None:
    """The products of rows (n, D) with a stack, added to what is in ``begins`` (panels, WIDEST) for each column, to ``out``
    (n, panels WIDEST): of float32, or of bytes, four in an int32 (unsigned ones of the rows, signed ones of the columns)."""
    for start in range(0, rows.shape[0], STRIP):
        for panel in range(stack.shape[0]):
            here, first, its, begin = out[:, panel * WIDEST : (panel + 1) * WIDEST], start, stack[panel], begins[panel]
            while first < min(start + STRIP, rows.shape[0]):
                first += _block(rows, first, its, begin, WIDEST, here[first:])


@numba.njit(**_strict)
def _tops(rows: Rows, first: int, panel: Rows, begin: Rows, columns: int, scale: Rows, tops: Rows) -> None:
    """The largest products of TOGETHER rows with each of the first columns of a panel (:func:`registers._tops`)."""
    if columns > 2 * LANES:
        tops_by_3(rows, first, panel, begin, scale, tops)
    elif columns > LANES:
        tops_by_2(rows, first, panel, begin, scale, tops)
    else:
        tops_by_1(rows, first, panel, begin, scale, tops)


@numba.njit(**_finite)
def _raise(found: Rows, row: Rows) -> None:
    for i in range(len(row)):
        row[i] = max(row[i], found[i])


@numba.njit(**_finite)
def _raise_and_place(found: Rows, row: Rows, place: int, places: Wholes) -> None:
    for i in range(len(row)):
        if found[i] > row[i]:
            row[i], places[i] = found[i], place


@numba.njit(**_strict)
def maxima(
    rows: Rows, stack: Rows, cuts: Positions, entry: int, column: int, width: int, best: Rows, offset: int, where: Wholes
) -> bool:
    """``best[entry + g, column + i]`` = its maximum with the products of the rows (n, D) j in cuts[g] .. cuts[g + 1] with the
    columns i of the stack, up to ``width``; and ``where``, if it has any size, = ``offset`` + j of the first that reaches it.
    False where a row is not finite."""
    found, tops = np.empty((TOGETHER, WIDEST), np.float32), np.empty((VECTORS + 1) * LANES, np.float32)
    finite, g = True, 0
    for start in range(0, rows.shape[0], STRIP):
        while cuts[g + 1] <= start:
            g += 1
        for panel in range(stack.shape[0]):
            left, first, at, its = column + panel * WIDEST, start, g, stack[panel]
            right = left + min(WIDEST, width - panel * WIDEST)
            row = best[entry + at, left:right]
            while first < min(start + STRIP, rows.shape[0]):
                if cuts[at + 1] <= first:
                    while cuts[at + 1] <= first:
                        at += 1
                    row = best[entry + at, left:right]
                if first + TOGETHER <= cuts[at + 1] and not where.size:
                    _tops(rows, first, its, _ZEROS, right - left, _ZEROS, tops)
                    finite &= tops[WIDEST] == 0
                    _raise(tops, row)
                    first += TOGETHER
                    continue
                count = _block(rows, first, its, _ZEROS, right - left, found)
                for j in range(count):
                    finite &= abs(found[j, 0]) <= FINITE  # what is not finite in a row is in all its products
                    if cuts[at + 1] <= first + j:
                        while cuts[at + 1] <= first + j:
                            at += 1
                        row = best[entry + at, left:right]
                    if where.size:
                        _raise_and_place(found[j], row, offset + first + j, where[entry + at, left:right])
                    else:
                        _raise(found[j], row)
                first += count
    return finite


@numba.njit(**_strict)
def byte_maxima(
    rows: Wholes, scale: Rows, stack: Wholes, begins: Wholes, cuts: Positions, entry: int, column: int, width: int, best: Rows
) -> None:
    """As :func:`maxima`, of bytes four at a time, every row's products times its ``scale`` (n,)."""
    found, tops = np.empty((TOGETHER, WIDEST), np.int32), np.empty((VECTORS + 1) * LANES, np.float32)
    g = 0
    for start in range(0, rows.shape[0], STRIP):
        while cuts[g + 1] <= start:
            g += 1
        for panel in range(stack.shape[0]):
            left, first, at, its, begin = column + panel * WIDEST, start, g, stack[panel], begins[panel]
            right = left + min(WIDEST, width - panel * WIDEST)
            row = best[entry + at, left:right]
            while first < min(start + STRIP, rows.shape[0]):
                if cuts[at + 1] <= first:
                    while cuts[at + 1] <= first:
                        at += 1
                    row = best[entry + at, left:right]
                if first + TOGETHER <= cuts[at + 1]:
                    _tops(rows, first, its, begin, right - left, scale, tops)
                    _raise(tops, row)
                    first += TOGETHER
                    continue
                count = _block(rows, first, its, begin, right - left, found)
                for j in range(count):
                    if cuts[at + 1] <= first + j:
                        while cuts[at + 1] <= first + j:
                            at += 1
                        row = best[entry + at, left:right]
                    for i in range(right - left):
                        row[i] = max(row[i], np.float32(found[j, i]) * scale[first + j])
                first += count
