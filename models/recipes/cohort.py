"""Reference means of a shipped matcher, learned from people that no benchmark ever matches."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

from meetmid.models.recipes.faces import faces

from meetmid.config import advised
from meetmid.evaluation.camera import FarCamera
from meetmid.faces.alignment import TEMPLATES, align
from meetmid.matcher import Matcher
from meetmid.runtime.registry import get_model
from meetmid.templates.centering import ReferenceMeans

PEOPLE, SIZES = 300, (16, 20, 24)


def cohort_means(data: Path, card: Path, people: int = PEOPLE) -> ReferenceMeans:
    """Means over the first single-picture LFW people for every scale (1x, 2x, 4x, 8x), three blur levels and the paths of
    the matcher's balanced preset; every probe is one simulated capture, the sizes taken in turn."""
    model = get_model(card.parent)
    template = TEMPLATES[model.contract.alignment]
    crops = [align(picture, points, template) for _, picture, points in islice(faces(data, "lfw-single"), people)]
    probes = [FarCamera(SIZES[k % len(SIZES)]).capture(crop, (11, k)) for k, crop in enumerate(crops)]
    config = replace(advised("balanced", model.presets), scales=(2, 4, 8), faces="crop", keep_crops=False)
    with Matcher(config=config, matcher=model) as matcher:
        return matcher.learn_means(probes, crops)
