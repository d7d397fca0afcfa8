"""Graphs for onnxruntime in the encoding of onnx.proto, so that no other package is needed to write them."""

from __future__ import annotations

FLOAT, INT64 = 1, 7
"""ONNX TensorProto.DataType."""


def model(nodes: list[bytes], inputs: list[bytes], outputs: list[bytes]) -> bytes:
    """A model of opset 13 in the encoding of onnx.proto."""
    whole = b"".join(_part(1, each) for each in nodes) + _text(2, "meetmid")
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
