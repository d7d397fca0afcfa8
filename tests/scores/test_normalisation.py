"""The Z-norm of a match against the cohort's scores themselves, one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meetmid.errors import ConfigError
from meetmid.scores.normalisation import root_mean_squares
from meetmid.scores.side import Side
from meetmid.templates.centering import ReferenceMeans, pool_moment
from meetmid.templates.pool import TemplatePool


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("at_unit", [True, False])
def test_the_second_moment_gives_the_root_mean_square_of_the_cohorts_scores(at_unit):
    rng = np.random.default_rng(3)
    cohort, portraits = unit(rng.normal(size=(700, 8))), rng.normal(size=(300, 8)).astype(np.float32)
    weights = np.ones((300, 1, 1))
    weights[7] = 0
    side = Side(portraits[:, None, None], weights, np.arange(301), normalised=at_unit)
    got = root_mean_squares(side, (cohort.T @ cohort / 700).astype(np.float32))
    rows = unit(portraits.astype(np.float64)) if at_unit else portraits
    want = [np.sqrt(np.mean([(u @ row) ** 2 for u in cohort])) for row in rows]
    want[7] = 1.0
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert np.array_equal(root_mean_squares(side, np.zeros((8, 8), np.float32))[:3], np.full(3, 1e-6, np.float32))


def test_absent_probes_are_no_part_of_the_moment_and_two_are_needed():
    rng = np.random.default_rng(4)
    templates, weights = rng.normal(size=(9, 2, 3, 5)).astype(np.float32), np.ones((9, 2, 3), np.float32)
    weights[2, 0, 0] = 0
    pool, means = TemplatePool(templates, weights, np.arange(10)), rng.normal(size=(2, 5)).astype(np.float32)
    rows = [unit(templates[k, 0, 0].astype(np.float64) - means[0]) for k in range(9) if k != 2]
    np.testing.assert_allclose(pool_moment(pool, means), np.mean([np.outer(r, r) for r in rows], axis=0), atol=1e-6)
    weights[1:, 0, 0] = 0
    assert pool_moment(pool, means) is None


@pytest.mark.parametrize(("probe_rule", "gallery_rule"), [("T_add", "T_add"), ("S_add", "T_add"), ("S_max", "S_add")])
def test_scores_of_a_match_are_those_without_by_what_the_cohort_scores(small, face, probe_rule, gallery_rule, tmp_path):
    options = {"centering": "reference", "probe_rule": probe_rule, "gallery_rule": gallery_rule, "portrait_weight": 2}
    probes, portraits = [face(k, 20) for k in range(3)], [face(k, 48) for k in range(4)]
    cohort = [face(k, 20) for k in range(50, 56)]
    with small(**options) as plain:
        means = plain.learn_means(cohort, [face(k, 48) for k in range(50, 56)])
    means.save(tmp_path / "means.npz")
    with small(**options, reference=means) as plain:
        without, gallery = plain.match(probes, portraits).scores, plain.enroll(portraits)
        seen = [plain.comparison.sides([crop], gallery, None)[0][1:] for crop in cohort]
    with small(**options, reference=tmp_path / "means.npz", score_norm="z") as matcher:
        got = matcher.match(probes, gallery)
        assert got.explain(0, 1).score == got.scores[0, 1]
    alone = [np.float64(p.templates[0, 0, 0] - p.means[0]) for p, _ in seen]
    g = seen[0][1]
    assert np.array_equal(g.weights[0, 0, :3], [2, 2, 2])
    for column in range(4):
        rows = np.concatenate([g.templates[column, s][g.weights[column, s] > 0] - g.means[s] for s in range(3)])
        weights = np.concatenate([g.weights[column, s][g.weights[column, s] > 0] for s in range(3)])
        added = unit((rows * weights[:, None]).sum(axis=0))
        fused = added if gallery_rule == "T_add" else np.average(unit(rows), axis=0, weights=weights)
        scale = np.sqrt(np.mean([(unit(u) @ fused) ** 2 for u in alone]))
        np.testing.assert_allclose(got.scores[:, column], without[:, column] / scale, rtol=1e-3)


def test_a_portrait_without_a_score_stays_without_and_means_without_a_moment_are_refused(small, face):
    options = {"centering": "reference", "gallery_rule": "T_add", "score_norm": "z"}
    with small(**options) as matcher:
        means = matcher.learn_means([face(1, 20), face(2, 20)], [face(3, 48)])
        one = matcher.learn_means([face(1, 20)], [face(3, 48)])
    assert one.moment is None
    assert one.digest == ReferenceMeans(one.matcher, one.scales, one.probe, one.gallery, one.conditions).digest
    assert means.digest != replace(means, moment=None).digest
    with small(**options, reference=means) as matcher:
        scores = matcher.match([face(4, 20)], [b"no picture", face(5, 48)]).scores
    assert np.isnan(scores[0, 0])
    assert np.isfinite(scores[0, 1])
    with small(**options, reference=one) as matcher, pytest.raises(ConfigError, match="second moment"):
        matcher.match([face(4, 20)], [face(5, 48)])


def test_degraded_portraits_are_seen_by_the_network_of_the_probes(small, face, make_matcher, tmp_path):
    cards = [make_matcher(tmp_path / name, seed=k, name=name, space="s") for k, name in enumerate(("far", "near"))]
    portraits = [face(k, 48) for k in range(3)]
    for scales in ((), (2,)):
        options = {"matcher": cards[0], "gallery_matcher": cards[1], "scales": scales, "portrait_weight": 3}
        with small(**options) as by_gallery:
            near = by_gallery.enroll(portraits)
        with small(**{**options, "gallery_matcher": cards[0]}) as by_probe:
            far = by_probe.enroll(portraits)
        with small(**options, degraded_by="probe") as matcher:
            got = matcher.enroll(portraits)
            assert matcher.match(portraits[:1], got).scores.shape == (1, 3)
            with pytest.raises(Exception, match="enrolled with matcher"):
                matcher.match(portraits[:1], near)
            plan = matcher.plan(2, 3)
        own = len(got.layouts.each[0].identities)
        want = far.pool.templates.copy()
        want[:, 0, :own] = near.pool.templates[:, 0, :own]
        np.testing.assert_allclose(got.pool.templates, want, atol=1e-5)
        assert (got.pool.weights[:, 0, :own] == 3).all()
        assert set(np.unique(got.pool.weights)) <= {0, 1, 3}
        assert plan.gallery_templates == 3 * got.layouts.networks_runs()
    other = make_matcher(tmp_path / "other", name="other", space="s", alignment="arcface-96x112")
    with pytest.raises(ConfigError, match="aligned alike"):
        small(matcher=cards[0], gallery_matcher=other, degraded_by="probe")
