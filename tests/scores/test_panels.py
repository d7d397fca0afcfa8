"""Inner products in registers: against float64, against loops, and the same bits wherever two vectors meet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from meetmid.scores.panels import MOST, byte_maxima, maxima, stacks
from meetmid.scores.panels import products as multiplied
from meetmid.scores.registers import WIDEST

EPSILON = float(np.finfo(np.float32).eps)


def products(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """All of them, stack by stack."""
    parts = []
    for stack, count in stacks(columns):
        found = np.empty((len(rows), len(stack) * WIDEST), rows.dtype)
        multiplied(rows, stack, np.zeros((len(stack), WIDEST), rows.dtype), found)
        parts.append(found[:, :count])
    return np.concatenate(parts, axis=1)


def drawn(seed: int, count: int, columns: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, others = (rng.normal(size=(n, length)).astype(np.float32) for n in (count, columns))
    return rows, others


@given(st.integers(1, 3 * MOST * WIDEST), st.integers(1, 40))
def test_stacks_hold_every_column_once_in_whole_panels(columns: int, length: int) -> None:
    rows = np.arange(1, columns * length + 1, dtype=np.float32).reshape(columns, length)
    found = list(stacks(rows))
    assert sum(count for _, count in found) == columns
    assert all(count == MOST * WIDEST for _, count in found[:-1])
    for start, (stack, count) in zip(range(0, columns, MOST * WIDEST), found, strict=True):
        assert stack.shape == (-(-count // WIDEST), length, WIDEST)
        assert stack.ctypes.data % 64 == 0
        turned = stack.transpose(0, 2, 1).reshape(-1, length)
        assert np.array_equal(turned[:count], rows[start : start + count])
        assert not turned[count:].any()


@settings(max_examples=80)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 3 * WIDEST), st.integers(1, 90))
def test_products_are_those_of_float64_to_their_rounding(seed: int, count: int, columns: int, length: int) -> None:
    rows, others = drawn(seed, count, columns, length)
    wide, other = rows.astype(np.float64), others.astype(np.float64)
    bound = length * EPSILON * (np.abs(wide) @ np.abs(other).T)  # N. Higham, Accuracy and Stability, 2002, eq. 3.5
    assert (np.abs(products(rows, others) - wide @ other.T) <= bound).all()


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 3 * WIDEST), st.integers(1, 20), st.booleans())
def test_maxima_are_those_of_the_loops(seed: int, count: int, columns: int, length: int, placed: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, others = drawn(seed, count, columns, length)
    rows[rng.integers(0, count, 3)] = rows[0]  # ties go to the first
    entries = int(rng.integers(1, 9))
    cuts = np.concatenate([[0], np.sort(rng.integers(0, count + 1, entries - 1)), [count]]).astype(np.int64)
    column, entry, offset = 2, 1, 100
    width = int(rng.integers(1, columns + 1))
    best = rng.normal(size=(entries + 2, columns + 4)).astype(np.float32)
    where = np.full(best.shape, -1, np.int32)
    wanted, places = best.copy(), where.copy()
    every = products(rows, others)
    for g in range(entries):
        for i in range(width):
            for j in range(cuts[g], cuts[g + 1]):
                if every[j, i] > wanted[entry + g, column + i]:
                    wanted[entry + g, column + i], places[entry + g, column + i] = every[j, i], offset + j
    ((stack, _),) = stacks(others)
    given_places = where if placed else np.zeros((0, 0), np.int32)
    assert maxima(rows, stack, cuts, entry, column, width, best, offset, given_places)
    assert np.array_equal(best, wanted)
    if placed:
        assert np.array_equal(where, places)


def bytes_drawn(seed: int, count: int, columns: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 0 to 255 and columns of -128 to 127, some of them the largest there are."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (count, 4 * length)).astype(np.uint8)
    others = rng.integers(-128, 128, (columns, 4 * length)).astype(np.int8)
    rows[rng.integers(0, count)], others[rng.integers(0, columns)] = 255, rng.choice([-128, 127])
    return rows, others


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 3 * WIDEST), st.integers(1, 40))
def test_products_of_bytes_are_exact(seed: int, count: int, columns: int, length: int) -> None:
    rows, others = bytes_drawn(seed, count, columns, length)
    exact = rows.astype(np.int64) @ others.T.astype(np.int64)
    assert np.array_equal(products(rows.view(np.int32), others.view(np.int32)), exact)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 3 * WIDEST), st.integers(1, 9))
def test_maxima_of_bytes_are_those_of_the_loops(seed: int, count: int, columns: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    rows, others = bytes_drawn(seed, count, columns, length)
    scale = rng.uniform(0, 1, count).astype(np.float32)
    begins = np.zeros((-(-columns // WIDEST), WIDEST), np.int32)
    begins.reshape(-1)[:columns] = rng.integers(-9000, 9000, columns)
    entries = int(rng.integers(1, 9))
    cuts = np.concatenate([[0], np.sort(rng.integers(0, count + 1, entries - 1)), [count]]).astype(np.int64)
    best = rng.normal(size=(entries + 1, columns + 2)).astype(np.float32)
    wanted = best.copy()
    wholes = rows.astype(np.int64) @ others.T.astype(np.int64) + begins.reshape(-1)[:columns]
    scaled = wholes.astype(np.float32) * scale[:, None]
    for g in range(entries):
        for j in range(cuts[g], cuts[g + 1]):
            wanted[g + 1, 1 : columns + 1] = np.maximum(wanted[g + 1, 1 : columns + 1], scaled[j])
    ((stack, _),) = stacks(others.view(np.int32))
    byte_maxima(rows.view(np.int32), scale, stack, begins, cuts, 1, 1, columns, best)
    assert np.array_equal(best, wanted)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([3, 130, 512, 700]))
def test_a_similarity_has_the_same_bits_wherever_it_lies(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = drawn(seed, 300, 64, length)
    whole = products(rows, columns)
    low, count, width, turn = (int(rng.integers(least, most)) for least, most in ((0, 250), (1, 50), (1, 65), (0, 64)))
    part = products(rows[low : low + count], np.roll(columns, turn, axis=0)[:width].copy())
    assert np.array_equal(part, np.roll(whole, turn, axis=1)[low : low + count, :width])
    assert np.array_equal(products(columns, rows).T, whole)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 7, 8, 18])
def test_a_row_that_is_not_finite_is_told(broken: float, place: int) -> None:
    rows, columns = drawn(0, 19, 5, 6)
    best, ((stack, _),) = np.full((1, 5), -np.inf, np.float32), stacks(columns)
    cuts, nowhere = np.array([0, 19]), np.zeros((0, 0), np.int32)
    assert maxima(rows, stack, cuts, 0, 0, 5, best, 0, nowhere)
    rows[place, 3] = broken
    assert not maxima(rows, stack, cuts, 0, 0, 5, best, 0, nowhere)


OTHER = """
import llvmlite.binding
known = llvmlite.binding.get_host_cpu_features()
class Other(llvmlite.binding.FeatureMap):
    def get(self, name, default=None):
        return {FEATURES}.get(name, default)
