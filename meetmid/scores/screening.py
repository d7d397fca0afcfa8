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

import numba
import numpy as np
from numpy.typing import NDArray

from meetmid.scores import kernels
from meetmid.scores.panels import MOST, Stack, multiplied, stacks
from meetmid.scores.registers import WIDEST
from meetmid.scores.side import NotFiniteError, Side

LOG = logging.getLogger("meetmid")

LEVELS, ZERO = 127, 128
LONGEST = 2**31 // (255 * 128)
"""Components of which a whole number of 32 bits surely holds the sum of the products of bytes."""

ROUNDING = 2e-6
"""What rounding to float32 adds to a bound, at most."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Rows (n, D) as ``scale`` (n,) times ``levels`` (n, D to a multiple of four), whole numbers from -127 to 127 (stored plus
    128 where uint8), zeros stored beyond D."""

    levels: NDArray[Any]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.float32], *, signed: bool) -> Levels:
        """Quantise rows, each to a step of its own. Raises NotFiniteError."""
        levels: NDArray[Any] = np.zeros((len(rows), -(-rows.shape[1] // 4) * 4), np.int8 if signed else np.uint8)
        scale = np.empty(len(rows), np.float32)
        kernels.quantise(rows, LEVELS, 0 if signed else ZERO, levels, scale)
        if not np.isfinite(scale).all():
            raise NotFiniteError
        return Levels(levels, scale)

    @property
    def fours(self) -> NDArray[np.int32]:
        """The levels, four in a number."""
        return self.levels.view(np.int32)


@dataclass(frozen=True, eq=False)
class Bytes(Levels):
    """Levels with a bound on what they cost: ``error`` (n,) the norm of what they leave of each row, ``norm`` (n,) that of what
    they make of it."""

    error: NDArray[np.float64]
    norm: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.float32], *, signed: bool) -> Bytes:
        """As :meth:`Levels.of`. Raises NotFiniteError."""
        its, error, norm = Levels.of(rows, signed=signed), np.empty(len(rows)), np.empty(len(rows))
        kernels.left_over(rows, its.levels, 0 if signed else ZERO, its.scale, error, norm)
        return cls(its.levels, its.scale, error, norm)


@dataclass(frozen=True, eq=False)
class ByteTile:
    """Columns of products: ``rows`` (w, D), the scale, error and norm of what they are quantised to (:class:`Bytes`), and its
    levels as a ``stack``, with which products begin as they must where a stored 128 means 0."""

    rows: NDArray[np.float32]
    scale: NDArray[np.float32]
    error: NDArray[np.float64]
    norm: NDArray[np.float64]
    stack: Stack

    def __len__(self) -> int:
        return len(self.rows)


def byte_tiles(rows: NDArray[np.float32]) -> list[ByteTile]:
    """(n, D) rows as tiles."""
    found, start = [], 0
    its = Bytes.of(rows, signed=True)
    for stack in stacks(its.fours):
        here = slice(start, start + len(stack))
        stack.begins.reshape(-1)[: len(stack)] = -ZERO * its.levels[here].sum(axis=1, dtype=np.int32)
        found.append(ByteTile(rows[here], its.scale[here], its.error[here], its.norm[here], stack))
        start += len(stack)
    return found


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
    if few or 2.0 * rows * others * a.length < WORTHWHILE or a.length > LONGEST:
        return "float32"
    return "screened" if bytes_gain() >= 2.2 else "float32"


@functools.cache
def bytes_gain() -> float:
    """How many times as fast one thread multiplies bytes as float32, on this machine; kept in a file beside the models."""
    file = Path.home() / ".cache" / "meetmid" / "products.json"
    key = f"{platform.node()} {platform.processor() or platform.machine()} numba {numba.__version__}"
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if isinstance(known.get(key), float):
        return float(known[key])
    rng = np.random.default_rng(0)
    rows, others = (rng.normal(size=(count, 512)).astype(np.float32) for count in (1024, MOST * WIDEST))
    (floats,), (tile,), levels = stacks(others), byte_tiles(others), Levels.of(rows, signed=False)
    seconds = [min(_timed(call) for _ in range(8)) for call in (
        lambda: multiplied(rows, floats), lambda: multiplied(levels.fours, tile.stack)
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
