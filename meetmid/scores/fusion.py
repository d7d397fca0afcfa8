"""Fusion of templates and scores (Grm et al. 2023, section 3.4; networks.md section 4.6).

A rule per side: T-rules fuse that side's templates before scoring, S-rules reduce the similarities over that side's
hypotheses. The headline method is S_max over the gallery's, then S_add over the probe's:
score(P, G) = sum_i max_j r(p_i, g_j).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Order, Pairing, Rule, Select
from meetmid.errors import ConfigError, InputError
from meetmid.runtime.cores import cores
from meetmid.scores.best import best_hypothesis
from meetmid.scores.scoring import Add, Fused, Precision, Scores, fuse_all, fused, way_of
from meetmid.scores.side import NotFiniteError, Side, Templates
from meetmid.validation import is_whole


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
    pairs = [(probe, gallery)] if rules is None else _pairs(rules)
    for pair in pairs:
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
        way = way_of(p, g, pairing, order, add, threads, precision=precision, device=device)
        if detail:
            results = [fused(p, g, pair, way) for pair in pairs]
        else:
            results = [Fused(scores) for scores in fuse_all(p, g, pairs, way)]
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


def _pairs(rules: Any) -> list[Any]:
    try:
        found = [tuple(pair) if isinstance(pair, tuple | list) else () for pair in rules]
    except TypeError:
        found = [()]
    if any(len(pair) != 2 for pair in found):
        raise ConfigError(f"rules expects pairs of a probe rule and a gallery rule, got {rules!r}")
    return found


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
