"""Accuracy over folds against a search of every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.errors import InputError
from meetmid.evaluation import fold_accuracy, wilson


@given(st.integers(0, 10**6))
def test_each_fold_is_decided_by_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, mated, folds = rng.choice([0.0, 0.1, 0.2, 0.4, np.nan], 40), rng.random(40) < 0.5, np.arange(40) % 4
    found = fold_accuracy(scores, mated, folds)
    right = 0
    for k, threshold in enumerate(found.thresholds):
        others, test = folds != k, folds == k

        def correct(t: float, of: np.ndarray) -> int:
            return int((((scores > t) == mated) & ~np.isnan(scores))[of].sum())

        assert correct(threshold, others) == max(correct(t, others) for t in (-1.0, 0.05, 0.15, 0.3, 0.5))
        hits = int(((scores > threshold) == mated)[test].sum())
        assert found.accuracies[k] == hits / 10
        right += hits
    assert (found.right, found.n) == (right, 40)
    assert found.interval == wilson(right, 40)
    assert found.mean == pytest.approx(found.accuracies.mean())
    assert found.standard_error == pytest.approx(np.std(found.accuracies, ddof=1) / 2)


def test_unusable_folds_are_refused() -> None:
    with pytest.raises(InputError, match="at least two folds, got 1"):
        fold_accuracy([0.0, 1.0], np.array([False, True]), [0, 0])
    with pytest.raises(InputError, match=r"mated \(bool\)"):
        fold_accuracy([0.0, 1.0], [0, 1], [0, 1])
    with pytest.raises(InputError, match="failures only"):
        fold_accuracy([np.nan, 1.0], np.array([False, True]), [0, 1])
