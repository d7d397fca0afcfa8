"""Fusion against an explicit-loop NumPy reference; bits against blocks, threads, order and neighbours."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetmid.errors import ConfigError, DeviceError, InputError
from meetmid.scores.fusion import fuse
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side

RULES = [*product(("T_add", "S_max", "S_add"), repeat=2), ("T_concat", "T_concat")]
WAYS = list(product(("all", "same_scale"), ("gallery_first", "probe_first"), ("auto", "sum", "mean")))


def cosine(a, b):
    norms = np.linalg.norm(a), np.linalg.norm(b)
    return 0.0 if min(norms) < 1e-12 else float(a @ b / (norms[0] * norms[1]))


def reduced(rule, values, mean):
    """``values`` (similarity, weight) of the hypotheses that take part."""
    if rule == "S_max":
        return max(r for r, _ in values)
    total = sum(w * r for r, w in values)
    return total / sum(w for _, w in values) if mean and rule == "S_add" else total


def hypotheses(templates, weights, rule):
    """[(vector, weight, scale)] of one entry under a rule."""
    found = [
        (templates[s, m].astype(np.float64), weights[s, m], s)
        for s in range(templates.shape[0]) for m in range(templates.shape[1]) if weights[s, m] > 0
    ]
    if rule == "T_add" and found:
        return [(sum(w * t for t, w, _ in found), 1.0, -1)]
    return found


def one_score(p, g, wp, wg, rules, pairing, order, means):
    if rules[0] == "T_concat":
        scales = [s for s in range(p.shape[0]) if wp[s].any() and wg[s].any()]
        parts = [np.concatenate([np.nansum(w[s, :, None] * np.where(w[s, :, None] > 0, t[s], 0), axis=0) for s in scales])
                 if scales else None for t, w in ((p, wp), (g, wg))]
        return cosine(*parts) if scales else np.nan
    if pairing == "same_scale" and "T_add" in rules:
        alone = [one_score(p[[s]], g[[s]], wp[[s]], wg[[s]], rules, "all", order, means) for s in range(p.shape[0])]
        alone = [v for v in alone if not np.isnan(v)]
        return np.mean(alone) if alone else np.nan
    sides = [(hypotheses(p, wp, rules[0]), rules[0], means[0]), (hypotheses(g, wg, rules[1]), rules[1], means[1])]
    (outer, outer_rule, outer_mean), (inner, inner_rule, inner_mean) = sides if order == "gallery_first" else sides[::-1]
    column = []
    for a, wa, sa in outer:
        row = [(cosine(a, b), wb) for b, wb, sb in inner if pairing == "all" or -1 in (sa, sb) or sa == sb]
        if row:
            column.append((reduced(inner_rule, row, inner_mean), wa))
    return reduced(outer_rule, column, outer_mean) if column else np.nan


def reference(p, g, wp, wg, rules, pairing, order, add):
    totals = [np.unique(t[t > 0]) for t in (wp.sum((1, 2)), wg.sum((1, 2)))]
    means = [add == "mean" or (add == "auto" and len(t) > 1) for t in totals]
    return np.array([
        [one_score(p[i], g[j], wp[i], wg[j], rules, pairing, order, means) for j in range(len(g))] for i in range(len(p))
    ])


def sides(seed, p=4, g=5, scales=3, m=3, n=5, length=19, holes=True):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(k, scales, c, length)).astype(np.float32) for k, c in ((p, m), (g, n))]
    weights = [rng.integers(0, 4, a.shape[:3]).astype(float) if holes else np.ones(a.shape[:3]) for a in arrays]
    if holes:
        weights[0][1, 0], weights[1][2, 1:] = 0, 0
        weights[0][2], weights[1][3] = 0, 0
        weights[0][3, :2], weights[1][4, 2:] = 0, 0
    return *arrays, *weights


@pytest.mark.parametrize("rules", RULES, ids="-".join)
@pytest.mark.parametrize("holes", [True, False])
def test_every_rule_equals_the_loops(rules, holes):
    p, g, wp, wg = sides(len(rules[0]) + holes, holes=holes)
    for pairing, order, add in WAYS:
        got = fuse(p, g, probe=rules[0], gallery=rules[1], pairing=pairing, order=order, add=add,
                   probe_weights=wp, gallery_weights=wg)
        want = reference(p, g, wp, wg, rules, pairing, order, add)
        assert got.dtype == np.float32
        assert np.array_equal(np.isnan(got), np.isnan(want)), (pairing, order, add)
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6, err_msg=f"{pairing} {order} {add}")
    if holes:
        assert np.isnan(got[2]).all()
        assert np.isnan(got[:, 3]).all()


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), rules=st.sampled_from(RULES), way=st.sampled_from(WAYS), length=st.integers(1, 40),
       m=st.integers(1, 6), n=st.integers(1, 6), scales=st.integers(1, 3))
def test_any_shape_equals_the_loops(seed, rules, way, length, m, n, scales):
    rng = np.random.default_rng(seed)
    p, g = (rng.normal(size=(2, scales, c, length)).astype(np.float32) for c in (m, n))
    wp, wg = (rng.integers(0, 3, t.shape[:3]).astype(float) for t in (p, g))
    pairing, order, add = way
    got = fuse(p, g, rules=[rules], pairing=pairing, order=order, add=add, probe_weights=wp, gallery_weights=wg)[0]
    np.testing.assert_allclose(got, reference(p, g, wp, wg, rules, *way), rtol=1e-5, atol=1e-5)


def test_auto_is_decided_for_the_whole_side_not_per_scale():
    p, g, wp, _ = sides(5, holes=False)
    wp[0, 0, 0], wp[0, 1, 0] = 2, 0  # equal totals, but not per scale: still sums at every scale
    for rules in (("S_add", "T_add"), ("S_add", "S_max")):
        ways = {add: fuse(p, g, rules=[rules], probe_weights=wp, pairing="same_scale", add=add)[0] for add in ("auto", "sum")}
        assert np.array_equal(ways["auto"], ways["sum"])


def test_a_failed_entry_does_not_turn_sums_into_means():
    p, g, wp, _ = sides(6, holes=False)
    before = fuse(p, g)
    wp[1] = 0
    after = fuse(p, g, probe_weights=wp)
    assert np.array_equal(np.delete(after, 1, 0), np.delete(before, 1, 0))
    assert np.isnan(after[1]).all()


def test_sums_over_both_sides_are_one_dot_product():
    p, g, *_ = sides(1, holes=False)
    unit = [t.astype(np.float64) / np.linalg.norm(t, axis=-1, keepdims=True) for t in (p, g)]
    summed = [u.sum(axis=(1, 2)) for u in unit]
    np.testing.assert_allclose(fuse(p, g, probe="S_add", gallery="S_add"), summed[0] @ summed[1].T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rules", RULES, ids="-".join)
def test_multiplicities_equal_repetition(rules):
    p, g, *_ = sides(2, holes=False)
    counts = np.array([1, 3, 2])
    repeated = np.repeat(p, counts, axis=2)
    for pairing, order in product(("all", "same_scale"), ("gallery_first", "probe_first")):
        options = {"rules": [rules], "pairing": pairing, "order": order}
        short = fuse(p, g, probe_weights=np.broadcast_to(counts, (3, 3)), **options)[0]
        np.testing.assert_allclose(short, fuse(repeated, g, **options)[0], rtol=2e-6, atol=2e-6)


def test_the_order_of_the_axes_matters():
    eye = np.eye(2, dtype=np.float32)[None, None]
    assert fuse(eye, eye, add="sum")[0, 0] == 2  # sum_i max_j of the identity matrix
    one = np.array([[[[1, 0], [1, 0]]]], np.float32)
    assert fuse(eye, one, add="sum")[0, 0] == 1
    assert fuse(eye, eye[:, :, :1], add="sum", order="probe_first")[0, 0] == 1
    both = np.array([[[[1, 0], [0, 1], [0.6, 0.8]]]], np.float32)
    first, swapped = (fuse(both, eye, add="sum", order=o)[0, 0] for o in ("gallery_first", "probe_first"))
    np.testing.assert_allclose([first, swapped], [1 + 1 + 0.8, 0 + 1 + 0.8], rtol=1e-6)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), rules=st.sampled_from(RULES))
def test_permuting_hypotheses_changes_nothing(seed, rules):
    p, g, *_ = sides(seed, holes=False)
    rng = np.random.default_rng(seed)
    got = fuse(p[:, :, rng.permutation(3)], g[:, :, rng.permutation(5)], rules=[rules])[0]
    np.testing.assert_allclose(got, fuse(p, g, rules=[rules])[0], rtol=2e-6, atol=2e-6)


def test_maxima_are_at_least_every_similarity_and_pearson_ignores_affine_maps():
    p, g, *_ = sides(3, holes=False)
    top = fuse(p, g, probe="S_max", gallery="S_max")
    for i, j in np.ndindex(top.shape):
        every = [cosine(a, b) for a in p[i].reshape(-1, 19) for b in g[j].reshape(-1, 19)]
        assert top[i, j] >= max(every) - 1e-6
    plain = [Side(t, np.ones(t.shape[:3]), np.arange(len(t) + 1), per_vector=True) for t in (p, g)]
    moved = [Side((t * 3 + 7).astype(np.float32), np.ones(t.shape[:3]), np.arange(len(t) + 1), per_vector=True) for t in (p, g)]
    for rules in RULES:
        a, b = (fuse_sides(*pair, [rules])[0] for pair in (plain, moved))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    one = fuse_sides(*plain, [("S_max", "S_max")])[0]
    want = [[max(np.corrcoef(a, b)[0, 1] for a in x.reshape(-1, 19) for b in y.reshape(-1, 19)) for y in g] for x in p]
    np.testing.assert_allclose(one, want, rtol=1e-5)


def test_lists_out_float16_and_mapped_files(tmp_path):
    p, g, wp, wg = sides(4)
    many = fuse(p, g, rules=RULES, probe_weights=wp, gallery_weights=wg)
    for rules, matrix in zip(RULES, many, strict=True):
        alone = fuse(p, g, probe=rules[0], gallery=rules[1], probe_weights=wp, gallery_weights=wg)
        assert np.array_equal(alone, matrix, equal_nan=True)
    out = np.zeros((4, 5), np.float32)
    assert fuse(p, g, out=out) is out
    assert np.array_equal(out, fuse(p, g))
    half = [t.astype(np.float16) for t in (p, g)]
    for rules in RULES:
        assert np.array_equal(fuse(*half, rules=[rules])[0], fuse(*(t.astype(np.float32) for t in half), rules=[rules])[0])
    for name, array in (("p", p), ("g", half[1])):
        np.save(tmp_path / name, array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "pg"]
    assert np.array_equal(fuse(*mapped, rules=RULES), fuse(p, half[1], rules=RULES))
    assert fuse(p[:0], g).shape == (0, 5)
    assert fuse(p, g[:0], probe="T_add").shape == (4, 0)


def test_zero_templates_score_zero_and_absent_ones_are_never_read():
    p, g, *_ = sides(7, holes=False)
    zero = p.copy()
    zero[1] = 0
    for rules in RULES:
        got = fuse(zero, g, rules=[rules])[0]
        assert (got[1] == 0).all()
    for bad in (np.nan, np.inf):
        broken, weights = g.copy(), np.ones(g.shape[:3])
        broken[2, 1, 3], weights[2, 1, 3] = bad, 0
        clean = g.copy()
        clean[2, 1, 3] = 5
        for rules in RULES:
            assert np.array_equal(*(fuse(p, t, rules=[rules], gallery_weights=weights)[0] for t in (broken, clean)))
        with pytest.raises(InputError, match=r"gallery_templates\[2, 1, 3\] is not finite"):
            fuse(p, broken)
        with pytest.raises(InputError, match=r"probe_templates\[2, 1, 3\]"):
            fuse(broken, p)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"probe_templates": np.zeros((2, 3, 4))}, InputError, "float64"),
    ({"probe_templates": [[1.0]]}, InputError, "list"),
    ({"probe_templates": np.zeros((2, 3, 4), np.float32)}, InputError, "shape"),
    ({"probe_templates": np.zeros((2, 3, 0, 19), np.float32)}, InputError, "shape"),
    ({"gallery_templates": np.zeros((2, 3, 4, 18), np.float32)}, InputError, "template length"),
    ({"gallery_templates": np.zeros((2, 2, 4, 19), np.float32)}, InputError, "same scales"),
    ({"probe_weights": np.ones((3, 4))}, InputError, "probe_weights expects shape"),
    ({"gallery_weights": -np.ones((3, 5))}, InputError, "0 or more"),
    ({"gallery_weights": np.full((3, 5), np.nan)}, InputError, "finite"),
    ({"out": np.zeros((4, 5))}, InputError, "out expects"),
    ({"out": np.zeros((5, 4), np.float32)}, InputError, "out expects"),
    ({"out": np.zeros((4, 5), np.float32), "rules": RULES}, InputError, "single rule pair"),
    ({"probe": "T_concat"}, ConfigError, "both sides"),
    ({"gallery": "S_min"}, ConfigError, "gallery rule expects one of"),
    ({"rules": [("S_max", "T_concat")]}, ConfigError, "both sides"),
    ({"pairing": "none"}, ConfigError, "pairing expects"),
    ({"order": "none"}, ConfigError, "order expects"),
    ({"add": "none"}, ConfigError, "add expects"),
    ({"select": "none"}, ConfigError, "select expects"),
    ({"precision": "int4"}, ConfigError, "precision expects"),
    ({"out": np.zeros((4, 5), np.float32), "detail": True}, ConfigError, "out receives scores alone"),
    ({"threads": 0}, ConfigError, "threads expects"),
    ({"threads": "2"}, ConfigError, "threads expects a whole number of at least 1, got '2'"),
    ({"threads": 1.5}, ConfigError, "threads expects"),
    ({"rules": "S_max"}, ConfigError, "rules expects pairs of a probe rule and a gallery rule, got 'S_max'"),
    ({"rules": 5}, ConfigError, "rules expects pairs"),
    ({"rules": [{"S_max": 1, "S_add": 2}]}, ConfigError, "rules expects pairs"),
    ({"rules": [("S_max",)]}, ConfigError, "rules expects pairs"),
    ({"gallery_weights": "all"}, InputError, "gallery_weights expects multiplicities, got str"),
    ({"device": 3}, DeviceError, "device expects auto, cpu, .* got 3"),
])
def test_bad_arguments_are_named(change, error, message):
    p, g, *_ = sides(0)
    with pytest.raises(error, match=message):
        fuse(**{"probe_templates": p, "gallery_templates": g, **change})


@pytest.mark.parametrize("rules", RULES, ids="-".join)
def test_no_block_thread_or_neighbour_changes_a_bit(rules):
    p, g, wp, wg = sides(8, p=7, g=9, m=5, n=6)
    a, b = Side(p, wp, np.arange(8)), Side(g, wg, np.arange(10))
    for pairing, order in product(("all", "same_scale"), ("gallery_first", "probe_first")):
        options = {"pairing": pairing, "order": order, "add": "mean"}
        want = fuse_sides(a, b, [rules], threads=1, **options)[0]
        for block, threads in product((1, 9000, 30000), (1, 2, 4)):
            assert np.array_equal(fuse_sides(a, b, [rules], block=block, threads=threads, **options)[0], want, equal_nan=True)
        rows, columns = np.random.default_rng(0).permutation(7), np.random.default_rng(1).permutation(9)
        mixed = fuse(p[rows], g[columns], rules=[rules], probe_weights=wp[rows], gallery_weights=wg[columns], **options)[0]
        assert np.array_equal(mixed, want[rows][:, columns], equal_nan=True)
        single = fuse(p[3:4], g[5:6], rules=[rules], probe_weights=wp[3:4], gallery_weights=wg[5:6], **options)[0]
        assert np.array_equal(single, want[3:4, 5:6], equal_nan=True)


def test_eight_callers_at_once_get_the_same_bits():
    p, g, wp, wg = sides(9, p=12, g=12)
    call = lambda _: fuse(p, g, rules=RULES, probe_weights=wp, gallery_weights=wg)  # noqa: E731
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(16)))
    assert all(np.array_equal(r, results[0], equal_nan=True) for r in results)
