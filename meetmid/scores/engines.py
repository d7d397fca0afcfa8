"""How the largest similarity of each column of a tile to the rows of each entry is found: exactly, screened by bytes, or by
bytes alone.

An engine makes ``tiles`` of the outer rows (n, D) and takes the ``inner`` rows (n, D) as its products want them. ``meet``
raises ``best`` (entries, columns) of its ``dtype`` to the largest similarity of a tile's first ``width`` columns to the rows of
each entry, bounded by ``cuts``, and sets ``where``, if there is one (there must be where it ``places``), to ``offset`` + the
first row that has it. ``scaled`` does what is left when all rows have met a tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.scores import kernels
from meetmid.scores.products import byte_product, product, tiles
from meetmid.scores.screening import Bytes, byte_tiles
from meetmid.scores.side import NotFiniteError

Rows = NDArray[np.float32]
Places = NDArray[np.int32]


class Exact:
    """float32 products."""

    dtype, places = np.float32, False

    def tiles(self, rows: Rows) -> list[Rows]:
        """As :func:`meetmid.scores.products.tiles`."""
        return tiles(rows)

    def inner(self, rows: Rows) -> Rows:
        """The rows, a single one twice: alone it would be multiplied in another order."""
        return np.repeat(rows, 2, axis=0) if len(rows) == 1 else rows

    def meet(
        self, inner: Rows, tile: Rows, cuts: NDArray[np.int64], entry: int, column: int, width: int, best: NDArray[Any],
        offset: int, where: Places | None,
    ) -> None:
        """Raises NotFiniteError."""
        found = product(inner, tile)
        if not np.isfinite(found[:, 0]).all():  # what is not finite in a row is in all its products
            raise NotFiniteError
        if where is None:
            kernels.maxima(found, cuts, entry, column, width, best)
        else:
            kernels.nearest(found, cuts, entry, column, width, best, offset, where)

    def scaled(self, best: NDArray[Any], tile: Rows, column: int, width: int) -> None:
        """Nothing."""


class Screened:
    """Products of bytes tell which hypotheses may win; theirs are then taken in float64."""

    dtype, places = np.float64, True

    def tiles(self, rows: Rows) -> list[Any]:
        """As :func:`meetmid.scores.screening.byte_tiles`."""
        return byte_tiles(rows)

    def inner(self, rows: Rows) -> tuple[Rows, Bytes]:
        """The rows and their bytes."""
        return rows, Bytes.of(rows, signed=False)

    def meet(
        self, inner: tuple[Rows, Bytes], tile: Any, cuts: NDArray[np.int64], entry: int, column: int, width: int,
        best: NDArray[Any], offset: int, where: Places | None,
    ) -> None:
        """Ties go to the first row whatever the order of calls."""
        rows, its = inner
        found = byte_product(its.levels, tile.columns)
        kernels.screened_maxima(
            found, rows, its.scale, its.error, float((its.norm + its.error).max()), tile.rows, tile.bytes.scale,
            tile.bytes.error, tile.bytes.norm, cuts, entry, column, width, best, offset, where,
        )

    def scaled(self, best: NDArray[Any], tile: Any, column: int, width: int) -> None:
        """Nothing."""


class Rounded:
    """Products of bytes as they are."""

    dtype, places = np.float32, False

    def tiles(self, rows: Rows) -> list[Any]:
        """As :func:`meetmid.scores.screening.byte_tiles`."""
        return byte_tiles(rows)

    def inner(self, rows: Rows) -> Bytes:
        """The rows' bytes."""
        return Bytes.of(rows, signed=False)

    def meet(
        self, inner: Bytes, tile: Any, cuts: NDArray[np.int64], entry: int, column: int, width: int, best: NDArray[Any],
        offset: int, where: Places | None,
    ) -> None:
        """``where`` stays as it is."""
        found = byte_product(inner.levels, tile.columns)
        kernels.byte_maxima(found, inner.scale, cuts, entry, column, width, best)

    def scaled(self, best: NDArray[Any], tile: Any, column: int, width: int) -> None:
        """Multiply by the columns' steps."""
        best[:, column : column + width] *= np.maximum(tile.bytes.scale[:width], np.float32(1e-30))  # -inf stays where it is


Engine = Exact | Screened | Rounded
