"""Products of rows quantised to bytes: what the processor multiplies four times as fast, with a bound on what that costs."""

from __future__ import annotations

import functools
import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meetmid.runtime.sessions import import_onnxruntime
from meetmid.scores import kernels
from meetmid.scores.panels import multiplied, panels
from meetmid.scores.products import byte_product
from meetmid.scores.side import NotFiniteError, Side

LOG = logging.getLogger("meetmid")

LEVELS, ZERO = 127, 128
WIDEST, UNIT = 256, 16
"""Columns of the widest tile, and what its number of columns is a multiple of; bytes multiply exactly, so any would do."""

ROUNDING = 2e-6
"""What rounding to float32 adds to a bound, at most."""


@dataclass(frozen=True)
class Bytes:
    """Rows (n, D) as ``scale`` (n,) times ``levels``, whole numbers from -127 to 127 (stored plus 128 where uint8); ``error``
    (n,) the norm of what that leaves of each row, ``norm`` (n,) that of what it makes of it."""

    levels: NDArray[Any]
    scale: NDArray[np.float32]
    error: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.float32], *, signed: bool) -> Bytes:
        """Quantise rows, each to a step of its own. Raises NotFiniteError."""
        levels: NDArray[Any] = np.empty(rows.shape, np.int8 if signed else np.uint8)
        scale, error, norm = np.empty(len(rows), np.float32), np.empty(len(rows)), np.empty(len(rows))
        kernels.quantise(rows, LEVELS, 0 if signed else ZERO, levels, scale, error, norm)
        if not np.isfinite(error).all():
            raise NotFiniteError
        return cls(levels, scale, error, norm)


@dataclass(frozen=True)
class ByteTile:
    """Columns of products: ``rows`` (w, D) and what they are quantised to, ``columns`` (D, padded w) of their levels."""

    rows: NDArray[np.float32]
    bytes: Bytes
    columns: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.rows)


def byte_tiles(rows: NDArray[np.float32]) -> list[ByteTile]:
    """(n, D) rows as tiles of nearly equal widths."""
    found = []
    for part in np.array_split(rows, max(1, -(-len(rows) // WIDEST))):
        quantised = Bytes.of(part, signed=True)
        columns = np.zeros((rows.shape[1], -(-len(part) // UNIT) * UNIT), np.int8)
        columns[:, : len(part)] = quantised.levels.T
        found.append(ByteTile(np.ascontiguousarray(part), quantised, columns))
    return found


@functools.cache
def bytes_are_exact() -> bool:
    """Whether this processor multiplies bytes without saturating: the largest ones of either sign come out right."""
    rows = np.repeat(np.array([[0], [255], [1]], np.uint8), 64, axis=1)
    columns = np.repeat(np.array([[-127], [127]], np.int8), 64, axis=1).T.copy()
    wanted = (rows.astype(np.int64) - ZERO) @ columns.astype(np.int64)
    return bool(np.array_equal(byte_product(rows, columns), wanted))


def error_bounds(a: Side, b: Side, *, total: bool, block: int) -> NDArray[np.float32]:
    """By how much the score (A, B) of products of bytes alone may be off at most: |p'| |dg| + |dp| |g| of the worst inner row
    of an entry (:func:`meetmid.scores.kernels.screened_maxima`), summed over the outer rows with ``total``, else the worst."""
    out = np.zeros((len(a), len(b)), np.float32)
    inner = _worst(b, block)
    for found in a.blocks(max(1, block // (4 * a.length)), max(1, block // (16 * max(1, len(b))))):
        its = Bytes.of(a.rows(found.index), signed=True)
        for entry, (low, high) in enumerate(pairwise(found.cuts), found.first):
            if high == low:
                continue
            here = slice(int(low), int(high))
            if total:
                weights = found.weights[here]
                made, left = weights @ its.norm[here], weights @ its.error[here]
                out[entry] += made * inner[0] + left * inner[1] + weights.sum() * ROUNDING
            else:
                made, left = its.norm[here].max(), its.error[here].max()
                out[entry] = np.maximum(out[entry], made * inner[0] + left * inner[1] + ROUNDING)
    return out


def _worst(side: Side, block: int) -> NDArray[np.float64]:
    """(2, E): the largest error and the largest norm of every entry's rows."""
    worst = np.zeros((2, len(side)))
    for found in side.blocks(max(1, block // (8 * side.length)), len(side)):
        its = Bytes.of(side.rows(found.index), signed=False)
        for entry, (low, high) in enumerate(pairwise(found.cuts), found.first):
            if high > low:
                longest = (its.norm + its.error)[low:high].max()
                worst[:, entry] = np.maximum(worst[:, entry], [its.error[low:high].max(), longest])
    return worst


WORTHWHILE = 2e12
"""Operations from which measuring which way is faster is worth it; below, everything is float32."""


def quickest(p: Side, g: Side, order: str) -> Literal["float32", "screened"]:
    """The faster exact way for sides of this size on this machine, measured once."""
    a, b = (p, g) if order == "gallery_first" else (g, p)
    rows, others = a.weights.size, b.weights.size
    few = rows < 2000 or others < 256 * len(b)
    if few or 2.0 * rows * others * a.length < WORTHWHILE or not bytes_are_exact():
        return "float32"
    return "screened" if bytes_gain() >= 2.2 else "float32"


@functools.cache
def bytes_gain() -> float:
    """How many times as fast one thread multiplies bytes as float32, on this machine; kept in a file beside the models."""
    file = Path.home() / ".cache" / "meetmid" / "products.json"
    key = f"{platform.node()} {platform.processor() or platform.machine()} {import_onnxruntime().__version__} panels"
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if isinstance(known.get(key), float):
        return float(known[key])
    rng = np.random.default_rng(0)
    rows, others = (rng.normal(size=(count, 512)).astype(np.float32) for count in (1024, 4 * 48))
    found, out = panels(others), np.empty(rows.shape[:1] + others.shape[:1], np.float32)
    levels, columns = Bytes.of(rows, signed=False).levels, byte_tiles(others)[0].columns
    seconds = [min(_timed(call) for _ in range(8)) for call in (
        lambda: [multiplied(rows, panel.values, out[:, : len(panel)]) for panel in found], lambda: byte_product(levels, columns)
    )]
    known[key] = seconds[0] / seconds[1]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known), encoding="utf-8")
    except OSError:
        LOG.info("%s cannot be written: which products are fastest is measured again by every process", file)
    return float(known[key])


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
