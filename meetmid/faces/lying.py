"""Whether a face lies in a small picture as it does in an aligned crop.

Matchers expect the five points in the places of their template. What a detector's box cuts out, as in many sets of far faces,
has them elsewhere: lower, higher, or closer to each other.
"""

from __future__ import annotations

import numpy as np

from meetmid.faces.alignment import AlignmentTemplate, size_in
from meetmid.faces.crops import Face

SMALLER, APART, FARTHEST = 0.8, 0.3, 0.6
"""A face is not aligned that an alignment would enlarge more than ``1 / SMALLER`` times, or whose middle lies farther from the
template's than ``APART`` in eye distances of the template; what lies beyond ``FARTHEST`` is more often a mistake."""

SURELY_SMALLER, SURELY_APART = 0.6, 0.7
"""Scores that the finder must give such a face, since the points of far faces are at times found elsewhere (benchmarks/chips.py
counts what is taken for what)."""


def is_aligned(face: Face, shape: tuple[int, int], template: AlignmentTemplate) -> bool:
    """Whether a face with points in a picture of this (height, width) lies as the template says, as far as is known."""
    if face.points is None:
        return True
    places, points = template.scaled(shape[1], shape[0]), np.array(face.points)
    if np.ptp(points, axis=0).max() < 1e-6:  # they tell nothing
        return True
    apart = float(np.linalg.norm(points.mean(axis=0) - places.mean(axis=0)) / np.linalg.norm(places[1] - places[0]))
    is_smaller = size_in(points, template, (shape[1], shape[0])) > 1 / SMALLER and face.score > SURELY_SMALLER
    return not (is_smaller or (APART < apart < FARTHEST and face.score > SURELY_APART))
