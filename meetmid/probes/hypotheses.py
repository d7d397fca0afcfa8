"""All hypotheses of one probe (Grm et al. 2023, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.probes.blur import BlurLevel
from meetmid.probes.hallucination import Hallucinator, working_levels
from meetmid.resize import Image, rounded, to_float
from meetmid.templates.extraction import Hypothesis

MAX_OUTPUT = 1024 * 1024
"""A native-size crop whose enlargement would have more pixels than this has no hypothesis at that scale."""


@dataclass(frozen=True)
class ProbeHypothesis:
    """What a slot of the probe side stands for: ``scale`` (1 = not hallucinated) and ``sigma`` of the blur in pixels."""

    scale: int
    sigma: float

    def __str__(self) -> str:
        return "as it is" if self.scale == 1 else f"{self.scale}x, blur {self.sigma:.2f}"


def scale_labels(config: MatchConfig) -> tuple[int, ...]:
    """The scales of both sides in order; 1 is the identity scale."""
    return ((1,) if config.identity else ()) + config.scales


def probe_slots(config: MatchConfig) -> int:
    """M, the slots per scale."""
    return max(1, len(config.sigmas)) if config.scales else 1


def probe_hypotheses(
    crop: NDArray[np.uint8], config: MatchConfig, hallucinator: Hallucinator, weights: NDArray[np.float32]
) -> Iterator[Hypothesis]:
    """Yield every picture of a probe crop with its slot and write the multiplicities into ``weights`` (S, M), zeroed.

    Slot m of scale s is the m-th distinct blur level; collapsed levels keep their count as weight.
    """
    for scale, pictures, _, counts in _pictures(crop, config, hallucinator):
        weights[scale, : len(counts)] = counts
        for slot, picture in enumerate(pictures):
            yield Hypothesis(picture, ((scale, slot),))


def probe_names(crop: NDArray[np.uint8], config: MatchConfig) -> dict[tuple[int, int], ProbeHypothesis]:
    """What every (scale index, slot) of a crop stands for."""
    labels = scale_labels(config)
    names = {(0, 0): ProbeHypothesis(1, 0.0)} if config.identity else {}
    for slot, level in enumerate(_levels(crop, config) if config.scales else []):
        fitting = (scale for scale in config.scales if _fits(level.picture, scale))
        names |= {(labels.index(scale), slot): ProbeHypothesis(scale, level.sigma) for scale in fitting}
    return names


def probe_picture(
    crop: NDArray[np.uint8], config: MatchConfig, hallucinator: Hallucinator, scale: int, slot: int
) -> tuple[ProbeHypothesis, Image]:
    """What one slot shows, made anew: its description and the picture (h, w, 3) float32."""
    label = scale_labels(config)[scale]
    for index, pictures, sigmas, _ in _pictures(crop, config, hallucinator, only=label):
        if index == scale:
            return ProbeHypothesis(label, sigmas[slot]), pictures[slot]
    raise IndexError(f"no probe hypothesis at scale {label}")


def _pictures(
    crop: NDArray[np.uint8], config: MatchConfig, hallucinator: Hallucinator, only: int | None = None
) -> Iterator[tuple[int, NDArray[np.float32], list[float], list[int]]]:
    labels = scale_labels(config)
    if config.identity and only in (None, 1):
        yield 0, to_float(crop)[None], [0.0], [1]
    if not config.scales or only == 1:
        return
    levels = _levels(crop, config)
    stack = np.stack([level.picture for level in levels])
    for label in config.scales if only is None else (only,):
        if _fits(stack[0], label):
            enlarged = rounded(hallucinator(stack, label), config.degradations.quantize)
            yield labels.index(label), enlarged, [v.sigma for v in levels], [v.count for v in levels]


def _fits(picture: Image, scale: int) -> bool:
    return picture[..., 0].size * scale * scale <= MAX_OUTPUT


def _levels(crop: NDArray[np.uint8], config: MatchConfig) -> list[BlurLevel]:
    options = config.degradations
    return working_levels(
        crop, config.sigmas, lr_size=config.lr_size, blur_at=config.blur_at, method=options.resize, quantize=options.quantize
    )
