"""Products of rows with a stack of panels of columns, summed in the processor's registers, and their maxima.

A block of rows meets up to three vectors of columns, so that every load feeds several multiplications (K. Goto and R. van de
Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, article 12), while the next rows are fetched
from memory; the maxima of a block are taken before its products leave the registers. The loop is written in LLVM's terms, since
no loop that numba compiles says which values stay there. A product of floats is one chain of multiplications and additions
along the template, fused where the processor can, one of bytes a whole number: its bits depend on nothing but the two vectors.

What numba compiles of a file it keeps until that file changes: whatever depends on the shapes below is here.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

Rows = NDArray[Any]
Positions = NDArray[np.int64]
Places = NDArray[np.int32]

_TRIPLE, _, _FEATURES = cpu_target.target_context.codegen().magic_tuple()
FEATURES = {name[1:] for name in _FEATURES.split(",") if name.startswith("+")}
"""Of the processor that numba compiles for."""

LANES = 16 if "avx512f" in FEATURES else 8 if "avx" in FEATURES else 4
"""Numbers of four bytes in a vector."""

REGISTERS = 16 if _TRIPLE.startswith("x86") and LANES < 16 else 32
TOGETHER = REGISTERS // 4
"""Vectors that it holds, and rows of one block: with three vectors of columns, three quarters of those are sums."""

VECTORS = 3
WIDEST = VECTORS * LANES
"""Vectors and columns of a panel."""

STRIP = 64
"""Rows that meet all panels before the next rows do: they stay in the second cache."""

FOURS = "avx512vnni" in FEATURES if LANES == 16 else "avxvnni" in FEATURES
"""Whether one instruction adds four products of bytes to a whole number."""

PAIRS = {16: ("avx512bw", "avx512.pmaddw.d.512"), 8: ("avx2", "avx2.pmadd.wd"), 4: ("sse2", "sse2.pmadd.wd")}[LANES]
"""What the processor must have for an instruction, and which, that adds two products of 16 bits each."""

FINITE = np.finfo(np.float32).max
_WHOLE, _FLOAT, _BYTE = ir.IntType(32), ir.FloatType(), ir.IntType(8).as_pointer()
_FLOATS, _WHOLES = ir.VectorType(_FLOAT, LANES), ir.VectorType(_WHOLE, LANES)
_FETCH = ir.FunctionType(ir.VoidType(), [_BYTE, *[_WHOLE] * 3])
_strict = {"cache": True, "nogil": True}
_finite = {"fastmath": {"nnan", "nsz"}, "cache": True, "nogil": True}


def _call(builder: Any, name: str, result: Any, *given: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in given])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)


def _add_floats(builder: Any, total: Any, row: Any, column: Any) -> Any:
    return _call(builder, f"llvm.fmuladd.v{LANES}f32", _FLOATS, row, column, total)


def _add_bytes(builder: Any, total: Any, row: Any, column: Any) -> Any:
    """Four bytes of a row, 0 to 255, times four of a column, -128 to 127; without an instruction for it two by two, the even
    ones and the odd ones, which 16 bits hold."""
    if FOURS:
        return _call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * LANES}", _WHOLES, total, row, column)
    halves = ir.VectorType(ir.IntType(16), 2 * LANES)
    eight, low = (ir.Constant(halves, [n] * 2 * LANES) for n in (8, 255))
    row, column = builder.bitcast(row, halves), builder.bitcast(column, halves)
    even = builder.and_(row, low), builder.ashr(builder.shl(column, eight), eight)
    odd = builder.lshr(row, eight), builder.ashr(column, eight)
    for pair in (even, odd):
        total = builder.add(total, _pairs(builder, *pair))
    return total


def _pairs(builder: Any, one: Any, other: Any) -> Any:
    """Sums of two neighbouring products of 16 bits each."""
    needs, name = PAIRS
    if needs in FEATURES:
        return _call(builder, f"llvm.x86.{name}", _WHOLES, one, other)
    found = []
    for first in (0, 1):
        chosen = ir.Constant(_WHOLES, list(range(first, 2 * LANES, 2)))
        found.append(builder.mul(*(
            builder.sext(builder.shuffle_vector(side, ir.Constant(side.type, ir.Undefined), chosen), _WHOLES)
            for side in (one, other)
        )))
    return builder.add(*found)


def _everywhere(builder: Any, one: Any) -> Any:
    """A vector of the same number."""
    nothing = ir.Constant(ir.VectorType(one.type, LANES), ir.Undefined)
    first = builder.insert_element(nothing, one, ir.Constant(_WHOLE, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_WHOLES, [0] * LANES))


def _at(builder: Any, base: Any, offset: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())


def _sums(builder: Any, rows: Any, first: Any, panel: Any, begin: Any, together: int, vectors: int, floats: bool) -> Any:
    """The products of ``together`` rows (n, D) from the ``first`` on with so many ``vectors`` of a panel (D, WIDEST), added to
    ``begin`` (WIDEST,): a list for every row."""
    add, vector = (_add_floats, _FLOATS) if floats else (_add_bytes, _WHOLES)
    length = cgutils.unpack_tuple(builder, rows.shape)[1]

    def step(count: int) -> ir.Constant:
        return ir.Constant(length.type, count)

    start = builder.gep(rows.data, [builder.mul(first, length)])
    starts = [builder.gep(start, [builder.mul(length, step(row))]) for row in range(together)]
    ahead = builder.gep(start, [builder.mul(length, step(together))])
    fetch = builder.module.declare_intrinsic("llvm.prefetch", [_BYTE], _FETCH)
    origins = [builder.load(_at(builder, begin.data, step(v * LANES), vector), align=4) for v in range(vectors)]
    before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(length.type)
    k.add_incoming(step(0), before)
    sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(together)]
    next_line = builder.bitcast(builder.gep(ahead, [builder.mul(k, step(together))]), _BYTE)
    builder.call(fetch, [next_line, *(ir.Constant(_WHOLE, n) for n in (0, 3, 1))])
    line = builder.mul(k, step(WIDEST))
    places = [_at(builder, panel.data, builder.add(line, step(v * LANES)), vector) for v in range(vectors)]
    columns = [builder.load(place, align=4) for place in places]
    grown = []
    for row in range(together):
        same = _everywhere(builder, builder.load(builder.gep(starts[row], [k])))
        grown.append([add(builder, sums[row][v], same, columns[v]) for v in range(vectors)])
    following = builder.add(k, step(1))
    k.add_incoming(following, loop)
    for row in range(together):
        for v in range(vectors):
            sums[row][v].add_incoming(origins[v], before)
            sums[row][v].add_incoming(grown[row][v], loop)
    builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
    builder.position_at_end(after)
    return grown


def _write(builder: Any, sums: Any, out: Any, scale: Any, first: Any, floats: bool) -> None:
    """Every sum to ``out`` (rows, columns), whose columns lie side by side."""
    stride = builder.sdiv(cgutils.unpack_tuple(builder, out.strides)[0], ir.Constant(first.type, 4))
    for row, its in enumerate(sums):
        begin = builder.mul(stride, ir.Constant(first.type, row))
        for v, values in enumerate(its):
            place = builder.add(begin, ir.Constant(first.type, v * LANES))
            builder.store(values, _at(builder, out.data, place, values.type), align=4)


def _write_largest(builder: Any, sums: Any, out: Any, scale: Any, first: Any, floats: bool) -> None:
    """The largest sum of each column, of bytes after they are multiplied by ``scale`` (n,), to ``out`` (WIDEST + LANES,), which
    ends with zeros, or with what is not a number where a sum of floats is not finite."""
    last = zero = ir.Constant(_FLOATS, [0.0] * LANES)
    for row, its in enumerate(sums):
        if floats:
            for values in its:
                last = _add_floats(builder, last, values, zero)
        else:
            place = builder.add(first, ir.Constant(first.type, row))
            steps = _everywhere(builder, builder.load(builder.gep(scale.data, [place])))
            its[:] = [builder.fmul(builder.sitofp(values, _FLOATS), steps) for values in its]
    lines = {VECTORS: last}
    for v, values in enumerate(sums[0]):
        lines[v] = values
        for its in sums[1:]:
            lines[v] = builder.select(builder.fcmp_ordered(">", its[v], lines[v]), its[v], lines[v])
    for line, values in lines.items():
        builder.store(values, _at(builder, out.data, ir.Constant(first.type, line * LANES), _FLOATS), align=4)


def _meeting(together: int, write: Any) -> Any:
    """A function of rows (n, D), float32 or int32 of four bytes each, the first of ``together`` of them, a panel (D, WIDEST),
    what its sums begin with (WIDEST,), how many vectors of it count, ``scale`` and ``out``, to which its sums are written."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, panel, begin, scale, out = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3, 5, 6)
        )
        floats, done = signature.args[0].dtype == types.float32, builder.append_basic_block("done")
        blocks = [builder.append_basic_block(f"by_{vectors}") for vectors in range(1, VECTORS + 1)]
        choice = builder.switch(args[4], blocks[-1])
        for vectors, block in enumerate(blocks, 1):
            if vectors < VECTORS:
                choice.add_case(ir.Constant(args[4].type, vectors), block)
            builder.position_at_end(block)
            sums = _sums(builder, rows, args[1], panel, begin, together, vectors, floats)
            write(builder, sums, out, scale, args[1], floats)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    def meeting(typing: Any, rows: Any, first: Any, panel: Any, begin: Any, vectors: Any, scale: Any, out: Any) -> Any:
        if any(array.layout != "C" for array in (rows, panel, begin, scale)) or out.dtype not in (rows.dtype, types.float32):
            return None  # numba refuses
        return types.void(rows, types.intp, panel, begin, types.intp, scale, out), generate

    return intrinsic(meeting)


