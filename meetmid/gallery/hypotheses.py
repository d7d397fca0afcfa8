"""All hypotheses of one portrait: degraded along every path, then matched to the probe's resolutions (Grm et al. 2023,
section 3.3; networks.md section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.gallery.paths import Path, format_path, select_paths
from meetmid.gallery.randomness import draw_seed
from meetmid.gallery.tree import walk
from meetmid.resize import Image, fits, resize, rounded, to_float
from meetmid.templates.extraction import Hypothesis


@dataclass(frozen=True)
class GalleryHypothesis:
    """What a slot of the gallery side stands for: the degradation ``path`` (empty = undegraded), the ``size`` (height,
    width) in pixels it was matched to (None = its own), and the ``draw`` of the random tree."""

    path: Path
    size: tuple[int, int] | None
    draw: int = 0

    def __str__(self) -> str:
        name = format_path(self.path) if self.path else "undegraded"
        draw = f", draw {self.draw}" if self.draw else ""
        return f"{name}{draw}" + (f", matched to {self.size[1]} x {self.size[0]} px" if self.size else "")


@dataclass(frozen=True)
class GalleryLayout:
    """Which hypothesis lies in which slot; ``lr_shape`` (height, width) is the probe's working size.

    The identity scale holds the undegraded portrait at its own size and at every matched size; every other scale holds
    one slot per path and draw, in the order of ``paths``. Without any other scale the degraded portraits follow in the
    identity scale, at their own size: there is nothing to match them to.
    """

    config: MatchConfig
    lr_shape: tuple[int, int]
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, config: MatchConfig, lr_shape: tuple[int, int] | None = None) -> GalleryLayout:
        """The layout of a configuration."""
        side = config.lr_size or 0
        paths = select_paths(config.paths)
        return cls(config, lr_shape or (side, side), paths if config.scales else tuple(path for path in paths if path))

    def size(self, scale: int) -> tuple[int, int]:
        """The matched size of a scale label."""
        return scale * self.lr_shape[0], scale * self.lr_shape[1]

    @property
    def identities(self) -> tuple[tuple[int, int] | None, ...]:
        """The sizes of the identity scale's slots; the matched ones only where no scale holds the undegraded portrait."""
        if not self.config.identity:
            return ()
        matched = self.config.resolution_matching and () not in self.paths
        return (None, *(self.size(s) for s in self.config.scales if self.fits(s))) if matched else (None,)

    def fits(self, scale: int) -> bool:
        """Whether a probe of the working size has hypotheses at a scale label; where it has none, portraits have none."""
        return fits(self.lr_shape, scale)

    @property
    def degraded(self) -> int:
        """Degraded portraits, each of which is matched to the size of every scale."""
        return len(self.paths) * self.config.draws_per_node

    @property
    def slots(self) -> int:
        """N, the slots per scale."""
        return max(1, *self.counts())

    def counts(self) -> list[int]:
        """Used slots of every scale, identity scale first."""
        own = len(self.identities) + (0 if self.config.scales else self.degraded)
        return [own] * self.config.identity + [self.degraded * self.fits(scale) for scale in self.config.scales]

    def describe(self, scale: int, slot: int) -> GalleryHypothesis:
        """What lies in slot ``slot`` of scale index ``scale``."""
        size = None
        if self.config.identity and scale == 0:
            if slot < len(self.identities):
                return GalleryHypothesis((), self.identities[slot])
            slot -= len(self.identities)
        elif self.config.resolution_matching:
            size = self.size(self.config.scales[scale - self.config.identity])
        draw, path = divmod(slot, len(self.paths))
        return GalleryHypothesis(self.paths[path], size, draw)

    def networks_runs(self) -> int:
        """Templates computed per portrait."""
        fitting = sum(self.fits(scale) for scale in self.config.scales)
        runs = (fitting if self.config.resolution_matching else min(fitting, 1)) if self.config.scales else 1
        return len(self.identities) + self.degraded * runs


def gallery_hypotheses(work: NDArray[np.uint8], layout: GalleryLayout, weights: NDArray[np.float32]) -> Iterator[Hypothesis]:
    """Yield every picture of a portrait (already at its work size) with its slots, the undegraded ones first, and set
    ``weights`` (S, N) to 1 where a slot is used, or to ``portrait_weight`` where it is undegraded."""
    config = layout.config
    for scale, count in enumerate(layout.counts()):
        weights[scale, :count] = 1.0
    if config.identity:
        weights[0, : len(layout.identities)] = config.portrait_weight
        clean = to_float(work)
        for slot, size in enumerate(layout.identities):
            yield Hypothesis(_matched(clean, size, config), ((0, slot),))
    scales = [(k + config.identity, label) for k, label in enumerate(config.scales) if layout.fits(label)]
    for draw in range(config.draws_per_node if layout.paths and (scales or not config.scales) else 0):
        seed = draw_seed(config.seed, draw)
        for position, picture in walk(work, layout.paths, seed=seed, options=config.degradations):
            slot = draw * len(layout.paths) + position
            if not config.scales:
                yield Hypothesis(picture, ((0, len(layout.identities) + slot),))
            elif config.resolution_matching:
                for scale, label in scales:
                    yield Hypothesis(_matched(picture, layout.size(label), config), ((scale, slot),))
            else:
                yield Hypothesis(picture, [(scale, slot) for scale, _ in scales])


def gallery_picture(work: NDArray[np.uint8], layout: GalleryLayout, scale: int, slot: int) -> tuple[GalleryHypothesis, Image]:
    """What one slot shows, made anew: its description and the picture (h, w, 3) float32."""
    what = layout.describe(scale, slot)
    options, seed = layout.config.degradations, draw_seed(layout.config.seed, what.draw)
    picture = to_float(work) if not what.path else next(p for _, p in walk(work, (what.path,), seed=seed, options=options))
    return what, _matched(picture, what.size, layout.config)


def _matched(picture: Image, size: tuple[int, int] | None, config: MatchConfig) -> Image:
    options = config.degradations
    return picture if size is None else rounded(resize(picture, size, method=options.resize), options.quantize)
