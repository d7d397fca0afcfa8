"""Ways to compute the same similarities: bits against neighbours, screened and byte products against float64."""

from __future__ import annotations

import json
from itertools import product as every
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetmid.errors import ConfigError, InputError
from meetmid.scores import scoring, screening
from meetmid.scores.fusion import fuse
from meetmid.scores.scoring import Fused, fuse_sides
from meetmid.scores.screening import Bytes
from meetmid.scores.side import Side

S = (("S_add", "S_max"), ("S_max", "S_max"), ("T_add", "S_max"))


def unit(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    return np.where(norms >= 1e-12, wide / np.maximum(norms, 1e-300), 0.0)


def alike(
    seed: int, p: int = 3, g: int = 4, m: int = 5, n: int = 60, length: int = 48, scales: int = 2
) -> tuple[np.ndarray, ...]:
    """Sides as real ones are: hypotheses of one face are near each other."""
    rng = np.random.default_rng(seed)
    faces = rng.normal(size=(g, 1, 1, length))
    gallery = faces + 0.5 * rng.normal(size=(g, scales, n, length))
    probe = faces[rng.integers(0, g, p)] + 0.8 * rng.normal(size=(p, scales, m, length))
    return probe.astype(np.float32), gallery.astype(np.float32)


def similarities(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """(P, S M, G, S N) in float64."""
    a, b = (unit(t).reshape(len(t), -1, t.shape[-1]) for t in (p, g))
    return np.einsum("pmd,gnd->pmgn", a, b)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 40), st.booleans())
def test_quantised_rows_and_what_they_leave_are_the_rows(seed: int, length: int, count: int, signed: bool) -> None:
    rows = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    rows[0] = 0
    found = Bytes.of(rows, signed=signed)
    assert found.levels.shape == (count, -(-length // 4) * 4)
    assert not found.levels[:, length:].any()
    levels = found.levels[:, :length].astype(np.int64) - (0 if signed else 128)
    assert np.abs(levels).max() <= 127
    made = levels * found.scale[:, None].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(rows - made, axis=1), found.error, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), found.norm, rtol=1e-9)
    assert (np.abs(rows - made) <= 0.5001 * found.scale[:, None] + 1e-12).all()


