"""Inner products in registers: against float64, against loops, and the same bits wherever two vectors meet."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from meetmid.scores import registers
from meetmid.scores.fusion import fuse
from meetmid.scores.panels import MOST, multiplied, stacks
from meetmid.scores.registers import WIDEST, maxima

EPSILON = float(np.finfo(np.float32).eps)
NO_SCALE, NOWHERE = np.zeros(0, np.float32), np.zeros((0, 0), np.int32)


def products(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """All of them, stack by stack."""
    return np.concatenate([multiplied(rows, stack)[:, : len(stack)] for stack in stacks(columns)], axis=1)


def cut(rng: np.random.Generator, count: int) -> np.ndarray:
    """Bounds of 1 to 8 entries of so many rows, some of them empty."""
    inner = np.sort(rng.integers(0, count + 1, int(rng.integers(0, 8))))
    return np.concatenate([[0], inner, [count]]).astype(np.int64)


def drawn(seed: int, count: int, columns: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, others = (rng.normal(size=(n, length)).astype(np.float32) for n in (count, columns))
    return rows, others


@given(st.integers(1, 3 * MOST * WIDEST), st.integers(1, 40))
def test_stacks_hold_every_column_once_in_whole_panels(columns: int, length: int) -> None:
    rows = np.arange(1, columns * length + 1, dtype=np.float32).reshape(columns, length)
    found = list(stacks(rows))
    assert sum(map(len, found)) == columns
    assert all(len(stack) == MOST * WIDEST for stack in found[:-1])
    for start, stack in zip(range(0, columns, MOST * WIDEST), found, strict=True):
        assert stack.values.shape == (-(-len(stack) // WIDEST), length, WIDEST)
        assert stack.values.ctypes.data % 64 == 0
        turned = stack.values.transpose(0, 2, 1).reshape(-1, length)
        assert np.array_equal(turned[: len(stack)], rows[start : start + len(stack)])
        assert not turned[len(stack) :].any()
        assert not stack.begins.any()


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
    cuts = cut(rng, count)
    entries = len(cuts) - 1
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
    (stack,) = stacks(others)
    given = cuts, entry, column, width, best, offset, where if placed else NOWHERE
    assert maxima(rows, NO_SCALE, stack.values, stack.begins, *given)
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


def byte_maxima(
    seed: int, count: int, columns: int, length: int
) -> tuple[tuple[np.ndarray | int, ...], np.ndarray, np.ndarray]:
    """What maxima of bytes are given, what they raise, and what the loops make of that."""
    rng = np.random.default_rng(seed)
    rows, others = bytes_drawn(seed, count, columns, length)
    scale = rng.uniform(0, 1, count).astype(np.float32)
    (stack,) = stacks(others.view(np.int32))
    begins = np.zeros_like(stack.begins)
    begins.reshape(-1)[:columns] = rng.integers(-(2**30), 2**30, columns)  # beyond what float32 tells apart
    cuts, width = cut(rng, count), int(rng.integers(1, columns + 1))
    best = rng.normal(size=(len(cuts), columns + 2)).astype(np.float32)
    wanted = best.copy()
    wholes = rows.astype(np.int64) @ others.T.astype(np.int64) + begins.reshape(-1)[:columns]
    scaled = wholes.astype(np.float32) * scale[:, None]
    for g in range(len(cuts) - 1):
        for j in range(cuts[g], cuts[g + 1]):
            wanted[g + 1, 1 : width + 1] = np.maximum(wanted[g + 1, 1 : width + 1], scaled[j, :width])
    return (rows.view(np.int32), scale, stack.values, begins, cuts, 1, 1, width), best, wanted


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 3 * WIDEST), st.integers(1, 9))
def test_maxima_of_bytes_are_those_of_the_loops(seed: int, count: int, columns: int, length: int) -> None:
    given, best, wanted = byte_maxima(seed, count, columns, length)
    assert maxima(*given, best, 0, NOWHERE)
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


@settings(max_examples=60)
@given(
    st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 2 * WIDEST), st.sampled_from([np.nan, np.inf, -np.inf]),
    st.booleans(),
)
def test_a_row_that_is_not_finite_is_told(seed: int, count: int, columns: int, broken: float, placed: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, others = drawn(seed, count, columns, 6)
    cuts, (stack,) = cut(rng, count), stacks(others)
    best = np.full((len(cuts) - 1, columns), -np.inf, np.float32)
    given = cuts, 0, 0, columns, best, 0, np.full(best.shape, -1, np.int32) if placed else NOWHERE
    assert maxima(rows, NO_SCALE, stack.values, stack.begins, *given)
    rows[rng.integers(0, count), rng.integers(0, 6)] = broken
    assert not maxima(rows, NO_SCALE, stack.values, stack.begins, *given)


def scores_of(every: np.ndarray) -> bytes:
    """Scores of made-up sides by every precision, which a process tells another."""
    p, g = every[:12].reshape(3, 1, 4, -1), every[12:].reshape(4, 1, -1, every.shape[1])
    return b"".join(fuse(p, g, precision=precision).tobytes() for precision in ("float32", "screened", "int8"))


OTHER = """
from numba.core import registry
target = registry.cpu_target
known = target.target_context.codegen().magic_tuple()
class Other:
    class target_context:
        class codegen:
            def magic_tuple(self):
                return {TUPLE}
