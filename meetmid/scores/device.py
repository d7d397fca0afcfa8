"""Products and maxima by onnxruntime on a device by name, with what is compared resident there.

The graph is one Gemm, whose products of (entries x rows) with a tile's columns become maxima and their places over each entry's
rows; only these come back. On the CPU it gives the same maxima as :mod:`meetmid.scores.registers` to rounding.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.runtime.sessions import Device, import_onnxruntime, make_session
from meetmid.scores.encoding import FLOAT, INT64, attribute, model, node, value

COLUMNS = 64
"""Columns of a tile, at most."""


@dataclass(frozen=True, eq=False)
class Placed:
    """``count`` rows (n, D) float32 that lie on a device."""

    held: Any
    count: int

    def __len__(self) -> int:
        return self.count

    @classmethod
    def of(cls, rows: NDArray[np.float32], device: str) -> Placed:
        """Copied there; on the CPU they stay where they are. Raises DeviceError where the device cannot be used."""
        _session(device)
        kind, index = _memory(device)
        return cls(import_onnxruntime().OrtValue.ortvalue_from_numpy(np.ascontiguousarray(rows), kind, index), len(rows))


def tiles(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """(n, D) rows, :data:`COLUMNS` at a time."""
    return [rows[start : start + COLUMNS] for start in range(0, len(rows), COLUMNS)]


def device_maxima(
    rows: Placed, tile: Placed, entries: int, each: int, device: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The largest product of every entry's ``each`` rows with every column of the tile, and the first row that has it, both
    (entries, columns)."""
    session = _session(device)
    binding = session.io_binding()
    kind, index = _memory(device)
    binding.bind_ortvalue_input("a", rows.held)
    binding.bind_ortvalue_input("b", tile.held)
    binding.bind_cpu_input("shape", np.array([entries, each, -1], np.int64))
    for name in ("top", "first"):
        binding.bind_output(name, kind, index)
    session.run_with_iobinding(binding)
    top, first = binding.copy_outputs_to_cpu()
    return top, first


def _memory(device: str) -> tuple[str, int]:
    """Where onnxruntime keeps the arrays of a device."""
    wanted = Device.parse(device)
    return ("cuda", wanted.index) if wanted.kind in ("cuda", "tensorrt") else ("cpu", 0)


_LOCK = threading.Lock()


def _session(device: str) -> Any:
    with _LOCK:  # threads meet here at once
        return _opened(device)


@functools.cache
def _opened(device: str) -> Any:
    nodes = [
        node("Gemm", ("a", "b"), ("c",), attribute("transB", 1)),
        node("Reshape", ("c", "shape"), ("grouped",)),
        node("ReduceMax", ("grouped",), ("top",), attribute("axes", [1]), attribute("keepdims", 0)),
        node("ArgMax", ("grouped",), ("first",), attribute("axis", 1), attribute("keepdims", 0)),
    ]
    inputs = [value("a", FLOAT, 2), value("b", FLOAT, 2), value("shape", INT64, 1)]
    outputs = [value("top", FLOAT, 2), value("first", INT64, 2)]
    return make_session(model(nodes, inputs, outputs), "the products of fusion", device=device, exact=True)
