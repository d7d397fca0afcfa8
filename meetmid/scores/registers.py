"""Inner products of a block of rows with a panel of columns, summed in the processor's registers.

The rows of a block meet up to three vectors of columns, so that every load feeds several multiplications (K. Goto and R. van de
Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, article 12), while the next rows are fetched
from memory. The loop is written in LLVM's terms, since no loop that numba compiles says which values stay in registers. A
product of floats is one chain of fused multiplications and additions along the template, one of bytes a whole number: its bits
depend on nothing but the two vectors.

numba keeps what it compiled of :mod:`meetmid.scores.panels` until that file changes; whoever changes this one touches that.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_HAS = llvmlite.binding.get_host_cpu_features()
LANES = 16 if _HAS.get("avx512f") else 8 if _HAS.get("avx") else 4
"""Numbers of four bytes in a vector of this processor."""

REGISTERS = 16 if _HAS.get("sse2") and LANES < 16 else 32
TOGETHER = REGISTERS // 4
"""Vectors that the processor holds, and rows of one block: with three vectors of columns, three quarters of those are sums."""

VECTORS = 3
WIDEST = VECTORS * LANES
"""Vectors and columns of a panel."""

MULTIPLIES_BYTES = bool(_HAS.get("avx512vnni") if LANES == 16 else _HAS.get("avxvnni"))
"""Whether one instruction adds four products of bytes to a whole number."""

_WHOLE, _BYTE = ir.IntType(32), ir.IntType(8).as_pointer()
_FETCH = ir.FunctionType(ir.VoidType(), [_BYTE, *[_WHOLE] * 3])


def _add_float(builder: Any, total: Any, row: Any, column: Any) -> Any:
    vector = ir.VectorType(ir.FloatType(), LANES)
    kind = ir.FunctionType(vector, [vector] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32"), [row, column, total])


def _add_bytes(builder: Any, total: Any, row: Any, column: Any) -> Any:
    """Four bytes of a row, 0 to 255, times four of a column, -128 to 127."""
    vector = ir.VectorType(_WHOLE, LANES)
    if MULTIPLIES_BYTES:
        name = f"llvm.x86.avx512.vpdpbusd.{32 * LANES}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(function, [total, row, column])
    every, high = (ir.Constant(vector, [n] * LANES) for n in (255, 24))
    for shift in range(0, 32, 8):
        down, up = (ir.Constant(vector, [n] * LANES) for n in (shift, 24 - shift))
        one = builder.and_(builder.lshr(row, down), every)
        other = builder.ashr(builder.shl(column, up), high)
        total = builder.add(total, builder.mul(one, other))
    return total


def _vector(floats: bool) -> Any:
    return ir.VectorType(ir.FloatType() if floats else _WHOLE, LANES)


def _splat(builder: Any, one: Any) -> Any:
    """A vector of the same number everywhere."""
    vector = ir.VectorType(one.type, LANES)
    nothing, every = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_WHOLE, LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(nothing, one, ir.Constant(_WHOLE, 0)), nothing, every)


def _at(builder: Any, base: Any, offset: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())


def _sums(builder: Any, rows: Any, first: Any, panel: Any, begin: Any, together: int, vectors: int, floats: bool) -> Any:
    """The products of ``together`` rows (n, D) from the ``first`` on with so many ``vectors`` of a panel (D, WIDEST), added to
    ``begin`` (WIDEST,): a list for every row."""
    add, vector = _add_float if floats else _add_bytes, _vector(floats)
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
        same = _splat(builder, builder.load(builder.gep(starts[row], [k])))
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


def _signature(generate: Any, rows: Any, panel: Any, begin: Any, *others: Any) -> Any:
    """What numba is told of a function; None, which it refuses, for rows or columns that do not lie side by side."""
    if any(array.layout != "C" for array in (rows, panel, begin)):
        return None
    return types.void(rows, types.intp, panel, begin, *others), generate


def _products(together: int, vectors: int) -> Any:
    """A function of rows (n, D), float32 or int32 of four bytes each, the first of ``together`` of them, a panel (D, WIDEST) of
    which so many ``vectors`` count, what their sums begin with (WIDEST,), and ``out`` (rows, columns), to which it writes the
    sums."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, panel, begin, out = (context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3, 4))
        floats = signature.args[0].dtype == types.float32
        sums = _sums(builder, rows, args[1], panel, begin, together, vectors, floats)
        stride = builder.udiv(cgutils.unpack_tuple(builder, out.strides)[0], ir.Constant(args[1].type, 4))
        for row, its in enumerate(sums):
            place = builder.mul(stride, ir.Constant(stride.type, row))
            for v, values in enumerate(its):
                where = _at(builder, out.data, builder.add(place, ir.Constant(stride.type, v * LANES)), _vector(floats))
                builder.store(values, where, align=4)
        return context.get_dummy_value()

    def products(typing: Any, rows: Any, first: Any, panel: Any, begin: Any, out: Any) -> Any:
        return _signature(generate, rows, panel, begin, out)

    return intrinsic(products)


def _tops(vectors: int) -> Any:
    """As :func:`_products`, of TOGETHER rows, but for their largest products alone: of floats as they are, of bytes times
    ``scale`` (n,). Written to ``tops`` (VECTORS + 1, LANES), the last line of which is not a number where one of the floats'
    is not finite."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, panel, begin, scale, tops = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3, 4, 5)
        )
        floats, index, number = signature.args[0].dtype == types.float32, args[1].type, _vector(True)
        sums = _sums(builder, rows, args[1], panel, begin, TOGETHER, vectors, floats)
        none = last = ir.Constant(number, [0.0] * LANES)
        if floats:
            for its in sums:
                last = _add_float(builder, last, its[0], none)
        else:
            for row, its in enumerate(sums):
                place = builder.add(args[1], ir.Constant(index, row))
                steps = _splat(builder, builder.load(builder.gep(scale.data, [place])))
                its[:] = [builder.fmul(builder.sitofp(values, number), steps) for values in its]
        lines = []
        for v in range(vectors):
            top = sums[0][v]
            for its in sums[1:]:
                top = builder.select(builder.fcmp_ordered(">", its[v], top), its[v], top)
            lines.append((v, top))
        for line, values in [*lines, (VECTORS, last)]:
            builder.store(values, _at(builder, tops.data, ir.Constant(index, line * LANES), number), align=4)
        return context.get_dummy_value()

    def maxima(typing: Any, rows: Any, first: Any, panel: Any, begin: Any, scale: Any, tops: Any) -> Any:
        return _signature(generate, rows, panel, begin, scale, tops)

    return intrinsic(maxima)


one_by_1, one_by_2, one_by_3 = (_products(1, vectors) for vectors in range(1, VECTORS + 1))
block_by_1, block_by_2, block_by_3 = (_products(TOGETHER, vectors) for vectors in range(1, VECTORS + 1))
tops_by_1, tops_by_2, tops_by_3 = (_tops(vectors) for vectors in range(1, VECTORS + 1))
