"""Scores of chosen hypotheses against fusion itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from meetmid.errors import InputError
from meetmid.evaluation.choices import Choice, Grower, Run
from meetmid.evaluation.ladder import masked_side
from meetmid.scores.normalisation import root_mean_squares
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side
from meetmid.templates.pool import TemplatePool

RULES = list(product(("T_add", "S_add", "S_max"), repeat=2))


def pool(rng: np.random.Generator, counts: list[int], scales: int, slots: int, length: int = 7) -> TemplatePool:
    """Templates with an offset, some hypotheses absent, some counted twice."""
    pictures = sum(counts)
    weights = rng.choice([0.0, 1.0, 2.0], (pictures, scales, slots), p=[0.2, 0.6, 0.2]).astype(np.float32)
    templates = (rng.normal(size=(pictures, scales, slots, length)) + 0.5).astype(np.float32)
    return TemplatePool(templates, weights, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def sides(seed: int = 0) -> tuple[TemplatePool, TemplatePool]:
    rng = np.random.default_rng(seed)
    probes, gallery = pool(rng, [1, 2, 1, 1, 3], 3, 2), pool(rng, [1, 1, 2, 1], 3, 5)
    probes.weights[0] = 0.0  # a failed probe
    gallery.weights[1] = 0.0
    return probes, gallery


def run_of(probes: TemplatePool, gallery: TemplatePool, **options: object) -> Run:
    return Run(probes, gallery, tuple("abcda"), tuple("abcd"), **options)


def masks(rng: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    found = rng.random((count, *shape)) < 0.3
    found[:, 0, 0] = True  # they overlap
    return found


@pytest.mark.parametrize("centring", ["none", "vector", "set", "means"])
@pytest.mark.parametrize("side", ["probe", "gallery"])
@pytest.mark.parametrize("rules", RULES)
def test_growing_gives_what_fusion_gives_for_the_masks(rules, side: str, centring: str) -> None:
    probes, gallery = sides()
    rng = np.random.default_rng(1)
    own = probes if side == "probe" else gallery
    shape, other_shape = own.weights.shape[1:], (gallery if side == "probe" else probes).weights.shape[1:]
    candidates, kept, other = masks(rng, shape, 3), masks(rng, shape, 1)[0], rng.random(other_shape) < 0.7
    other[0, 0] = True
    means = tuple(rng.normal(size=(3, 7)).astype(np.float32) for _ in range(2))
    run = run_of(probes, gallery, centring=means if centring == "means" else centring)
    grower = Grower(run, Choice(side, ("x", "y", "z"), candidates, kept, other, rules))
    state, mask = grower.start(), kept.copy()
    for step in range(4):
        if step:
            state, mask = grower.grown(state, candidates[step - 1]), mask | candidates[step - 1]
        both = (mask, other) if side == "probe" else (other, mask)
        if centring == "means":
            p, g = (Side(q.templates, q.weights * m, q.first, means=mean)
                    for q, m, mean in zip((probes, gallery), both, means, strict=True))
        else:
            p, g = (masked_side(q, centring, m.astype(float)) for q, m in zip((probes, gallery), both, strict=True))
        expected = fuse_sides(p, g, [rules], add="mean")[0]
        found = grower.scores(state)
        assert found.dtype == np.float32
        assert (np.isnan(found) == np.isnan(expected)).all()
        assert np.isnan(found[0]).all()
        assert np.isnan(found[:, 1]).all()
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("side", ["probe", "gallery"])
@pytest.mark.parametrize("rules", [r for r in RULES if r[1] != "S_max"])
def test_a_cohorts_moment_divides_the_scores_as_the_matcher_does(rules, side: str) -> None:
    probes, gallery = sides(2)
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(7, 7)).astype(np.float32)
    moment = factor @ factor.T
    shape = (probes if side == "probe" else gallery).weights.shape[1:]
    other = np.ones((gallery if side == "probe" else probes).weights.shape[1:], bool)
    choice = Choice(side, ("x",), np.ones((1, *shape), bool), masks(rng, shape, 1)[0], other, rules)
    grower = Grower(run_of(probes, gallery, centring="none", moment=moment), choice)
    found = grower.scores(grower.grown(grower.start(), choice.masks[0]))
    p, g = (Side(q.templates, q.weights, q.first) for q in (probes, gallery))
    expected = fuse_sides(p, g, [rules], add="mean")[0]
    expected = expected / root_mean_squares(g.added(limit=2**20, unit=rules[1] == "S_add"), moment)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    probes, gallery = sides()
    ones = np.ones((3, 5), bool)
    with pytest.raises(InputError, match="subjects of 5 probe entries, got 2"):
        Run(probes, gallery, ("a", "b"), tuple("abcd"))
    with pytest.raises(InputError, match="a mate in the gallery, got none"):
        Run(probes, gallery, tuple("vwxyz"), tuple("abcd"))
    with pytest.raises(InputError, match="T_concat"):
        Choice("gallery", ("x",), ones[None], ones, ones, ("T_concat", "T_concat"))
    with pytest.raises(InputError, match="distinct names"):
        Choice("gallery", ("x", "x"), np.stack([ones, ones]), ones, ones)
    with pytest.raises(InputError, match="masks of"):
        Choice("gallery", ("x", "y"), ones[None], ones, ones)
    with pytest.raises(InputError, match="hypotheses on both sides"):
        Choice("gallery", ("x",), ones[None], ones, ~ones)
    with pytest.raises(InputError, match="masks of the other side"):
        Grower(run_of(probes, gallery), Choice("gallery", ("x",), ones[None], ones, ones))
    choice = Choice("gallery", ("x",), ones[None], ones, np.ones((3, 2), bool), ("S_add", "S_max"))
    with pytest.raises(InputError, match="moment expects a gallery rule of T_add or S_add"):
        Grower(run_of(probes, gallery, moment=np.eye(7, dtype=np.float32)), choice)
