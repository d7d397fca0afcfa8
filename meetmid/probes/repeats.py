"""Pixels that a digital zoom repeated, also where the picture was coded with losses afterwards.

Their edges look like detail, to networks too: what repeats each other is one pixel, the mean of them all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)

ROWS = 64
"""Rows that are compared at a time."""

BLOCK = 8
"""Side of a JPEG block, and the longest run that is looked for at a time."""

FEWEST = 8
"""Runs that there must be: fewer are as uneven by chance."""

EVEN, EVEN_BLOCKS = 0.45, 0.1
"""The square of the steps within runs is at most this part of that between runs; for runs of 8, which the blocks of the coding
resemble, the latter. Of 9,324 far probes without repeated pixels none has runs by that, of those whose pixels were repeated 3
to 6 times and then coded as JPEG at quality 80 nearly all."""


def joined(crop: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """A crop (H, W, 3) uint8 with the mean of every run of repeated rows and columns in place of it, and how many rows and how
    many columns made one. The crop itself where none repeat each other, or where it was turned, resized or heavily coded since.
    """
    whole = [1, 1]
    while True:
        runs = [_run(steps) for steps in _steps(crop)]
        if runs[0][0] == runs[1][0] == 1:
            return crop, (whole[0], whole[1])
        for axis, (length, first) in enumerate(runs):
            cuts = np.unique([0, *range(first, crop.shape[axis], length)])
            means = np.add.reduceat(crop, cuts, axis=axis, dtype=np.float32)
            means /= np.expand_dims(np.diff([*cuts, crop.shape[axis]]), (1 - axis, 2))
            crop = np.rint(means, out=means).astype(np.uint8)
            whole[axis] *= length


def _steps(crop: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What luma changes by from row to row (H - 1,) and from column to column (W - 1,): the mean of the roots, so that a few
    edges of the picture do not outweigh all others."""
    rows, columns = list[NDArray[np.float64]](), np.zeros(crop.shape[1] - 1)
    for top in range(0, len(crop), ROWS):
        luma = crop[top : top + ROWS + 1].astype(np.float32) @ LUMA
        rows.append(np.sqrt(np.abs(np.diff(luma, axis=0))).mean(axis=1, dtype=np.float64))
        columns += np.sqrt(np.abs(np.diff(luma[:ROWS], axis=1))).sum(axis=0, dtype=np.float64)
    return np.concatenate(rows), columns / len(crop)


def _run(steps: NDArray[np.float64]) -> tuple[int, int]:
    """How many rows repeat each other, by the steps between them, and where a run begins; (1, 0) where none do. The rows that
    the picture's own coding grid may set apart are left out for runs that are shorter than its blocks."""
    most = min(BLOCK, (len(steps) + 1) // FEWEST)
    at, found, least = np.arange(1, len(steps) + 1), (1, 0), np.inf
    grid = int(np.argmax(_means(steps, at % BLOCK, BLOCK)))
    for length in range(2, most + 1):
        used = at % BLOCK != grid if length < BLOCK else at > 0
        own, total = at[used] % length, float(steps[used].sum())
        between, count = _means(steps[used], own, length), np.bincount(own, minlength=length)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = ((total - between * count) / (len(own) - count) / between) ** 2
        shares[(count < 2) | (between == 0)] = np.inf
        first = int(np.argmin(shares))
        if shares[first] <= min(least, EVEN if length < BLOCK else EVEN_BLOCKS):
            found, least = (length, first), shares[first]
    return found


def _means(values: NDArray[np.float64], groups: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Of every group, 0 for an empty one."""
    return np.bincount(groups, values, count) / np.maximum(np.bincount(groups, minlength=count), 1)
