"""The Matcher: wires faces, probe side, gallery side, templates and scores together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig, configured, preset
from meetmid.errors import ConfigError, InputError
from meetmid.faces.detection import Detector, open_detector
from meetmid.faces.finding import Hint, find_crop, hints_for, hints_of_sides
from meetmid.gallery.crops import CropStore
from meetmid.gallery.hypotheses import GalleryHypothesis, GalleryLayout, gallery_hypotheses, gallery_picture
from meetmid.gallery.store import Gallery
from meetmid.gallery.tree import work_image
from meetmid.images import Entry, entries
from meetmid.plan import Plan, make_plan
from meetmid.probes.hallucination import MIN_SIDE, Hallucinator
from meetmid.probes.hypotheses import (
    ProbeHypothesis,
    probe_hypotheses,
    probe_names,
    probe_picture,
    probe_slots,
    scale_labels,
)
from meetmid.probes.resolution import effective_resolution
from meetmid.resize import to_uint8
from meetmid.result import MatchResult
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.progress import Progress, ProgressCallback
from meetmid.runtime.registry import get_model
from meetmid.runtime.sessions import PROVIDERS, Network, nvidia_gpu_present
from meetmid.scores.fusion import best_portrait, fuse_sides
from meetmid.scores.ranking import Candidate
from meetmid.scores.side import Side
from meetmid.templates.centering import ReferenceMeans, pool_means
from meetmid.templates.extraction import TemplateNetwork
from meetmid.templates.pool import TemplatePool

GIB = 2**30
MIN_MEMORY = 128 * 2**20
SMALLEST = 12.0
"""Native face size in pixels below which the library's figures say nothing."""


@dataclass(frozen=True)
class _Enrolled:
    """Crops and templates of one side."""

    ids: tuple[str, ...]
    status: tuple[str, ...]
    pool: TemplatePool
    crops: CropStore | None
    sizes: NDArray[np.float32]
    dropped: int


