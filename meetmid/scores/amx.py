"""Products of bytes by the matrix registers that some processors have (Intel AMX), and their maxima.

An instruction there adds the products of 16 rows with 16 columns, 64 bytes of each, to 256 sums; a panel of columns lies in
memory as it wants them (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBUSD). Sums of whole numbers
are exact, so these are the bits of :mod:`meetmid.scores.registers`, which takes what this cannot: templates whose bytes are no
multiple of 64, and fewer than 16 rows.

Linux lends the registers to processes that ask, for good, and ends those that use them without: :func:`takes` asks, the first
time that it could be of use. From then on the process can have no alternate signal stack of less than about 12 KB.

What numba compiles of a file it keeps until that file changes, so nothing here is compiled that another file holds.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from meetmid.scores.registers import FEATURES, WIDEST

Rows = NDArray[Any]
Positions = NDArray[np.int64]

SIDE = 16
"""Rows and columns of a matrix register, and four bytes of each row or column in it."""

PANEL = 3 * SIDE
"""Columns of the panels that are met: as wide as AVX-512 has them, which all processors with such registers have."""

AT_ONCE = 8
"""Rows whose maxima are taken at once."""

STRIP = 64
"""Rows that meet all panels before the next rows do: they stay in the second cache."""

_ASK, _REGISTERS = 0x1023, 18
"""arch_prctl's ARCH_REQ_XCOMP_PERM, and what is asked for (Linux, Documentation/arch/x86/xstate.rst)."""

_LAYOUT = np.zeros(64, np.uint8)
_LAYOUT[0], _LAYOUT[16:32:2], _LAYOUT[48:56] = 1, 4 * SIDE, SIDE
"""All eight registers have 16 rows of 64 bytes (LDTILECFG's palette 1)."""

_BYTE = ir.IntType(8)
_FLOATS, _WHOLES = ir.VectorType(ir.FloatType(), SIDE), ir.VectorType(ir.IntType(32), SIDE)
_strict = {"cache": True, "nogil": True}
_finite = {"fastmath": {"nnan", "nsz"}, "cache": True, "nogil": True}


def takes(rows: Rows) -> bool:
    """Whether rows (n, D), four bytes in an int32 each, are enough and of a length for matrix registers that are here, and
    lent to this process."""
    return rows.dtype == np.int32 and len(rows) >= SIDE and rows.shape[1] % SIDE == 0 and _lent()


@functools.cache
def _lent() -> bool:
    """Whether the processor that numba compiles for has the registers, and this process may use them."""
    if WIDEST != PANEL or not {"amx-tile", "amx-int8"} <= FEATURES or sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    arch_prctl = 158
    return int(ctypes.CDLL(None).syscall(arch_prctl, _ASK, _REGISTERS)) == 0


def _at(builder: Any, base: Any, offset: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())


def _call(builder: Any, name: str, *given: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), given)


