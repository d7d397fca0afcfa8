"""Progressive comparison: the best of all, without all."""

import numpy as np
import pytest

from meetmid.scores.progressive import LEAST, progressive


class Counted:
    """Gives the full scores that it is asked for, and counts."""

    def __init__(self, full):
        self.full, self.compared = full, np.zeros(full.shape, int)

    def __call__(self, wanted):
        for entry, probes in wanted.items():
            self.compared[probes, entry] += 1
            yield entry, probes, self.full[probes, entry]


def scores(probes, portraits, spread, seed=0):
    """Cheap scores, and full ones that gain 0.2 on them, more or less."""
    rng = np.random.default_rng(seed)
    cheap = rng.normal(0, 0.1, (probes, portraits)).astype(np.float32)
    return cheap, (cheap + rng.normal(0.2, spread, cheap.shape)).astype(np.float32)


def best(rows, k):
    return np.argsort(-np.where(np.isnan(rows), -np.inf, rows), axis=1, kind="stable")[:, :k]


def test_the_best_are_found_with_a_part_of_the_comparisons():
    cheap, full = scores(40, 3000, 0.02)
    exact = Counted(full)
    found = progressive(cheap, 5, 1e-3, exact)
    assert np.array_equal(best(found, 5), best(full, 5))
    assert np.array_equal(np.isfinite(found), exact.compared == 1)
    assert np.array_equal(found[exact.compared == 1], full[exact.compared == 1])
    assert exact.compared.sum() < 0.2 * full.size


def test_misses_are_about_as_rare_as_they_are_said_to_be():
    missed = 0
    for seed in range(20):
        cheap, full = scores(50, 400, 0.05, seed)
        missed += int((best(progressive(cheap, 1, 0.05, Counted(full)), 1) != best(full, 1)).sum())
    assert missed <= 2 * 0.05 * 1000


def test_worse_cheap_scores_cost_more_and_no_chance_costs_everything():
    cheap, full = scores(10, 500, 0.02)
    _, wild = scores(10, 500, 0.3)
    few, many, all_of_them = Counted(full), Counted(wild), Counted(full)
    progressive(cheap, 3, 1e-3, few)
    progressive(cheap, 3, 1e-3, many)
    assert np.array_equal(progressive(cheap, 3, 0, all_of_them), full)
    assert few.compared.sum() < many.compared.sum()
    assert (all_of_them.compared == 1).all()


@pytest.mark.parametrize("portraits", [1, 3, LEAST, LEAST + 1])
def test_few_portraits_and_those_without_scores(portraits):
    cheap, full = scores(3, portraits, 0.02)
    cheap[1], full[:, 0], cheap[:, 0] = np.nan, np.nan, np.nan
    found = progressive(cheap, 10, 1e-3, Counted(full))
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 0]).all()
    assert np.array_equal(found[[0, 2], 1:], full[[0, 2], 1:])


def test_a_full_score_that_fails_does_not_end_the_search():
    cheap, full = scores(2, 200, 0.01)
    top = best(cheap, 5)[0]
    full[0, top] = np.nan
    found = progressive(cheap, 2, 1e-3, Counted(full))
    assert np.array_equal(best(found, 2), best(full, 2))
