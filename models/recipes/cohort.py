"""Reference means of a shipped matcher, learned from people that no benchmark ever matches."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import islice
from pathlib import Path

import numpy as np
from meetmid.models.recipes.faces import faces
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.evaluation.camera import FarCamera
from meetmid.faces.alignment import TEMPLATES, AlignmentTemplate, align
from meetmid.faces.covers import ROWS
from meetmid.matcher import Matcher
from meetmid.presets import advised, preset
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.registry import get_model
from meetmid.templates.centering import ReferenceMeans

Picture = NDArray[np.uint8]
PEOPLE, SIZES = 300, (16, 20, 24)
COVERED = 600
"""Of how many people the means of covered pictures are learned."""


def cohort(data: Path, template: AlignmentTemplate, people: int | None) -> tuple[list[Picture], list[Picture]]:
    """Far probes and portraits of the first single-picture LFW people (None: all): one simulated capture each, the sizes taken
    in turn."""
    crops = [align(picture, points, template) for _, picture, points in islice(faces(data, "lfw-single"), people)]
    return [FarCamera(SIZES[k % len(SIZES)]).capture(crop, (11, k)) for k, crop in enumerate(crops)], crops


def cohort_means(data: Path, card: Path, people: int = PEOPLE) -> ReferenceMeans:
    """Means over the first single-picture LFW people for every scale (1x, 2x, 4x, 8x), the blur levels and paths of the
    matcher's balanced preset; every probe is one simulated capture, the sizes taken in turn. A mean is learned as that preset
    with this matcher makes its hypotheses (from all those people where it is to give a second moment too), or else as the
    preset does by itself, or else by EDSR-face; of covered pictures of either side by :func:`covered_means`."""
    model = get_model(card.parent)
    template = TEMPLATES[model.contract.alignment]
    common, own = preset("balanced"), advised("balanced", model.presets)
    whole = None if own.score_norm == "z" else people
    probes, crops = cohort(data, template, whole and max(whole, COVERED))
    rest = tuple(scale for scale in (2, 4, 8) if scale not in common.scales)
    lifted = replace(own, hallucinator=common.hallucinator, scales=common.scales)
    choices = dict.fromkeys((own, lifted, replace(own, hallucinator="edsr-face", scales=rest)))
    learned = []
    for choice in choices:
        with Matcher(config=replace(choice, faces="crop", keep_crops=False), matcher=model) as matcher:
            count = whole if choice is own else people
            learned.append(matcher.learn_means(probes[:count], crops[:count]))
    return reduce(joined, [*learned, covered_means(model, own, probes, crops)])


def covered_means(model: ModelCard, config: MatchConfig, probes: list[Picture], portraits: list[Picture]) -> ReferenceMeans:
    """Means of pictures covered in every way, learned from the first ``COVERED`` of these."""
    learned = []
    for cover in ROWS:
        chosen = replace(config, covered_by=cover, faces="crop", keep_crops=False)
        with Matcher(config=chosen, matcher=model) as matcher:
            learned.append(matcher.learn_means(probes[:COVERED], portraits[:COVERED]))
    return reduce(joined, learned)


def joined(means: ReferenceMeans, more: ReferenceMeans) -> ReferenceMeans:
    """The means of both for all their scales, in order; where both have one, that of the first."""
    found = {scale: (kept, kept.scales.index(scale)) for kept in (more, means) for scale in kept.scales}
    scales = tuple(sorted(found))
    probe, gallery = (
        np.stack([getattr(found[scale][0], side)[found[scale][1]] for scale in scales]) for side in ("probe", "gallery")
    )
    return replace(means, scales=scales, probe=probe, gallery=gallery)