@intrinsic
def _lay_out(typing: Any, layout: Any) -> Any:
    """Give the registers their shapes, in this thread."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        _call(builder, "ldtilecfg", builder.bitcast(array.data, _BYTE.as_pointer()))
        return context.get_dummy_value()

    return types.void(layout), generate


@intrinsic
def _give_back(typing: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _block(typing: Any, rows: Any, first: Any, panel: Any, begin: Any, out: Any) -> Any:
    """The products of 16 rows (n, D), from the ``first`` on, with a panel (D, 48), added to ``begin`` (48,), to ``out``
    (16, 48), whose columns lie side by side."""
    if any(array.layout != "C" or array.dtype != types.int32 for array in (rows, panel, begin)) or out.dtype != types.int32:
        return None  # numba refuses

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, panel, begin, out = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3, 4)
        )
        length = cgutils.unpack_tuple(builder, rows.shape)[1]
        sums, row, columns = ([ir.Constant(_BYTE, n) for n in range(*its)] for its in ((3,), (3, 4), (4, 7)))

        def count(number: int) -> ir.Constant:
            return ir.Constant(length.type, number)

        def at(array: Any, offset: Any) -> Any:
            return _at(builder, array, offset, _BYTE)

        for v, register in enumerate(sums):
            _call(builder, "tileloadd64", register, at(begin.data, count(SIDE * v)), count(0))  # the same for every row
        start, stride = builder.gep(rows.data, [builder.mul(args[1], length)]), builder.mul(length, count(4))
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(length.type)
        k.add_incoming(count(0), before)
        _call(builder, "tileloadd64", row[0], at(start, k), stride)
        for v, register in enumerate(columns):
            place = builder.add(builder.mul(k, count(PANEL)), count(SIDE * v))
            _call(builder, "tileloadd64", register, at(panel.data, place), count(4 * PANEL))
        for total, register in zip(sums, columns, strict=True):
            _call(builder, "tdpbusd", total, row[0], register)
        following = builder.add(k, count(SIDE))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
        builder.position_at_end(after)
        line = cgutils.unpack_tuple(builder, out.strides)[0]
        for v, register in enumerate(sums):
            _call(builder, "tilestored64", register, at(out.data, count(SIDE * v)), line)
        return context.get_dummy_value()

    return types.void(rows, types.intp, panel, begin, out), generate


@numba.njit(**_strict)
def products(rows: Rows, stack: Rows, begins: Rows, out: Rows) -> None:
    """As :func:`meetmid.scores.registers.products`, of bytes of which :func:`takes` was asked."""
    _lay_out(_LAYOUT)
    for start in range(0, rows.shape[0], STRIP):
        for panel in range(stack.shape[0]):
            its, begin, first, here = stack[panel], begins[panel], start, out[:, panel * PANEL : (panel + 1) * PANEL]
            while first < min(start + STRIP, rows.shape[0]):
                first = min(first, rows.shape[0] - SIDE)
                _block(rows, first, its, begin, here[first:])
                first += SIDE
    _give_back()


@intrinsic
def _largest(typing: Any, found: Any, first: Any, scale: Any, out: Any) -> Any:
    """The largest of each column of eight rows of ``found`` (16, 48), from the ``first`` on, times ``scale`` (8,), to ``out``
    (48,)."""
    if any(array.layout != "C" for array in (found, scale, out)):
        return None  # numba refuses

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found, scale, out = (context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3))
        kind, steps = args[1].type, []
        start = builder.gep(found.data, [builder.mul(args[1], ir.Constant(kind, PANEL))])
        for row in range(AT_ONCE):
            step = builder.load(builder.gep(scale.data, [ir.Constant(kind, row)]))
            alone = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), step, ir.Constant(ir.IntType(32), 0))
            steps.append(builder.shuffle_vector(alone, alone, ir.Constant(_WHOLES, [0] * SIDE)))
        for column in range(0, PANEL, SIDE):
            values = []
            for row, its in enumerate(steps):
                sums = builder.load(_at(builder, start, ir.Constant(kind, PANEL * row + column), _WHOLES), align=4)
                values.append(builder.fmul(builder.sitofp(sums, _FLOATS), its))
            largest = values[0]
            for value in values[1:]:
                largest = builder.select(builder.fcmp_ordered(">", value, largest), value, largest)
            builder.store(largest, _at(builder, out.data, ir.Constant(kind, column), _FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(found, types.intp, scale, out), generate


@numba.njit(**_finite)
def _raise(found: Rows, scale: Rows, top: Rows, low: int, high: int, row: Rows) -> None:
    """``row`` = its maximum with the rows low .. high of ``found`` times ``scale``."""
    while low + AT_ONCE <= high:
        _largest(found, low, scale[low:], top)
        for i in range(len(row)):
            row[i] = max(row[i], top[i])
        low += AT_ONCE
    for j in range(low, high):
        its, step = found[j], scale[j]
        for i in range(len(row)):
            row[i] = max(row[i], np.float32(its[i]) * step)


@numba.njit(**_strict)
def maxima(
    rows: Rows, scale: Rows, stack: Rows, begins: Rows, cuts: Positions, entry: int, column: int, width: int, best: Rows
) -> None:
    """As :func:`meetmid.scores.registers.maxima`, of bytes of which :func:`takes` was asked."""
    count, g, top, room = rows.shape[0], 0, np.empty(PANEL, np.float32), np.empty((SIDE + 1) * PANEL, np.int32)
    aligned = -room.ctypes.data % (4 * SIDE) // 4
    found = room[aligned : aligned + SIDE * PANEL].reshape(SIDE, PANEL)
    _lay_out(_LAYOUT)
    for start in range(0, count, STRIP):
        while cuts[g + 1] <= start:
            g += 1
        for panel in range(stack.shape[0]):
            its, begin, first, at, left = stack[panel], begins[panel], start, g, column + panel * PANEL
            right = left + min(PANEL, width - panel * PANEL)
            while first < min(start + STRIP, count):
                low = min(first, count - SIDE)
                _block(rows, low, its, begin, found)
                while first < low + SIDE:
                    while cuts[at + 1] <= first:
                        at += 1
                    last = min(low + SIDE, cuts[at + 1])
                    _raise(found, scale[low:], top, first - low, last - low, best[entry + at, left:right])
                    first = last
    _give_back()
