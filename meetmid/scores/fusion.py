"""Fusion of templates and scores (Grm et al. 2023, section 3.4; networks.md section 4.6).

A rule per side: T-rules fuse that side's templates before scoring, S-rules reduce the similarities over that side's
hypotheses. The headline method is S_max over the gallery's, then S_add over the probe's:
score(P, G) = sum_i max_j r(p_i, g_j).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Order, Pairing, Rule, Select
from meetmid.errors import ConfigError, InputError
from meetmid.scores import kernels
from meetmid.scores.best import best_hypothesis
from meetmid.scores.kernels import Rows, Weights
from meetmid.scores.side import BLOCK, Side, Templates
from meetmid.templates.pool import allocate

Scores = NDArray[np.float32]
Add = Literal["auto", "sum", "mean"]


def _side(templates: Templates, weights: NDArray[Any] | None, name: str) -> Side:
    expected = f"{name}_templates expects (entries, scales, hypotheses, length) float32 or float16"
    if not isinstance(templates, np.ndarray) or templates.dtype not in (np.float32, np.float16):
        raise InputError(f"{expected}, got {getattr(templates, 'dtype', type(templates).__name__)}")
    if templates.ndim != 4 or 0 in templates.shape[1:]:
        raise InputError(f"{expected}, got shape {templates.shape}")
    shape = templates.shape[:3]
    if weights is None:
        full = np.ones(shape)
    else:
        given = np.asarray(weights, np.float64)
        if given.shape not in (shape[1:], shape):
            raise InputError(f"{name}_weights expects shape {shape[1:]} or {shape}, got {given.shape}")
        if not np.isfinite(given).all() or (given < 0).any():
            raise InputError(f"{name}_weights expects finite multiplicities of 0 or more")
        full = np.ascontiguousarray(np.broadcast_to(given, shape))
    for entry in range(shape[0]):
        broken = ~np.isfinite(templates[entry]).all(axis=-1) & (full[entry] > 0)
        if broken.any():
            scale, index = (int(v[0]) for v in np.nonzero(broken))
            raise InputError(
                f"{name}_templates[{entry}, {scale}, {index}] is not finite; give it weight 0 to mark it absent"
            )
    return Side(templates, full, np.arange(shape[0] + 1))


def check_rules(probe: str, gallery: str) -> None:
    """Raise ConfigError unless the two rules exist and go together."""
    for name, rule in (("probe", probe), ("gallery", gallery)):
        if rule not in get_args(Rule):
            raise ConfigError(f"{name} rule expects one of {', '.join(get_args(Rule))}, got {rule!r}")
    if (probe == "T_concat") != (gallery == "T_concat"):
        raise ConfigError(f"T_concat needs both sides, got probe {probe} and gallery {gallery}")


def fuse(
    probe_templates: Templates,
    gallery_templates: Templates,
    *,
    probe: Rule = "S_add",
    gallery: Rule = "S_max",
    rules: Sequence[tuple[Rule, Rule]] | None = None,
    pairing: Pairing = "all",
    order: Order = "gallery_first",
    select: Select = "all",
    add: Add = "auto",
    probe_weights: NDArray[Any] | None = None,
    gallery_weights: NDArray[Any] | None = None,
    precision: Literal["auto", "float32"] = "auto",
    threads: int | None = None,
    out: Scores | None = None,
) -> Scores | list[Scores]:
    """Fuse hypotheses into a (P, G) float32 similarity matrix; higher = more alike.

    ``probe_templates`` (P, S, M, D) and ``gallery_templates`` (G, S, N, D), float32 or float16, memory-mapped or not: S
    scales, M and N hypotheses per scale. They are taken as they are (centred by the caller) and brought to unit length for
    every similarity; a template of norm < 1e-12 has similarity 0. ``*_weights``, (S, M) or (P, S, M), are multiplicities; 0
    marks an absent hypothesis, which is never read.

    Rules (Grm et al. 2023, section 3.4): ``T_add`` (eq. 4) sums a side's templates, ``T_concat`` (eq. 5, both sides)
    concatenates its per-scale sums over the scales both entries have, ``S_max`` and ``S_add`` reduce the similarities over a
    side's hypotheses, gallery side first (``order="probe_first"`` swaps, networks.md question F4). ``rules`` = a list of
    (probe, gallery) pairs returns a list of matrices. ``pairing="same_scale"`` compares equal scales only; where a T-rule
    takes part, templates then fuse per scale and the scales' scores are averaged. ``select="best"`` first reduces every
    probe to its best hypothesis (section 3.3 of the paper).

    ``add``: S_add as a ``"sum"``, a ``"mean"``, or ``"auto"``: the sum where all entries of that side that have hypotheses
    have equally many (total weight), else the mean. An entry without hypotheses gives NaN. ``out`` receives a single result.
    Raises InputError for arrays and ConfigError for rules that do not fit.
    """
    pairs = [(probe, gallery)] if rules is None else list(rules)
    for pair in pairs:
        check_rules(*pair)
    if precision not in ("auto", "float32"):
        raise ConfigError(f"precision expects 'auto' or 'float32' in this version, got {precision!r}")
    for name, value, kind in (
        ("pairing", pairing, Pairing), ("order", order, Order), ("select", select, Select), ("add", add, Add)
    ):
        if value not in get_args(kind):
            raise ConfigError(f"{name} expects one of {', '.join(get_args(kind))}, got {value!r}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads expects at least 1, got {threads}")
    p = _side(probe_templates, probe_weights, "probe")
    g = _side(gallery_templates, gallery_weights, "gallery")
    if p.templates.shape[1] != g.templates.shape[1] or p.templates.shape[3] != g.templates.shape[3]:
        raise InputError(
            f"both sides expect the same scales and template length, got {p.templates.shape} and {g.templates.shape}"
        )
    if out is not None and (out.shape != (len(p), len(g)) or out.dtype != np.float32 or rules is not None):
        raise InputError(f"out expects a float32 array of shape {(len(p), len(g))} and a single rule pair")
    results = fuse_sides(p, g, pairs, pairing=pairing, order=order, select=select, add=add, threads=threads)
    if rules is not None:
        return results
    if out is None:
        return results[0]
    out[...] = results[0]
    return out


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
    """:func:`fuse` on sides whose arrays are known to be good; ``block`` bytes of rows are held per side, and a matrix of
    more than ``limit`` bytes lies in a mapped file."""
    if select == "best":
        p = replace(p, weights=best_hypothesis(p, g, block).keep(p, limit))
    plan = _Plan(pairing, order, _is_mean(p, add), _is_mean(g, add), threads or os.cpu_count() or 1, block, limit)
    return [_fuse(p, g, a, b, plan) for a, b in rules]


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
class _Plan:
    pairing: Pairing
    order: Order
    mean_p: bool
    mean_g: bool
    threads: int
    block: int
    limit: int


def missing_scores(probes: int, entries: int, limit: int) -> Scores:
    """A (P, G) matrix of NaN; beyond ``limit`` bytes it is mapped onto a temporary file."""
    out = allocate((probes, entries), limit)
    out[:] = np.nan
    return out


def _fuse(p: Side, g: Side, probe: Rule, gallery: Rule, plan: _Plan) -> Scores:
    out = missing_scores(len(p), len(g), plan.limit)
    if probe == "T_concat":
        _concat(p.added(per_scale=True, limit=plan.block), g.added(per_scale=True, limit=plan.block), out)
    elif plan.pairing == "same_scale" and "T_add" in (probe, gallery):
        _mean_over_scales(p, g, probe, gallery, replace(plan, pairing="all"), out)
    else:
        p = p.added(per_scale=False, limit=plan.block) if probe == "T_add" else p
        g = g.added(per_scale=False, limit=plan.block) if gallery == "T_add" else g
        if plan.order == "gallery_first":
            _reduce(p, g, probe, gallery, plan.mean_p, plan.mean_g, plan, out)
        else:
            _reduce(g, p, gallery, probe, plan.mean_g, plan.mean_p, plan, out.T)
    return out


def _mean_over_scales(p: Side, g: Side, probe: Rule, gallery: Rule, plan: _Plan, out: Scores) -> None:
    """The mean of the scores that every scale gives on its own, over the scales that give one."""
    scales = range(p.templates.shape[1])
    plan = replace(plan, limit=plan.limit // len(scales))
    alone = [_fuse(p.at_scale(s), g.at_scale(s), probe, gallery, plan) for s in scales]
    step = max(1, plan.block // (48 * max(1, len(g))))
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
    return len(np.unique(totals[totals > 0])) > 1


@dataclass(frozen=True)
class _Block:
    """A block of a side's rows and the entries that it touches: ``first`` .. ``first`` + G, bounded by ``cuts`` (G + 1,)."""

    rows: Rows
    weights: Weights
    scales: NDArray[np.int64]
    first: int
    cuts: NDArray[np.int64]
    begun: bool
    unfinished: bool

    def __len__(self) -> int:
        return len(self.cuts) - 1


