"""Faces of which a mask, dark glasses or a hat hides a part: that part of both sides is covered alike.

What hides a part of the probe is on no portrait, and to a network it looks like another face. Where the same rows of both crops
show the same thing, only what both show tells them apart. (Whole rows are covered: of a small crop up to one more than of a
large one.) Masked portraits for masked probes are older than that (A. Anwar and
A. Raychowdhury, "Masked face recognition for secure authentication", arXiv 2008.11104, 2020, draw masks on portraits); here the
probe is covered too, so that what hides it matters to the light alone, which is measured of the whole face.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from meetmid.config import Cover, MatchConfig
from meetmid.faces.alignment import ARCFACE_112, AlignmentTemplate
from meetmid.resize import Image, rounded

ROWS: dict[Cover, tuple[float, float]] = {"mask": (0.55, 1.0), "glasses": (0.32, 0.55), "hat": (0.0, 0.35)}
"""From where to where each hides an aligned crop, as shares of its height: from below the eyes on, from the brows to there,
down to the brows. The eyes lie at 0.46, the tip of the nose at 0.64."""

LABELS: dict[Cover, int] = {"mask": -1, "glasses": -2, "hat": -3}
"""The labels of their scales, beside those of sizes, which are 0 and more; files have them."""

TOLD: dict[Cover, str] = {
    "mask": "covered as by a mask", "glasses": "covered as by dark glasses", "hat": "covered as by a hat",
}

SIDES, ROUND = 0.75, 0.55
"""What covers a face is round, an ellipse of this half-axis in widths: so much of the light of its middle falls on its
sides, and more in between."""


@functools.cache
def has_rows(template: AlignmentTemplate) -> bool:
    """Whether the crops of an alignment have eyes, nose and mouth where ``ROWS`` expect them."""
    heights, wanted = ([y / its.size[1] for _, y in its.points] for its in (template, ARCFACE_112))
    return bool(np.allclose(heights, wanted, atol=0.01))


def covered(picture: Image, cover: Cover) -> Image:
    """A copy of an aligned face crop (H, W, 3) float32 in [0, 1] whose ``ROWS`` of a ``cover`` show a round grey thing, as
    light as the rest of it."""
    height, width = picture.shape[:2]
    top, bottom = (round(share * height, 6) for share in ROWS[cover])
    hidden = slice(math.floor(top), math.ceil(bottom))
    rest = np.delete(picture, hidden, axis=0)
    rest = rest if len(rest) else picture  # of one or two rows
    across = (np.arange(width) + 0.5) / width - 0.5
    shade = SIDES + (1 - SIDES) * np.sqrt(1 - (across / ROUND) ** 2)
    out = picture.copy()
    out[hidden] = (rest.mean(dtype=np.float64) * shade)[:, None]
    return out


def covered_as(picture: Image, config: MatchConfig) -> Image:
    """The same by what a configuration says that it is covered by, rounded to 8 bits where it rounds."""
    return rounded(covered(picture, config.covered_by), config.degradations.quantize)