llvmlite.binding.get_host_cpu_features = lambda: Other(known)
from meetmid.scores import registers
assert (registers.LANES, registers.TOGETHER, registers.MULTIPLIES_BYTES) == {SHAPE}
import numpy as np
from test_panels import bytes_drawn, drawn, products
floats, wholes = drawn(0, 21, 100, 130), bytes_drawn(0, 21, 100, 130)
print(products(*floats).tobytes().hex(), products(*(side.view(np.int32) for side in wholes)).tobytes().hex())
"""


@pytest.mark.parametrize(
    ("features", "shape"), [("{'sse2': True, 'avx': True}", "(8, 4, False)"), ("{}", "(4, 8, False)")], ids=["avx", "neon"]
)
def test_vectors_of_other_processors_give_the_same_bits(features: str, shape: str, tmp_path: Path) -> None:
    """Only the shapes are those of others, and that bytes take several steps: the code runs here."""
    script = OTHER.replace("{FEATURES}", features).replace("{SHAPE}", shape)
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )
    assert told.returncode == 0, told.stderr
    here = products(*drawn(0, 21, 100, 130)), products(*(side.view(np.int32) for side in bytes_drawn(0, 21, 100, 130)))
    assert told.stdout.split() == [found.tobytes().hex() for found in here]


def test_rows_with_gaps_between_their_numbers_are_refused() -> None:
    rows, columns = drawn(0, 9, 5, 16)
    ((stack, _),) = stacks(columns[:, ::2].copy())
    with pytest.raises(TypingError, match="products"):
        multiplied(rows[:, ::2], stack, np.zeros((1, WIDEST), np.float32), np.empty((9, WIDEST), np.float32))