def _blocks(side: Side, size: int) -> Iterator[_Block]:
    starts, step = side.starts, side.step(size)
    for start in range(0, int(starts[-1]), step):
        stop = min(start + step, int(starts[-1]))
        first = int(np.searchsorted(starts, start, "right")) - 1
        last = int(np.searchsorted(starts, stop, "left"))
        cuts = np.clip(starts[first : last + 1], start, stop) - start
        yield _Block(*side.rows(start, stop), first, cuts, bool(starts[first] < start), bool(starts[last] > stop))


def _reduce(
    a: Side, b: Side, outer: Rule, inner: Rule, mean_a: bool, mean_b: bool, plan: _Plan, out: Scores
) -> None:
    """Outer rule over a's hypotheses of the inner rule over b's, block by block, into ``out`` (A, B)."""
    rule = (plan.pairing == "same_scale", inner == "S_max", outer == "S_max", mean_b, mean_a)
    carried, carry = np.zeros((len(b), 3)), np.zeros((len(b), 3))
    with ThreadPoolExecutor(plan.threads) as pool:
        for block in _blocks(a, plan.block):
            inner_state = np.zeros((len(block.rows), 3))
            for other in _blocks(b, plan.block):
                columns = slice(other.first, other.first + len(other))

                def job(
                    thread: int, block: _Block = block, other: _Block = other, columns: slice = columns,
                    carried: Weights = carried, carry: Weights = carry, state: Weights = inner_state,
                ) -> None:
                    for k in range(thread, len(block), plan.threads):
                        here = slice(int(block.cuts[k]), int(block.cuts[k + 1]))
                        kernels.reduce_rows(
                            block.rows[here], block.weights[here], block.scales[here], other.rows, other.weights,
                            other.scales, other.cuts, (block.begun and k == 0, other.begun),
                            (block.unfinished and k == len(block) - 1, other.unfinished), rule, state[here],
                            carried[columns], carry[columns], out[block.first + k, columns],
                        )

                list(pool.map(job, range(plan.threads)))
            carried, carry = carry, carried


def _concat(p: Side, g: Side, out: Scores) -> None:
    kernels.concat_pairs(p.templates[:, :, 0], p.weights[..., 0] > 0, g.templates[:, :, 0], g.weights[..., 0] > 0, out)
