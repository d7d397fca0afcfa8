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

from meetmid.scores.panels import LANES, WIDEST, maxima, multiplied, panels

EPSILON = float(np.finfo(np.float32).eps)


def products(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """All of them, panel by panel."""
    out, start = np.empty((len(rows), len(columns)), np.float32), 0
    for panel in panels(columns):
        multiplied(rows, panel.values, out[:, start : start + len(panel)])
        start += len(panel)
    return out


def drawn(seed: int, count: int, columns: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, others = (rng.normal(size=(n, length)).astype(np.float32) for n in (count, columns))
    return rows, others


@given(st.integers(1, 400), st.integers(1, 9))
def test_panels_hold_every_column_once_in_whole_vectors(columns: int, length: int) -> None:
    rows = np.arange(1, columns * length + 1, dtype=np.float32).reshape(columns, length)
    found = panels(rows)
    assert [len(panel) for panel in found[:-1]] == [WIDEST] * (len(found) - 1)
    assert len(found[-1]) <= WIDEST
    assert len(found[-1]) % LANES == 0
    assert sum(map(len, found)) - columns < LANES
    turned = np.concatenate([panel.values for panel in found], axis=1).T
    assert np.array_equal(turned[:columns], rows)
    assert not turned[columns:].any()
    assert all(panel.values.ctypes.data % 64 == 0 for panel in found)


@settings(max_examples=80)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 3 * WIDEST), st.integers(1, 90))
def test_products_are_those_of_float64_to_their_rounding(seed: int, count: int, columns: int, length: int) -> None:
    rows, others = drawn(seed, count, columns, length)
    wide, other = rows.astype(np.float64), others.astype(np.float64)
    bound = length * EPSILON * (np.abs(wide) @ np.abs(other).T)  # N. Higham, Accuracy and Stability, 2002, eq. 3.5
    assert (np.abs(products(rows, others) - wide @ other.T) <= bound).all()


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, WIDEST), st.integers(1, 20), st.booleans())
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
    (panel,) = panels(others)
    given_places = where if placed else np.zeros((0, 0), np.int32)
    assert maxima(rows, panel.values, cuts, entry, column, width, best, offset, given_places)
    assert np.array_equal(best, wanted)
    if placed:
        assert np.array_equal(where, places)


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
    best, (panel,) = np.full((1, 5), -np.inf, np.float32), panels(columns)
    cuts, nowhere = np.array([0, 19]), np.zeros((0, 0), np.int32)
    assert maxima(rows, panel.values, cuts, 0, 0, 5, best, 0, nowhere)
    rows[place, 3] = broken
    assert not maxima(rows, panel.values, cuts, 0, 0, 5, best, 0, nowhere)


OTHER = """
import llvmlite.binding
known = llvmlite.binding.get_host_cpu_features()
class Other(llvmlite.binding.FeatureMap):
    def get(self, name, default=None):
        return {FEATURES}.get(name, default)
llvmlite.binding.get_host_cpu_features = lambda: Other(known)
from meetmid.scores import panels
assert (panels.LANES, panels.TOGETHER) == {SHAPE}, (panels.LANES, panels.TOGETHER)
import numpy as np
rng = np.random.default_rng(0)
rows, columns = (rng.normal(size=(count, 130)).astype(np.float32) for count in (21, 100))
out, start = np.empty((21, 100), np.float32), 0
for panel in panels.panels(columns):
    panels.multiplied(rows, panel.values, out[:, start : start + len(panel)])
    start += len(panel)
print(out.tobytes().hex())
"""


@pytest.mark.parametrize(
    ("features", "shape"), [("{'sse2': True, 'avx': True}", "(8, 4)"), ("{}", "(4, 8)")], ids=["avx", "neon"]
)
def test_vectors_of_other_processors_give_the_same_bits(features: str, shape: str, tmp_path: Path) -> None:
    """Only the shapes are those of others: the code runs here."""
    rng = np.random.default_rng(0)
    rows, columns = (rng.normal(size=(count, 130)).astype(np.float32) for count in (21, 100))
    script = OTHER.replace("{FEATURES}", features).replace("{SHAPE}", shape)
    told = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found = np.frombuffer(bytes.fromhex(told.stdout.strip()), np.float32).reshape(21, 100)
    assert np.array_equal(found, products(rows, columns))
