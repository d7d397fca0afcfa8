"""Which hypotheses made a score: the exact decomposition of one fused similarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Order, Pairing, Rule
from meetmid.scores.side import Side

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class Provenance:
    """``similarity`` (A, B) of every probe hypothesis with every gallery hypothesis, NaN where a pair takes no part;
    ``share`` (A, B), what each pair contributes to the score, summing to 1; ``winner`` (row, column), the most alike pair
    among those that contribute; ``scale_probe`` (A,), ``scale_gallery`` (B,) and ``slot_probe``, ``slot_gallery`` name the
    rows and columns (slot = picture * slots per scale + hypothesis)."""

    similarity: Vectors
    share: Vectors
    winner: tuple[int, int]
    scale_probe: NDArray[np.int64]
    slot_probe: NDArray[np.int64]
    scale_gallery: NDArray[np.int64]
    slot_gallery: NDArray[np.int64]


def _flat(side: Side) -> tuple[Vectors, Vectors, NDArray[np.int64], NDArray[np.int64]]:
    """Present hypotheses of a one-entry side: templates (A, D), weights (A,), scales (A,), slots (A,)."""
    count = side.weights.shape[2]
    picture, scale, hypothesis = np.nonzero(side.weights > 0)
    rows = [side.centred(k).astype(np.float64) for k in range(len(side.weights))]
    templates = np.array([rows[k][s * count + h] for k, s, h in zip(picture, scale, hypothesis, strict=True)])
    return templates, side.weights[picture, scale, hypothesis].astype(np.float64), scale, picture * count + hypothesis


def _unit(rows: Vectors) -> Vectors:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms >= 1e-12, rows / np.maximum(norms, 1e-12), 0.0)


def decompose(
    probe: Side, gallery: Side, *, probe_rule: Rule, gallery_rule: Rule, pairing: Pairing, order: Order
) -> Provenance | None:
    """Decompose the score of two one-entry sides; None where a side has no hypothesis.

    Every rule pair of networks.md section 4.6 is a sum over pairs (i, j) once the maxima are taken: T_add contributes the
    product of the raw templates, S_add that of the unit ones, S_max only the chosen pairs.
    """
    p, weight_p, scale_p, slot_p = _flat(probe)
    g, weight_g, scale_g, slot_g = _flat(gallery)
    if not len(p) or not len(g):
        return None
    unit_p, unit_g = _unit(p), _unit(g)
    similarity = unit_p @ unit_g.T
    same = scale_p[:, None] == scale_g[None, :]
    taking_part = same if pairing == "same_scale" or probe_rule == "T_concat" else np.ones_like(same)
    if not taking_part.any():
        return None
    rows, mass_p = _weighted(p, unit_p, weight_p, probe_rule)
    columns, mass_g = _weighted(g, unit_g, weight_g, gallery_rule)
    share = np.zeros_like(similarity)
    per_scale = pairing == "same_scale" and "T_add" in (probe_rule, gallery_rule)
    for scale in np.unique(scale_p) if per_scale else [-1]:
        part = taking_part & (scale_p == scale)[:, None] if per_scale else taking_part
        if not part.any():
            continue
        product = np.where(part, rows @ columns.T, 0.0)
        if per_scale:
            product = product / (
                _merged_norm(rows[part.any(axis=1)], probe_rule) * _merged_norm(columns[part.any(axis=0)], gallery_rule)
            )
        if order == "gallery_first":
            share += _chosen(product, part, mass_p, mass_g, gallery_rule, probe_rule)
        else:
            share += _chosen(product.T, part.T, mass_g, mass_p, probe_rule, gallery_rule).T
    total = share.sum()
    share = share / total if abs(total) > 1e-12 else share
    masked = np.where(taking_part & (share != 0), similarity, -np.inf)
    if not np.isfinite(masked).any():
        masked = np.where(taking_part, similarity, -np.inf)
    row, column = np.unravel_index(int(np.argmax(masked)), masked.shape)
    return Provenance(
        np.where(taking_part, similarity, np.nan), share, (int(row), int(column)), scale_p, slot_p, scale_g, slot_g
    )


def _weighted(raw: Vectors, unit: Vectors, weights: Vectors, rule: Rule) -> tuple[Vectors, Vectors]:
    """The vectors that enter the products under a rule, and the mass of each in a mean."""
    if rule == "S_max":
        return unit, np.ones(len(unit))
    return (unit if rule == "S_add" else raw) * weights[:, None], weights


def _merged_norm(vectors: Vectors, rule: Rule) -> float:
    return max(float(np.linalg.norm(vectors.sum(axis=0))), 1e-12) if rule == "T_add" else 1.0


def _chosen(
    product: Vectors, part: NDArray[np.bool_], mass_outer: Vectors, mass_inner: Vectors, inner: Rule, outer: Rule
) -> Vectors:
    """What each pair adds to the score when ``inner`` reduces axis 1 and ``outer`` then reduces axis 0, S_add as a mean."""
    if inner == "S_add":
        product = product / np.maximum((part * mass_inner).sum(axis=1, keepdims=True), 1e-12)
    if outer == "S_add":
        product = product / np.maximum(mass_outer[part.any(axis=1)].sum(), 1e-12)
    open_pairs = np.where(part, product, -np.inf)
    keep = np.zeros_like(part)
    if inner == outer == "S_max":
        keep[np.unravel_index(int(np.argmax(open_pairs)), part.shape)] = True
    elif inner == "S_max" and outer == "S_add":
        rows = np.nonzero(part.any(axis=1))[0]
        keep[rows, open_pairs[rows].argmax(axis=1)] = True
    elif inner == "S_max":
        keep[:, _largest(product.sum(axis=0), np.asarray(part.any(axis=0)))] = True
    elif outer == "S_max":
        keep[_largest(product.sum(axis=1), np.asarray(part.any(axis=1)))] = True
    else:
        keep[:] = True
    return np.where(keep & part, product, 0.0)


def _largest(values: Vectors, present: NDArray[np.bool_]) -> int:
    return int(np.argmax(np.where(present, values, -np.inf)))
