"""Fusion of templates and scores (Grm et al. 2023, section 3.4; networks.md section 4.6).

A rule per side: T-rules fuse that side's templates before scoring, S-rules reduce the similarities over that side's
hypotheses. The headline method is S_max over the gallery's, then S_add over the probe's:
score(P, G) = sum_i max_j r(p_i, g_j).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Order, Pairing, Rule, Select
from meetmid.errors import ConfigError, InputError
from meetmid.runtime.cores import cores
from meetmid.scores import kernels
from meetmid.scores.best import best_hypothesis
from meetmid.scores.engines import Engine, Exact, OnDevice, Rounded, Screened
from meetmid.scores.reduction import Outer, Task, reduce_sides
from meetmid.scores.screening import LONGEST, error_bounds, quickest
from meetmid.scores.side import BLOCK, NotFiniteError, Side, Templates
from meetmid.templates.pool import allocate
from meetmid.validation import is_whole

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


def side_of(templates: Templates, weights: NDArray[Any] | None, name: str, unit: bool) -> Side:
    """One side of :func:`fuse`; raises InputError for arrays that are none."""
    expected = f"{name}_templates expects (entries, scales, hypotheses, length) float32 or float16"
    if not isinstance(templates, np.ndarray) or templates.dtype not in (np.float32, np.float16):
        raise InputError(f"{expected}, got {getattr(templates, 'dtype', type(templates).__name__)}")
    if templates.ndim != 4 or 0 in templates.shape[1:]:
        raise InputError(f"{expected}, got shape {templates.shape}")
    shape = templates.shape[:3]
    if weights is None:
        full = np.ones(shape)
    else:
        try:
            given = np.asarray(weights, np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name}_weights expects multiplicities, got {type(weights).__name__}") from None
        if given.shape not in (shape[1:], shape):
            raise InputError(f"{name}_weights expects shape {shape[1:]} or {shape}, got {given.shape}")
        if not np.isfinite(given).all() or (given < 0).any():
            raise InputError(f"{name}_weights expects finite multiplicities of 0 or more")
        full = np.ascontiguousarray(np.broadcast_to(given, shape))
    return Side(templates, full, np.arange(shape[0] + 1), normalised=not unit)


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
    unit: bool = False,
    precision: Precision = "auto",
    threads: int | None = None,
    device: str | None = None,
    out: Scores | None = None,
    detail: bool = False,
) -> Scores | list[Scores] | Fused | list[Fused]:
    """Fuse hypotheses into a (P, G) float32 similarity matrix; higher = more alike.

    ``probe_templates`` (P, S, M, D) and ``gallery_templates`` (G, S, N, D), float32 or float16, memory-mapped or not: S
    scales, M and N hypotheses per scale. They are taken as they are (centred by the caller) and brought to unit length for
    every similarity; a template of norm < 1e-12 has similarity 0. ``unit=True`` says that they are of unit length (or zero)
    already: they are then compared as they are, and float32 ones are read where they lie. ``*_weights``, (S, M) or (P, S, M),
    are multiplicities; 0 marks an absent hypothesis, which is never read.

    Rules (Grm et al. 2023, section 3.4): ``T_add`` (eq. 4) sums a side's templates, ``T_concat`` (eq. 5, both sides)
    concatenates its per-scale sums over the scales both entries have, ``S_max`` and ``S_add`` reduce the similarities over a
    side's hypotheses, gallery side first (``order="probe_first"`` swaps, networks.md question F4). ``rules`` = a list of
    (probe, gallery) pairs returns a list of matrices. ``pairing="same_scale"`` compares equal scales only; where a T-rule
    takes part, templates then fuse per scale and the scales' scores are averaged. ``select="best"`` first reduces every
    probe to its best hypothesis (section 3.3 of the paper).

    ``add``: S_add as a ``"sum"``, a ``"mean"``, or ``"auto"``: the sum where all entries of that side that have hypotheses
    have equally many (total weight), else the mean. An entry without hypotheses gives NaN. ``out`` receives a single result.

    ``precision``: ``"float32"`` products; ``"screened"``, products of bytes first, which with a bound (Cauchy and Schwarz on
    what quantising leaves out) tell the few hypotheses that may be a maximum, whose similarities are then taken in float64: the
    same result to rounding; ``"int8"``, products of bytes alone. ``"auto"`` is float32, or for large products the faster of
    the first two on this machine. Only maxima are screened: rules that are linear in the inner side take one small product.
    ``detail=True`` returns :class:`Fused` (or a list of them) with the winners and, of ``"int8"``, the bound.

    ``device``, such as ``"cuda"``, takes the float32 products and maxima there, with onnxruntime and blocks of both sides
    resident; scores are then the same to rounding. None is the CPU, by the fastest way there.

    ``threads`` (default: all cores that the process may use) never changes a bit, nor does what else is compared; at most about
    200 MB are held beside the arrays. Raises InputError for arrays and ConfigError for rules that do not fit.
    """
    pairs = [(probe, gallery)] if rules is None else list(rules)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ConfigError(f"rules expects pairs of a probe rule and a gallery rule, got {pair!r}")
        check_rules(*pair)
    for name, value, kind in (
        ("pairing", pairing, Pairing), ("order", order, Order), ("select", select, Select), ("add", add, Add),
        ("precision", precision, Precision),
    ):
        if value not in get_args(kind):
            raise ConfigError(f"{name} expects one of {', '.join(get_args(kind))}, got {value!r}")
    if threads is not None and not is_whole(threads, 1):
        raise ConfigError(f"threads expects a whole number of at least 1, got {threads!r}")
    p = side_of(probe_templates, probe_weights, "probe", unit)
    g = side_of(gallery_templates, gallery_weights, "gallery", unit)
    if p.templates.shape[1] != g.templates.shape[1] or p.templates.shape[3] != g.templates.shape[3]:
        raise InputError(
            f"both sides expect the same scales and template length, got {p.templates.shape} and {g.templates.shape}"
        )
    if out is not None and (out.shape != (len(p), len(g)) or out.dtype != np.float32 or rules is not None):
        raise InputError(f"out expects a float32 array of shape {(len(p), len(g))} and a single rule pair")
    if out is not None and detail:
        raise ConfigError("out receives scores alone; with detail=True they are in the result")
    try:
        if select == "best":
            p = replace(p, weights=best_hypothesis(p, g, threads=threads or cores()).keep(p))
        plan = _plan(p, g, pairing, order, add, threads, precision=precision, device=device)
        if detail:
            results = [_fused(p, g, pair, plan) for pair in pairs]
        else:
            results = [Fused(scores) for scores in _fuse_all(p, g, pairs, plan)]
        if unit and any(_is_beyond(found.scores) for found in results):
            raise NotFiniteError
    except NotFiniteError as error:
        _name_broken(("probe", p), ("gallery", g))
        raise InputError("a similarity is beyond float32: unit=True expects templates of unit length") from error
    if rules is not None:
        return results if detail else [found.scores for found in results]
    if out is None:
        return results[0] if detail else results[0].scores
    out[...] = results[0].scores
    return out


def _is_beyond(scores: Scores) -> bool:
    """Whether a score is infinite; nothing of the scores' size is held."""
    most, least = (extreme.reduce(scores, axis=None, initial=0.0) for extreme in (np.fmax, np.fmin))
    return bool(np.isinf(most) or np.isinf(least))


