"""Pixels that a digital zoom repeated a whole number of times, also where the picture was coded with losses afterwards.

Their edges look like detail, to networks too: every run of repeats becomes one pixel, their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.faces.crops import Face
from meetmid.runtime.sessions import LUMA

ROWS = 64
"""Rows that are compared at a time."""

BLOCK = 8
"""Side of a JPEG block, and the longest run that is looked for at a time."""

FEWEST = 8
"""Runs that there must be: fewer are as uneven by chance."""

EVEN, EVEN_BLOCKS = 0.45, 0.1
"""The square of the mean root step within runs is at most this part of that between runs; for runs of 8, which the blocks of
the coding resemble, the latter. Of 9,324 far probes without repeated pixels none has runs by that, of those whose pixels were
repeated 3 to 6 times and then coded as JPEG at quality 80 nearly all."""

MOST, LARGEST = 0.8, 0.8
"""This share of the steps within runs, and their mean at every place of a run, are at most this part of the mean one between
runs: where more are as large, the picture was enlarged by a broken factor."""


@dataclass(frozen=True, eq=False)
class Joined:
    """A ``picture`` (H, W, 3) uint8 whose pixels do not repeat each other; ``repeats``, how many rows and how many columns of
    another made one, and ``first``, the middles of its second row and its second column among the pixels of the other one."""

    picture: NDArray[np.uint8]
    repeats: tuple[int, int] = (1, 1)
    first: tuple[float, float] = (1.0, 1.0)

    def face(self, face: Face, left: int, top: int) -> Face:
        """A face in the other picture, which begins ``left`` and ``top`` in its coordinates, in those of this one."""
        (high, wide), (row, column) = self.repeats, self.first

        def moved(x: float, y: float) -> tuple[float, float]:
            return 1 + (x - left - column) / wide, 1 + (y - top - row) / high

        x, y, w, h = face.box
        corner = moved(x - 0.5, y - 0.5)  # of its first pixel
        points = None if face.points is None else tuple(moved(*point) for point in face.points)
        return Face((corner[0] + 0.5, corner[1] + 0.5, w / wide, h / high), points, face.score)


def joined(picture: NDArray[np.uint8]) -> Joined:
    """A picture (H, W, 3) uint8 with the mean of every run of repeated rows and columns in place of it; itself where not both
    repeat each other, or where it was turned, resized or heavily coded since."""
    repeats, middles = [1, 1], [np.arange(n, dtype=np.float64) for n in picture.shape[:2]]
    while True:
        runs = [_run(steps) for steps in _steps(picture)]
        lengths = runs[0][0], runs[1][0]
        if lengths == (1, 1) or (repeats == [1, 1] and 1 in lengths):  # scan lines and lost fields are no zoom
            first = tuple(float(its[1]) if len(its) > 1 else 1.0 for its in middles)
            return Joined(picture, (repeats[0], repeats[1]), (first[0], first[1]))
        for axis, (length, begin) in enumerate(runs):
            cuts = np.unique([0, *range(begin, picture.shape[axis], length)])
            turned = (1, 0, 2) if axis else (0, 1, 2)
            picture = np.ascontiguousarray(_means_of(picture.transpose(turned), cuts).transpose(turned))
            middles[axis] = np.add.reduceat(middles[axis], cuts) / np.diff([*cuts, len(middles[axis])])
            repeats[axis] *= length


def _means_of(picture: NDArray[np.uint8], cuts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The means of rows cuts[k] .. cuts[k + 1], some at a time."""
    bounds, made = np.append(cuts, len(picture)), np.empty((len(cuts), *picture.shape[1:]), np.uint8)
    for low in range(0, len(cuts), ROWS):
        own = bounds[low : low + ROWS + 1]
        sums = np.add.reduceat(picture[own[0] : own[-1]], own[:-1] - own[0], axis=0, dtype=np.float32)
        made[low : low + ROWS] = np.rint(sums / np.diff(own)[:, None, None].astype(np.float32))
    return made


def joined_around(image: NDArray[np.uint8], face: Face) -> tuple[Joined, Face]:
    """The surroundings of a face, twice the longer side of its box, with their repeated pixels joined, and the face in them;
    the whole image as it is where none repeat each other or the box lies outside."""
    (x, y, w, h), (height, width) = face.box, image.shape[:2]
    reach = max(w, h)
    left, right = (int(np.clip(at, 0, width)) for at in (np.floor(x + w / 2 - reach), np.ceil(x + w / 2 + reach)))
    top, bottom = (int(np.clip(at, 0, height)) for at in (np.floor(y + h / 2 - reach), np.ceil(y + h / 2 + reach)))
    if face.touches((height, width)):
        found = joined(image[top:bottom, left:right])
        if found.repeats != (1, 1):
            return found, found.face(face, left, top)
    return Joined(image), face


def _steps(crop: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What luma changes by from row to row (H - 1,) and from column to column (W - 1,): the mean of the roots, so that a few
    edges of the picture do not outweigh all others."""
    rows, columns = list[NDArray[np.float64]](), np.zeros(crop.shape[1] - 1)
    for top in range(0, len(crop), ROWS):
        luma = crop[top : top + ROWS + 1].astype(np.float32) @ np.array(LUMA, np.float32)
        rows.append(np.sqrt(np.abs(np.diff(luma, axis=0))).mean(axis=1, dtype=np.float64))
        columns += np.sqrt(np.abs(np.diff(luma[:ROWS], axis=1))).sum(axis=0, dtype=np.float64)
    return np.concatenate(rows), columns / len(crop)


def _run(steps: NDArray[np.float64]) -> tuple[int, int]:
    """How many rows repeat each other, by the steps between them, and where a run begins; (1, 0) where none do. The rows that
    the picture's own coding grid may set apart are left out for runs shorter than its blocks."""
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
        if shares[first] > min(least + 1e-6, EVEN if length < BLOCK else EVEN_BLOCKS):  # of equal ones the longest
            continue
        large = max(np.quantile(steps[used][own != first], MOST), np.delete(between, first).max())
        if large <= LARGEST * between[first]:
            found, least = (length, first), shares[first]
    return found


def _means(values: NDArray[np.float64], groups: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Of every group, 0 for an empty one."""
    return np.bincount(groups, values, count) / np.maximum(np.bincount(groups, minlength=count), 1)
