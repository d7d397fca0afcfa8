"""The compiled inner loops of fusion.

Every similarity is one dot product accumulated over the template in an order that depends on nothing but its length: 4 x 4
tiles of padded rows share their loads, never their sums. Block sizes, threads and neighbours therefore cannot change a bit.
All kernels release the GIL; threads are the caller's business.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

TILE = 4
LANES = 16

Rows = NDArray[np.float32]
Weights = NDArray[np.float64]

_dot = {"fastmath": {"reassoc", "contract", "nsz"}, "cache": True, "nogil": True}
_strict = {"cache": True, "nogil": True}


@numba.njit(**_strict)
def unit_rows(templates: Rows, out: Rows) -> None:
    """Write the rows of (n, D) at unit length into the zeroed, padded ``out``; a row of norm < 1e-12 stays zero."""
    for i in range(templates.shape[0]):
        total = 0.0
        for k in range(templates.shape[1]):
            total += float(templates[i, k]) ** 2
        norm = np.sqrt(total)
        if norm >= 1e-12:
            for k in range(templates.shape[1]):
                out[i, k] = np.float32(templates[i, k] / norm)


@numba.njit(**_strict)
def weighted_sum(templates: Rows, weights: Weights, out: Rows) -> None:
    """Sum the rows of (n, D) by their weights into ``out`` (D,), in float64; rows of weight 0 are never read."""
    total = np.zeros(templates.shape[1], np.float64)
    for i in range(templates.shape[0]):
        if weights[i] > 0:
            for k in range(templates.shape[1]):
                total[k] += weights[i] * templates[i, k]
    for k in range(templates.shape[1]):
        out[k] = np.float32(total[k])


@numba.njit(**_dot)
def _tile(a: Rows, i: int, b: Rows, j: int, out: Rows) -> None:
    s00 = s01 = s02 = s03 = np.float32(0.0)
    s10 = s11 = s12 = s13 = np.float32(0.0)
    s20 = s21 = s22 = s23 = np.float32(0.0)
    s30 = s31 = s32 = s33 = np.float32(0.0)
    for k in range(a.shape[1]):
        a0, a1, a2, a3 = a[i, k], a[i + 1, k], a[i + 2, k], a[i + 3, k]
        b0, b1, b2, b3 = b[j, k], b[j + 1, k], b[j + 2, k], b[j + 3, k]
        s00 += a0 * b0
        s01 += a0 * b1
        s02 += a0 * b2
        s03 += a0 * b3
        s10 += a1 * b0
        s11 += a1 * b1
        s12 += a1 * b2
        s13 += a1 * b3
        s20 += a2 * b0
        s21 += a2 * b1
        s22 += a2 * b2
        s23 += a2 * b3
        s30 += a3 * b0
        s31 += a3 * b1
        s32 += a3 * b2
        s33 += a3 * b3
    out[0, 0], out[0, 1], out[0, 2], out[0, 3] = s00, s01, s02, s03
    out[1, 0], out[1, 1], out[1, 2], out[1, 3] = s10, s11, s12, s13
    out[2, 0], out[2, 1], out[2, 2], out[2, 3] = s20, s21, s22, s23
    out[3, 0], out[3, 1], out[3, 2], out[3, 3] = s30, s31, s32, s33


@numba.njit(**_strict)
def _absent(weights: Weights, start: int) -> bool:
    """Whether a tile's four rows all have weight 0, so that nothing of it is ever read."""
    absent: bool = weights[start] <= 0 and weights[start + 1] <= 0 and weights[start + 2] <= 0 and weights[start + 3] <= 0
    return absent


