"""How the rows of the inner side are cut into products, and that it changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.scores import reduction
from meetmid.scores.amx import SIDE
from meetmid.scores.fusion import fuse


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.integers(1, 400))
def test_pieces_hold_every_row_once_in_order(lengths: list[int], most: int) -> None:
    cuts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    pieces, reached = list(reduction._pieces(cuts, most)), 0
    for piece in pieces:
        assert piece.first == reached
        assert 0 < piece.last - piece.first <= most + SIDE - 1
        if piece.whole:
            assert np.array_equal(cuts[piece.entry : piece.entry + len(piece.cuts)] - piece.first, piece.cuts)
            assert piece.last - piece.first <= most
        else:
            assert cuts[piece.entry] <= piece.first < piece.last <= cuts[piece.entry + 1]
            assert piece.last == cuts[piece.entry + 1] or (piece.last - piece.first) % SIDE == 0
        reached = piece.last
    assert reached == cuts[-1]


@pytest.mark.parametrize("precision", ["float32", "screened", "int8"])
def test_entries_cut_into_pieces_give_the_same_bits_and_winners(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    rng = np.random.default_rng(0)
    p, g = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 1, 7, 20), (3, 1, 90, 20)))
    g[:, 0, 80] = g[:, 0, 3]  # ties across pieces go to the first
    p[0, 0, 0] = g[1, 0, 3]
    whole = fuse(p, g, precision=precision, detail=True)
    monkeypatch.setattr(reduction, "ROWS", 16)
    for threads in (1, 2, 3):
        cut = fuse(p, g, precision=precision, detail=True, threads=threads)
        assert np.array_equal(cut.scores, whole.scores)
        assert precision == "int8" or np.array_equal(cut.winners, whole.winners)
