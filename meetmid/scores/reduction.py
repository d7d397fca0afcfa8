"""An outer rule over one side's hypotheses of the largest similarity to the other side's, block by block; nothing of the size
(hypotheses of one side) x (hypotheses of the other) is ever held.

S_max over the gallery, then S_add over the probe is the late interaction of multi-vector retrieval (O. Khattab and M. Zaharia,
"ColBERT", SIGIR 2020, section 3.3, eq. 3). Rules that are linear on one side need no maximum: its rows are summed first.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.scores import kernels
from meetmid.scores.amx import SIDE
from meetmid.scores.engines import Engine, Exact
from meetmid.scores.side import Block, Side

Scores = NDArray[np.float32]
Positions = NDArray[np.int64]
ROWS, BYTES = 3072, 4 * 2**20
"""Rows of the inner side in one product, and bytes of them, at most."""

SMALL = 2**18
"""Similarities that are reduced faster than another thread wakes up."""


@dataclass(frozen=True)
class Outer:
    """Maxima (else weighted sums, or with ``mean`` means) over the outer side's rows, written to ``scores`` (A, B)."""

    maximum: bool
    mean: bool
    scores: Scores


@dataclass(frozen=True)
class Task:
    """Whether only rows of equal scales meet, with how many threads and bytes of rows, and how maxima are found."""

    same_scale: bool
    threads: int
    block: int
    engine: Engine


@dataclass(frozen=True)
class _Group:
    """Outer rows that meet the same inner rows: those of one scale, or all (``scale`` -1). ``tiles`` are (the engine's tile,
    first column)."""

    scale: int
    tiles: list[tuple[Any, int]]


@dataclass(frozen=True)
class _Piece:
    """Inner rows first .. last of one product: whole entries ``entry`` .. , bounded by ``cuts``, or a part of one."""

    first: int
    last: int
    entry: int
    cuts: Positions
    whole: bool


@dataclass(frozen=True)
class _Meeting:
    """The rows of a block of the outer side and entries of the inner one, ``first`` .. ``first`` + E, that are complete: their
    largest similarity ``best`` (E, rows), -inf where nothing meets, and with what row of the inner stream (or None)."""

    block: Block
    first: int
    best: NDArray[Any]
    met: Positions | None


def reduce_sides(a: Side, b: Side, task: Task, outers: Sequence[Outer], met: Positions | None = None) -> None:
    """Write the scores of the entries of ``a`` against those of ``b`` under every outer rule, all from one pass; those of
    entries without rows that meet stay as they are. ``met`` (rows of ``a``, B) receives the position in ``b``'s stream of the
    row that each row of ``a`` is most alike to, the first of equal ones."""
    carried, carry = (np.zeros((len(b), 3)) for _ in range(2))
    last: Block | None = None
    pool = helpers(task.threads)
    for found in _meetings(pool, a, b, task, met is not None):
        block, here = found.block, slice(found.first, found.first + len(found.best))
        if block is not last:
            carried, carry, last = carry, carried, block
        if met is not None:
            met[block.index, here] = found.met.T if found.met is not None else -1
        for outer in outers:
            _reduce(pool, found, outer, task.threads, carried[here], carry[here])


def reach(a: Side, b: Side, task: Task) -> Iterator[tuple[Any, slice, Scores, Positions]]:
    """Row by row of ``a`` and entry by entry of ``b``: an index of rows, entries, the largest similarity (rows, entries) and
    the position in ``b``'s stream of the row that has it, the first of equal ones, -1 where nothing meets."""
    for found in _meetings(helpers(task.threads), a, b, task, True):
        assert found.met is not None
        yield found.block.index, slice(found.first, found.first + len(found.best)), found.best.T, found.met.T