@numba.njit(**_strict)
def reduce_pairs(
    a: NDArray[np.float32],
    weight_a: Weights,
    b: NDArray[np.float32],
    weight_b: Weights,
    scale_a: NDArray[np.int64],
    scale_b: NDArray[np.int64],
    same_scale: bool,
    inner_max: bool,
    outer_max: bool,
    inner_mean: bool,
    outer_mean: bool,
    out: Rows,
) -> None:
    """``out[p, g]`` = outer rule over rows i of (inner rule over rows j of a[p, i] . b[g, j]).

    ``a`` (P, M, D) and ``b`` (G, N, D) hold padded unit rows; weights (P, M) and (G, N), 0 = absent; ``scale_*`` number the
    scale of each row. NaN where a side has no row, or, with ``same_scale``, no common scale. Sums run in float64.
    """
    tile = np.empty((TILE, TILE), np.float32)
    best = np.empty(TILE, np.float64)
    total = np.empty(TILE, np.float64)
    mass = np.empty(TILE, np.float64)
    for p in range(a.shape[0]):
        for g in range(b.shape[0]):
            outer_best, outer_total, outer_mass = -np.inf, 0.0, 0.0
            for i in range(0, a.shape[1], TILE):
                if _absent(weight_a[p], i):
                    continue
                best[:] = -np.inf
                total[:] = 0.0
                mass[:] = 0.0
                for j in range(0, b.shape[1], TILE):
                    if _absent(weight_b[g], j):
                        continue
                    _tile(a[p], i, b[g], j, tile)
                    for y in range(TILE):
                        for x in range(TILE):
                            w = weight_b[g, j + x]
                            if w > 0 and (not same_scale or scale_a[i + y] == scale_b[j + x]):
                                r = float(tile[y, x])
                                best[y] = max(best[y], r)
                                total[y] += w * r
                                mass[y] += w
                for y in range(TILE):
                    w = weight_a[p, i + y]
                    if w > 0 and mass[y] > 0:
                        r = best[y] if inner_max else (total[y] / mass[y] if inner_mean else total[y])
                        outer_best = max(outer_best, r)
                        outer_total += w * r
                        outer_mass += w
            if outer_mass > 0:
                r = outer_best if outer_max else (outer_total / outer_mass if outer_mean else outer_total)
                out[p, g] = np.float32(r)
            else:
                out[p, g] = np.float32(np.nan)


@numba.njit(**_strict)
def row_maxima(a: Rows, b: NDArray[np.float32], weight_b: Weights, best: Weights, where: NDArray[np.int64]) -> None:
    """For every row of ``a`` (M, D), update ``best`` (M,) and ``where`` (M, 2) = (g, j) with the largest similarity to any
    row of ``b`` (G, N, D) that has weight; ties keep the first."""
    tile = np.empty((TILE, TILE), np.float32)
    for i in range(0, a.shape[0], TILE):
        for g in range(b.shape[0]):
            for j in range(0, b.shape[1], TILE):
                if _absent(weight_b[g], j):
                    continue
                _tile(a, i, b[g], j, tile)
                for y in range(TILE):
                    for x in range(TILE):
                        if weight_b[g, j + x] > 0 and tile[y, x] > best[i + y]:
                            best[i + y] = tile[y, x]
                            where[i + y, 0] = g
                            where[i + y, 1] = j + x


@numba.njit(**_strict)
def concat_pairs(
    a: NDArray[np.float32], has_a: NDArray[np.bool_], b: NDArray[np.float32], has_b: NDArray[np.bool_], out: Rows
) -> None:
    """T_concat: the cosine of per-scale sums concatenated over the scales both sides have; ``a`` (P, S, D), ``b``
    (G, S, D), presence (P, S) and (G, S). NaN without a common scale."""
    for p in range(a.shape[0]):
        for g in range(b.shape[0]):
            dot, norm_a, norm_b, common = 0.0, 0.0, 0.0, False
            for s in range(a.shape[1]):
                if has_a[p, s] and has_b[g, s]:
                    common = True
                    for k in range(a.shape[2]):
                        x, y = float(a[p, s, k]), float(b[g, s, k])
                        dot += x * y
                        norm_a += x * x
                        norm_b += y * y
            if not common:
                out[p, g] = np.float32(np.nan)
            elif norm_a < 1e-24 or norm_b < 1e-24:
                out[p, g] = np.float32(0.0)
            else:
                out[p, g] = np.float32(dot / np.sqrt(norm_a * norm_b))
