"""Products of bytes in matrix registers: the sums and maxima of loops, and the bits of those without such registers."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from meetmid.scores import amx, registers
from meetmid.scores.panels import MOST, multiplied, stacks
from meetmid.scores.registers import WIDEST

from .test_panels import NOWHERE, byte_maxima, bytes_drawn, drawn, scores_of, told_by

WORDS = np.zeros((amx.SIDE, amx.SIDE), np.int32)
CPU = Path("/proc/cpuinfo")
here = pytest.mark.skipif(
    not CPU.exists() or "amx_int8" not in CPU.read_text(encoding="utf-8"), reason="this processor has no Intel AMX"
)


@here
def test_the_registers_are_lent() -> None:
    assert amx.takes(WORDS)


@here
@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(16, 150), st.integers(1, (MOST + 1) * WIDEST), st.integers(1, 5))
def test_products_are_exact(seed: int, count: int, columns: int, lines: int) -> None:
    rows, others = bytes_drawn(seed, count, columns, 16 * lines)
    exact = rows.astype(np.int64) @ others.T.astype(np.int64)
    assert amx.takes(rows.view(np.int32))
    found = [multiplied(rows.view(np.int32), stack)[:, : len(stack)] for stack in stacks(others.view(np.int32))]
    assert np.array_equal(np.concatenate(found, axis=1), exact)


@here
@settings(max_examples=80)
@given(st.integers(0, 2**32), st.integers(16, 200), st.integers(1, 3 * WIDEST), st.integers(1, 3))
def test_maxima_are_those_of_the_loops_and_without_such_registers(seed: int, count: int, columns: int, lines: int) -> None:
    given, best, wanted = byte_maxima(seed, count, columns, 16 * lines)
    without = best.copy()
    amx.maxima(*given, best)
    assert np.array_equal(best, wanted)
    registers.maxima(*given, without, 0, NOWHERE)
    assert np.array_equal(best, without)


def scores(length: int) -> bytes:
    return scores_of(drawn(1, 48, 1, length)[0])


@here
@pytest.mark.parametrize("length", [64, 512])
def test_scores_have_the_bits_of_those_without(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    really = amx.takes
    monkeypatch.setattr(amx, "takes", lambda rows: taken.append(really(rows)) or taken[-1])
    with_them = scores(length)
    assert sum(taken) >= 2  # screened, and bytes alone
    monkeypatch.setattr(amx, "takes", lambda _: False)
    assert scores(length) == with_them


@here
def test_threads_share_them() -> None:
    rows, others = bytes_drawn(0, 90, 100, 128)
    (stack,), its = stacks(others.view(np.int32)), rows.view(np.int32)
    exact = rows.astype(np.int64) @ others.T.astype(np.int64)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: multiplied(its, stack)[:, :100], range(40)):
            assert np.array_equal(found, exact)


@here
def test_processes_that_were_forked_may_use_them_and_others_ask_for_themselves(tmp_path: Path) -> None:
    wanted = scores(128)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert pool.submit(scores, 128).result() == wanted
    script = """
import numpy as np
from meetmid.scores import amx
from test_panels import drawn, scores_of
print(scores_of(drawn(1, 48, 1, 128)[0]).hex(), amx.takes(np.zeros((16, 16), np.int32)))
"""
    assert told_by(script, tmp_path) == [wanted.hex(), "True"]


def test_what_they_cannot_take_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "_lent", lambda: True)
    assert amx.takes(WORDS)
    assert not amx.takes(WORDS[:15])
    assert not amx.takes(np.zeros((16, 24), np.int32))
    assert not amx.takes(WORDS.astype(np.float32))
    monkeypatch.setattr(amx, "_lent", lambda: False)
    assert not amx.takes(WORDS)


FULL = {"amx-tile", "amx-int8", "avx512f"}


@pytest.mark.parametrize(
    ("system", "machine", "features", "width", "answer", "lent"),
    [
        ("linux", "x86_64", FULL, 48, 0, True), ("linux", "x86_64", FULL, 48, -1, False),
        ("linux", "x86_64", FULL - {"amx-int8"}, 48, None, False), ("linux", "x86_64", FULL, 24, None, False),
        ("linux", "aarch64", FULL, 48, None, False), ("win32", "AMD64", FULL, 48, None, False),
    ],
)
def test_only_a_system_that_has_them_is_asked_and_believed(
    system: str, machine: str, features: set[str], width: int, answer: int | None, lent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def syscall(*numbers: int) -> int:
        asked.append(numbers)
        assert answer is not None
        return answer

    monkeypatch.setattr(amx, "sys", SimpleNamespace(platform=system))
    monkeypatch.setattr(amx, "platform", SimpleNamespace(machine=lambda: machine))
    monkeypatch.setattr(amx, "ctypes", SimpleNamespace(CDLL=lambda _: SimpleNamespace(syscall=syscall)))
    monkeypatch.setattr(amx, "FEATURES", features)
    monkeypatch.setattr(amx, "WIDEST", width)
    assert amx._lent.__wrapped__() is lent
    assert asked == ([] if answer is None else [(158, 0x1023, 18)])


def test_a_processor_by_name_has_none(tmp_path: Path) -> None:
    script = "import numpy as np; from meetmid.scores import amx; print(amx.takes(np.zeros((16, 16), np.int32)))"
    assert told_by(script, tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ["False"]


@here
def test_numbers_with_gaps_between_them_are_refused() -> None:
    rows, columns = bytes_drawn(0, 20, 5, 32)
    (stack,) = stacks(columns.view(np.int32)[:, ::2].copy())
    with pytest.raises(TypingError, match="_block"):
        multiplied(rows.view(np.int32)[:, ::2], stack)
    scale, best = np.ones(40, np.float32)[::2], np.zeros((1, 5), np.float32)
    (stack,) = stacks(columns.view(np.int32))
    with pytest.raises(TypingError, match="_largest"):
        amx.maxima(rows.view(np.int32), scale, stack.values, stack.begins, np.array([0, 20]), 0, 0, 5, best)