def _name_broken(*sides: tuple[str, Side]) -> None:
    for name, side in sides:
        for entry in range(len(side)):
            broken = ~np.isfinite(side.templates[entry]).all(axis=-1) & (side.weights[entry] > 0)
            if broken.any():
                scale, index = (int(v[0]) for v in np.nonzero(broken))
                raise InputError(
                    f"{name}_templates[{entry}, {scale}, {index}] is not finite; give it weight 0 to mark it absent"
                )


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
        p = replace(p, weights=best_hypothesis(p, g, block, threads or 1).keep(p, limit))
    return _fuse_all(p, g, rules, _plan(p, g, pairing, order, add, threads, block=block, limit=limit))


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
    engine: Engine = field(default_factory=Exact)


ENGINES: dict[str, Callable[[], Engine]] = {"float32": Exact, "screened": Screened, "int8": Rounded}


def _plan(
    p: Side, g: Side, pairing: Pairing, order: Order, add: Add, threads: int | None, *, block: int = BLOCK,
    limit: int = sys.maxsize, precision: Precision = "float32", device: str | None = None,
) -> _Plan:
    means = _is_mean(p, add), _is_mean(g, add)
    if device is not None:
        if precision not in ("auto", "float32"):
            raise ConfigError(f"device={device!r} expects precision 'auto' or 'float32', got {precision!r}")
        return _Plan(pairing, order, *means, threads or cores(), block, limit, OnDevice(device))
    if precision == "auto":
        precision = quickest(p, g, order)
    if precision != "float32" and p.length > LONGEST:
        raise ConfigError(f"precision={precision!r} expects templates of at most {LONGEST} components, got {p.length}")
    return _Plan(pairing, order, *means, threads or cores(), block, limit, ENGINES[precision]())


