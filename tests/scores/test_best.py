"""The best probe hypothesis (networks.md section 4.7) against brute force."""

import numpy as np
import pytest

from meetmid.scores.best import best_hypothesis
from meetmid.scores.fusion import fuse
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side


def brute(p, g, wp, wg):
    """(picture, scale, hypothesis), similarity and gallery entry of the most alike pair, first in canonical order."""
    unit = [t.astype(np.float64) / np.linalg.norm(t, axis=-1, keepdims=True) for t in (p, g)]
    found = []
    for i in range(len(p)):
        best = (-np.inf, (-1, -1, -1), -1)
        for s, m in np.ndindex(p.shape[1:3]):
            for j in range(len(g)):
                for t, n in np.ndindex(g.shape[1:3]):
                    if wp[i, s, m] > 0 and wg[j, t, n] > 0:
                        best = max(best, (unit[0][i, s, m] @ unit[1][j, t, n], (0, s, m), j), key=lambda v: v[0])
        found.append(best)
    return found


def make(seed):
    rng = np.random.default_rng(seed)
    p, g = (rng.normal(size=(k, 2, m, 11)).astype(np.float32) for k, m in ((5, 3), (7, 4)))
    wp, wg = (rng.integers(0, 3, t.shape[:3]).astype(float) for t in (p, g))
    wp[2] = 0
    return p, g, wp, wg


@pytest.mark.parametrize("block", [1, 1500, 10**6])
def test_it_is_the_nearest_pair_for_any_gallery_block(block):
    for seed in range(4):
        p, g, wp, wg = make(seed)
        got = best_hypothesis(Side(p, wp, np.arange(6)), Side(g, wg, np.arange(8)), block)
        for k, (similarity, where, entry) in enumerate(brute(p, g, wp, wg)):
            assert tuple(got.index[k]) == where
            assert got.gallery[k] == entry
            np.testing.assert_allclose(got.similarity[k], similarity if entry >= 0 else np.nan, rtol=1e-6)
        assert tuple(got.index[2]) == (-1, -1, -1)


@pytest.mark.parametrize("block", [1, 10**6])
def test_ties_keep_the_first_hypothesis_in_any_block(block):
    p = np.eye(4, dtype=np.float32)[None, None, [0, 1, 2]]
    g = np.eye(4, dtype=np.float32)[[2, 1, 1]][:, None, None]
    got = best_hypothesis(Side(p, np.ones(p.shape[:3]), np.arange(2)), Side(g, np.ones(g.shape[:3]), np.arange(4)), block)
    assert got.index.tolist() == [[0, 0, 1]]
    assert got.gallery.tolist() == [1]


def test_only_the_selected_hypothesis_is_scored_and_rank_one_is_that_of_the_maxima():
    p, g, wp, wg = make(9)
    best = fuse(p, g, select="best", probe_weights=wp, gallery_weights=wg)
    alone = np.zeros_like(wp)
    for k, (_, where, entry) in enumerate(brute(p, g, wp, wg)):
        if entry >= 0:
            alone[(k, *where[1:])] = 1
    assert np.array_equal(best, fuse(p, g, probe_weights=alone, gallery_weights=wg), equal_nan=True)
    maxima = fuse(p, g, probe="S_max", probe_weights=wp, gallery_weights=wg)
    rows = [0, 1, 3, 4]
    assert np.array_equal(np.nanargmax(best[rows], axis=1), np.nanargmax(maxima[rows], axis=1))


def test_groups_pool_the_pictures_of_an_entry():
    rng = np.random.default_rng(2)
    p, g = (rng.normal(size=(k, 2, 3, 11)).astype(np.float32) for k in (5, 4))
    first = np.array([0, 2, 5])
    side = Side(p, np.ones(p.shape[:3]), first)
    other = Side(g, np.ones(g.shape[:3]), np.arange(5))
    pooled = np.zeros((2, 2, 9, 11), np.float32)
    weights = np.zeros((2, 2, 9))
    for e in range(2):
        rows = p[first[e] : first[e + 1]].transpose(1, 0, 2, 3).reshape(2, -1, 11)
        pooled[e, :, : rows.shape[1]], weights[e, :, : rows.shape[1]] = rows, 1
    for rules in (("S_add", "S_max"), ("T_add", "S_add"), ("T_concat", "T_concat"), ("S_max", "T_add")):
        for select in ("all", "best"):
            got = fuse_sides(side, other, [rules], select=select)[0]
            want = fuse(pooled, g, rules=[rules], select=select, probe_weights=weights)[0]
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
            for block in (1, 700):
                assert np.array_equal(fuse_sides(side, other, [rules], select=select, block=block)[0], got)
