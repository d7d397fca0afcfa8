"""Reference means of a shipped matcher, learned from people that no benchmark ever matches."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from meetmid.models.recipes.faces import faces

from meetmid.config import advised, preset
from meetmid.evaluation.camera import FarCamera
from meetmid.faces.alignment import TEMPLATES, align
from meetmid.matcher import Matcher
from meetmid.runtime.registry import get_model
from meetmid.templates.centering import ReferenceMeans

PEOPLE, SIZES = 300, (16, 20, 24)


def cohort_means(data: Path, card: Path, people: int = PEOPLE) -> ReferenceMeans:
    """Means over the first single-picture LFW people for every scale (1x, 2x, 4x, 8x), the blur levels and paths of the
    matcher's balanced preset; every probe is one simulated capture, the sizes taken in turn. The scales that presets enlarge to
    are enlarged as they do it, the others by EDSR-face."""
    model = get_model(card.parent)
    template = TEMPLATES[model.contract.alignment]
    crops = [align(picture, points, template) for _, picture, points in islice(faces(data, "lfw-single"), people)]
    probes = [FarCamera(SIZES[k % len(SIZES)]).capture(crop, (11, k)) for k, crop in enumerate(crops)]
    common = preset("balanced")
    own = {"hallucinator": common.hallucinator, "scales": common.scales}
    rest = {"hallucinator": "edsr-face", "scales": tuple(scale for scale in (2, 4, 8) if scale not in common.scales)}
    learned = []
    for choice in (own, rest):
        config = replace(advised("balanced", model.presets), **choice, faces="crop", keep_crops=False)
        with Matcher(config=config, matcher=model) as matcher:
            learned.append(matcher.learn_means(probes, crops))
    return joined(*learned)


def joined(means: ReferenceMeans, more: ReferenceMeans) -> ReferenceMeans:
    """The means of both for all their scales, in order; where both have one, that of the first."""
    found = {scale: (kept, kept.scales.index(scale)) for kept in (more, means) for scale in kept.scales}
    scales = tuple(sorted(found))
    probe, gallery = (
        np.stack([getattr(found[scale][0], side)[found[scale][1]] for scale in scales]) for side in ("probe", "gallery")
    )
    return replace(means, scales=scales, probe=probe, gallery=gallery)
