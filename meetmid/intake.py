"""One side of a match, from its pictures to face crops and templates, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.errors import InputError, TooLargeError
from meetmid.faces.alignment import FINE, TEMPLATES
from meetmid.faces.colours import swapped
from meetmid.faces.covers import has_rows
from meetmid.faces.detection import Detector
from meetmid.faces.finding import FoundCrop, Hint, find_crop, hints_for, looks
from meetmid.faces.worn import Reader
from meetmid.gallery.crops import CropStore
from meetmid.gallery.hypotheses import GalleryLayouts, gallery_hypotheses
from meetmid.gallery.tree import work_image
from meetmid.images import Entry, Source
from meetmid.probes.hallucination import Hallucinator, working_size
from meetmid.probes.hypotheses import left_out, plain_hypotheses, probe_hypotheses, probe_slots, scale_labels
from meetmid.probes.light import evened
from meetmid.probes.resolution import Detail
from meetmid.runtime.ahead import ahead
from meetmid.runtime.cores import cores
from meetmid.runtime.progress import Progress, ProgressCallback
from meetmid.templates.extraction import Extraction, Fitted, TemplateNetwork
from meetmid.templates.pool import TemplatePool

Make = Callable[[NDArray[np.uint8], NDArray[np.float32]], Iterator[Fitted]]
"""The hypotheses of a portrait's crop at the network's size; writes the multiplicities into its weights (S, N)."""

DECODING = 16
"""Bytes of memory_limit per pixel of a picture that is decoded."""

LIVE = 6
"""Full-size float32 copies that are alive while a picture is degraded, at most."""


MOST_WORKERS = 8
"""Threads that prepare pictures while the network runs, at most."""

READY = 128
"""A portrait's hypotheses are prepared ahead up to this part of memory_limit."""


@dataclass(frozen=True)
class Prepared:
    """A picture's crop or why there is none, and a probe's ``detail`` or a portrait's hypotheses: the ``ready`` ones, the
    ``rest``."""

    found: FoundCrop | InputError
    detail: Detail | None
    ready: list[Fitted]
    rest: Iterator[Fitted]


@dataclass(frozen=True)
class Taken:
    """One side: its entries' names and statuses, their uncentred templates, of which ``dropped`` were unusable, the crops
    they were made from, ``sizes`` (E, 3): native face size in pixels, effective resolution and noise of the most detailed
    picture, ``left_out``, the entries that are too large for a scale, what they were ``made_by`` (configuration and models),
    and whether a detector ``looked`` for faces.

    Of probes also ``plain``, templates (I, 1, 1, D), (I, 2, 1, D) with covered ones, of the pictures as they are by the
    portraits' network, each weighing what its detail says, and ``share`` (E,), what part of an entry's score they make up, in
    [0, 1]; entries of 1 have no others."""

    ids: tuple[str, ...]
    status: tuple[str, ...]
    pool: TemplatePool
    crops: CropStore
    sizes: NDArray[np.float32]
    plain: TemplatePool
    share: NDArray[np.float32]
    dropped: int
    left_out: int
    looked: bool
    made_by: str = ""

    def shape(self, entry: int) -> tuple[int, int] | None:
        """The working size (height, width) of a native probe: that of its first usable crop, None without one."""
        for row in range(int(self.pool.first[entry]), int(self.pool.first[entry + 1])):
            crop = self.crops.crop(row)
            if crop is not None:
                return working_size(crop.shape, None)
        return None