_one, _block, _largest = _meeting(1, _write), _meeting(TOGETHER, _write), _meeting(TOGETHER, _write_largest)


@numba.njit(**_strict)
def _first_of_block(first: int, count: int) -> int:
    """Where the block begins that holds the row ``first`` of so many: the last one may hold rows that were in another."""
    return first if count < TOGETHER else min(first, count - TOGETHER)


@numba.njit(**_strict)
def _some(rows: Rows, first: int, panel: Rows, begin: Rows, vectors: int, scale: Rows, out: Rows) -> int:
    """The products of a block of rows, or of one where there are too few for a block, to ``out``; how many rows those were."""
    if rows.shape[0] < TOGETHER:
        _one(rows, first, panel, begin, vectors, scale, out)
        return 1
    _block(rows, first, panel, begin, vectors, scale, out)
    return TOGETHER


@numba.njit(**_strict)
def products(rows: Rows, stack: Rows, begins: Rows, out: Rows) -> None:
    """The products of rows (n, D) with a stack (panels, D, WIDEST), added to what ``begins`` (panels, WIDEST) has for each
    column, to ``out`` (n, panels WIDEST): of float32, or of bytes, four in an int32 (unsigned of the rows, signed of the
    columns)."""
    none = np.empty(0, np.float32)
    for start in range(0, rows.shape[0], STRIP):
        for panel in range(stack.shape[0]):
            its, begin, first, here = stack[panel], begins[panel], start, out[:, panel * WIDEST : (panel + 1) * WIDEST]
            while first < min(start + STRIP, rows.shape[0]):
                first = _first_of_block(first, rows.shape[0])
                first += _some(rows, first, its, begin, VECTORS, none, here[first:])


