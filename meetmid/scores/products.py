"""Products of bytes by onnxruntime, one thread per call, and the graphs that it is given, in their encoding."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.runtime.sessions import import_onnxruntime

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6
"""ONNX TensorProto.DataType."""


def byte_product(rows: NDArray[np.uint8], columns: NDArray[np.int8]) -> NDArray[np.int32]:
    """(n, D) rows, 128 meaning 0, times (D, w): the dot products (n, w); releases the GIL."""
    found: NDArray[np.int32] = _session().run(None, {"a": rows, "b": columns})[0]
    return found


@functools.cache
def _session() -> Any:
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(byte_graph(), options, providers=["CPUExecutionProvider"])


def byte_graph() -> bytes:
    """A model of one ``MatMulInteger``: a, whose zero is 128, times b."""
    zero = _part(5, _number(2, UINT8) + _text(8, "zero") + _part(9, b"\x80"))
    inputs = [value("a", UINT8, 2), value("b", INT8, 2)]
    return model([node("MatMulInteger", ("a", "b", "zero"), ("c",))], inputs, [value("c", INT32, 2)], zero)


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