@dataclass(frozen=True)
class Intake:
    """Makes sides under one configuration within ``memory`` bytes: ``threads`` decode, cut, degrade and resize pictures while
    the network runs on those before; the ``reader``, if there is one, looks at crops that are aligned as it knows them."""

    config: MatchConfig
    network: TemplateNetwork
    gallery_network: TemplateNetwork
    hallucinator: Hallucinator
    detector: Detector
    memory: int
    threads: int | None = None
    reader: Reader | None = None

    @property
    def degraded_network(self) -> TemplateNetwork:
        """The network that sees the degraded portraits."""
        return self.network if self.config.degraded_by == "probe" else self.gallery_network

    @property
    def gallery_hashes(self) -> str:
        """The sha256 of the network that makes the gallery's templates, or of both that do."""
        networks = (self.gallery_network, self.degraded_network)
        return "+".join(dict.fromkeys(network.network.card.sha256 for network in networks))

    def probes(self, side: Sequence[Entry], faces: Hint | None, callback: ProgressCallback | None) -> Taken:
        """The probe side."""
        return self._take(side, faces, probe_slots(self.config), None, Progress(callback, "probe", count(side)))

    def portraits(self, side: Sequence[Entry], faces: Hint | None, layouts: GalleryLayouts, progress: Progress) -> Taken:
        """The gallery side."""
        return self._take(side, faces, layouts.slots, self._degraded(layouts), progress)

    def again(
        self, first: NDArray[np.int64], crops: CropStore, layouts: GalleryLayouts, callback: ProgressCallback | None
    ) -> tuple[TemplatePool, int]:
        """The gallery's templates for another layout, from the crops that were cut before, and how many were dropped."""
        pool = self.pool(np.diff(first).tolist(), layouts.slots)
        progress = Progress(callback, "gallery", len(crops))
        with Extraction() as extraction:
            for row in range(len(crops)):
                crop = crops.crop(row)
                if crop is not None:
                    self._put(self._degraded(layouts)(crop, pool.weights[row]), extraction, pool, row)
                progress.step()
            return pool, extraction.finish()

    def pool(self, counts: list[int], slots: int) -> TemplatePool:
        """Room for the templates of entries with ``counts`` pictures each."""
        shape = (len(scale_labels(self.config)), slots, self.network.length)
        return TemplatePool.empty(counts, shape, self.memory // 8)

    def again_probe(
        self, crops: Sequence[NDArray[np.uint8] | None], fine: Sequence[int]
    ) -> tuple[TemplatePool, TemplatePool, NDArray[np.float32]]:
        """``pool``, ``plain`` and ``share`` (:class:`Taken`) of one probe entry, from the crops that were cut before, so many
        times as ``fine`` as their pictures."""
        pool, plain = self.pool([len(crops)], probe_slots(self.config)), self.plain([len(crops)])
        details = [None if crop is None else Detail.of(crop, its) for crop, its in zip(crops, fine, strict=True)]
        seen = self._seen(details)
        with Extraction() as extraction:
            for row, (crop, detail) in enumerate(zip(crops, details, strict=True)):
                if crop is not None:
                    self._lift(crop, detail, seen, extraction, pool, plain, row)
            extraction.finish()
        return pool, plain, self._shares(pool, plain, details)

    def plain(self, counts: list[int]) -> TemplatePool:
        """Room for the templates of every picture at its own size, none where no picture is compared as it is."""
        kept = counts if self.config.sharp_between is not None else []
        return TemplatePool.empty(kept, (max(1, self.config.own_scales), 1, self.network.length), self.memory // 8)

    def _lift(
        self, crop: NDArray[np.uint8], detail: Detail | None, seen: MatchConfig, extraction: Extraction, pool: TemplatePool,
        plain: TemplatePool, row: int,
    ) -> None:
        """One picture of a probe, by its own detail and by the configuration of its entry."""
        share = self._share(detail)
        if share < 1:
            made = probe_hypotheses(crop, seen, self.hallucinator, pool.weights[row])
            self._put(map(self.network.fitted, made), extraction, pool, row)
        if share == 1 or (share > 0 and not self._sees_alike):
            made = plain_hypotheses(crop, seen, plain.weights[row])
            self._put(map(self.gallery_network.fitted, made), extraction, plain, row)

    def _degraded(self, layouts: GalleryLayouts) -> Make:
        def make(crop: NDArray[np.uint8], weights: NDArray[np.float32]) -> Iterator[Fitted]:
            made = gallery_hypotheses(crop, layouts, weights)
            undegraded = islice(made, layouts.undegraded_runs())
            return chain(map(self.gallery_network.fitted, undegraded), map(self.degraded_network.fitted, made))

        return make

    @staticmethod
    def _put(made: Iterable[Fitted], extraction: Extraction, pool: TemplatePool, row: int) -> None:
        for fitted in made:
            extraction.add(fitted, pool.templates[row], pool.weights[row])

    def _take(
        self, side: Sequence[Entry], faces: Hint | None, slots: int, make: Make | None, progress: Progress
    ) -> Taken:
        """A side; without ``make`` probes, which are lifted one after the other: a generator needs more memory than any
        hypothesis."""
        hints = hints_for(faces, side, self.config.faces)
        counts, is_probe = [len(entry.sources) for entry in side], make is None
        pool, plain = self.pool(counts, slots), self.plain(counts if is_probe else [])
        network = self.network if is_probe else self.gallery_network
        size = network.network.card.contract.size
        ready = self.memory // (READY * 12 * max(1, size[0] * size[1]))
        alignment = network.network.card.contract.alignment

        def prepare(source: Source, hint: Hint, row: int, share: int) -> Prepared:
            try:
                found = self._crop(source, hint, alignment, self.memory // share, is_probe)
            except InputError as error:
                return Prepared(error, None, [], iter(()))
            if make is None:
                return Prepared(found, Detail.of(found.picture, found.fine), [], iter(()))
            rest = make(found.picture, pool.weights[row])
            return Prepared(found, None, list(islice(rest, ready)), rest)

        pictures = [(e, source, hint) for e, its in enumerate(side) for source, hint in zip(its.sources, hints[e], strict=True)]
        workers = min(MOST_WORKERS, self.threads or cores())
        jobs = (partial(prepare, source, hint, row, 2 * workers) for row, (_, source, hint) in enumerate(pictures))
        crops, details = CropStore(), list[Detail | None]()
        sizes = np.full((len(side), 3), np.nan, np.float32)
        reasons: list[list[str]] = [[] for _ in side]
        notes: list[list[str]] = [[] for _ in side]
        remarks: list[list[str]] = [[] for _ in side]
        waiting = list[int]()  # rows of the entry, where all its pictures tell which of several sizes suits it
        with Extraction() as extraction, closing(ahead(jobs, workers)) as prepared:
            for row, early in enumerate(prepared):
                index, source, hint = pictures[row]
                # what is too large for a thread's share of the memory may have all of it now
                made = prepare(source, hint, row, 1) if isinstance(early.found, TooLargeError) else early
                details.append(made.detail)
                if isinstance(made.found, InputError):
                    if self.config.errors == "raise":
                        raise InputError(f"{progress.stage} {side[index].id}: {made.found}") from made.found
                    reasons[index].append(str(made.found))
                    crops.append(None)
                else:
                    self._put(chain(made.ready, made.rest), extraction, pool, row)
                    crops.append(made.found.picture, made.found.fine)
                    remarks[index] += made.found.remarks()
                    if made.detail is not None:
                        waiting.append(row)
                        of_picture = (made.found.native, made.detail.resolution, made.detail.noise)
                        if not sizes[index, 1] >= made.detail.resolution:
                            sizes[index] = of_picture
                if waiting and (row + 1 == pool.first[index + 1] or not self.config.sizes):
                    seen = self._seen([details[its] for its in waiting])
                    for its in waiting:
                        crop = crops.crop(its) if its < row or isinstance(made.found, InputError) else made.found.picture
                        assert crop is not None
                        self._lift(crop, details[its], seen, extraction, pool, plain, its)
                        notes[index] += left_out(crop, seen)
                    waiting.clear()
                progress.step()
            dropped = extraction.finish()
        share = self._shares(pool, plain, details)
        status = []
        for index, entry in enumerate(side):
            rows, told = slice(pool.first[index], pool.first[index + 1]), []
            usable = bool(share[index] == 1 or (pool.weights[rows] > 0).any())
            if share[index] == 1:
                notes[index], sharp = [], int((plain.weights[rows] > 0).any(axis=(1, 2)).sum())
                if sharp < len(entry.sources):
                    told = [f"compared by {sharp} of {len(entry.sources)} pictures as they are"]
            status.append(_status(entry, reasons[index], notes[index] + remarks[index] * usable + told, usable))
            if not usable and self.config.errors == "raise":
                raise InputError(f"{progress.stage} {entry.id}: {status[-1]}")
        too_large = sum(map(bool, notes))
        ids, looked = tuple(entry.id for entry in side), looks(hints)
        return Taken(ids, tuple(status), pool, crops, sizes, plain, share, dropped, too_large, looked)

    @property
    def _sees_alike(self) -> bool:
        """Whether a picture as it is gives both sides' networks the same template."""
        return self.network is self.gallery_network

    def _seen(self, details: Sequence[Detail | None]) -> MatchConfig:
        """The configuration as an entry of pictures of these details has it."""
        return self.config.at_resolution(max((detail.resolution for detail in details if detail is not None), default=0))

    def _share(self, detail: Detail | None) -> float:
        return 0.0 if detail is None else self.config.share_as_it_is(detail.resolution)

    def _shares(self, pool: TemplatePool, plain: TemplatePool, details: Sequence[Detail | None]) -> NDArray[np.float32]:
        """What part of every entry's score its pictures as they are make up, by which they are weighted in ``plain``; where
        that is all of it, or nothing else is usable, the entry's others no longer take part. Among several pictures each weighs
        as many pixels as it holds, but where the probes' own mean centres them, in which each counts once."""
        share = np.zeros(len(pool.first) - 1, np.float32)
        for entry, (low, high) in enumerate(pairwise(plain.first)):
            held = [0 if detail is None else detail.resolution for detail in details[low:high]]
            most = max(held, default=0)
            for row, side in zip(range(low, high), held, strict=True):
                own, part = self._share(details[row]), 1.0 if self.config.centering == "set" else side / max(1, most)
                if 0 < own < 1 and self._sees_alike:
                    own_size = slice(self.config.own_scales), slice(1)
                    np.copyto(plain.templates[row], pool.templates[row][own_size])
                    plain.weights[row] = pool.weights[row][own_size]
                plain.weights[row] *= np.float32(own)
                share[entry] = max(share[entry], plain.weights[row, 0, 0])
                plain.weights[row] *= np.float32(part**2)
                pool.weights[row] *= np.float32(part**2)
            if share[entry] == 1 or (share[entry] > 0 and not (pool.weights[low:high] > 0).any()):
                share[entry], pool.weights[low:high] = 1.0, 0.0
        return share

    def _crop(self, source: Source, hint: Hint, alignment: str, memory: int, is_probe: bool) -> FoundCrop:
        """The face crop of a picture at its work size, a probe's with its repeated pixels joined where probes are compared by
        their detail, a small one cut more finely where its pixels are not what is blurred or enlarged; raises InputError where
        there is none, TooLargeError where ``memory`` bytes are too few."""
        config = self.config
        reduces = config.work_size is not None and config.work_size < 2 * FINE
        enlarges_pixels = bool(config.scales) and (config.lr_size is None or config.blur_at == "native")
        found = find_crop(
            source, hint, config, alignment, self.detector, memory // DECODING,
            joins=is_probe and config.sharp_between is not None, is_fine=is_probe and not (reduces or enlarges_pixels),
            aspect=config.pixel_aspect if is_probe else 1.0, is_probe=is_probe,
        )
        if found is None:
            raise InputError("no face found")
        work = work_image(found.picture, self.config.work_size, self.config.degradations.resize)
        sizes = {"work_size": work.shape[:2]}
        if config.degrade_size is not None and config.paths != "none" and not is_probe:
            sizes["degrade_size"] = (config.degrade_size,) * 2
        for name, (height, width) in sizes.items():
            if LIVE * 12 * height * width > memory // 2:
                raise TooLargeError(
                    f"a crop of {width} x {height} px does not fit in half of memory_limit ({self.memory} bytes) as floats: "
                    f"set {name}, or raise memory_limit"
                )
        is_evened = is_probe and config.even_light and evened(work) is not work
        reader = self.reader if found.is_aligned and has_rows(TEMPLATES[alignment]) else None
        worn = None if reader is None else reader.worn(work, config.covered_by)
        return replace(found, picture=work, is_evened=is_evened, is_swapped=swapped(work), worn=worn)


def count(side: Sequence[Entry]) -> int:
    """Pictures of a side."""
    return sum(len(entry.sources) for entry in side)


def _status(entry: Entry, reasons: list[str], notes: list[str], usable: bool) -> str:
    told = "; ".join(dict.fromkeys(reasons + notes))
    if not entry.sources:
        return entry.problem or "no pictures"
    if not usable:
        return told or "every template was zero or not finite"
    if reasons:
        return f"ok: {len(entry.sources) - len(reasons)} of {len(entry.sources)} pictures ({told})"
    return f"ok: {told}" if told else "ok"
