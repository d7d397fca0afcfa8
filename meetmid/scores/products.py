"""Inner products by onnxruntime, one thread per call, whose bits depend on nothing but the two vectors.

onnxruntime's matrix product (MLAS) accumulates over the template in chunks whose length depends on the number of columns, and
treats a single row as a vector. Probes are the columns, in tiles of 33 to 64: within those bounds every similarity is the same
to the bit wherever it lies, and the small side is the one that is packed.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.runtime.sessions import import_onnxruntime

WIDEST, UNIT = 64, 16
"""Columns of the widest tile, and what its number of columns is a multiple of; the narrowest has 3 units."""

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6
"""ONNX TensorProto.DataType."""


def widths(columns: int) -> list[int]:
    """Columns of the tiles, each 48 or 64, that hold so many: as little padding as those allow."""
    units = -(-columns // UNIT)
    tiles = -(-units * UNIT // WIDEST)
    return [UNIT * max(3, units // tiles + (k < units % tiles)) for k in range(tiles)]


def tiles(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """(n, D) rows as tiles of :func:`widths`, the last one padded with zeros."""
    out, start = [], 0
    for width in widths(len(rows)):
        part = rows[start : start + width]
        if len(part) < width:
            part = np.concatenate([part, np.zeros((width - len(part), rows.shape[1]), rows.dtype)])
        out.append(part)
        start += width
    return out


def product(rows: NDArray[np.float32], tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, D) x (w, D) to the dot products (n, w), n at least 2; releases the GIL."""
    found: NDArray[np.float32] = _session("Gemm", FLOAT, FLOAT, FLOAT).run(None, {"a": rows, "b": tile})[0]
    return found


def byte_product(rows: NDArray[np.uint8], columns: NDArray[np.int8]) -> NDArray[np.int32]:
    """(n, D) rows, 128 meaning 0, times (D, w): the dot products (n, w); releases the GIL."""
    found: NDArray[np.int32] = _session("MatMulInteger", UINT8, INT8, INT32).run(None, {"a": rows, "b": columns})[0]
    return found


@functools.cache
def _session(operator: str, a: int, b: int, c: int) -> Any:
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(graph(operator, a, b, c), options, providers=["CPUExecutionProvider"])


def graph(operator: str, a: int, b: int, c: int) -> bytes:
    """A model of one ``Gemm`` (a times b transposed) or ``MatMulInteger`` (a, whose zero is 128, times b)."""
    values = [value(name, kind, 2) for name, kind in (("a", a), ("b", b), ("c", c))]
    if operator == "Gemm":
        return model([node(operator, ("a", "b"), ("c",), attribute("transB", 1))], values[:2], values[2:])
    zero = _part(5, _number(2, a) + _text(8, "zero") + _part(9, b"\x80"))
    return model([node(operator, ("a", "b", "zero"), ("c",))], values[:2], values[2:], zero)


def model(nodes: list[bytes], inputs: list[bytes], outputs: list[bytes], initializers: bytes = b"") -> bytes:
    """A model of opset 13 in the encoding of onnx.proto."""
    whole = b"".join(_part(1, each) for each in nodes) + _text(2, "product") + initializers
    whole += b"".join(_part(11, each) for each in inputs) + b"".join(_part(12, each) for each in outputs)
    return _number(1, 8) + _part(7, whole) + _part(8, _text(1, "") + _number(2, 13))


def node(operator: str, inputs: tuple[str, ...], outputs: tuple[str, ...], *attributes: bytes) -> bytes:
    """A NodeProto."""
    names = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
    return names + _text(4, operator) + b"".join(_part(5, each) for each in attributes)


def attribute(name: str, given: int | list[int]) -> bytes:
    """An AttributeProto of one whole number or several."""
    if isinstance(given, int):
        return _text(1, name) + _number(3, given) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, each) for each in given) + _number(20, 7)


def value(name: str, kind: int, axes: int) -> bytes:
    """A ValueInfoProto of free sizes."""
    shape = b"".join(_part(1, _text(2, f"{name}{axis}")) for axis in range(axes))
    return _text(1, name) + _part(2, _part(1, _number(1, kind) + _part(2, shape)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _part(field, value.encode())
