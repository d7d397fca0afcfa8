"""The figures on the model cards are computed without leakage and by the rule they state."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes.figures import pairs

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
