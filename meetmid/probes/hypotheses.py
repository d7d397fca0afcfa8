"""All hypotheses of one probe (Grm et al. 2023, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Cover, MatchConfig
from meetmid.faces.covers import LABELS, TOLD, covered_as
from meetmid.probes.blur import BlurLevel
from meetmid.probes.hallucination import Hallucinator, working_levels, working_size
from meetmid.probes.light import evened
from meetmid.probes.resolution import Detail
from meetmid.resize import MAX_ENLARGED, Image, fits, rounded, to_float
from meetmid.templates.extraction import Hypothesis


@dataclass(frozen=True)
class ProbeHypothesis:
    """What a slot of the probe side stands for: ``scale`` (1 = as it is, 0 = translated at its own size), ``sigma`` of the
    blur in pixels and what it is ``covered_by``."""

    scale: int
    sigma: float
    covered_by: Cover = "nothing"

    @property
    def synthetic(self) -> bool:
        """Whether a generator made the picture."""
        return self.scale != 1

    def __str__(self) -> str:
        if not self.synthetic:
            return TOLD.get(self.covered_by, "as it is")
        return f"{f'{self.scale}x' if self.scale else 'translated'}, blur {self.sigma:.2f}"


Shown = tuple[tuple[int, int], ProbeHypothesis, int, Image]
"""A hypothesis: its (scale index, slot), what it is, its multiplicity, the picture."""


def scale_labels(config: MatchConfig) -> tuple[int, ...]:
    """The scales of both sides in order; 1 is the identity scale, 0 that of a translation at 1x, those below of covered
    pictures."""
    own = ((1,) if config.identity else ()) + ((LABELS[config.covered_by],) if config.covers else ())
    return own + tuple(0 if scale == 1 else scale for scale in config.scales)


def probe_slots(config: MatchConfig) -> int:
    """M, the slots per scale."""
    return max(1, len(config.sigmas)) if config.scales else 1


def seen_by(crop: NDArray[np.uint8], config: MatchConfig) -> MatchConfig:
    """The configuration as a probe of this crop alone has it, for the functions below, which expect one ``lr_size``."""
    return config.at_resolution(Detail.of(crop).resolution) if config.sizes else config


def left_out(crop: NDArray[np.uint8], config: MatchConfig) -> list[str]:
    """What a crop has no hypotheses of, and why."""
    height, width = working_size(crop.shape, config.lr_side)
    return [
        f"no {scale}x hypotheses: {scale}x of {width} x {height} px is more than {MAX_ENLARGED} pixels"
        for scale in config.scales if not fits((height, width), scale)
    ]


def probe_hypotheses(
    crop: NDArray[np.uint8], config: MatchConfig, hallucinator: Hallucinator, weights: NDArray[np.float32],
) -> Iterator[Hypothesis]:
    """Yield every picture of a probe crop with its slot and write the multiplicities into ``weights`` (S, M), zeroed.

    Slot m of scale s is the m-th distinct blur level; collapsed levels keep their count as weight.
    """
    return _counted(probe_pictures(crop, config, hallucinator), weights)


def plain_hypotheses(crop: NDArray[np.uint8], config: MatchConfig, weights: NDArray[np.float32]) -> Iterator[Hypothesis]:
    """The pictures at a probe crop's own size alone, likewise; ``weights`` (:attr:`MatchConfig.own_scales`, 1)."""
    return _counted(_own_pictures(crop, config), weights)


def _counted(made: Iterator[Shown], weights: NDArray[np.float32]) -> Iterator[Hypothesis]:
    for slot, _, count, picture in made:
        weights[slot] = count
        yield Hypothesis(picture, (slot,))


def probe_names(crop: NDArray[np.uint8], config: MatchConfig) -> dict[tuple[int, int], ProbeHypothesis]:
    """What every (scale index, slot) of a crop stands for."""
    names = {(scale, 0): what for scale, what in enumerate(_own(config))}
    size = working_size(crop.shape, config.lr_side)
    wanted = [(k, scale) for k, scale in enumerate(config.scales, config.own_scales) if fits(size, scale)]
    labels = scale_labels(config)
    for slot, level in enumerate(_levels(crop, config) if wanted else ()):
        names |= {(index, slot): ProbeHypothesis(labels[index], level.sigma) for index, _ in wanted}
    return names


def probe_picture(
    crop: NDArray[np.uint8], config: MatchConfig, hallucinator: Hallucinator, scale: int, slot: int
) -> tuple[ProbeHypothesis, Image]:
    """What one slot shows, made anew: its description and the picture (h, w, 3) float32."""
    made = probe_pictures(crop, config, hallucinator, only=scale)
    return next((what, picture) for where, what, _, picture in made if where == (scale, slot))


def probe_heat(
    crop: NDArray[np.uint8], config: MatchConfig, hallucinator: Hallucinator, scale: int, slot: int
) -> NDArray[np.float32] | None:
    """What the generator of one slot attends to, (h, w) in [0, 1]; None where there is none, and where it does not tell."""
    if scale < config.own_scales:
        return None
    level = next(islice(_levels(crop, config), slot, None))
    return hallucinator.heat(level.picture, config.scales[scale - config.own_scales])


def probe_pictures(
    crop: NDArray[np.uint8], config: MatchConfig, hallucinator: Hallucinator, only: int | None = None
) -> Iterator[Shown]:
    """Every hypothesis, or those of the scale index ``only``."""
    if only is None or only < config.own_scales:
        yield from (made for made in _own_pictures(crop, config) if only in (None, made[0][0]))
    size, labels = working_size(crop.shape, config.lr_side), scale_labels(config)
    for index, scale in enumerate(config.scales, config.own_scales):
        if only not in (None, index) or not fits(size, scale):
            continue
        step, levels = hallucinator.batch(size, scale), enumerate(_levels(crop, config))
        while batch := list(islice(levels, step)):
            enlarged = hallucinator(np.stack([level.picture for _, level in batch]), scale)
            for (slot, level), picture in zip(batch, enlarged, strict=True):
                shown = rounded(picture, config.degradations.quantize)
                yield (index, slot), ProbeHypothesis(labels[index], level.sigma), level.count, shown


def _own(config: MatchConfig) -> list[ProbeHypothesis]:
    """A probe as it is and covered, as far as the configuration asks for these."""
    return [ProbeHypothesis(1, 0.0)] * config.identity + [ProbeHypothesis(1, 0.0, config.covered_by)] * config.covers


def _own_pictures(crop: NDArray[np.uint8], config: MatchConfig) -> Iterator[Shown]:
    wanted = _own(config)
    if not wanted:
        return
    whole = to_float(_lit(crop, config))
    for scale, what in enumerate(wanted):
        yield (scale, 0), what, 1, whole if what.covered_by == "nothing" else covered_as(whole, config)


def _lit(crop: NDArray[np.uint8], config: MatchConfig) -> NDArray[np.uint8]:
    return evened(crop) if config.even_light else crop


def _levels(crop: NDArray[np.uint8], config: MatchConfig) -> Iterator[BlurLevel]:
    options = config.degradations
    return working_levels(
        _lit(crop, config), config.sigmas, lr_size=config.lr_side, blur_at=config.blur_at, method=options.resize,
        quantize=options.quantize,
    )
