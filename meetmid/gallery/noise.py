"""Noise and shuffles straight from a node's random words, compiled: no array of random numbers is ever made.

Logarithm, sine and cosine are polynomials (absolute error below 1e-12 of the normal deviate), which the compiler turns into
vector instructions and which give the same bits with any processor's instructions of one kind.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from meetmid.gallery import philox

Image = NDArray[np.float32]

PAIRS = 512
"""Pairs of words that are turned into normal deviates at a time."""

_UNIT = 2.0**-53
_LN2, _ROOT = math.log(2.0), math.sqrt(2.0)
_ONE, _MANTISSA = np.int64(1023 << 52), np.int64((1 << 52) - 1)
_quick = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz", "nnan"}}


@numba.njit(**_quick)
def deviates(
    words: NDArray[np.uint64], held: NDArray[np.float64], cosines: NDArray[np.float64], sines: NDArray[np.float64]
) -> None:
    """Both deviates of every pair of words (u0, u1): sqrt(-2 ln(1 - u0)) times the cosine and the sine of 2 pi u1, (n,) float64
    each; ``held`` (n,) is room to work.

    Source: G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates", Annals of Mathematical
    Statistics 29(2), 1958.
    """
    count = held.shape[0]
    for i in range(count):
        held[i] = 1.0 - np.float64(np.int64(words[2 * i] >> np.uint64(11))) * _UNIT  # exact, above 0
    bits = held.view(np.int64)
    for i in range(count):
        exponent = (bits[i] >> 52) - 1023
        cosines[i] = np.float64(exponent)
        bits[i] = (bits[i] & _MANTISSA) | _ONE
    for i in range(count):
        large = held[i] > _ROOT
        m = held[i] * 0.5 if large else held[i]
        e = cosines[i] + 1.0 if large else cosines[i]
        s = (m - 1.0) / (m + 1.0)
        z = s * s
        series = 1 / 13 + z * (1 / 15 + z * (1 / 17 + z * (1 / 19)))
        series = 1.0 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * series)))))
        held[i] = np.sqrt(max(0.0, -2.0 * (e * _LN2 + 2.0 * s * series)))
    for i in range(count):
        turn = 4.0 * _UNIT * np.float64(np.int64(words[2 * i + 1] >> np.uint64(11)))
        quarter = np.floor(turn + 0.5)
        x = (turn - quarter) * (0.5 * math.pi)
        z = x * x
        sine = -1 / 39916800 + z * (1 / 6227020800 - z / 1307674368000)
        sine = x * (1.0 + z * (-1 / 6 + z * (1 / 120 + z * (-1 / 5040 + z * (1 / 362880 + z * sine)))))
        cosine = 1 / 40320 + z * (-1 / 3628800 + z * (1 / 479001600 - z / 87178291200))
        cosine = 1.0 + z * (-1 / 2 + z * (1 / 24 + z * (-1 / 720 + z * cosine)))
        which = np.int64(quarter)
        odd, back = which & 1, which & 2
        c, s = (sine, cosine) if odd else (cosine, sine)
        c = -c if odd else c
        cosines[i] = held[i] * (-c if back else c)
        sines[i] = held[i] * (-s if back else s)


@numba.njit(**_quick)
def add_noise(image: Image, key: NDArray[np.uint64], sigma: float, gray: bool, scaled: bool) -> Image:
    """x + n, or with ``scaled`` x + x n, n ~ N(0, sigma^2) per component, or with ``gray`` per pixel, clipped to [0, 1].

    ``image`` (H, W, C) float32. Deviates come from the words of ``key`` from 0: all cosine branches, then all sine branches,
    pixel by pixel.
    """
    each = image.shape[2] if gray else 1
    flat, out = image.reshape(-1, each), np.empty((image.size // each, each), np.float32)
    count = len(flat)
    half = (count + 1) // 2
    words = np.empty(2 * PAIRS, np.uint64)
    held, cosines, sines = np.empty(PAIRS), np.empty(PAIRS), np.empty(PAIRS)
    for start in range(0, half, PAIRS):
        philox.fill(key, 2 * start, words)
        deviates(words, held, cosines, sines)
        size = min(PAIRS, half - start)
        for branch in range(2):
            drawn = sines if branch else cosines
            first = start + half * branch
            for i in range(min(size, count - first)):
                n = np.float32(sigma * drawn[i])
                for c in range(each):
                    x = flat[first + i, c]
                    y = x * (np.float32(1.0) + n) if scaled else x + n
                    out[first + i, c] = min(max(y, np.float32(0.0)), np.float32(1.0))
    return out.reshape(image.shape)


@numba.njit(cache=True, nogil=True)
def shuffle_pixels(image: Image, key: NDArray[np.uint64], n: int) -> Image:
    """Pixels permuted inside every n x n block: output k of a block takes the input whose word is the k-th smallest, the first
    of equal ones first; blocks row-major, n^2 words of ``key`` each. Rows and columns beyond the last whole block stay."""
    out = image.copy()
    rows, columns, cells = image.shape[0] // n, image.shape[1] // n, n * n
    words, order, first = np.empty(4 * ((cells + 6) // 4 + 256), np.uint64), np.empty(cells, np.int64), 0
    philox.fill(key, 0, words)
    for row in range(rows):
        for column in range(columns):
            begin = (row * columns + column) * cells
            if begin + cells > first + len(words):
                first = begin // 4 * 4
                philox.fill(key, first, words)
            for k in range(cells):
                value, place = words[begin - first + k] >> np.uint64(11), k
                while place > 0 and words[begin - first + order[place - 1]] >> np.uint64(11) > value:
                    order[place] = order[place - 1]
                    place -= 1
                order[place] = k
            for k in range(cells):
                y, x = row * n + order[k] // n, column * n + order[k] % n
                for c in range(image.shape[2]):
                    out[row * n + k // n, column * n + k % n, c] = image[y, x, c]
    return out