def largest(a: Side, b: Side, threads: int, block: int) -> Iterator[tuple[Positions, Scores, Positions]]:
    """Rows of ``a`` (positions in its stream), their largest similarity to anything of ``b`` and the first entry that has it;
    -inf and -1 where there is none."""
    task, last = Task(False, threads, block, Exact()), None
    best, entry = np.zeros(0, np.float32), np.zeros(0, np.int64)
    for found in _meetings(helpers(threads), a, b, task, False):
        if found.block is not last:
            if last is not None:
                yield last.index, best, entry
            last, count = found.block, len(found.block.index)
            best, entry = np.full(count, -np.inf, np.float32), np.full(count, -1, np.int64)
        if len(found.best):
            top = found.best.argmax(axis=0)
            values = found.best[top, np.arange(len(best))]
            entry = np.where(values > best, top + found.first, entry)
            best = np.maximum(best, values)
    if last is not None:
        yield last.index, best, entry


def _meetings(pool: ThreadPoolExecutor, a: Side, b: Side, task: Task, winners: bool) -> Iterator[_Meeting]:
    rows = max(1, task.block // (4 * a.length))
    for block in a.blocks(rows, rows):
        scales = a.scales(block.index) if task.same_scale else None
        order = None if scales is None else np.argsort(scales, kind="stable")
        groups = list(_groups(a.rows(block.index), scales, order, task.engine))
        left = np.zeros(0, np.float32), np.zeros(0, np.int64)
        cell = 24 if winners or task.engine.places else 4
        for other in b.blocks(max(1, task.block // 64), max(1, task.block // (cell * max(1, len(block.index))))):
            best = np.full((len(other), len(block.index)), -np.inf, task.engine.dtype)
            where = np.full(best.shape, -1, np.int32) if winners or task.engine.places else None
            if other.begun:
                best[0] = left[0]
            for group in groups:
                _fill(pool, b, other, group, task, best, where)
            met = None
            if where is not None and winners:
                met = np.where(where >= 0, np.append(other.index, -1)[where], -1)
                if other.begun:
                    met[0] = np.where(where[0] >= 0, met[0], left[1])
            left = best[-1].copy(), left[1] if met is None else met[-1].copy()
            for tile, column in (placed for group in groups for placed in group.tiles):
                task.engine.scaled(best, tile, column)
            back = slice(None) if order is None else np.argsort(order)
            ready = len(other) - other.unfinished
            yield _Meeting(block, other.first, best[:ready, back], None if met is None else met[:ready, back])


def _groups(
    rows: NDArray[np.float32], of: Positions | None, order: Positions | None, engine: Engine
) -> Iterator[_Group]:
    """A block's rows as columns of products, in their ``order`` by the scales that they are ``of``, where there is one."""
    if of is None:
        bounds, scales = np.array([0, len(rows)]), np.array([-1])
    else:
        rows, ordered = rows[order], of[order]
        scales = np.unique(ordered)
        bounds = np.searchsorted(ordered, [*scales, scales[-1] + 1] if len(scales) else [0])
    for scale, low, high in zip(scales, bounds[:-1], bounds[1:], strict=True):
        placed, column = [], int(low)
        for tile in engine.tiles(rows[low:high]) if high > low else []:
            placed.append((tile, column))
            column += len(tile)
        yield _Group(int(scale), placed)


def _pieces(cuts: Positions, most: int) -> Iterator[_Piece]:
    """As few products of at most ``most`` rows as there can be: entries that fit stay whole, others are cut evenly."""
    entry, count = 0, len(cuts) - 1
    while entry < count:
        low = int(cuts[entry])
        stop = int(np.searchsorted(cuts, low + most, "right")) - 1
        if stop > entry:
            if cuts[stop] > low:
                yield _Piece(low, int(cuts[stop]), entry, cuts[entry : stop + 1] - low, True)
            entry = stop
            continue
        size = int(cuts[entry + 1]) - low
        step = _whole_blocks(size, most)
        for first in range(low, low + size, step):
            last = min(first + step, low + size)
            yield _Piece(first, last, entry, np.array([0, last - first]), False)
        entry += 1


def _whole_blocks(rows: int, most: int) -> int:
    """Rows of each of the fewest products of about ``most`` rows that so many take: none but the last ends within a block."""
    even = -(-rows // -(-rows // most))
    return -(-even // SIDE) * SIDE  # a multiple of the registers' blocks too


@functools.cache
def helpers(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work, made once: to start one takes as long as a small product. Nothing waits for one that has not
    begun, so a forked process, which has none, goes on alone."""
    return ThreadPoolExecutor(threads, "meetmid-scores")


def _share(pool: ThreadPoolExecutor, threads: int, jobs: Iterable[Callable[[], None]]) -> None:
    """Do all jobs, this thread too; the first error is raised when all have ended."""
    waiting = deque(jobs)

    def work() -> None:
        while waiting:
            try:
                job = waiting.popleft()
            except IndexError:  # another thread took the last one
                return
            job()

    others = [pool.submit(work) for _ in range(min(threads, len(waiting)) - 1)]
    try:
        work()
    finally:
        begun = [other for other in others if not other.cancel()]
        for other in begun:
            other.exception()  # waits
    for other in begun:
        other.result()


def _fill(
    pool: ThreadPoolExecutor, b: Side, other: Block, group: _Group, task: Task, best: NDArray[Any],
    where: NDArray[np.int32] | None,
) -> None:
    """Raise ``best`` (entries of ``other``, columns) to the largest similarity of each of the group's columns."""
    if not group.tiles:
        return
    index, cuts, chosen = other.index, other.cuts, None
    if group.scale >= 0:
        chosen = np.flatnonzero(b.scales(index) == group.scale)
        index, cuts = index[chosen], np.searchsorted(chosen, cuts)
    share = max(1, -(-len(index) // task.threads))
    most = min(ROWS, max(1, BYTES // (4 * b.length)))
    pieces = list(_pieces(cuts, _whole_blocks(share, most)))
    parts = min(len(group.tiles), -(-task.threads // max(1, len(pieces))))
    lock = threading.Lock()

    def job(piece: _Piece, part: int) -> None:
        inner: Any = task.engine.inner(b.rows(index[piece.first : piece.last], checked=False), piece.cuts)
        values, places, entry = best, where, piece.entry
        if not piece.whole:
            values, entry = np.full((1, best.shape[1]), -np.inf, best.dtype), 0
            places = None if where is None else np.full(values.shape, -1, np.int32)
        for tile, column in group.tiles[part::parts]:
            task.engine.meet(inner, tile, piece.cuts, entry, column, values, piece.first, places)
        if not piece.whole:
            with lock:
                _merge(best[piece.entry], None if where is None else where[piece.entry], values[0], places)

    _share(pool, task.threads, [partial(job, piece, part) for piece in pieces for part in range(parts)])
    if where is not None and chosen is not None:
        last, begin = group.tiles[-1]
        columns = slice(group.tiles[0][1], begin + len(last))
        its = where[:, columns]
        where[:, columns] = np.where(its >= 0, chosen[its] if len(chosen) else -1, -1)


def _merge(
    best: NDArray[Any], where: NDArray[np.int32] | None, values: NDArray[Any], places: NDArray[np.int32] | None
) -> None:
    if where is not None and places is not None:
        earlier = (values == best) & (places[0] >= 0) & (places[0] < where)
        np.copyto(where, places[0], where=(values > best) | earlier)
    np.maximum(best, values, out=best)


def _reduce(
    pool: ThreadPoolExecutor, found: _Meeting, outer: Outer, threads: int, carried: NDArray[np.float64],
    carry: NDArray[np.float64],
) -> None:
    best, block = found.best, found.block
    scores = outer.scores[block.first : block.first + len(block), found.first : found.first + len(best)]
    step = max(1, -(-len(best) // threads), SMALL // max(1, best.shape[1]))

    def job(first: int) -> None:
        kernels.reduce_entries(
            best, block.weights, block.cuts, first, min(first + step, len(best)), outer.maximum, outer.mean,
            block.begun, block.unfinished, carried, carry, scores,
        )

    _share(pool, threads, [partial(job, first) for first in range(0, len(best), step)])
