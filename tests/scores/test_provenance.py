"""The decomposition of a score against a brute-force one, for every rule pair."""

from itertools import product

import numpy as np
import pytest

from meetmid.scores.provenance import decompose
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side

RULES = [*product(("T_add", "S_max", "S_add"), repeat=2), ("T_concat", "T_concat")]


def present(templates, weights):
    return [(s, m, templates[0, s, m].astype(np.float64), weights[0, s, m]) for s, m in np.argwhere(weights[0] > 0)]


def unit(v):
    return v / np.linalg.norm(v)


def parts_of(p, g, rules, order):
    """{(i, j): what the pair adds} of one score over all pairs of the given hypotheses; S_add is a mean."""
    if order == "probe_first":
        return {(i, j): v for (j, i), v in parts_of(g, p, rules[::-1], "gallery_first").items()}
    sums = [sum(w * t for _, _, t, w in side) for side in (p, g)]

    def vector(side, rule, total):
        _, _, template, weight = side
        return weight * template / np.linalg.norm(total) if rule == "T_add" else unit(template)

    r = {(i, j): vector(a, rules[0], sums[0]) @ vector(b, rules[1], sums[1]) for i, a in enumerate(p) for j, b in enumerate(g)}
    rows = range(len(p))
    if rules[1] == "S_add":
        mass = sum(b[3] for b in g)
        r = {(i, j): v * g[j][3] / mass for (i, j), v in r.items()}
    elif rules[1] == "S_max" and rules[0] == "T_add":
        best = max(range(len(g)), key=lambda j: sum(r[i, j] for i in rows))
        r = {(i, best): r[i, best] for i in rows}
    elif rules[1] == "S_max":
        r = {(i, j): r[i, j] for i in rows for j in [max(range(len(g)), key=lambda j: r[i, j])]}
    if rules[0] == "S_add":
        mass = sum(a[3] for a in p)
        r = {(i, j): v * p[i][3] / mass for (i, j), v in r.items()}
    elif rules[0] == "S_max":
        best = max(rows, key=lambda i: sum(v for (k, _), v in r.items() if k == i))
        r = {(i, j): v for (i, j), v in r.items() if i == best}
    return r


def brute(p, g, rules, pairing, order):
    """What every pair adds to the score (A, B)."""
    added = np.zeros((len(p), len(g)))
    if rules[0] == "T_concat":
        both = {s for s, *_ in p} & {s for s, *_ in g}
        norms = []
        for side in (p, g):
            sums = [sum(w * t for s, _, t, w in side if s == scale) for scale in both]
            norms.append(np.linalg.norm(np.concatenate(sums)))
        for (i, a), (j, b) in product(enumerate(p), enumerate(g)):
            if a[0] == b[0]:
                added[i, j] = a[3] * b[3] * (a[2] @ b[2]) / (norms[0] * norms[1])
        return added
    if pairing == "all":
        for where, value in parts_of(p, g, rules, order).items():
            added[where] = value
        return added
    scales = sorted({s for s, *_ in p} & {s for s, *_ in g})
    if "T_add" in rules:
        for scale in scales:
            rows, columns = ([k for k, v in enumerate(side) if v[0] == scale] for side in (p, g))
            for (i, j), value in parts_of([p[k] for k in rows], [g[k] for k in columns], rules, order).items():
                added[rows[i], columns[j]] = value / len(scales)
        return added
    outer, inner = (p, g) if order == "gallery_first" else (g, p)
    outer_rule, inner_rule = rules if order == "gallery_first" else rules[::-1]
    table = {}
    for i, a in enumerate(outer):
        row = {j: unit(a[2]) @ unit(b[2]) for j, b in enumerate(inner) if b[0] == a[0]}
        if row and inner_rule == "S_max":
            j = max(row, key=row.get)
            table[i] = {j: row[j]}
        elif row:
            mass = sum(inner[j][3] for j in row)
            table[i] = {j: v * inner[j][3] / mass for j, v in row.items()}
    if outer_rule == "S_max":
        best = max(table, key=lambda i: sum(table[i].values()))
        table = {best: table[best]}
    mass = sum(outer[i][3] for i in table)
    for i, row in table.items():
        for j, value in row.items():
            share = value if outer_rule == "S_max" else value * outer[i][3] / mass
            added[(i, j) if order == "gallery_first" else (j, i)] = share
    return added


@pytest.mark.parametrize("rules", RULES, ids="-".join)
@pytest.mark.parametrize("order", ["gallery_first", "probe_first"])
@pytest.mark.parametrize("pairing", ["all", "same_scale"])
def test_shares_are_the_exact_parts_of_the_score(rules, pairing, order):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        p, g = (rng.normal(0.3, 1, (1, 3, m, 9)).astype(np.float32) for m in (2, 3))
        wp, wg = (rng.integers(0, 3, t.shape[:3]).astype(float) for t in (p, g))
        wp[0, 1, 0] = wg[0, 1, 0] = 2
        if seed % 3 == 0:
            wp[0, 0] = 0
        a, b = Side(p, wp, np.array([0, 1])), Side(g, wg, np.array([0, 1]))
        score = float(fuse_sides(a, b, [rules], pairing=pairing, order=order, add="mean")[0][0, 0])
        found = decompose(a, b, probe_rule=rules[0], gallery_rule=rules[1], pairing=pairing, order=order)
        rows, columns = present(p, wp), present(g, wg)
        added = brute(rows, columns, rules, pairing, order)
        np.testing.assert_allclose(added.sum(), score, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.share.sum(), 1, rtol=1e-9)
        np.testing.assert_allclose(found.share * added.sum(), added, rtol=1e-6, atol=1e-9)
        named = (found.scale_probe, found.slot_probe), (found.scale_gallery, found.slot_gallery)
        for side, pair in zip((rows, columns), named, strict=True):
            assert np.array_equal(np.transpose(pair), [v[:2] for v in side])
        for i, j in np.ndindex(added.shape):
            takes_part = rows[i][0] == columns[j][0] or (pairing == "all" and rules[0] != "T_concat")
            want = unit(rows[i][2]) @ unit(columns[j][2]) if takes_part else np.nan
            np.testing.assert_allclose(found.similarity[i, j], want, rtol=1e-9, atol=1e-12)
        contributing = np.where(added != 0, np.nan_to_num(found.similarity, nan=-9), -np.inf)
        assert contributing[found.winner] == contributing.max()
        if rules == ("S_max", "S_max"):
            np.testing.assert_allclose(found.similarity[found.winner], score, rtol=1e-6)


def test_a_side_without_hypotheses_or_common_scale_has_no_decomposition():
    templates = np.ones((1, 2, 1, 3), np.float32)
    only = [Side(templates, np.eye(2)[None, [k]].transpose(0, 2, 1), np.array([0, 1])) for k in (0, 1)]
    empty = Side(templates, np.zeros((1, 2, 1)), np.array([0, 1]))
    rules = {"probe_rule": "S_add", "gallery_rule": "S_max", "order": "gallery_first"}
    assert decompose(empty, only[0], pairing="all", **rules) is None
    assert decompose(only[0], empty, pairing="all", **rules) is None
    assert decompose(only[0], only[1], pairing="same_scale", **rules) is None
    assert decompose(only[0], only[1], pairing="all", **rules) is not None
