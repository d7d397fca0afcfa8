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
def weighted_sum(templates: Rows, weights: Weights, total: Weights) -> None:
    """Add the rows of (n, D) by their weights to ``total`` (D,); rows of weight 0 are never read."""
    for i in range(templates.shape[0]):
        if weights[i] > 0:
            for k in range(templates.shape[1]):
                total[k] += weights[i] * templates[i, k]


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
def reduce_rows(
    a: Rows,
    weight_a: Weights,
    scale_a: NDArray[np.int64],
    b: Rows,
    weight_b: Weights,
    scale_b: NDArray[np.int64],
    cuts: NDArray[np.int64],
    begun: tuple[bool, bool],
    unfinished: tuple[bool, bool],
    rule: tuple[bool, bool, bool, bool, bool],
    inner: Weights,
    carried: Weights,
    carry: Weights,
    out: Rows,
) -> None:
    """``out[g]`` = outer rule over rows i of one entry of (inner rule over rows j of entry g of a[i] . b[j]).

    ``a`` (m, D) and ``b`` (n, D) are blocks of the two streams of unit rows, weights (m,) and (n,) 0 = absent, ``scale_*``
    the rows' scales; ``cuts`` (G + 1,) bounds the entries of ``b``. ``begun`` tells whether the entry of ``a`` and the first
    of ``b`` started in an earlier block, ``unfinished`` whether the entry of ``a`` and the last of ``b`` go on in the next;
    what is known of them so far waits in ``inner`` (m, 3) and in ``carried`` and ``carry`` (G, 3), so that a cut never
    changes a bit. ``rule``: same scale only, inner maximum, outer maximum, inner mean, outer mean. NaN where a side has no
    row, or no common scale. Sums run in float64.
    """
    same_scale, inner_max, outer_max, inner_mean, outer_mean = rule
    tile = np.empty((TILE, TILE), np.float32)
    state = np.empty((TILE, 3), np.float64)
    for g in range(len(cuts) - 1):
        going_on = unfinished[1] and g == len(cuts) - 2
        resumed = begun[1] and g == 0
        best, total, mass = -np.inf, 0.0, 0.0
        if begun[0]:
            best, total, mass = carried[g]
        for i in range(0, a.shape[0], TILE):
            if _absent(weight_a, i):
                continue
            if resumed:
                state[:] = inner[i : i + TILE]
            else:
                state[:, 0], state[:, 1], state[:, 2] = -np.inf, 0.0, 0.0
            for j in range(cuts[g], cuts[g + 1], TILE):
                if _absent(weight_b, j):
                    continue
                _tile(a, i, b, j, tile)
                for y in range(TILE):
                    for x in range(TILE):
                        w = weight_b[j + x]
                        if w > 0 and (not same_scale or scale_a[i + y] == scale_b[j + x]):
                            r = float(tile[y, x])
                            state[y, 0] = max(state[y, 0], r)
                            state[y, 1] += w * r
                            state[y, 2] += w
            if going_on:
                inner[i : i + TILE] = state
                continue
            for y in range(TILE):
                w = weight_a[i + y]
                if w > 0 and state[y, 2] > 0:
                    r = _reduced(state[y, 0], state[y, 1], state[y, 2], inner_max, inner_mean)
                    best = max(best, r)
                    total += w * r
                    mass += w
        if unfinished[0]:
            carry[g, 0], carry[g, 1], carry[g, 2] = best, total, mass
        elif not going_on:
            out[g] = np.float32(_reduced(best, total, mass, outer_max, outer_mean) if mass > 0 else np.nan)


@numba.njit(**_strict)
def _reduced(best: float, total: float, mass: float, maximum: bool, mean: bool) -> float:
    result: float = best if maximum else (total / mass if mean else total)
    return result


@numba.njit(**_strict)
def row_maxima(a: Rows, b: Rows, weight_b: Weights, offset: int, best: Weights, where: NDArray[np.int64]) -> None:
    """For every row of ``a`` (m, D), update ``best`` (m,) and ``where`` (m,) = offset + j with the largest similarity to any
    row j of ``b`` (n, D) that has weight; ties keep the first."""
    tile = np.empty((TILE, TILE), np.float32)
    for i in range(0, a.shape[0], TILE):
        for j in range(0, b.shape[0], TILE):
            if _absent(weight_b, j):
                continue
            _tile(a, i, b, j, tile)
            for y in range(TILE):
                for x in range(TILE):
                    if weight_b[j + x] > 0 and tile[y, x] > best[i + y]:
                        best[i + y] = tile[y, x]
                        where[i + y] = offset + j + x


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
