"""One side of a fusion: the hypotheses of its entries, centred on the fly and read as a stream of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.scores import kernels
from meetmid.templates.pool import TemplatePool, allocate
from meetmid.templates.stored import StoredTemplates, cut_of, part_of

Templates = NDArray[Any] | StoredTemplates
BLOCK = 64 * 2**20
"""Bytes of rows held at a time; no bit depends on it."""

_NONE = np.zeros((0, 1), np.float32)


class NotFiniteError(InputError):
    """A row that takes part is not finite."""

    def __init__(self) -> None:
        super().__init__(
            "a template of weight above 0 is not finite, or a similarity is beyond float32: expected finite "
            "templates; enroll or lift again, or give that template weight 0"
        )


@dataclass(frozen=True)
class Block:
    """Present rows of a side: their positions in its stream and weights (n,), and the entries that they belong to, ``first`` ..
    ``first`` + E, bounded by ``cuts`` (E + 1,). ``begun`` tells whether the first of them started in an earlier block,
    ``unfinished`` whether the last one goes on in the next."""

    index: NDArray[np.int64]
    weights: NDArray[np.float64]
    first: int
    cuts: NDArray[np.int64]
    begun: bool
    unfinished: bool

    def __len__(self) -> int:
        return len(self.cuts) - 1


@dataclass(frozen=True)
class Side:
    """One side: templates of pictures (I, S, M, D), weights (I, S, M) with 0 = absent, grouped into entries.

    Entry e owns pictures first[e] .. first[e + 1]; their hypotheses are pooled. ``means`` (S, D) are subtracted on the
    fly, or, with ``per_vector``, every template's own mean over its components (Pearson). ``normalised``: similarities are
    those of the rows at unit length; otherwise of the rows as they are.

    A side is read as one stream of rows: picture by picture, scale by scale, hypothesis by hypothesis. A block of the stream
    may begin and end anywhere, inside a picture too.
    """

    templates: Templates
    weights: NDArray[Any]
    first: NDArray[np.int64]
    means: NDArray[np.float32] | None = None
    per_vector: bool = False
    normalised: bool = True

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def slots(self) -> int:
        """Rows of one picture in the stream."""
        return int(self.weights.shape[1] * self.weights.shape[2])

    @property
    def length(self) -> int:
        """Components of a template."""
        return int(self.templates.shape[3])

    @property
    def starts(self) -> NDArray[np.int64]:
        """(E + 1,) the rows of entry e are starts[e] .. starts[e + 1]."""
        starts: NDArray[np.int64] = np.asarray(self.first, np.int64) * self.slots
        return starts

    def blocks(self, rows: int, entries: int) -> Iterator[Block]:
        """The stream in blocks of at most ``rows`` rows and ``entries`` entries; only an entry of more rows is cut."""
        starts, start = self.starts, 0
        while start < starts[-1]:
            first = int(np.searchsorted(starts, start, "right")) - 1
            stop = min(start + rows, int(starts[min(first + entries, len(self))]))
            within = int(starts[np.searchsorted(starts, stop, "right") - 1])
            stop = within if within > start else stop
            last = int(np.searchsorted(starts, stop, "left"))
            index, weights = self.present(start, stop)
            cuts = np.searchsorted(index, np.clip(starts[first : last + 1], start, stop))
            yield Block(index, weights, first, cuts, bool(starts[first] < start), bool(starts[last] > stop))
            start = stop

    def present(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Positions in the stream, from start to stop, of the rows that are not absent, and their weights."""
        low = start // self.slots
        flat = np.asarray(self.weights[low : -(-stop // self.slots)]).reshape(-1)[start - low * self.slots :][: stop - start]
        there = flat > 0
        if there.all():
            return np.arange(start, stop), flat.astype(np.float64)
        index = np.flatnonzero(there)
        return index + start, flat[index].astype(np.float64)

    def scales(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The scales of rows."""
        scales: NDArray[np.int64] = index // self.weights.shape[2] % self.weights.shape[1]
        return scales

    def rows(
        self, index: NDArray[np.int64], *, normalised: bool | None = None, checked: bool = True
    ) -> NDArray[np.float32]:
        """(n, D) float32 rows at these positions of the stream, centred and, where the side or the argument says so, at unit
        length; a view of the templates where there is nothing to do, of which ``checked=False`` reads nothing. Raises
        NotFiniteError."""
        at_unit = self.normalised if normalised is None else normalised
        taken = self._taken(index)
        if at_unit or self.means is not None or self.per_vector:
            out = np.empty(taken.shape, np.float32)
            means = _NONE if self.means is None else np.ascontiguousarray(self.means, np.float32)
            scales = self.scales(index) if len(means) else np.zeros(0, np.int64)
            broken = kernels.unit_rows(taken, means, scales, self.per_vector, at_unit, out)
        else:
            out, broken = taken, kernels.first_broken(taken) if checked else -1
        if broken >= 0:
            raise NotFiniteError
        return out

    def _taken(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        if isinstance(self.templates, StoredTemplates):
            return self.templates.take(index)
        contiguous = len(index) > 0 and int(index[-1] - index[0]) == len(index) - 1
        if contiguous and self.templates.flags.c_contiguous:
            rows = self.templates.reshape(-1, self.length)[index[0] : index[-1] + 1]
        else:
            picture, slot = np.divmod(index, self.slots)
            rows = self.templates[picture, *np.divmod(slot, self.weights.shape[2])]
        return np.ascontiguousarray(rows, np.float32)

    def centred(self, picture: int) -> NDArray[np.float32]:
        """Centred templates of one picture, absent ones too, scale by scale: (S M, D)."""
        return self.rows(np.arange(picture * self.slots, (picture + 1) * self.slots), normalised=False)

    def added(self, *, limit: int, per_scale: bool = False, unit: bool = False, mean: bool = True) -> Side:
        """Weighted sums over all hypotheses, or over those of each scale: of the templates (T_add, eq. 4), whose similarities
        are those of the sums at unit length; or, with ``unit``, of the templates at unit length (S_add), whose inner products
        are the sums of the similarities, or with ``mean`` their means. Such a sum's weight is the total weight of its terms.
        Mapped beyond ``limit`` bytes, which also bounds the templates held at a time."""
        scales = self.weights.shape[1] if per_scale else 1
        sums = np.asarray(allocate((len(self), scales, 1, self.length), limit))
        masses = np.zeros((len(self), scales, 1))
        rows = max(1, limit // (16 * self.length))
        totals = np.zeros((1, self.length))
        for block in self.blocks(rows, rows):
            entry = np.repeat(np.arange(len(block)), np.diff(block.cuts))
            group = entry * scales + self.scales(block.index) if per_scale else entry
            before, totals = totals, np.zeros((len(block) * scales, self.length))
            if block.begun:
                totals[:scales] = before[-scales:]
            kernels.weighted_sums(self.rows(block.index, normalised=unit), block.weights, group, totals)
            here = slice(block.first, block.first + len(block))
            mass = masses[here].reshape(-1)
            np.add.at(mass, group, block.weights)
            masses[here] = mass.reshape(-1, scales, 1)
            divisor = np.where(mass > 0, mass, 1.0)[:, None] if unit and mean else 1.0
            sums[here, :, 0] = (totals / divisor).reshape(len(block), scales, -1)
        weights = masses if unit else (masses > 0).astype(np.float64)
        return Side(sums, weights, np.arange(len(self) + 1), normalised=not unit)

    def at_scale(self, scale: int) -> Side:
        """Only the hypotheses of one scale."""
        return self.at_scales(scale, scale + 1)

    def at_scales(self, start: int, stop: int) -> Side:
        """Only the hypotheses of the scales start .. stop."""
        some = slice(start, stop)
        means = None if self.means is None else self.means[some]
        return replace(self, templates=cut_of(self.templates, some, slice(None)), weights=self.weights[:, some], means=means)

    def entries(self, start: int, stop: int) -> Side:
        """Only entries start .. stop."""
        a, b = int(self.first[start]), int(self.first[stop])
        first = self.first[start : stop + 1] - a
        return replace(self, templates=part_of(self.templates, a, b), weights=self.weights[a:b], first=first)

    def chosen(self, entries: Sequence[int], limit: int) -> Side:
        """A copy of some entries, mapped beyond ``limit`` bytes."""
        pool = TemplatePool(self.templates, self.weights, self.first).part(entries, limit)
        return replace(self, templates=pool.templates, weights=pool.weights, first=pool.first)

    def alone(self) -> Side:
        """Every picture an entry of its own."""
        return replace(self, first=np.arange(len(self.weights) + 1))

    def totals(self) -> NDArray[np.float64]:
        """Total weight of every entry."""
        per_picture: NDArray[np.float64] = self.weights.sum(axis=(1, 2), dtype=np.float64)
        if (np.diff(self.first) == 1).all():
            return per_picture
        return np.array([per_picture[a:b].sum() for a, b in pairwise(self.first)])
