"""What every metric starts from: a score matrix, whose faces its rows and columns show, and which pairs do not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError

Scores = NDArray[np.floating[Any]]
BLOCK = 2**22
"""Scores looked at at a time."""


@dataclass(frozen=True, eq=False)
class Trials:
    """P probes against G gallery entries: ``scores`` (P, G), NaN where either side failed to be acquired.

    ``probe_subjects`` (P,) and ``gallery_subjects`` (G,) number the people, ``names[n]`` is who n is. A pair is mated when
    both are the same person. ``ignore`` (P, G) is True for pairs that count nowhere, such as a picture with itself (the
    mask matrix of J. Klontz et al., "Open source biometric recognition", BTAS 2013, section 2.4); None ignores nothing.
    """

    scores: Scores = field(repr=False)
    probe_subjects: NDArray[np.int64] = field(repr=False)
    gallery_subjects: NDArray[np.int64] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    ignore: NDArray[np.bool_] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, scores: ArrayLike, probe_subjects: Sequence[str], gallery_subjects: Sequence[str], ignore: ArrayLike | None = None,
    ) -> Trials:
        """Trials of a matrix (P, G) or a :class:`meetmid.MatchResult` and the subject's name of every row and column.

        float32 stays float32. Raises InputError for wrong shapes, infinite scores and entries without a name.
        """
        matrix = np.asarray(scores)
        if matrix.ndim != 2 or not (np.issubdtype(matrix.dtype, np.floating) or np.issubdtype(matrix.dtype, np.integer)):
            raise InputError(f"expected a matrix of scores (P, G), got shape {matrix.shape} of {matrix.dtype}")
        matrix = matrix if matrix.dtype in (np.float32, np.float64) else matrix.astype(np.float64)
        if any(np.isinf(rows).any() for _, rows in _blocks(matrix)):
            raise InputError("expected finite scores, or NaN for failures to acquire, got infinite ones")
        for side, subjects, count in zip(("probe", "gallery"), (probe_subjects, gallery_subjects), matrix.shape, strict=True):
            if len(subjects) != count:
                raise InputError(f"expected the subjects of {count} {side} entries, got {len(subjects)}")
            unknown = [str(k) for k, name in enumerate(subjects) if not isinstance(name, str) or not name]
            if unknown:
                raise InputError(f"expected a name for every {side} entry, got none at {listed(unknown)}")
        mask = None if ignore is None else np.asarray(ignore)
        if mask is not None and (mask.shape != matrix.shape or mask.dtype != np.bool_):
            raise InputError(f"expected a mask of {matrix.shape} bool, got {mask.shape} of {mask.dtype}")
        names = tuple(sorted({*probe_subjects, *gallery_subjects}))
        number = {name: n for n, name in enumerate(names)}
        rows, columns = (np.array([number[name] for name in side], np.int64) for side in (probe_subjects, gallery_subjects))
        return cls(matrix, rows, columns, names, mask)

    @classmethod
    def by_id(
        cls, scores: ArrayLike, probe_ids: Sequence[str], gallery_ids: Sequence[str], subject_of: dict[str, str],
        ignore: ArrayLike | None = None,
    ) -> Trials:
        """Trials of entries whose subjects a table tells; raises InputError for ids that occur twice or are not in it."""
        for side, ids in (("probe", probe_ids), ("gallery", gallery_ids)):
            twice = [name for name, count in Counter(ids).items() if count > 1]
            if twice:
                raise InputError(f"expected every {side} id once, got {listed(twice)} more than once")
            unknown = [name for name in ids if name not in subject_of]
            if unknown:
                raise InputError(f"expected the identity of every {side} entry, got none for {listed(unknown)}")
        return cls.of(scores, [subject_of[i] for i in probe_ids], [subject_of[i] for i in gallery_ids], ignore)

    @property
    def has_mate(self) -> NDArray[np.bool_]:
        """(P,) whether a gallery entry of the same person counts against the probe."""
        if self.ignore is None:
            return np.isin(self.probe_subjects, self.gallery_subjects)
        return np.concatenate([mated.any(axis=1) for _, mated, _ in self.blocks()] or [np.zeros(0, bool)])

    def blocks(self) -> Iterator[tuple[Scores, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Rows in blocks: their scores, and which of their pairs are mated and which non-mated."""
        for rows, scores in _blocks(self.scores):
            same = self.probe_subjects[rows, None] == self.gallery_subjects[None]
            if self.ignore is None:
                yield scores, same, ~same
            else:
                yield scores, same & ~self.ignore[rows], ~(same | self.ignore[rows])

    def split(self) -> tuple[Scores, Scores]:
        """All mated and all non-mated scores, NaN among them, in the order of the matrix."""
        parts: tuple[list[Scores], list[Scores]] = [], []
        total = self.scores.size if self.ignore is None else self.scores.size - int(self.ignore.sum())
        other = np.empty(total, self.scores.dtype)
        filled = 0
        for scores, mated, nonmated in self.blocks():
            parts[0].append(scores[mated])
            found = scores[nonmated]
            other[filled : filled + len(found)] = found
            filled += len(found)
        own = np.concatenate(parts[0]) if parts[0] else np.empty(0, self.scores.dtype)
        other.resize(filled, refcheck=False)
        return own, other

    def select(self, probes: ArrayLike, gallery: ArrayLike | None = None) -> Trials:
        """The trials of some rows and columns, given as positions or as a mask; raises InputError for others."""
        chosen = []
        for side, given, count in zip(("probe", "gallery"), (probes, gallery), self.scores.shape, strict=True):
            try:
                chosen.append(np.arange(count)[slice(None) if given is None else np.asarray(given)])
            except IndexError as error:
                raise InputError(f"expected {side} positions below {count} or a mask of that length, got {error}") from error
        rows, columns = chosen
        grid = np.ix_(rows, columns)
        return Trials(
            self.scores[grid], self.probe_subjects[rows], self.gallery_subjects[columns], self.names,
            None if self.ignore is None else self.ignore[grid],
        )


@dataclass(frozen=True)
class Acquisition:
    """Failures: ``probes`` of ``n_probes`` rows and ``gallery`` of ``n_gallery`` columns without any score.

    The failure-to-acquire rate (FTA) and the failure-to-enrol rate (FTE) of ISO/IEC 19795-1:2021, 3.
    """

    probes: int
    n_probes: int
    gallery: int
    n_gallery: int

    @property
    def fta(self) -> float:
        """Share of the probes."""
        return self.probes / self.n_probes if self.n_probes else float("nan")

    @property
    def fte(self) -> float:
        """Share of the gallery entries."""
        return self.gallery / self.n_gallery if self.n_gallery else float("nan")


def acquisition(trials: Trials) -> Acquisition:
    """Count the entries of both sides that never got a score."""
    rows = np.zeros(trials.scores.shape[0], bool)
    columns = np.zeros(trials.scores.shape[1], bool)
    for place, scores in _blocks(trials.scores):
        there = ~np.isnan(scores)
        rows[place] = there.any(axis=1)
        columns |= there.any(axis=0)
    empty = not rows.any()  # with nothing acquired on one side, nothing is known about the other
    return Acquisition(int((~rows).sum()), len(rows), 0 if empty else int((~columns).sum()), len(columns))


def _blocks(matrix: Scores) -> Iterator[tuple[slice, Scores]]:
    step = max(1, BLOCK // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], step):
        rows = slice(start, min(start + step, matrix.shape[0]))
        yield rows, matrix[rows]


def listed(items: Sequence[str]) -> str:
    """The first five of them."""
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
