"""The figures that a matcher's card states: pair verification on people never trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from meetmid.models.recipes.faces import faces
from numpy.typing import NDArray

from meetmid.evaluation.folds import FoldAccuracy, fold_accuracy
from meetmid.evaluation.intervals import wilson
from meetmid.faces.alignment import AlignmentTemplate, align
from meetmid.resize import resize, to_float

Extract = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def pairs(names: list[str], count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """LFW-style pairs: (2 * count, 2) picture indices, mated or not, and a fold 0..9 such that no person is in two folds."""
    rng = np.random.default_rng(seed)
    people: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        people[name.split("/")[0]].append(index)
    folds = [list(part) for part in np.array_split(rng.permutation(sorted(people)), 10)]
    chosen, mated, fold = [], [], []
    for k in range(2 * count):
        group = folds[k % 10]
        if k < count:
            chosen.append(rng.choice(people[str(rng.choice(group))], 2, replace=False))
        else:
            first, second = rng.choice(group, 2, replace=False)
            chosen.append(np.array([rng.choice(people[str(first)]), rng.choice(people[str(second)])]))
        mated.append(k < count)
        fold.append(k % 10)
    return np.array(chosen), np.array(mated), np.array(fold)


def pair_accuracy(
    data: Path, template: AlignmentTemplate, size: tuple[int, int], extract: Extract, reduced: tuple[int, ...] = ()
) -> dict[int, FoldAccuracy]:
    """Accuracy on 3,000 mated and 3,000 non-mated pairs of the LFW people that are never trained on, under 0; and, for every
    side in ``reduced``, with one picture of each pair first area-reduced to that many pixels."""
    names, crops = [], []
    for name, picture, points in faces(data, "lfw-multiple"):
        names.append(name)
        crops.append(align(picture, points, template, size=(size[1], size[0])))
    index, mated, fold = pairs(names, 3000, seed=1)
    sharp = templates_of(crops, extract)
    found = {}
    for side in (0, *reduced):
        other = sharp if not side else templates_of(crops, extract, side)
        found[side] = fold_accuracy((sharp[index[:, 0]] * other[index[:, 1]]).sum(axis=1), mated, fold)
    return found


def verification(
    data: Path, template: AlignmentTemplate, size: tuple[int, int], extract: Extract, reduced: tuple[int, ...]
) -> dict[str, str]:
    """:func:`pair_accuracy` as a card states it."""
    figures = {}
    for side, found in pair_accuracy(data, template, size, extract, reduced).items():
        figures[f"lfw_pairs_{side}px" if side else "lfw_pairs"] = share(found.right, found.n)
    return figures


def share(k: int, n: int) -> str:
    """As a card states it: "k/n = x % [low, high]" with Wilson's 95 % interval."""
    low, high = wilson(k, n)
    return f"{k}/{n} = {100 * k / n:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def templates_of(crops: list[NDArray[np.uint8]], extract: Extract, side: int = 0) -> NDArray[np.float64]:
    """Unit templates (N, length) of crops, first area-reduced to ``side`` pixels and enlarged again unless that is 0."""
    out = []
    for start in range(0, len(crops), 64):
        batch = []
        for crop in crops[start : start + 64]:
            picture = to_float(crop)
            if side:
                small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
                picture = resize(small, crop.shape[:2])
            batch.append(picture)
        out.append(extract(np.stack(batch)).astype(np.float64))
    rows = np.concatenate(out)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
