"""The compiled inner loops of fusion, beside the products of :mod:`meetmid.scores.registers`.

All kernels release the GIL; threads are the caller's business. Sums run in float64 in an order that depends on nothing but what
is summed, so block sizes, threads and neighbours cannot change a bit.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Weights = NDArray[np.float64]
Positions = NDArray[np.int64]

FINITE = np.finfo(np.float64).max
"""Compared with instead of asking isfinite, which fast mathematics may answer without looking."""

NOISE = 1e-6
"""Of a template, where the mean that was taken from it is its own: float32's rounding and that of the mean."""

SECTION = 32
"""Rows whose largest product of bytes is compared first; most sections hold nothing that may win."""

_strict = {"cache": True, "nogil": True}
_loose = {"fastmath": {"reassoc", "contract", "nsz"}, "cache": True, "nogil": True}
_finite = {"fastmath": {"nnan", "nsz"}, "cache": True, "nogil": True}


@numba.njit(**_loose)
def unit_rows(templates: Rows, means: Rows, scales: Positions, per_vector: bool, normalised: bool, out: Rows) -> int:
    """Write rows (n, D) into ``out``, centred by ``means[scales[i]]`` (where there are any) and by their own mean (where
    ``per_vector``), and brought to unit length (where ``normalised``); a row of norm < 1e-12 becomes zero, and one of which its
    mean leaves no more than rounding, ``NOISE`` of its own norm. The first row that is not finite, or -1."""
    length, broken = templates.shape[1], -1
    for i in range(templates.shape[0]):
        row, to, least = templates[i], out[i], 1e-12
        to[:] = row
        if means.shape[0]:
            mean, whole = means[scales[i]], 0.0
            for k in range(length):
                whole += np.float64(row[k]) * np.float64(row[k])
                to[k] -= mean[k]
            least = max(least, NOISE * np.sqrt(whole))
        if per_vector:
            total = 0.0
            for k in range(length):
                total += to[k]
            own = np.float32(total / length)
            for k in range(length):
                to[k] -= own
        square = 0.0
        for k in range(length):
            square += np.float64(to[k]) * np.float64(to[k])
        if broken < 0 and not square <= FINITE:
            broken = i
        norm = np.sqrt(square)
        if normalised or norm < least:
            factor = 1.0 / norm if norm >= least else 0.0
            for k in range(length):
                to[k] = np.float32(to[k] * factor)
    return broken


@numba.njit(**_loose)
def first_broken(rows: Rows) -> int:
    """The first of the rows (n, D) that is not finite, or -1."""
    for i in range(rows.shape[0]):
        square = 0.0
        for k in range(rows.shape[1]):
            square += np.float64(rows[i, k]) * np.float64(rows[i, k])
        if not square <= FINITE:
            return i
    return -1


@numba.njit(**_strict)
def weighted_sums(rows: Rows, weights: Weights, groups: Positions, totals: Weights) -> None:
    """Add the rows (n, D) by their weights to ``totals[groups[i]]``."""
    for i in range(rows.shape[0]):
        total = totals[groups[i]]
        for k in range(rows.shape[1]):
            total[k] += weights[i] * rows[i, k]


@numba.njit(**_strict)
def reduce_entries(
    best: Rows, weights: Weights, cuts: Positions, first: int, last: int, maximum: bool, mean: bool,
    begun: bool, unfinished: bool, carried: Weights, carry: Weights, out: Rows,
) -> None:
    """``out[k, g]`` = outer rule over the rows i in cuts[k] .. cuts[k + 1] of best[g, i], for g in first .. last.

    ``best`` (G, m) is -inf where a row meets nothing of an entry; NaN where every row does. ``begun`` and ``unfinished`` tell
    whether the first entry of rows started in an earlier block and whether the last one goes on in the next: what is known of
    them waits in ``carried`` and ``carry`` (G, 3).
    """
    for g in range(first, last):
        for k in range(len(cuts) - 1):
            top, total, mass = -np.inf, 0.0, 0.0
            if begun and k == 0:
                top, total, mass = carried[g]
            for i in range(cuts[k], cuts[k + 1]):
                r = float(best[g, i])
                if r > -np.inf:
                    top = max(top, r)
                    total += weights[i] * r
                    mass += weights[i]
            if unfinished and k == len(cuts) - 2:
                carry[g, 0], carry[g, 1], carry[g, 2] = top, total, mass
            elif mass > 0:
                out[k, g] = np.float32(top if maximum else (total / mass if mean else total))


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


@numba.njit(**_loose)
def quantise(rows: Rows, levels: int, zero: int, out: NDArray[Any], scale: Rows) -> None:
    """Rows (n, D) as ``scale`` (n,) times the whole numbers ``out`` - ``zero`` of at most ``levels``; a row that is not finite
    has a scale that is not."""
    bits, largest = rows.view(np.int32), np.empty(1, np.int32)
    half, shift = np.float32(levels + 0.5), np.int32(zero - levels)
    for i in range(rows.shape[0]):
        row, to, its = rows[i], out[i], bits[i]
        top = np.int32(0)
        for k in range(rows.shape[1]):  # without their signs, numbers are ordered as their bits: a maximum in whole vectors
            top = max(top, np.int32(its[k] & np.int32(0x7FFFFFFF)))
        largest[0] = top
        step = largest.view(np.float32)[0] / np.float32(levels)
        inverse = np.float32(1.0) / step if step > np.float32(1e-30) else np.float32(0.0)
        scale[i] = np.float32(0.0) if step <= np.float32(1e-30) else step
        for k in range(rows.shape[1]):
            to[k] = np.int32(np.int32(row[k] * inverse + half) + shift)