def missing_scores(probes: int, entries: int, limit: int) -> Scores:
    """A (P, G) matrix of NaN; beyond ``limit`` bytes it is mapped onto a temporary file."""
    out = allocate((probes, entries), limit)
    out[:] = np.nan
    return out


def _fuse(
    p: Side, g: Side, probe: Rule, gallery: Rule, plan: _Plan, met: NDArray[np.int64] | None = None
) -> Scores:
    out = missing_scores(len(p), len(g), plan.limit)
    if probe == "T_concat":
        _concat(p.added(per_scale=True, limit=plan.block), g.added(per_scale=True, limit=plan.block), out)
    elif plan.pairing == "same_scale" and "T_add" in (probe, gallery):
        _mean_over_scales(p, g, probe, gallery, replace(plan, pairing="all"), out)
    elif plan.order == "gallery_first":
        _reduce(p, g, probe, gallery, plan.mean_p, plan.mean_g, plan, out, met)
    else:
        _reduce(g, p, gallery, probe, plan.mean_g, plan.mean_p, plan, out.T, met)
    return out


def _reduce(
    a: Side, b: Side, outer: Rule, inner: Rule, mean_a: bool, mean_b: bool, plan: _Plan, out: Scores,
    met: NDArray[np.int64] | None,
) -> None:
    """Outer rule over a's hypotheses of the inner rule over b's; what is linear is summed before it is compared."""
    per_scale = plan.pairing == "same_scale"
    if outer == "T_add":
        a = a.added(limit=plan.block)
    elif outer == "S_add" and inner != "S_max":
        a = a.added(unit=True, per_scale=per_scale, limit=plan.block)
    if inner == "T_add":
        b = b.added(limit=plan.block)
    elif inner == "S_add":
        b = b.added(unit=True, mean=mean_b, per_scale=per_scale, limit=plan.block)
    engine = plan.engine if inner == "S_max" else Exact()
    task = Task(per_scale, plan.threads, plan.block, engine)
    reduce_sides(a, b, task, [Outer(outer == "S_max", mean_a, out)], met)


def _fuse_all(p: Side, g: Side, rules: Sequence[tuple[Rule, Rule]], plan: _Plan) -> list[Scores]:
    """Every pair of rules; those that differ only in what becomes of the same maxima come from one pass."""
    first = plan.order == "gallery_first"
    a, b, mean = (p, g, plan.mean_p) if first else (g, p, plan.mean_g)
    shared = {}
    for pair in rules:
        outer, inner = pair if first else pair[::-1]
        if inner == "S_max" and outer != "T_add":
            shared[pair] = outer == "S_max", missing_scores(len(p), len(g), plan.limit)
    if shared:
        outers = [Outer(maximum, mean, out if first else out.T) for maximum, out in shared.values()]
        reduce_sides(a, b, Task(plan.pairing == "same_scale", plan.threads, plan.block, plan.engine), outers)
    return [shared[pair][1] if pair in shared else _fuse(p, g, *pair, plan) for pair in rules]


def _fused(p: Side, g: Side, rules: tuple[Rule, Rule], plan: _Plan) -> Fused:
    """The scores and what is known beside them."""
    first = plan.order == "gallery_first"
    a, b, outer, inner, mean = (p, g, *rules, plan.mean_p) if first else (g, p, *rules[::-1], plan.mean_g)
    summed = outer == "T_add"
    if inner != "S_max" or (summed and plan.pairing == "same_scale"):
        return Fused(_fuse(p, g, *rules, plan))
    if isinstance(plan.engine, Rounded):
        its = a.added(limit=plan.block) if summed else a
        bound = error_bounds(its, b, total=outer == "S_add" and not mean, block=plan.block)
        return Fused(_fuse(p, g, *rules, plan), None, bound if first else bound.T)
    shape = (len(a), 1, 1) if summed else a.weights.shape
    met = np.full((math.prod(shape), len(b)), -1, np.int64)
    scores = _fuse(p, g, *rules, plan, met)
    return Fused(scores, np.where(met >= 0, met - b.starts[:-1], -1).reshape(*shape, len(b)))


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
    totals = totals[totals > 0]
    return bool((totals != totals[:1]).any())


def _concat(p: Side, g: Side, out: Scores) -> None:
    assert isinstance(p.templates, np.ndarray)
    assert isinstance(g.templates, np.ndarray)
    kernels.concat_pairs(p.templates[:, :, 0], p.weights[..., 0] > 0, g.templates[:, :, 0], g.weights[..., 0] > 0, out)