@pytest.mark.parametrize("rules", S, ids="-".join)
@pytest.mark.parametrize("way", list(every(("all", "same_scale"), ("gallery_first", "probe_first"))), ids=" ".join)
def test_screening_is_exact_and_bytes_keep_their_bound(rules, way) -> None:
    rules = rules if way[1] == "gallery_first" else rules[::-1]
    p, g = alike(3)
    weights = np.random.default_rng(0).integers(0, 3, g.shape[:3]).astype(float)
    weights[1] = 0
    for add in ("sum", "mean"):
        options = {"rules": [rules], "pairing": way[0], "order": way[1], "gallery_weights": weights, "add": add, "detail": True}
        exact, screened, rounded = (fuse(p, g, precision=k, **options)[0] for k in ("float32", "screened", "int8"))
        assert isinstance(exact, Fused)
        np.testing.assert_allclose(screened.scores, exact.scores, rtol=1e-6, atol=1e-6)
        if exact.winners is not None:
            assert np.array_equal(screened.winners, exact.winners)
            assert rounded.bound is not None
            off = np.abs(rounded.scores - exact.scores)
            assert (off[:, [0, 2, 3]] <= rounded.bound[:, [0, 2, 3]]).all()
            assert np.isnan(off[:, 1]).all()
            assert np.nanmax(off) > 1e-5  # bytes do cost something


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32), m=st.integers(1, 70), n=st.integers(1, 70), length=st.integers(1, 50),
    kind=st.sampled_from(["plain", "equal", "near ties", "tiny", "huge", "zero", "one hot"]),
)
def test_winners_are_maxima_in_float64_for_adversarial_sides(seed: int, m: int, n: int, length: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    p, g = (rng.normal(size=(2, 1, count, length)) for count in (m, n))
    if kind == "equal":
        g[:] = g[:, :, :1]
    elif kind == "near ties":  # closer than bytes can tell apart
        g = g[:, :, :1] + 1e-5 * g
    elif kind in ("tiny", "huge"):
        p, g = (t * (1e-10 if kind == "tiny" else 1e15) for t in (p, g))
    elif kind == "zero":
        p[0], g[:, :, 0] = 0, 0
    elif kind == "one hot":
        p, g = (np.eye(length)[rng.integers(0, length, t.shape[:3])] for t in (p, g))
    p, g = p.astype(np.float32), g.astype(np.float32)
    every_one = similarities(p, g)
    for precision in ("float32", "screened"):
        found = fuse(p, g, precision=precision, detail=True, add="sum")
        assert found.winners is not None
        chosen = np.take_along_axis(every_one, found.winners.reshape(2, m, 2)[..., None], axis=3)[..., 0]
        np.testing.assert_array_less(every_one.max(axis=3) - chosen, 1e-6)
        np.testing.assert_allclose(found.scores, every_one.max(axis=3).sum(axis=1), rtol=1e-6, atol=2e-6 * m)
    if kind in ("equal", "one hot"):
        assert np.array_equal(found.winners.reshape(2, m, 2), every_one.argmax(axis=3))  # ties: the first


@pytest.mark.parametrize("engine", ["float32", "screened", "int8"])
def test_no_block_thread_or_neighbour_changes_a_bit_or_a_winner(engine: str) -> None:
    p, g = alike(5, p=6, g=5, m=7, n=33)
    weights = np.random.default_rng(1).integers(0, 2, g.shape[:3]).astype(float)
    a, b = Side(p, np.ones(p.shape[:3]), np.arange(7)), Side(g, weights, np.arange(6))
    for pairing, rules in every(("all", "same_scale"), S[:2]):
        found = []
        for block, threads in ((2**26, 1), (2**26, 3), (1, 1), (5000, 2), (40000, 4)):
            way = scoring.way_of(a, b, pairing, "gallery_first", "mean", threads, block=block, precision=engine)
            found.append(scoring.fused(a, b, rules, way))
        for other in found[1:]:
            assert np.array_equal(other.scores, found[0].scores, equal_nan=True)
            if engine != "int8":
                assert np.array_equal(other.winners, found[0].winners)
        options = {"rules": [rules], "pairing": pairing, "precision": engine, "add": "mean"}
        one = fuse(p[2:3], g[3:4], gallery_weights=weights[3:4], **options)[0]
        assert np.array_equal(one, found[0].scores[2:3, 3:4])


def test_winners_of_a_cut_entry_are_counted_from_its_beginning() -> None:
    p, g = alike(8, p=2, g=2, m=3, n=40)
    want = similarities(p, g).argmax(axis=3).reshape(2, 2, 3, 2)
    assert np.array_equal(fuse(p, g, detail=True).winners, want)
    swapped = fuse(p, g, detail=True, order="probe_first", probe="S_max", gallery="S_add").winners
    assert np.array_equal(swapped, similarities(g, p).argmax(axis=3).reshape(2, 2, 40, 2))
    same = fuse(p, g, detail=True, pairing="same_scale").winners
    assert np.array_equal(same[:, 0] // 40, np.zeros((2, 3, 2)))
    assert np.array_equal(same[:, 1] // 40, np.ones((2, 3, 2)))
    absent = fuse(p, g, detail=True, gallery_weights=np.array([np.ones((2, 40)), np.zeros((2, 40))])).winners
    assert (absent[..., 1] == -1).all()
    assert fuse(p, g, gallery="S_add", detail=True).winners is None


def test_unit_templates_are_compared_as_they_are() -> None:
    p, g = (unit(t).astype(np.float32) for t in alike(2))
    for precision in ("float32", "screened"):
        np.testing.assert_allclose(fuse(p, g, unit=True, precision=precision), fuse(p, g, precision=precision), atol=2e-6)
    half = [t.astype(np.float16) for t in (p, g)]
    longer = fuse(2 * half[0], half[1], unit=True, precision="screened")
    np.testing.assert_allclose(longer, 2 * fuse(*half, unit=True), rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "screened", "int8"])
@pytest.mark.parametrize("are_unit", [False, True])
def test_what_is_not_finite_is_named_by_every_way(precision: str, are_unit: bool) -> None:
    p, g = alike(1)
    for value in (np.nan, np.inf, -np.inf):
        broken = g.copy()
        broken[2, 1, 7, 3] = value
        with pytest.raises(InputError, match=r"gallery_templates\[2, 1, 7\] is not finite"):
            fuse(p, broken, precision=precision, unit=are_unit)
        with pytest.raises(InputError, match=r"probe_templates\[2, 1, 7\] is not finite"):
            fuse(broken, p, precision=precision, unit=are_unit)


def test_templates_that_are_not_of_unit_length_though_said_so_are_refused_where_they_overflow() -> None:
    p, g = alike(1)
    with pytest.raises(InputError, match="unit=True expects templates of unit length"):
        fuse(p * np.float32(1e25), g * np.float32(1e25), unit=True)


@pytest.mark.parametrize("precision", ["float32", "screened", "int8"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("hypotheses", [5, 9, 40])
def test_a_single_similarity_beyond_float32_is_refused_wherever_it_is(precision, sign, hypotheses) -> None:
    for row, column in ((0, 0), (1, 7), (hypotheses - 1, 30)):
        p, g = (np.zeros((2, 1, count, 40), np.float32) for count in (41, hypotheses))
        p[..., 0] = g[..., 0] = 1
        p[1, 0, column, 1] = 1e30
        assert np.isfinite(fuse(p, g, precision=precision, unit=True)).all()
        g[1, 0, :, 1] = -1e30  # all of it lies below, so that nothing is left of the column
        g[1, 0, row, 1] = sign * 1e30
        with pytest.raises(InputError, match="unit=True expects templates of unit length"):
            fuse(p, g, precision=precision, unit=True)


def test_auto_is_float32_for_small_sides_and_the_faster_for_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    p, g = alike(4)
    assert np.array_equal(fuse(p, g), fuse(p, g, precision="float32"))
    a, b = (Side(t, np.ones(t.shape[:3]), np.arange(len(t) + 1)) for t in (p, g))
    large = [Side(np.broadcast_to(s.templates[:1, :1, :1], (n, 1, m, 48)), np.broadcast_to(1.0, (n, 1, m)), np.arange(n + 1))
             for s, n, m in ((a, 1000, 48), (b, 200, 4389))]
    for gain, want in ((4.0, "screened"), (1.5, "float32")):
        monkeypatch.setattr(screening, "bytes_gain", lambda gain=gain: gain)
        assert screening.quickest(a, b, "gallery_first") == "float32"
        assert screening.quickest(*large, "gallery_first") == want
        assert screening.quickest(*large, "probe_first") == "float32"  # 48 hypotheses an entry: nothing to screen


@pytest.mark.parametrize("precision", ["screened", "int8"])
def test_templates_whose_products_of_bytes_would_overflow_are_refused(precision) -> None:
    longest = np.ones((1, 1, 1, screening.LONGEST), np.float32)
    np.testing.assert_allclose(fuse(longest, longest, precision=precision), 1.0, atol=1e-4)
    with pytest.raises(ConfigError, match=f"at most {screening.LONGEST} components"):
        fuse(*[np.ones((1, 1, 1, screening.LONGEST + 1), np.float32)] * 2, precision=precision)


def test_the_gain_of_bytes_is_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    screening.bytes_gain.cache_clear()
    first = screening.bytes_gain()
    assert first > 0
    (file,) = tmp_path.rglob("products.json")
    known = json.loads(file.read_text())
    assert list(known.values()) == [first]
    file.write_text(json.dumps(dict.fromkeys(known, 7.5)))
    screening.bytes_gain.cache_clear()
    assert screening.bytes_gain() == 7.5
    file.write_text("damaged")
    screening.bytes_gain.cache_clear()
    assert screening.bytes_gain() > 0
    monkeypatch.setattr(Path, "home", lambda: Path("/proc/nowhere"))
    screening.bytes_gain.cache_clear()
    assert screening.bytes_gain() > 0
    screening.bytes_gain.cache_clear()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("precision", ["float32", "screened", "int8"])
def test_zero_probes_score_zero_and_nothing_against_absent_portraits(precision: str) -> None:
    p, g = alike(9)
    p[1], weights = 0, np.ones(g.shape[:3])
    weights[2] = 0
    found = fuse(p, g, precision=precision, gallery_weights=weights)
    assert (found[1, [0, 1, 3]] == 0).all()
    assert np.isnan(found[:, 2]).all()
    assert not np.isnan(found[:, [0, 1, 3]]).any()


def test_rules_of_the_same_maxima_take_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    p, g = alike(7)
    calls = []
    passing = scoring.reduce_sides
    monkeypatch.setattr(scoring, "reduce_sides", lambda a, b, task, outers, met=None: (
        calls.append((b.weights.size, len(outers))), passing(a, b, task, outers, met))[1])
    rules = list(every(("T_add", "S_max", "S_add"), repeat=2))
    whole = fuse(p, g, rules=rules)
    assert sorted(calls, reverse=True)[:3] == [(g[..., 0].size, 2), (g[..., 0].size, 1), (4, 1)]  # others are small products
    for pair, scores in zip(rules, whole, strict=True):
        assert np.array_equal(scores, fuse(p, g, rules=[pair])[0])


def test_sides_of_pools_are_exact() -> None:
    p, g = alike(6)
    a, b = (Side(t, np.ones(t.shape[:3]), np.arange(len(t) + 1)) for t in (p, g))
    assert np.array_equal(fuse_sides(a, b, [S[0]], add="sum")[0], fuse(p, g, precision="float32", add="sum"))