registry.cpu_target = Other
from meetmid.scores import registers
registry.cpu_target = target
assert (registers.LANES, registers.TOGETHER, registers.FOURS) == {SHAPE}, registers.LANES
from test_panels import bytes_drawn, drawn, products, scores_of
floats, wholes = drawn(0, 21, 100, 130), bytes_drawn(0, 21, 100, 130)
found = products(*floats), products(*(side.view("int32") for side in wholes))
print(*(each.tobytes().hex() for each in found), scores_of(drawn(1, 48, 1, 40)[0]).hex())
"""
SHAPES = {
    "avx-512 without VNNI": ("known[0], '', '+avx512f,+avx512bw'", (16, 8, False)),
    "avx2": ("known[0], '', '+avx,+avx2'", (8, 4, False)),
    "avx": ("known[0], '', '+avx'", (8, 4, False)),
    "sse2": ("known[0], '', '+sse2'", (4, 4, False)),
    "neon": ("'aarch64-linux-gnu', '', '+neon'", (4, 8, False)),
}


def told_by(script: str, cache: Path, **more: str) -> list[str]:
    """What a process with a cache of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **more},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instructions are those of x86")
@pytest.mark.parametrize("name", SHAPES)
def test_vectors_of_other_processors_give_the_same_bits(name: str, tmp_path: Path) -> None:
    """Only the shapes and instructions are those of others, and that some take several steps: the code runs here."""
    triple, shape = SHAPES[name]
    lacks = set(re.findall(r"avx\w*", triple)) - registers.FEATURES
    if lacks:
        pytest.skip(f"this processor has no {', '.join(sorted(lacks))}")
    script = OTHER.replace("{TUPLE}", triple).replace("{SHAPE}", str(shape))
    here = (
        products(*drawn(0, 21, 100, 130)), products(*(side.view(np.int32) for side in bytes_drawn(0, 21, 100, 130))),
        np.frombuffer(scores_of(drawn(1, 48, 1, 40)[0]), np.float32),
    )
    assert told_by(script, tmp_path) == [found.tobytes().hex() for found in here]


@pytest.mark.parametrize("variable", [{"NUMBA_CPU_NAME": "generic"}, {"NUMBA_ENABLE_AVX": "0"}], ids=str)
def test_it_is_made_for_the_processor_that_numba_compiles_for(variable: dict[str, str], tmp_path: Path) -> None:
    script = 'from test_panels import drawn, scores_of; print(scores_of(drawn(1, 48, 1, 40)[0]).hex())'
    (told,) = told_by(script, tmp_path, **variable)
    found, here = (np.frombuffer(each, np.float32) for each in (bytes.fromhex(told), scores_of(drawn(1, 48, 1, 40)[0])))
    np.testing.assert_allclose(found, here, rtol=1e-5, atol=1e-6)


def test_rows_with_gaps_between_their_numbers_are_refused() -> None:
    rows, columns = drawn(0, 9, 5, 16)
    (stack,) = stacks(columns[:, ::2].copy())
    with pytest.raises(TypingError, match="meeting"):
        multiplied(rows[:, ::2], stack)
