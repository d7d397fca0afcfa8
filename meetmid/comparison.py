"""The stages between pictures and scores: enrolment, the gallery that every probe meets, centring and fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig, Rule
from meetmid.errors import ConfigError, InputError
from meetmid.faces.finding import Hint
from meetmid.gallery.hypotheses import GalleryLayouts
from meetmid.gallery.store import Gallery
from meetmid.images import Entry, entries
from meetmid.intake import Intake, Taken, count
from meetmid.probes.hallucination import MIN_SIDE, working_size
from meetmid.probes.hypotheses import scale_labels
from meetmid.runtime.progress import Progress, ProgressCallback
from meetmid.scores.normalisation import root_mean_squares
from meetmid.scores.scoring import fuse_portraits, fuse_sides, missing_scores
from meetmid.scores.side import Side
from meetmid.templates.centering import ReferenceMeans, pool_means
from meetmid.templates.pool import TemplatePool, allocate

Crops = Sequence[NDArray[np.uint8] | None]


@dataclass(frozen=True)
class Run:
    """An enrolled gallery and the probe entries that meet it (None: all); the ``number``-th of ``total``. From ``kept`` every
    run's gallery can be had again (:meth:`Comparison.met`)."""

    gallery: Gallery
    kept: Gallery
    entries: tuple[int, ...] | None = None
    number: int = 0
    total: int = 1

    def progress(self, callback: ProgressCallback | None) -> Progress:
        """The progress of scoring, up to this run."""
        return Progress(callback, "scores", self.total, self.number)


