"""The figures on the model cards are computed without leakage and by the rule they state."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes.figures import accuracy, pairs

NAMES = [f"P{person:02d}/{k}.jpg" for person in range(40) for k in range(2 + person % 3)]


def test_pairs_are_half_mated_and_no_person_is_in_two_folds() -> None:
    index, mated, fold = pairs(NAMES, 50, seed=3)
    people = np.array([name.split("/")[0] for name in NAMES])
    assert mated.sum() == 50
    assert len(mated) == 100
    assert ((people[index[:, 0]] == people[index[:, 1]]) == mated).all()
    assert (index[:, 0] != index[:, 1]).all()
    seen: dict[str, int] = {}
    for (a, b), k in zip(index, fold, strict=True):
        for person in (people[a], people[b]):
            assert seen.setdefault(person, k) == k


def test_accuracy_takes_each_threshold_from_the_other_folds() -> None:
    _, mated, fold = pairs(NAMES, 50, seed=3)
    rng = np.random.default_rng(0)
    separable = np.where(mated, rng.uniform(0.6, 1.0, 100), rng.uniform(-1.0, 0.4, 100))
    assert accuracy(separable, mated, fold) == (100, 100)
    scores = np.where(mated, 1.0, 0.0) + rng.normal(0, 0.6, 100)
    right = 0
    for k in range(10):
        train = fold != k
        ordered = np.sort(scores[train])
        candidates = (ordered[1:] + ordered[:-1]) / 2
        best = max(candidates, key=lambda t: ((scores[train] > t) == mated[train]).sum())
        right += int(((scores[~train] > best) == mated[~train]).sum())
    assert accuracy(scores, mated, fold)[0] == right
