"""How the largest similarity of each column of a tile to the rows of each entry is found: exactly, screened by bytes, or by
bytes alone.

An engine makes ``tiles`` of the outer rows (n, D) and takes the ``inner`` rows (n, D), of entries bounded by ``cuts``, as its
products want them. ``meet`` raises ``best`` (entries, columns) of its ``dtype`` to the largest similarity of a tile's columns,
from ``column`` on, to the rows of each entry, bounded by ``cuts``, and sets ``where``, if there is one (there must be where it
``places``), to ``offset`` + the first row that has it. ``scaled`` does what is left when all rows have met a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.scores import amx, kernels
from meetmid.scores.device import Placed, device_maxima, tiles
from meetmid.scores.panels import Stack, multiplied, stacks
from meetmid.scores.registers import maxima
from meetmid.scores.screening import Bytes, ByteTile, Levels, byte_tiles
from meetmid.scores.side import NotFiniteError

Rows = NDArray[np.float32]
Places = NDArray[np.int32]
Positions = NDArray[np.int64]
_NOWHERE, _NO_SCALE = np.zeros((0, 0), np.int32), np.zeros(0, np.float32)


class Exact:
    """float32 products."""

    dtype, places = np.float32, False

    def tiles(self, rows: Rows) -> list[Stack]:
        """As :func:`meetmid.scores.panels.stacks`."""
        return list(stacks(rows))

    def inner(self, rows: Rows, cuts: Positions) -> Rows:
        """The rows."""
        return rows

    def meet(
        self, inner: Rows, tile: Stack, cuts: NDArray[np.int64], entry: int, column: int, best: NDArray[Any],
        offset: int, where: Places | None,
    ) -> None:
        """Raises NotFiniteError."""
        places = _NOWHERE if where is None else where
        if not maxima(inner, _NO_SCALE, tile.values, tile.begins, cuts, entry, column, len(tile), best, offset, places):
            raise NotFiniteError

    def scaled(self, best: NDArray[Any], tile: Stack, column: int) -> None:
        """Nothing."""


class Screened:
    """Products of bytes tell which hypotheses may win; theirs are then taken in float64."""

    dtype, places = np.float64, True

    def tiles(self, rows: Rows) -> list[ByteTile]:
        """As :func:`meetmid.scores.screening.byte_tiles`."""
        return byte_tiles(rows)

    def inner(self, rows: Rows, cuts: Positions) -> tuple[Rows, Bytes]:
        """The rows and their bytes."""
        return rows, Bytes.of(rows, signed=False)

    def meet(
        self, inner: tuple[Rows, Bytes], tile: ByteTile, cuts: NDArray[np.int64], entry: int, column: int, best: NDArray[Any],
        offset: int, where: Places | None,
    ) -> None:
        """Ties go to the first row whatever the order of calls."""
        rows, its = inner
        found, longest = multiplied(its.fours, tile.stack), float((its.norm + its.error).max())
        kernels.screened_maxima(
            found, rows, its.scale, its.error, longest, tile.rows, tile.scale, tile.error, tile.norm, cuts,
            entry, column, best, offset, where,
        )

    def scaled(self, best: NDArray[Any], tile: ByteTile, column: int) -> None:
        """Nothing."""


class Rounded:
    """Products of bytes as they are."""

    dtype, places = np.float32, False

    def tiles(self, rows: Rows) -> list[ByteTile]:
        """As :func:`meetmid.scores.screening.byte_tiles`."""
        return byte_tiles(rows)

    def inner(self, rows: Rows, cuts: Positions) -> Levels:
        """The rows' bytes."""
        return Levels.of(rows, signed=False)

    def meet(
        self, inner: Levels, tile: ByteTile, cuts: NDArray[np.int64], entry: int, column: int, best: NDArray[Any],
        offset: int, where: Places | None,
    ) -> None:
        """``where`` stays as it is."""
        given = inner.fours, inner.scale, tile.stack.values, tile.stack.begins, cuts, entry, column, len(tile), best
        if amx.takes(inner.fours):
            amx.maxima(*given)
        else:
            maxima(*given, offset, _NOWHERE)

    def scaled(self, best: NDArray[Any], tile: ByteTile, column: int) -> None:
        """Multiply by the columns' steps. Raises NotFiniteError."""
        try:
            with np.errstate(over="raise"):
                best[:, column : column + len(tile)] *= np.maximum(tile.scale, np.float32(1e-30))  # -inf stays where it is
        except FloatingPointError as error:
            raise NotFiniteError from error


@dataclass(frozen=True)
class OnDevice:
    """float32 products and their maxima by onnxruntime on a device, where rows and tiles stay until all have met."""

    device: str
    dtype, places = np.float32, False

    def tiles(self, rows: Rows) -> list[Placed]:
        """As :func:`meetmid.scores.device.tiles`, on the device."""
        return [Placed.of(tile, self.device) for tile in tiles(rows)]

    def inner(self, rows: Rows, cuts: Positions) -> tuple[Placed, int, int]:
        """The rows of every entry on the device, as many for each: shorter ones repeat their first row, which can win no more
        than once; how many entries, and rows of each."""
        entries = np.flatnonzero(np.diff(cuts))
        lengths = np.diff(cuts)[entries]
        most = max(2, int(lengths.max()))
        steps = np.arange(most)
        index = cuts[entries][:, None] + np.where(steps < lengths[:, None], steps, 0)
        same = len(index) * most == len(rows)
        return Placed.of(rows if same else rows[index.reshape(-1)], self.device), len(entries), most

    def meet(
        self, inner: tuple[Placed, int, int], tile: Placed, cuts: Positions, entry: int, column: int, best: NDArray[Any],
        offset: int, where: Places | None,
    ) -> None:
        """Raises NotFiniteError."""
        rows, count, most = inner
        found, first = device_maxima(rows, tile, count, most, self.device)
        if not np.isfinite(found).all():
            raise NotFiniteError
        entries = entry + np.flatnonzero(np.diff(cuts))
        columns = slice(column, column + len(tile))
        known = best[entries, columns]
        if where is not None:
            here = offset + cuts[entries - entry][:, None] + first
            where[entries, columns] = np.where(found > known, here, where[entries, columns])
        best[entries, columns] = np.maximum(known, found)

    def scaled(self, best: NDArray[Any], tile: Placed, column: int) -> None:
        """Nothing."""


Engine = Exact | Screened | Rounded | OnDevice
