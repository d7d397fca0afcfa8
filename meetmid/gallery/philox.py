"""Philox-4x64-10 (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3), compiled.

Any word of a key's stream can be made without those before it. The stream is that of NumPy's ``Philox(key=...)``, whose counter
is raised before each block of four words.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

Words = NDArray[np.uint64]

ROUNDS = 10
_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)


@intrinsic
def _high(context: Any, a: Any, b: Any) -> Any:
    """The upper 64 bits of the product of two 64-bit words."""

    def build(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(value, wide) for value in values))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), build


@numba.njit(cache=True, nogil=True)
def fill(key: Words, first: int, out: Words) -> None:
    """``out`` = words ``first`` .. of the stream of ``key`` (2,), which both start at a multiple of 4 and hold as many."""
    for block in range(out.shape[0] // 4):
        c0, c1, c2, c3 = np.uint64(first // 4 + block + 1), np.uint64(0), np.uint64(0), np.uint64(0)
        k0, k1 = key[0], key[1]
        for _ in range(ROUNDS):
            c0, c1, c2, c3 = _high(_M1, c2) ^ c1 ^ k0, _M1 * c2, _high(_M0, c0) ^ c3 ^ k1, _M0 * c0
            k0 += _W0
            k1 += _W1
        out[4 * block], out[4 * block + 1], out[4 * block + 2], out[4 * block + 3] = c0, c1, c2, c3
