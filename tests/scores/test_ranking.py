"""Ranked lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meetmid.scores.ranking import Candidate, ranked


def test_by_score_then_position_without_failed_columns():
    row = np.array([0.5, np.nan, 0.9, 0.5, -1.0], np.float32)
    got = ranked(row, tuple("abcde"), 10)
    assert [(c.id, c.index, c.rank) for c in got] == [("c", 2, 1), ("a", 0, 2), ("d", 3, 3), ("e", 4, 4)]
    assert got[0] == Candidate("c", 2, float(np.float32(0.9)), 1)
    assert ranked(row, tuple("abcde"), 2) == got[:2]
    assert ranked(np.full(3, np.nan, np.float32), tuple("abc"), 3) == []


@given(st.lists(st.one_of(st.just(np.nan), st.floats(-1, 1, width=32), st.sampled_from([0.0, -0.0, 0.5])), max_size=12),
       st.integers(1, 14))
def test_it_equals_a_sort_in_python(values, k):
    row = np.array(values, np.float32)
    want = sorted((i for i, v in enumerate(values) if not np.isnan(v)), key=lambda i: (-values[i], i))[:k]
    got = ranked(row, tuple(map(str, range(len(row)))), k)
    assert [c.index for c in got] == want
    assert [c.rank for c in got] == list(range(1, len(want) + 1))
