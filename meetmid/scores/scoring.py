"""The scores of two sides under any pair of rules (Grm et al. 2023, section 3.4; networks.md section 4.6).

What is linear is summed before it is compared, and rule pairs that differ only in what becomes of the same maxima come from one
pass over the products.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Order, Pairing, Rule, Select
from meetmid.errors import ConfigError
from meetmid.runtime.cores import cores
from meetmid.scores import kernels
from meetmid.scores.best import best_hypothesis
from meetmid.scores.engines import Engine, Exact, OnDevice, Rounded, Screened
from meetmid.scores.reduction import Outer, Task, reduce_sides
from meetmid.scores.screening import LONGEST, error_bounds, quickest
from meetmid.scores.side import BLOCK, Side
from meetmid.templates.pool import allocate

Scores = NDArray[np.float32]
Add = Literal["auto", "sum", "mean"]
Precision = Literal["auto", "float32", "screened", "int8"]


@dataclass(frozen=True, eq=False)
class Fused:
    """``scores`` (P, G) float32. ``winners``, where the inner rule is S_max (and the precision not ``"int8"``): of every
    hypothesis of the outer side its most alike one of every entry of the inner side, the first of equal ones, as scale times N
    plus its number, -1 where nothing meets; (P, S, M, G) int64, or with ``order="probe_first"`` (G, S, N, P). ``bound`` (P, G)
    float32: by how much ``"int8"`` may be off at most; None for other precisions, for rules without an inner maximum, whose
    products are float32, and for T_add averaged over scales."""

    scores: Scores
    winners: NDArray[np.int64] | None = None
    bound: Scores | None = None


def fuse_sides(
    p: Side,
    g: Side,
    rules: Sequence[tuple[Rule, Rule]],
    *,
    pairing: Pairing = "all",
    order: Order = "gallery_first",
    select: Select = "all",
    add: Add = "auto",
    threads: int | None = None,
    block: int = BLOCK,
    limit: int = sys.maxsize,
) -> list[Scores]:
    """:func:`meetmid.fuse` on sides whose arrays are known to be good; ``block`` bytes of rows are held per side, and a matrix
    of more than ``limit`` bytes lies in a mapped file."""
    if select == "best":
        p = replace(p, weights=best_hypothesis(p, g, block, threads or 1).keep(p, limit))
    return fuse_all(p, g, rules, way_of(p, g, pairing, order, add, threads, block=block, limit=limit))


def fuse_portraits(
    p: Side, g: Side, probe: Rule, gallery: Rule, *, select: Select, block: int, limit: int, **options: Any
) -> Scores:
    """The largest score of each entry's pictures, every picture scored alone (networks.md question F5); other keywords as
    in :func:`fuse_sides`."""
    if select == "best":
        p = replace(p, weights=best_hypothesis(p, g, block).keep(p, limit))
    out = missing_scores(len(p), len(g), limit)
    per_picture = 4 * max(1, len(p))
    start = 0
    while start < len(g):
        ends = np.searchsorted(g.first, g.first[start] + max(1, block // per_picture), "right") - 1
        stop = max(start + 1, int(ends))
        part = g.entries(start, stop)
        alone = fuse_sides(p, part.alone(), [(probe, gallery)], block=block, limit=block, **options)[0]
        for entry, (low, high) in enumerate(pairwise(part.first), start):
            if high > low:
                out[:, entry] = np.fmax.reduce(alone[:, low:high], axis=1)
        start = stop
    return out


@dataclass(frozen=True)
class Way:
    """How two sides are compared, whatever the rules: ``mean_p`` and ``mean_g`` whether sums over their hypotheses are means,
    the ``threads``, bytes as in :func:`fuse_sides`, and how maxima are found."""

    pairing: Pairing
    order: Order
    mean_p: bool
    mean_g: bool
    threads: int
    block: int
    limit: int
    engine: Engine = field(default_factory=Exact)


ENGINES: dict[str, Callable[[], Engine]] = {"float32": Exact, "screened": Screened, "int8": Rounded}


def way_of(
    p: Side, g: Side, pairing: Pairing, order: Order, add: Add, threads: int | None, *, block: int = BLOCK,
    limit: int = sys.maxsize, precision: Precision = "float32", device: str | None = None,
) -> Way:
    """The way that the keywords of :func:`meetmid.fuse` mean for two sides; raises ConfigError."""
    means = _is_mean(p, add), _is_mean(g, add)
    if device is not None:
        if precision not in ("auto", "float32"):
            raise ConfigError(f"device={device!r} expects precision 'auto' or 'float32', got {precision!r}")
        return Way(pairing, order, *means, threads or cores(), block, limit, OnDevice(device))
    if precision == "auto":
        precision = quickest(p, g, order)
    if precision != "float32" and p.length > LONGEST:
        raise ConfigError(f"precision={precision!r} expects templates of at most {LONGEST} components, got {p.length}")
    return Way(pairing, order, *means, threads or cores(), block, limit, ENGINES[precision]())


def missing_scores(probes: int, entries: int, limit: int) -> Scores:
    """A (P, G) matrix of NaN; beyond ``limit`` bytes it is mapped onto a temporary file."""
    out = allocate((probes, entries), limit)
    out[:] = np.nan
    return out


def _fuse(
    p: Side, g: Side, probe: Rule, gallery: Rule, way: Way, met: NDArray[np.int64] | None = None
) -> Scores:
    out = missing_scores(len(p), len(g), way.limit)
    if probe == "T_concat":
        _concat(p.added(per_scale=True, limit=way.block), g.added(per_scale=True, limit=way.block), out)
    elif way.pairing == "same_scale" and "T_add" in (probe, gallery):
        _mean_over_scales(p, g, probe, gallery, replace(way, pairing="all"), out)
    elif way.order == "gallery_first":
        _reduce(p, g, probe, gallery, way.mean_p, way.mean_g, way, out, met)
    else:
        _reduce(g, p, gallery, probe, way.mean_g, way.mean_p, way, out.T, met)
    return out


def _reduce(
    a: Side, b: Side, outer: Rule, inner: Rule, mean_a: bool, mean_b: bool, way: Way, out: Scores,
    met: NDArray[np.int64] | None,
) -> None:
    """Outer rule over a's hypotheses of the inner rule over b's; what is linear is summed before it is compared."""
    per_scale = way.pairing == "same_scale"
    if outer == "T_add":
        a = a.added(limit=way.block)
    elif outer == "S_add" and inner != "S_max":
        a = a.added(unit=True, per_scale=per_scale, limit=way.block)
    if inner == "T_add":
        b = b.added(limit=way.block)
    elif inner == "S_add":
        b = b.added(unit=True, mean=mean_b, per_scale=per_scale, limit=way.block)
    engine = way.engine if inner == "S_max" else Exact()
    task = Task(per_scale, way.threads, way.block, engine)
    reduce_sides(a, b, task, [Outer(outer == "S_max", mean_a, out)], met)


def fuse_all(p: Side, g: Side, rules: Sequence[tuple[Rule, Rule]], way: Way) -> list[Scores]:
    """Every pair of rules; those that differ only in what becomes of the same maxima come from one pass."""
    first = way.order == "gallery_first"
    a, b, mean = (p, g, way.mean_p) if first else (g, p, way.mean_g)
    shared = {}
    for pair in rules:
        outer, inner = pair if first else pair[::-1]
        if inner == "S_max" and outer != "T_add":
            shared[pair] = outer == "S_max", missing_scores(len(p), len(g), way.limit)
    if shared:
        outers = [Outer(maximum, mean, out if first else out.T) for maximum, out in shared.values()]
        reduce_sides(a, b, Task(way.pairing == "same_scale", way.threads, way.block, way.engine), outers)
    return [shared[pair][1] if pair in shared else _fuse(p, g, *pair, way) for pair in rules]


def fused(p: Side, g: Side, rules: tuple[Rule, Rule], way: Way) -> Fused:
    """The scores and what is known beside them."""
    first = way.order == "gallery_first"
    a, b, outer, inner, mean = (p, g, *rules, way.mean_p) if first else (g, p, *rules[::-1], way.mean_g)
    summed = outer == "T_add"
    if inner != "S_max" or (summed and way.pairing == "same_scale"):
        return Fused(_fuse(p, g, *rules, way))
    if isinstance(way.engine, Rounded):
        its = a.added(limit=way.block) if summed else a
        bound = error_bounds(its, b, total=outer == "S_add" and not mean, block=way.block)
        return Fused(_fuse(p, g, *rules, way), None, bound if first else bound.T)
    shape = (len(a), 1, 1) if summed else a.weights.shape
    met = np.full((math.prod(shape), len(b)), -1, np.int64)
    scores = _fuse(p, g, *rules, way, met)
    return Fused(scores, np.where(met >= 0, met - b.starts[:-1], -1).reshape(*shape, len(b)))


def _mean_over_scales(p: Side, g: Side, probe: Rule, gallery: Rule, way: Way, out: Scores) -> None:
    """The mean of the scores that every scale gives on its own, over the scales that give one."""
    scales = range(p.templates.shape[1])
    way = replace(way, limit=way.limit // len(scales))
    alone = [_fuse(p.at_scale(s), g.at_scale(s), probe, gallery, way) for s in scales]
    step = max(1, way.block // (48 * max(1, len(g))))
    for start in range(0, len(p), step):
        total, present = np.zeros(out[start : start + step].shape), np.zeros(out[start : start + step].shape)
        for scores in alone:
            total += np.nan_to_num(scores[start : start + step])
            present += ~np.isnan(scores[start : start + step])
        out[start : start + step] = np.where(present > 0, total / np.maximum(present, 1), np.nan)


def _is_mean(side: Side, add: Add) -> bool:
    if add != "auto":
        return add == "mean"
    totals = side.totals()
    totals = totals[totals > 0]
    return bool((totals != totals[:1]).any())


def _concat(p: Side, g: Side, out: Scores) -> None:
    assert isinstance(p.templates, np.ndarray)
    assert isinstance(g.templates, np.ndarray)
    kernels.concat_pairs(p.templates[:, :, 0], p.weights[..., 0] > 0, g.templates[:, :, 0], g.weights[..., 0] > 0, out)
