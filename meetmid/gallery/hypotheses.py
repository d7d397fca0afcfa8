"""All hypotheses of one portrait: degraded along every path, then matched to the probe's resolutions (Grm et al. 2023,
section 3.3; networks.md section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Cover, MatchConfig
from meetmid.faces.covers import TOLD, covered_as
from meetmid.gallery.paths import Path, format_path, select_paths
from meetmid.gallery.randomness import draw_seed
from meetmid.gallery.tree import scaled, walk
from meetmid.resize import Image, fits, resize, rounded, to_float
from meetmid.templates.extraction import Hypothesis


@dataclass(frozen=True)
class GalleryHypothesis:
    """What a slot of the gallery side stands for: the degradation ``path`` (empty = undegraded), the ``size`` (height,
    width) in pixels it was matched to (None = its own), the ``draw`` of the random tree and what it is ``covered_by``."""

    path: Path
    size: tuple[int, int] | None
    draw: int = 0
    covered_by: Cover = "nothing"

    def __str__(self) -> str:
        name = format_path(self.path) if self.path else "undegraded"
        draw = f", draw {self.draw}" if self.draw else ""
        size = f", matched to {self.size[1]} x {self.size[0]} px" if self.size else ""
        return f"{name}{draw}{size}" + (f", {TOLD[self.covered_by]}" if self.covered_by in TOLD else "")


@dataclass(frozen=True)
class GalleryLayout:
    """Which hypothesis lies in which slot of one size; ``lr_shape`` (height, width) is the probe's working size.

    The identity scale holds the undegraded portrait at its own size and at every matched size; every scale of enlarged probes
    holds one slot per path and draw, in the order of ``paths``. Without any of these the degraded portraits follow in the
    identity scale, at their own size: there is nothing to match them to. The scale of covered pictures holds all of them so,
    the undegraded one first.
    """

    config: MatchConfig
    lr_shape: tuple[int, int]
    paths: tuple[Path, ...]

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
        enlarged = [self.degraded * self.fits(scale) for scale in self.config.scales]
        return [own] * self.config.identity + [1 + self.covered] * self.config.covers + enlarged

    @property
    def covered(self) -> int:
        """Degraded portraits in the scale of covered pictures, if there is one."""
        return sum(map(bool, self.paths)) * self.config.draws_per_node * self.config.covers

    def describe(self, scale: int, slot: int) -> GalleryHypothesis:
        """What lies in slot ``slot`` of scale index ``scale``."""
        size = None
        if self.config.covers and scale == self.config.own_scales - 1:
            draw, path = divmod(slot - 1, self.covered // self.config.draws_per_node) if slot else (0, 0)
            each = [(), *filter(None, self.paths)]
            return GalleryHypothesis(each[path + (slot > 0)], None, draw, self.config.covered_by)
        if self.config.identity and scale == 0:
            if slot < len(self.identities):
                return GalleryHypothesis((), self.identities[slot])
            slot -= len(self.identities)
        elif self.config.resolution_matching:
            size = self.size(self.config.scales[scale - self.config.own_scales])
        draw, path = divmod(slot, len(self.paths))
        return GalleryHypothesis(self.paths[path], size, draw)

    def degraded_at(self) -> Iterator[tuple[tuple[int, int] | None, tuple[int, int]]]:
        """The sizes (None = its own) that a degraded portrait is matched to, and for each the scale index and the slot of the
        first one."""
        if not self.config.scales:
            yield None, (0, len(self.identities))
        for scale, label in enumerate(self.config.scales, self.config.own_scales):
            if self.fits(label):
                yield self.size(label) if self.config.resolution_matching else None, (scale, 0)


@dataclass(frozen=True)
class GalleryLayouts:
    """The layout of every size that portraits are matched to, each a block of equally many slots; most configurations have one.
    """

    each: tuple[GalleryLayout, ...]

    @classmethod
    def of(cls, config: MatchConfig, lr_shape: tuple[int, int] | None = None) -> GalleryLayouts:
        """Those of a configuration, of native size that of probes of ``lr_shape``."""
        paths = select_paths(config.paths)
        paths = paths if config.scales else tuple(path for path in paths if path)
        if config.sizes:
            return cls(tuple(GalleryLayout(replace(config, lr_size=side), (side, side), paths) for side in config.sizes))
        side = config.lr_side or 0
        return cls((GalleryLayout(config, lr_shape or (side, side), paths),))

    @property
    def block(self) -> int:
        """Slots of one size."""
        return max(layout.slots for layout in self.each)

    @property
    def slots(self) -> int:
        """N, the slots of all sizes per scale."""
        return len(self.each) * self.block

    @property
    def undegraded(self) -> dict[tuple[int, int] | None, list[tuple[int, int]]]:
        """The sizes of the undegraded portrait and the slots (scale index, slot) that it fills at each."""
        made: dict[tuple[int, int] | None, list[tuple[int, int]]] = {}
        for number, layout in enumerate(self.each):
            for slot, size in enumerate(layout.identities):
                made.setdefault(size, []).append((0, number * self.block + slot))
        return made

    @property
    def degraded(self) -> dict[tuple[int, int] | None, list[tuple[int, int]]]:
        """The same of the first degraded portrait, whose fellows lie behind it."""
        made: dict[tuple[int, int] | None, list[tuple[int, int]]] = {}
        for number, layout in enumerate(self.each):
            for size, (scale, slot) in layout.degraded_at():
                made.setdefault(size, []).append((scale, number * self.block + slot))
        return made

    @property
    def covered(self) -> list[tuple[int, int]]:
        """The slots of the undegraded portrait where it is covered, whose degraded fellows lie behind it."""
        config = self.each[0].config
        return [(config.own_scales - 1, number * self.block) for number in range(len(self.each) * config.covers)]

    def undegraded_runs(self) -> int:
        """Templates computed of the undegraded portrait, which come first."""
        return len(self.undegraded) + self.each[0].config.covers

    def networks_runs(self) -> int:
        """Templates computed per portrait."""
        return self.undegraded_runs() + self.each[0].degraded * len(self.degraded) + self.each[0].covered


def gallery_hypotheses(work: NDArray[np.uint8], layouts: GalleryLayouts, weights: NDArray[np.float32]) -> Iterator[Hypothesis]:
    """Yield every picture of a portrait (already at its work size) with its slots, the undegraded ones first, and set
    ``weights`` (S, N) to 1 where a slot is used, or to ``portrait_weight`` where it is undegraded."""
    config, paths = layouts.each[0].config, layouts.each[0].paths
    for number, layout in enumerate(layouts.each):
        own = weights[:, number * layouts.block : (number + 1) * layouts.block]
        for scale, count in enumerate(layout.counts()):
            own[scale, :count] = 1.0
        own[0, : len(layout.identities)] *= config.portrait_weight
        if config.covers:
            own[config.own_scales - 1, 0] *= config.portrait_weight
    clean = to_float(work)
    for size, slots in layouts.undegraded.items():
        yield Hypothesis(_matched(clean, size, config), slots)
    if config.covers:
        yield Hypothesis(covered_as(clean, config), layouts.covered)
    sizes = layouts.degraded
    if not paths or not (sizes or config.covers):
        return
    start = _start(work, config)
    degraded = list(accumulate(bool(path) for path in paths))
    for draw in range(config.draws_per_node):
        for position, picture in walk(start, paths, seed=draw_seed(config.seed, draw), options=config.degradations):
            behind = draw * len(paths) + position
            shown = picture if paths[position] else clean
            for size, slots in sizes.items():
                yield Hypothesis(_matched(shown, size, config), [(scale, slot + behind) for scale, slot in slots])
            if config.covers and paths[position]:
                behind = draw * degraded[-1] + degraded[position]
                yield Hypothesis(covered_as(shown, config), [(scale, slot + behind) for scale, slot in layouts.covered])


def gallery_picture(work: NDArray[np.uint8], layout: GalleryLayout, scale: int, slot: int) -> tuple[GalleryHypothesis, Image]:
    """What one slot shows, made anew: its description and the picture (h, w, 3) float32."""
    what = layout.describe(scale, slot)
    options, seed = layout.config.degradations, draw_seed(layout.config.seed, what.draw)
    picture = to_float(work)
    if what.path:
        picture = next(p for _, p in walk(_start(work, layout.config), (what.path,), seed=seed, options=options))
    picture = picture if what.covered_by == "nothing" else covered_as(picture, layout.config)
    return what, _matched(picture, what.size, layout.config)


def _start(work: NDArray[np.uint8], config: MatchConfig) -> NDArray[np.uint8]:
    """What is degraded of a portrait."""
    return work if config.degrade_size is None else scaled(work, config.degrade_size, config.degradations.resize)


def _matched(picture: Image, size: tuple[int, int] | None, config: MatchConfig) -> Image:
    options = config.degradations
    return picture if size is None else rounded(resize(picture, size, method=options.resize), options.quantize)
