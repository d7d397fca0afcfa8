"""Measuring: a simulated far camera, closed-set identification and intervals."""

from __future__ import annotations

from meetmid.evaluation.camera import FarCamera
from meetmid.evaluation.identification import rank1_hits
from meetmid.evaluation.intervals import wilson

__all__ = ["FarCamera", "rank1_hits", "wilson"]