@numba.njit(**_finite)
def _raise(found: Rows, step: np.float32, row: Rows) -> None:
    for i in range(len(row)):
        row[i] = max(row[i], np.float32(found[i]) * step)


@numba.njit(**_finite)
def _raise_and_place(found: Rows, row: Rows, place: int, places: Places) -> None:
    for i in range(len(row)):
        if found[i] > row[i]:
            row[i], places[i] = found[i], place


@numba.njit(**_strict)
def maxima(
    rows: Rows, scale: Rows, stack: Rows, begins: Rows, cuts: Positions, entry: int, column: int, width: int, best: Rows,
    offset: int, where: Places,
) -> bool:
    """``best[entry + g, column + i]`` = its maximum with the :func:`products` of the rows j in cuts[g] .. cuts[g + 1] with the
    columns i of the stack, up to ``width``; those of bytes times ``scale`` (n,), which is empty with floats. ``where``, if it
    has any size, with floats alone, = ``offset`` + j of the first that reaches it. False where a row or a product is not
    finite."""
    found, top = np.empty((TOGETHER, WIDEST), rows.dtype), np.empty(WIDEST + LANES, np.float32)
    finite, count, g, one = True, rows.shape[0], 0, np.float32(1.0)
    for start in range(0, count, STRIP):
        while cuts[g + 1] <= start:
            g += 1
        for panel in range(stack.shape[0]):
            its, begin, first, at, left = stack[panel], begins[panel], start, g, column + panel * WIDEST
            right = left + min(WIDEST, width - panel * WIDEST)
            vectors, row = -(-(right - left) // LANES), best[entry + at, left:right]
            while first < min(start + STRIP, count):
                while cuts[at + 1] <= first:
                    at += 1
                    row = best[entry + at, left:right]
                if first + TOGETHER <= cuts[at + 1] and not where.size:  # most of them
                    _largest(rows, first, its, begin, vectors, scale, top)
                    finite = finite and bool(np.all(top[WIDEST:] == 0))
                    _raise(top, one, row)
                    first += TOGETHER
                    continue
                low = _first_of_block(first, count)
                taken = _some(rows, low, its, begin, vectors, scale, found)
                for j in range(first - low, taken):
                    finite = finite and bool(np.all(np.abs(found[j, : right - left]) <= FINITE))
                    while cuts[at + 1] <= low + j:
                        at += 1
                        row = best[entry + at, left:right]
                    if where.size:
                        _raise_and_place(found[j], row, offset + low + j, where[entry + at, left:right])
                    else:
                        _raise(found[j], scale[low + j] if scale.size else one, row)
                first = low + taken
    return finite
