"""Inner products of rows with the columns of a panel, accumulated in the processor's registers.

A block of rows meets a panel of up to three vectors of columns, so that every load feeds several multiplications (K. Goto and
R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, article 12), while the next rows
are fetched from memory; the products go on to their maxima in the first cache, and none is stored. The loop is written in
LLVM's terms, since no loop that numba compiles says which values stay in registers. A product is one chain of fused
multiplications and additions along the template: its bits depend on nothing but the two vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Positions = NDArray[np.int64]
Places = NDArray[np.int32]

_HAS = llvmlite.binding.get_host_cpu_features()
LANES = 16 if _HAS.get("avx512f") else 8 if _HAS.get("avx") else 4
"""Numbers in a vector of this processor."""

REGISTERS = 16 if _HAS.get("sse2") and LANES < 16 else 32
TOGETHER = REGISTERS // 4
"""Vectors that the processor holds, and rows of one block: with three vectors of columns, three quarters of those are sums."""

VECTORS = 3
WIDEST = VECTORS * LANES
"""Vectors and columns of the widest panel."""

ALIGNED, LINE = 64, 16
"""Bytes of a line of the cache, and numbers in it."""

FINITE = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class Panel:
    """``values`` (D, width) of columns, whole vectors of them."""

    values: Rows

    def __len__(self) -> int:
        return int(self.values.shape[1])


def panels(columns: Rows) -> list[Panel]:
    """(n, D) columns as panels; what is left of the last one is zero."""
    found = []
    for start in range(0, len(columns), WIDEST):
        part = columns[start : start + WIDEST]
        width = -(-len(part) // LANES) * LANES
        room = np.empty(columns.shape[1] * width + ALIGNED, np.float32)
        begin = -room.ctypes.data % ALIGNED // room.itemsize
        panel = room[begin : begin + columns.shape[1] * width].reshape(-1, width)
        _turned(part, panel)
        found.append(Panel(panel))
    return found


def _products(together: int, vectors: int) -> Any:
    """A function of rows (n, D), the first of ``together`` of them, a panel of as many ``vectors`` and ``out`` (rows, width)
    that writes their products."""
    vector, whole, byte = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32), ir.IntType(8).as_pointer()
    zeros, every = ir.Constant(vector, [0.0] * LANES), ir.Constant(ir.VectorType(whole, LANES), [0] * LANES)
    multiply = ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}f32"

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, panel, out = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3)
        )
        length = cgutils.unpack_tuple(builder, rows.shape)[1]

        def step(count: int) -> ir.Constant:
            return ir.Constant(length.type, count)

        def vector_at(base: Any, offset: Any) -> Any:
            return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

        first = builder.gep(rows.data, [builder.mul(args[1], length)])
        starts = [builder.gep(first, [builder.mul(length, step(row))]) for row in range(together)]
        ahead = builder.gep(first, [builder.mul(length, step(together))])
        fetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        )
        fused = cgutils.get_or_insert_function(builder.module, *multiply)
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(length.type)
        k.add_incoming(step(0), before)
        sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(together)]
        far = builder.bitcast(builder.gep(ahead, [builder.mul(k, step(together))]), byte)
        builder.call(fetch, [far, *(ir.Constant(whole, n) for n in (0, 3, 1))])
        line = builder.mul(k, step(vectors * LANES))
        columns = [builder.load(vector_at(panel.data, builder.add(line, step(v * LANES))), align=4) for v in range(vectors)]
        grown = []
        for row in range(together):
            one = builder.insert_element(zeros, builder.load(builder.gep(starts[row], [k])), ir.Constant(whole, 0))
            same = builder.shuffle_vector(one, zeros, every)
            grown.append([builder.call(fused, [same, columns[v], sums[row][v]]) for v in range(vectors)])
        following = builder.add(k, step(1))
        k.add_incoming(following, loop)
        for row in range(together):
            for v in range(vectors):
                sums[row][v].add_incoming(zeros, before)
                sums[row][v].add_incoming(grown[row][v], loop)
        builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
        builder.position_at_end(after)
        for row in range(together):
            for v in range(vectors):
                place = vector_at(out.data, step((row * vectors + v) * LANES))
                builder.store(grown[row][v], place, align=4)
        return context.get_dummy_value()

    def products(typing: Any, rows: Any, first: Any, panel: Any, out: Any) -> Any:
        return types.void(rows, types.intp, panel, out), generate

    return intrinsic(products)


_one_by_1, _one_by_2, _one_by_3 = (_products(1, vectors) for vectors in range(1, VECTORS + 1))
_block_by_1, _block_by_2, _block_by_3 = (_products(TOGETHER, vectors) for vectors in range(1, VECTORS + 1))
_strict = {"cache": True, "nogil": True}
_finite = {"fastmath": {"nnan", "nsz"}, "cache": True, "nogil": True}


@numba.njit(**_strict)
def _turned(columns: Rows, panel: Rows) -> None:
    panel[:, columns.shape[0] :] = 0
    for start in range(0, panel.shape[0], LINE):  # whole lines of the cache: where rows begin, they share its places
        for i in range(columns.shape[0]):
            for k in range(start, min(start + LINE, panel.shape[0])):
                panel[k, i] = columns[i, k]


@numba.njit(**_strict)
def _block(rows: Rows, first: int, panel: Rows, out: Rows) -> int:
    """Products of some rows from the ``first`` on with a panel, to ``out`` (TOGETHER, width); how many rows those were."""
    vectors, whole = panel.shape[1] // LANES, first + TOGETHER <= rows.shape[0]
    if vectors == 3:
        if whole:
            _block_by_3(rows, first, panel, out)
        else:
            _one_by_3(rows, first, panel, out)
    elif vectors == 2:
        if whole:
            _block_by_2(rows, first, panel, out)
        else:
            _one_by_2(rows, first, panel, out)
    elif whole:
        _block_by_1(rows, first, panel, out)
    else:
        _one_by_1(rows, first, panel, out)
    return TOGETHER if whole else 1


@numba.njit(**_strict)
def multiplied(rows: Rows, panel: Rows, out: Rows) -> None:
    """The products of rows (n, D) with the first columns of a panel (D, width), to ``out`` (n, columns)."""
    found, first = np.empty((TOGETHER, panel.shape[1]), np.float32), 0
    while first < rows.shape[0]:
        count = _block(rows, first, panel, found)
        out[first : first + count] = found[:count, : out.shape[1]]
        first += count


@numba.njit(**_finite)
def _raise(found: Rows, first: int, last: int, row: Rows) -> None:
    if last - first == TOGETHER:  # most of them: each maximum is read and written once
        for i in range(len(row)):
            top = found[0, i]
            for j in range(1, TOGETHER):
                top = max(top, found[j, i])
            row[i] = max(row[i], top)
        return
    for j in range(first, last):
        new = found[j]
        for i in range(len(row)):
            row[i] = max(row[i], new[i])


@numba.njit(**_finite)
def _raise_and_place(found: Rows, first: int, last: int, row: Rows, offset: int, places: Places) -> None:
    for j in range(first, last):
        new = found[j]
        for i in range(len(row)):
            if new[i] > row[i]:
                row[i], places[i] = new[i], offset + j


@numba.njit(**_strict)
def maxima(
    rows: Rows, panel: Rows, cuts: Positions, entry: int, column: int, width: int, best: Rows, offset: int, where: Places
) -> bool:
    """``best[entry + g, column + i]`` = its maximum with the products of the rows (n, D) j in cuts[g] .. cuts[g + 1] with the
    columns i of the panel, up to ``width``; and ``where``, if it has any size, = ``offset`` + j of the first that reaches it.
    False where a row is not finite."""
    found, first, g, finite = np.empty((TOGETHER, panel.shape[1]), np.float32), 0, 0, True
    while first < rows.shape[0]:
        count = _block(rows, first, panel, found)
        for j in range(count):  # what is not finite in a row is in all its products
            finite &= abs(found[j, 0]) <= FINITE
        done = first
        while done < first + count:
            while cuts[g + 1] <= done:
                g += 1
            stop = min(first + count, cuts[g + 1])
            row = best[entry + g, column : column + width]
            if where.size:
                places = where[entry + g, column : column + width]
                _raise_and_place(found, done - first, stop - first, row, offset + first, places)
            else:
                _raise(found, done - first, stop - first, row)
            done = stop
        first += count
    return finite