class Matcher:
    """Matches faces across resolutions with one configuration.

    ``preset`` or ``config`` says what to compute (keywords of :class:`meetmid.MatchConfig` such as ``faces``, ``color``,
    ``seed``, ``errors`` override it; ``fusion`` is a (probe rule, gallery rule) pair); ``matcher`` and ``hallucinator`` name
    models, folders or ONNX files; ``reference`` is a :class:`ReferenceMeans` or its file, default the model's own.
    ``device`` as in :mod:`meetmid.runtime.sessions`, ``threads`` for networks and scores, ``memory_limit`` in bytes beyond
    the models (at least 128 MiB, default 1 GiB), ``progress`` a callback ``(done, total, stage)`` that cancels with False.

    Can be shared by threads and pickled (sessions reopen lazily); use as a context manager or call :meth:`close`. Raises
    ConfigError, ModelError or DeviceError.
    """

    def __init__(
        self,
        preset: str = "balanced",
        *,
        config: MatchConfig | None = None,
        matcher: str | os.PathLike[str] | ModelCard | None = None,
        hallucinator: str | os.PathLike[str] | None = None,
        detector: str | Detector | None = None,
        reference: ReferenceMeans | str | os.PathLike[str] | None = None,
        fusion: tuple[str, str] | None = None,
        device: str = "auto",
        threads: int | None = None,
        memory_limit: int | None = None,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> None:
        if threads is not None and threads < 1:
            raise ConfigError(f"threads expects at least 1, got {threads}")
        self._memory = GIB if memory_limit is None else memory_limit
        if self._memory < MIN_MEMORY:
            raise ConfigError(f"memory_limit expects at least {MIN_MEMORY} bytes, got {memory_limit}")
        self.card = matcher if isinstance(matcher, ModelCard) else get_model(matcher or _chosen(preset, config).matcher)
        self.config = configured(_chosen(preset, config), self.card.name, hallucinator, detector, fusion, options)
        self.device, self._threads, self._progress = device, threads, progress
        self.network = TemplateNetwork(
            Network(self.card, device=device, threads=threads), flip=self.config.flip, normalize=self.config.normalize,
            method=self.config.degradations.resize, quantize=self.config.degradations.quantize,
        )
        self.hallucinator = Hallucinator(self.config.hallucinator, self.config.scales, device=device, threads=threads)
        self._detector = detector if detector is not None and not isinstance(detector, str) else None
        if self._detector is None and self.config.detector is not None:
            self._detector = open_detector(self.config.detector)
        self._reference = reference if isinstance(reference, ReferenceMeans | None) else ReferenceMeans.load(reference)

    def __enter__(self) -> Matcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release every session; the next use opens them again."""
        self.network.network.close()
        self.hallucinator.close()

    @property
    def reference(self) -> ReferenceMeans:
        """The reference means in use; raises ConfigError where there are none."""
        if self._reference is None:
            path = self.card.reference_means()
            if path is None:
                raise ConfigError(
                    f"matcher {self.card.name!r} has no reference means for centering='reference': learn them once with "
                    f"Matcher.learn_means(probes, portraits), or choose centering 'set', 'vector' or 'none'"
                )
            self._reference = ReferenceMeans.load(path)
        wanted = (self.card.sha256, self.config.normalize, self.config.flip)
        got = (
            self._reference.matcher, self._reference.conditions.get("normalize"), self._reference.conditions.get("flip")
        )
        if wanted != got:
            raise ConfigError(
                f"reference means were learned for (matcher, normalize, flip) = {got}, this configuration has {wanted}; "
                f"learn them with Matcher.learn_means"
            )
        return self._reference

    def enroll(
        self,
        images: Any,
        ids: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        progress: ProgressCallback | None = None,
        *,
        faces: Hint | None = None,
    ) -> Gallery:
        """Templates of every portrait, kept for any number of matches.

        ``images`` a side (:func:`meetmid.images.entries`), ``ids`` its names, ``faces`` per picture as in :meth:`match`.
        With ``path`` the gallery is saved there. A portrait that fails is recorded in ``status`` (``errors="raise"``
        raises InputError instead).
        """
        layout = self._layout()
        side = entries(images, ids=ids, what="gallery")
        gallery = self._enroll(side, faces, layout, progress or self._progress)
        if path is None:
            return gallery
        gallery.save(path)
        return Gallery.open(path)

    def match(
        self, probe: Any, gallery: Any, *, faces: Hint | None = None, progress: ProgressCallback | None = None
    ) -> MatchResult:
        """Similarities of every probe with every gallery entry.

        A side is one picture, a sequence (a nested list is one subject), a directory, or for the gallery an enrolled
        :class:`Gallery`. ``faces`` overrides the configuration: a mode, or, as ``{"probe": ..., "gallery": ...}``, per side
        a mode or one item per entry (boxes (N, 4) as x, y, w, h or points (N, 5, 2)). Raises InputError for an unusable
        side, StoreError for a gallery of another matcher or configuration.
        """
        callback = progress or self._progress
        hints = hints_of_sides(faces)
        if self.config.centering == "reference":
            self.reference.of("probe", scale_labels(self.config))  # missing means are told before the long work
        seconds: dict[str, float] = {}
        with _timed(seconds, "probe"):
            probes = self._probes(entries(probe, what="probe"), hints["probe"], callback)
        with _timed(seconds, "gallery"):
            galleries, which = self._galleries(gallery, hints["gallery"], probes, callback)
        if self.config.centering == "set":
            _check_sets(probes.pool, galleries[0].pool)
        with _timed(seconds, "scores"):
            means = pool_means(probes.pool) if self.config.centering == "set" else None
            scores = self._score(probes, galleries, which, means, callback)
        config = self.config
        return MatchResult(
            scores, probes.ids, galleries[0].ids, probes.status, galleries[0].status, probes.sizes,
            self._warnings(probes), config, self._models(), seconds, probes.crops if config.keep_crops else None,
            probes.pool.first if config.keep_crops else None, means, (self, galleries, which),
        )

    def identify(self, probe: Any, gallery: Any, k: int = 10, *, faces: Hint | None = None) -> list[list[Candidate]]:
        """The ``k`` most alike gallery entries of every probe, exact; an empty list for a failed probe."""
        if k < 1:
            raise InputError(f"k expects at least 1, got {k}")
        return self.match(probe, gallery, faces=faces).rank(k)

    def plan(self, n_probes: int, n_gallery: int, *, measure: bool = True) -> Plan:
        """What a match of that size costs: templates, FLOPs, bytes, and, when measured here and now, seconds."""
        return make_plan(self.config, self.network, self.hallucinator, n_probes, n_gallery, measure=measure)

    def lift(self, probe: Any, *, faces: Hint | None = None) -> TemplatePool:
        """The uncentred templates of every probe hypothesis, for tables that fuse them in many ways with :func:`fuse`."""
        return self._probes(entries(probe, what="probe"), faces, self._progress).pool

    def learn_means(self, probes: Any, portraits: Any, *, faces: Hint | None = None) -> ReferenceMeans:
        """Reference means per side and scale from a cohort of ``probes`` (pictures like those to come) and ``portraits``.

        The cohort's people must not be among those that are matched later. Save the result and pass it as ``reference``.
        """
        hints, layout = hints_of_sides(faces), self._layout()
        probe = self._probes(entries(probes, what="probes"), hints["probe"], self._progress)
        gallery = self._enroll(entries(portraits, what="portraits"), hints["gallery"], layout, self._progress)
        conditions = {
            "normalize": self.config.normalize, "flip": self.config.flip, "crop": self.config.crop,
            "config": self.config.hash(), "probes": len(probe.ids), "portraits": len(gallery),
        }
        labels = scale_labels(self.config)
        return ReferenceMeans(self.card.sha256, labels, pool_means(probe.pool), pool_means(gallery.pool), conditions)

    def show_probe(self, crop: NDArray[np.uint8]) -> list[tuple[ProbeHypothesis, NDArray[np.uint8]]]:
        """Every distinct hypothesis of a face crop (H, W, 3) uint8 RGB: what it is and the picture, (h, w, 3) uint8."""
        work = work_image(crop, self.config.work_size, self.config.degradations.resize)
        slots = probe_names(work, self.config)
        made = (probe_picture(work, self.config, self.hallucinator, *slot) for slot in sorted(slots))
        return [(what, to_uint8(picture)) for what, picture in made]

    def show_gallery(self, crop: NDArray[np.uint8]) -> list[tuple[GalleryHypothesis, NDArray[np.uint8]]]:
        """Every hypothesis of a portrait's face crop (H, W, 3) uint8 RGB: what it is and the picture, (h, w, 3) uint8."""
        layout = self._layout()
        work = work_image(crop, self.config.work_size, self.config.degradations.resize)
        slots = [(scale, slot) for scale, count in enumerate(layout.counts()) for slot in range(count)]
        made = (gallery_picture(work, layout, *slot) for slot in slots)
        return [(what, to_uint8(picture)) for what, picture in made]

    def sides(
        self,
        crops: Sequence[NDArray[np.uint8] | None],
        gallery: Gallery,
        config: MatchConfig,
        probe_means: NDArray[np.float32] | None = None,
    ) -> tuple[Side, Side]:
        """The centred side of one probe entry, made anew from its crops, and that of a gallery.

        ``probe_means`` (S, D) are the run's own, which ``centering="set"`` needs."""
        shape = (len(scale_labels(config)), probe_slots(config), self.network.length)
        pool = TemplatePool.empty([len(crops)], shape, self._memory // 4)
        for row, crop in enumerate(crops):
            if crop is not None:
                self._extract_probe(crop, pool, row)
        return self._centred(pool, gallery, probe_means)

    @property
    def _native(self) -> bool:
        """Whether portraits are matched to every probe's own size."""
        return self.config.lr_size is None and bool(self.config.scales) and self.config.resolution_matching

    def _layout(self) -> GalleryLayout:
        """The layout of portraits that have no probe yet."""
        if self._native:
            raise ConfigError(
                "lr_size=None (native) matches the gallery to every probe's own size, so it cannot be enrolled beforehand: "
                "pass the pictures to match(), or use resolution_matching=False"
            )
        return GalleryLayout.of(self.config)

    def _enroll(
        self, side: list[Entry], faces: Hint | None, layout: GalleryLayout, callback: ProgressCallback | None, share: int = 1
    ) -> Gallery:
        """Enrol for one layout; ``share`` galleries divide the memory between them."""

        def extract(crop: NDArray[np.uint8], pool: TemplatePool, row: int) -> int:
            hypotheses = gallery_hypotheses(crop, layout, pool.weights[row])
            return self.network.extract(hypotheses, pool.templates[row], pool.weights[row])

        found = self._side(side, faces, layout.slots, extract, "gallery", callback, share)
        crops = found.crops if self.config.keep_crops else None
        return Gallery(found.ids, found.status, self.config, self.card.sha256, layout.lr_shape, found.pool, crops)

    def _probes(self, side: list[Entry], faces: Hint | None, callback: ProgressCallback | None) -> _Enrolled:
        return self._side(side, faces, probe_slots(self.config), self._extract_probe, "probe", callback)

    def _extract_probe(self, crop: NDArray[np.uint8], pool: TemplatePool, row: int) -> int:
        hypotheses = probe_hypotheses(crop, self.config, self.hallucinator, pool.weights[row])
        return self.network.extract(hypotheses, pool.templates[row], pool.weights[row])

    def _side(
        self,
        side: list[Entry],
        faces: Hint | None,
        slots: int,
        extract: Any,
        stage: str,
        callback: ProgressCallback | None,
        share: int = 1,
    ) -> _Enrolled:
        """Crops and templates of one side, picture by picture."""
        hints = hints_for(faces, side, self.config.faces)
        shape = (len(scale_labels(self.config)), slots, self.network.length)
        pool = TemplatePool.empty([len(entry.sources) for entry in side], shape, self._memory // (4 * share))
        crops, status, sizes, dropped = CropStore(), [], np.full((len(side), 2), np.nan, np.float32), 0
        progress = Progress(callback, stage, len(pool.weights))
        for index, entry in enumerate(side):
            reasons = []
            for row, (source, hint) in enumerate(zip(entry.sources, hints[index], strict=True), int(pool.first[index])):
                try:
                    found = find_crop(source, hint, self.config, self.card.contract.alignment, self._detector)
                    if found is None:
                        raise InputError("no face found")
                except InputError as error:
                    if self.config.errors == "raise":
                        raise InputError(f"{stage} {entry.id}: {error}") from error
                    reasons.append(str(error))
                    crops.append(None)
                else:
                    work = work_image(found.picture, self.config.work_size, self.config.degradations.resize)
                    dropped += extract(work, pool, row)
                    crops.append(work)
                    if stage == "probe":
                        sizes[index] = np.fmax(sizes[index], (found.native, effective_resolution(work)))
                progress.step()
            usable = bool((pool.weights[pool.first[index] : pool.first[index + 1]] > 0).any())
            status.append(_status(len(entry.sources), reasons, usable))
        return _Enrolled(tuple(e.id for e in side), tuple(status), pool, crops, sizes, dropped)

    def _galleries(
        self, gallery: Any, faces: Hint | None, probes: _Enrolled, callback: ProgressCallback | None
    ) -> tuple[tuple[Gallery, ...], NDArray[np.int64]]:
        """The enrolled galleries and which one each probe meets: several only where every probe size needs its own."""
        which = np.zeros(len(probes.ids), np.int64)
        if isinstance(gallery, Gallery):
            layout = GalleryLayout.of(self.config, gallery.lr_shape if self._native else None)
            gallery.check(self.card.sha256, self.config, layout.lr_shape)
            return (gallery,), which
        side = entries(gallery, what="gallery")
        if not self._native:
            return (self._enroll(side, faces, GalleryLayout.of(self.config), callback),), which
        shapes = [_shape_of(probes, index) for index in range(len(which))]
        distinct = sorted({shape for shape in shapes if shape is not None}) or [(MIN_SIDE, MIN_SIDE)]
        which[:] = [0 if shape is None else distinct.index(shape) for shape in shapes]
        layouts = [GalleryLayout.of(self.config, shape) for shape in distinct]
        return tuple(self._enroll(side, faces, layout, callback, len(layouts)) for layout in layouts), which

    def _score(
        self,
        probes: _Enrolled,
        galleries: tuple[Gallery, ...],
        which: NDArray[np.int64],
        means: NDArray[np.float32] | None,
        callback: ProgressCallback | None,
    ) -> NDArray[np.float32]:
        config, progress = self.config, Progress(callback, "scores", len(galleries))
        scores = np.full((len(probes.ids), len(galleries[0])), np.nan, np.float32)
        for number, gallery in enumerate(galleries):
            p, g = self._centred(probes.pool, gallery, means)
            if config.portraits == "max":
                g = replace(g, first=np.arange(len(g.weights) + 1))
            matrix = fuse_sides(
                p, g, [(config.probe_rule, config.gallery_rule)], pairing=config.pairing, order=config.order,
                select=config.select, add="mean", threads=self._threads, block=self._memory // 16,
            )[0]
            if config.portraits == "max":
                matrix = best_portrait(matrix, gallery.pool.first)
            scores[which == number] = matrix[which == number]
            progress.step()
        return scores

    def _centred(
        self, pool: TemplatePool, gallery: Gallery, probe_means: NDArray[np.float32] | None
    ) -> tuple[Side, Side]:
        p = Side(pool.templates, pool.weights, pool.first)
        g = Side(gallery.pool.templates, gallery.pool.weights, gallery.pool.first)
        mode = self.config.centering
        if mode == "vector":
            return replace(p, per_vector=True), replace(g, per_vector=True)
        if mode == "set":
            return replace(p, means=probe_means), replace(g, means=pool_means(gallery.pool))
        if mode == "reference":
            labels = scale_labels(self.config)
            return (
                replace(p, means=self.reference.of("probe", labels)),
                replace(g, means=self.reference.of("gallery", labels)),
            )
        return p, g

    def _warnings(self, probes: _Enrolled) -> tuple[str, ...]:
        found = ["scores are uncalibrated similarities: they rank candidates, they are no probabilities and no decision"]
        small = int((probes.sizes[:, 0] < SMALLEST).sum())
        if small:
            found.append(f"{small} of {len(probes.ids)} probes are smaller than {SMALLEST:.0f} px: below the validated size")
        on_cpu = self.network.network.provider == PROVIDERS["cpu"]
        if self.device == "auto" and on_cpu and nvidia_gpu_present():
            found.append("an NVIDIA GPU is there but the CPU was used: run `meetmid doctor`")
        if probes.dropped:
            found.append(f"{probes.dropped} probe hypotheses gave a zero or non-finite template and were dropped")
        return tuple(found)

    def _models(self) -> dict[str, str]:
        networks = [self.network.network, *self.hallucinator.networks.values()]
        return {n.card.name: f"sha256 {n.card.sha256} on {n.provider}" for n in networks}


def match(
    probe: Any,
    gallery: Any,
    *,
    preset: str = "balanced",
    device: str = "auto",
    color: str = "rgb",
    faces: Hint = "auto",
    fusion: tuple[str, str] | None = None,
    seed: int = 0,
    errors: str = "record",
    progress: ProgressCallback | None = None,
    **options: Any,
) -> MatchResult:
    """Match probes with a gallery in one call: :meth:`Matcher.match` on a Matcher made for it.

    Further keywords are those of :class:`Matcher` (``matcher``, ``hallucinator``, ``detector``, ``threads``, ...).
    """
    with Matcher(
        preset, device=device, color=color, fusion=fusion, seed=seed, errors=errors, progress=progress, **options
    ) as matcher:
        return matcher.match(probe, gallery, faces=faces)


def _check_sets(*pools: TemplatePool) -> None:
    """The mean of one picture is that picture: centred by it, only rounding noise would be left to score."""
    for pool in pools:
        usable = int((pool.weights > 0).any(axis=(1, 2)).sum())
        if usable == 1:
            raise ConfigError(
                "centering='set' expects at least 2 usable pictures on each side, got 1; use 'reference', 'vector' or 'none'"
            )


def _chosen(name: str, config: MatchConfig | None) -> MatchConfig:
    return preset(name) if config is None else config


def _status(pictures: int, reasons: list[str], usable: bool) -> str:
    if not pictures:
        return "no pictures"
    if not usable:
        return "; ".join(dict.fromkeys(reasons)) or "every template was zero or not finite"
    if reasons:
        return f"ok: {pictures - len(reasons)} of {pictures} pictures ({'; '.join(dict.fromkeys(reasons))})"
    return "ok"


def _shape_of(probes: _Enrolled, index: int) -> tuple[int, int] | None:
    """The working size (height, width) of a probe entry: that of its first usable crop, None without one."""
    assert probes.crops is not None
    for row in range(int(probes.pool.first[index]), int(probes.pool.first[index + 1])):
        crop = probes.crops.crop(row)
        if crop is not None:
            return max(crop.shape[0], MIN_SIDE), max(crop.shape[1], MIN_SIDE)
    return None


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - begun