@dataclass(frozen=True)
class Comparison:
    """Compares sides under one configuration; ``reference`` gives the reference means where the centring asks for them."""

    config: MatchConfig
    intake: Intake
    reference: Callable[[], ReferenceMeans]
    threads: int | None

    @property
    def native(self) -> bool:
        """Whether portraits are matched to every probe's own size."""
        return self.config.lr_size is None and bool(self.config.scales) and self.config.resolution_matching

    def layouts(self) -> GalleryLayouts:
        """The layouts of portraits that have no probe yet; raises ConfigError where every probe size has its own."""
        if self.native:
            raise ConfigError(
                "lr_size=None (native) matches the gallery to every probe's own size, so it cannot be enrolled beforehand: "
                "pass the pictures to match(), or use resolution_matching=False"
            )
        return GalleryLayouts.of(self.config)

    def enroll(self, side: Sequence[Entry], faces: Hint | None, callback: ProgressCallback | None) -> Gallery:
        """Templates of every portrait."""
        return self.enrolled(side, faces, Progress(callback, "gallery", count(side)))

    def enrolled(
        self, side: Sequence[Entry], faces: Hint | None, progress: Progress, sources: tuple[str, ...] = ()
    ) -> Gallery:
        """Templates of every portrait, one step of ``progress`` each; ``sources`` as in :class:`Gallery`."""
        layouts = self.layouts()
        gallery = replace(self._gallery(self.intake.portraits(side, faces, layouts, progress), layouts), sources=sources)
        return gallery if self.config.keep_crops else replace(gallery, crops=None)

    def runs(self, gallery: Any, faces: Hint | None, probes: Taken, callback: ProgressCallback | None) -> Iterator[Run]:
        """The gallery that the probes meet: one for all, or one after the other for every probe size."""
        if isinstance(gallery, Gallery):
            layouts = GalleryLayouts.of(self.config, gallery.lr_shape if self.native else None)
            gallery.check(self.intake.gallery_hashes, self.config, layouts.each[0].lr_shape)
            yield from self._nearest(gallery, probes)
            return
        side = entries(gallery, what="gallery")
        if not self.native:
            yield from self._nearest(self.enroll(side, faces, callback), probes)
            return
        shapes = [None if share == 1 else probes.shape(entry) for entry, share in enumerate(probes.share)]
        distinct = sorted({shape for shape in shapes if shape is not None}) or [(MIN_SIDE, MIN_SIDE)]
        layouts = GalleryLayouts.of(self.config, distinct[0])
        met = self._gallery(self.intake.portraits(side, faces, layouts, Progress(callback, "gallery", count(side))), layouts)
        for number, shape in enumerate(distinct):
            if number:
                met = met.emptied()  # one gallery is held at a time
                met = self._at_size(met, shape, callback)
            # those that are compared as they are meet the undegraded portraits, which no size changes
            own = tuple(e for e, its in enumerate(shapes) if its == shape or (number == 0 and probes.share[e] == 1))
            shown = met if self.config.keep_crops else replace(met, crops=None)
            yield Run(shown, shown.emptied(), own, number, len(distinct))
            del shown

    def _nearest(self, gallery: Gallery, probes: Taken) -> Iterator[Run]:
        """The whole gallery, or, of several sizes, the part that is matched to each one that probes have."""
        if not self.config.sizes:
            yield Run(gallery, gallery)
            return
        far = (probes.share < 1) & ~np.isnan(probes.sizes[:, 1])
        numbers = [self.config.nearest(its) if own else None for its, own in zip(probes.sizes[:, 1], far, strict=True)]
        distinct = sorted({number for number in numbers if number is not None}) or [0]
        for number, size in enumerate(distinct):
            # those that are compared as they are meet the undegraded portraits, which no size changes
            own = tuple(entry for entry, its in enumerate(numbers) if its == size or (number == 0 and its is None))
            yield Run(gallery.matched(size), gallery, own, number, len(distinct))

    def score(
        self, probes: Taken, run: Run, means: NDArray[np.float32] | None, before: NDArray[np.float32] | None,
        rules: tuple[Rule, Rule] | None = None,
    ) -> NDArray[np.float32]:
        """The scores (P, G) of the run's probes, beside those of the runs ``before``; ``means`` as in :meth:`sides`, ``rules``
        instead of the configuration's where given."""
        entries, limit = range(len(probes.ids)) if run.entries is None else run.entries, self.intake.memory // 8
        far, near = [e for e in entries if probes.share[e] < 1], [e for e in entries if probes.share[e] > 0]
        if len(far) == len(probes.ids):
            whole = self.fused(*self.far_sides(probes.pool, run.gallery.pool, means), rules)
        else:
            whole = missing_scores(len(probes.ids), len(run.gallery), limit) if before is None else before
            if far:
                own = probes.pool.part(far, limit)
                whole[far] = self.fused(*self.far_sides(own, run.gallery.pool, means), rules)
        if near:
            for entry, plain in zip(near, self.plain_scores(probes, run.gallery, near, rules), strict=True):
                whole[entry] = blend(whole[entry], plain, probes.share[entry])
        return whole

    def plain_scores(
        self, probes: Taken, gallery: Gallery, entries: Sequence[int], rules: tuple[Rule, Rule] | None = None
    ) -> NDArray[np.float32]:
        """The scores (n, G) of some probes' pictures as they are."""
        return self.fused(*self.plain_sides(probes.plain.part(entries, self.intake.memory // 8), gallery.pool), rules)

    def scores_of(self, probes: Taken, gallery: Gallery, rules: tuple[Rule, Rule] | None = None) -> NDArray[np.float32]:
        """The scores (P, G) of all probes, whose centring is not that of a set, with a gallery of one size; ``rules`` instead
        of the configuration's."""
        return self.score(probes, Run(gallery, gallery), None, None, rules)

    def having(self, **changes: object) -> Comparison:
        """The same under a changed configuration."""
        config = replace(self.config, **changes)  # type: ignore[arg-type]
        return replace(self, config=config, intake=replace(self.intake, config=config))

    def met(self, gallery: Gallery, crops: Crops, resolution: float, entry: int) -> tuple[Gallery, int]:
        """The gallery as a probe entry of ``crops``, whose most detailed one has this effective ``resolution``, met it, and the
        position of ``entry`` in it: ``gallery`` itself, the part of it that is matched to the entry's size, or, where every
        probe size has its own, enrolled anew from its crops (``entry`` alone, unless the others matter)."""
        if self.config.sizes:
            return gallery.matched(self.config.nearest(resolution)), entry
        if not self.native:
            return gallery, entry
        if gallery.crops is None:
            raise InputError("no crops were kept (keep_crops=False), so the hypotheses cannot be shown again")
        if self.config.centering != "set" and self.config.select != "best":
            gallery, entry = gallery.entry(entry), 0
        shape = working_size(next(crop.shape for crop in crops if crop is not None), None)
        return self._at_size(gallery, shape, None), entry

    def sides(
        self, crops: Crops, gallery: Gallery, means: NDArray[np.float32] | None, fine: Sequence[int] | None = None
    ) -> list[tuple[float, Side, Side]]:
        """What makes up the score of one probe entry, made anew from its crops, which have so many pixels per pixel of their
        pictures along each side as ``fine`` says (None: one): the share of each comparison, its centred side and that of the
        gallery. ``means`` (S, D) are those of all the run's probes, which ``centering="set"`` needs."""
        pool, plain, share = self.intake.again_probe(crops, fine or [1] * len(crops))
        parts = []
        if share[0] < 1:
            parts.append((1 - float(share[0]), *self.far_sides(pool, gallery.pool, means)))
        if share[0] > 0:
            parts.append((float(share[0]), *self.plain_sides(plain, gallery.pool)))
        return parts

    def set_means(self, probes: Taken) -> NDArray[np.float32] | None:
        """The means (S, D) of the probes that are not compared as they are alone, where the centring asks for them; of several
        sizes over all of them, while the portraits are centred by the mean of the size that is met."""
        if self.config.centering != "set":
            return None
        sharp = int((probes.share == 1).sum())
        _check_set(probes.pool, f", {sharp} of {len(probes.ids)} probes being sharp" if sharp else "")
        return pool_means(probes.pool)

    def _gallery(self, taken: Taken, layouts: GalleryLayouts) -> Gallery:
        matcher, lr_shape = self.intake.gallery_hashes, layouts.each[0].lr_shape
        return Gallery(taken.ids, taken.status, self.config, matcher, lr_shape, taken.pool, taken.crops, taken.dropped)

    def _at_size(self, gallery: Gallery, shape: tuple[int, int], callback: ProgressCallback | None) -> Gallery:
        """The same portraits matched to probes of another size, from their crops."""
        assert gallery.crops is not None
        layouts = GalleryLayouts.of(self.config, shape)
        pool, dropped = self.intake.again(gallery.pool.first, gallery.crops, layouts, callback)
        return replace(gallery, lr_shape=shape, pool=pool, dropped=dropped)

    def fused(self, p: Side, g: Side, rules: tuple[Rule, Rule] | None = None) -> NDArray[np.float32]:
        """The scores (P, G) of centred sides, by other ``rules`` than the configuration's where given."""
        config, memory = self.config, self.intake.memory
        probe_rule, gallery_rule = rules or (config.probe_rule, config.gallery_rule)
        options: dict[str, Any] = {
            "pairing": config.pairing, "order": config.order, "select": config.select, "add": "mean",
            "threads": self.threads, "block": memory // 16, "limit": memory // 8,
        }
        if config.portraits == "max":
            return fuse_portraits(p, g, probe_rule, gallery_rule, **options)
        scores = fuse_sides(p, g, [(probe_rule, gallery_rule)], **options)[0]
        if config.score_norm == "z":
            each = g.added(limit=memory // 8, unit=gallery_rule == "S_add")
            scores /= root_mean_squares(each, self.reference().second_moment())
        return scores

    def far_sides(
        self, probes: TemplatePool, gallery: TemplatePool, probe_means: NDArray[np.float32] | None
    ) -> tuple[Side, Side]:
        """All hypotheses of both sides, centred."""
        p = Side(probes.templates, self._weights(probes), probes.first)
        g = Side(gallery.templates, gallery.weights, gallery.first)
        of_probes = of_gallery = None
        if self.config.centering == "set":
            _check_set(gallery)
            of_probes, of_gallery = probe_means, pool_means(gallery)
        elif self.config.centering == "reference":
            reference, labels = self.reference(), scale_labels(self.config)
            of_probes, of_gallery = reference.of("probe", labels), reference.of("gallery", labels)
        return self._centred(p, of_probes), self._centred(g, of_gallery)

    def plain_sides(self, probes: TemplatePool, gallery: TemplatePool) -> tuple[Side, Side]:
        """The pictures of both sides as they are, centred by the mean of the portraits'."""
        scales = self.config.own_scales
        weights = allocate((len(gallery.weights), scales, gallery.weights.shape[2]), self.intake.memory // 8)
        weights[:, :, 0] = gallery.weights[:, :scales, 0]
        p = Side(probes.templates, probes.weights, probes.first)
        g = replace(Side(gallery.templates, gallery.weights, gallery.first).at_scales(0, scales), weights=weights)
        means = None
        if self.config.centering == "set":
            alone = TemplatePool(g.templates, weights, gallery.first)
            _check_set(alone)
            means = pool_means(alone)
        elif self.config.centering == "reference":
            means = self.reference().of("gallery", scale_labels(self.config)[:scales])
        return self._centred(p, means), self._centred(g, means)

    def _centred(self, side: Side, means: NDArray[np.float32] | None) -> Side:
        """A side less its ``means``, or, where the configuration says so, every template less its own."""
        return replace(side, means=means, per_vector=self.config.centering == "vector")

    def _weights(self, probes: TemplatePool) -> NDArray[np.float32]:
        """The multiplicities of the probes' hypotheses, those at their own size times ``identity_weight``."""
        if self.config.identity_weight == 1 or not self.config.identity:
            return probes.weights
        weights = allocate(probes.weights.shape, self.intake.memory // 8)
        weights[:] = probes.weights
        weights[:, : self.config.own_scales] *= np.float32(self.config.identity_weight)
        return weights


def blend(far: NDArray[np.float32], plain: NDArray[np.float32], share: Any) -> NDArray[np.float32]:
    """Scores of which the comparison of the pictures as they are makes up ``share``, a number or an array that broadcasts. The
    far one stands alone also where the portrait has no undegraded template."""
    mixed: NDArray[np.float32] = (1 - share) * far + share * plain
    return np.where(share == 1, plain, np.where((share == 0) | np.isnan(plain), far, mixed))


def _check_set(pool: TemplatePool, besides: str = "") -> None:
    """The mean of one picture is that picture: centred by it, only rounding noise would be left to score."""
    if int((pool.weights.sum(axis=(1, 2)) > 0).sum()) == 1:
        raise ConfigError(
            f"centering='set' expects at least 2 usable pictures on each side, got 1{besides}; use 'reference', 'vector' or "
            f"'none'"
        )