@numba.njit(**_loose)
def left_over(rows: Rows, levels: NDArray[Any], zero: int, scale: Rows, error: Weights, norm: Weights) -> None:
    """What :func:`quantise` leaves of each row has the norm ``error`` (n,), what it makes of it the norm ``norm`` (n,)."""
    for i in range(rows.shape[0]):
        row, its = rows[i], levels[i]
        wide, left, made = np.float64(scale[i]), 0.0, 0.0
        for k in range(rows.shape[1]):
            value = wide * np.float64(np.int32(np.int32(its[k]) - np.int32(zero)))
            rest = np.float64(row[k]) - value
            left += rest * rest
            made += value * value
        error[i], norm[i] = np.sqrt(left), np.sqrt(made)


@numba.njit(**_finite)
def _largest_of_sections(products: NDArray[np.int32], scale: Rows, first: int, last: int, tops: Rows) -> None:
    """``tops`` (sections, width): the largest of products[j, i] times ``scale[j]`` over the rows j of each section of first ..
    last. Four rows at a time, so that the maxima are read and written a quarter as often."""
    for section in range(-(-(last - first) // SECTION)):
        begin, row = first + section * SECTION, tops[section]
        end = min(begin + SECTION, last)
        whole = begin + (end - begin) // 4 * 4
        row[:] = -np.inf
        for j in range(begin, whole, 4):
            a, b, c, d = products[j], products[j + 1], products[j + 2], products[j + 3]
            p, q, r, s = scale[j], scale[j + 1], scale[j + 2], scale[j + 3]
            for i in range(len(row)):
                one, two = max(np.float32(a[i]) * p, np.float32(b[i]) * q), max(np.float32(c[i]) * r, np.float32(d[i]) * s)
                row[i] = max(row[i], one, two)
        for j in range(whole, end):
            new, step = products[j], scale[j]
            for i in range(len(row)):
                row[i] = max(row[i], np.float32(new[i]) * step)


@numba.njit(**_loose)
def _dot(a: Rows, b: Rows) -> float:
    total = 0.0
    for k in range(a.shape[0]):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@numba.njit(**_finite)
def _largest_sections(tops: Rows, count: int, value: Rows, section: NDArray[np.int32]) -> None:
    """The largest of each column of tops[:count] (sections, width), and the first section that has it."""
    value[:], section[:] = tops[0], 0
    for b in range(1, count):
        for i in range(len(value)):
            if tops[b, i] > value[i]:
                value[i], section[i] = tops[b, i], b


@numba.njit(**_strict)
def screened_maxima(
    products: NDArray[np.int32], rows: Rows, scale: Rows, error: Weights, longest: float, tile: Rows, tile_scale: Rows,
    tile_error: Weights, tile_norm: Weights, cuts: Positions, entry: int, column: int, best: Weights, offset: int,
    where: NDArray[np.int32],
) -> int:
    """As :func:`meetmid.scores.registers.maxima`, in float64, of the exact inner products, of which only those that may be the
    largest are taken.

    With p = p' + dp and g = g' + dg the quantised rows and what is left of them, p . g = p' . g' + p' . dg + dp . g, so that by
    Cauchy and Schwarz |p . g - p' . g'| <= |p'| |dg| + |dp| |g|: a row g whose p' . g' falls below the largest known product by
    more cannot win; no |g| is above ``longest``. Returns how many products were taken exactly.
    """
    taken, sections, width = 0, -(-products.shape[0] // SECTION), tile.shape[0]
    tops, errors = np.empty((sections, width), np.float32), np.empty(sections, np.float32)
    steps, slack = np.maximum(tile_scale, np.float32(1e-30)), np.empty(width, np.float64)
    least, reach, largest = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    section = np.empty(width, np.int32)
    for i in range(width):
        slack[i] = tile_error[i] * longest + 2e-6 * max(1.0, longest * tile_norm[i])  # the latter for float32's rounding
        reach[i] = np.float32(tile_norm[i] / steps[i])
    for g in range(len(cuts) - 1):
        first, last = cuts[g], cuts[g + 1]
        if first == last:
            continue
        row, its = best[entry + g, column : column + width], where[entry + g, column : column + width]
        count = -(-(last - first) // SECTION)
        _largest_of_sections(products, scale, first, last, tops)
        for b in range(count):
            errors[b] = np.float32(np.max(error[first + b * SECTION : min(first + (b + 1) * SECTION, last)]))
        _largest_sections(tops, count, largest, section)
        for i in range(width):
            j = first + section[i] * SECTION
            while np.float32(products[j, i]) * scale[j] < largest[i]:
                j += 1
            value = _dot(tile[i], rows[j])
            taken += 1
            if value > row[i] or (value == row[i] and offset + j < its[i]):
                row[i], its[i] = value, offset + j
            least[i] = np.float32((row[i] - slack[i]) / steps[i]) if tile_norm[i] > 0 else np.inf  # a zero row's are all 0
        for b in range(count):
            begin = first + b * SECTION
            for i in range(width):
                if tops[b, i] + reach[i] * errors[b] < least[i]:
                    continue
                for j in range(begin, min(begin + SECTION, last)):
                    if np.float32(products[j, i]) * scale[j] + reach[i] * errors[b] >= least[i] and offset + j != its[i]:
                        value = _dot(tile[i], rows[j])
                        taken += 1
                        if value > row[i] or (value == row[i] and offset + j < its[i]):
                            row[i], its[i] = value, offset + j
                            least[i] = np.float32((value - slack[i]) / steps[i])
    return taken
