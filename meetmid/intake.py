"""One side of a match, from its pictures to face crops and templates, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.errors import InputError
from meetmid.faces.detection import Detector
from meetmid.faces.finding import FoundCrop, Hint, find_crop, hints_for
from meetmid.gallery.crops import CropStore
from meetmid.gallery.hypotheses import GalleryLayout, gallery_hypotheses
from meetmid.gallery.tree import work_image
from meetmid.images import Entry
from meetmid.probes.hallucination import Hallucinator, working_size
from meetmid.probes.hypotheses import left_out, probe_hypotheses, probe_slots, scale_labels
from meetmid.probes.resolution import effective_resolution
from meetmid.runtime.progress import Progress, ProgressCallback
from meetmid.templates.extraction import TemplateNetwork
from meetmid.templates.pool import TemplatePool

Extract = Callable[[NDArray[np.uint8], TemplatePool, int], int]
"""Fills one row of a pool from a crop and returns how many hypotheses were dropped."""

DECODING = 16
"""Bytes of memory_limit per pixel of a picture that is decoded."""

LIVE = 6
"""Full-size float32 copies that are alive while a picture is degraded, at most."""


@dataclass(frozen=True)
class Taken:
    """One side: its entries' names and statuses, their uncentred templates, of which ``dropped`` were unusable, the crops
    they were made from, ``sizes`` (E, 2): native face size in pixels and effective resolution, ``left_out``, the entries that
    are too large for a scale, and what they were ``made_by`` (configuration and models)."""

    ids: tuple[str, ...]
    status: tuple[str, ...]
    pool: TemplatePool
    crops: CropStore
    sizes: NDArray[np.float32]
    dropped: int
    left_out: int
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
    """Makes sides under one configuration within ``memory`` bytes; one picture is held at a time."""

    config: MatchConfig
    network: TemplateNetwork
    gallery_network: TemplateNetwork
    hallucinator: Hallucinator
    detector: Detector
    memory: int

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
        return self._take(side, faces, probe_slots(self.config), self.extract_probe, Progress(callback, "probe", _count(side)))

    def portraits(
        self, side: Sequence[Entry], faces: Hint | None, layout: GalleryLayout, callback: ProgressCallback | None
    ) -> Taken:
        """The gallery side."""
        progress = Progress(callback, "gallery", _count(side))
        return self._take(side, faces, layout.slots, self._extractor(layout), progress)

    def again(
        self, first: NDArray[np.int64], crops: CropStore, layout: GalleryLayout, callback: ProgressCallback | None
    ) -> tuple[TemplatePool, int]:
        """The gallery's templates for another layout, from the crops that were cut before, and how many were dropped."""
        pool = self.pool(np.diff(first).tolist(), layout.slots)
        extract, progress, dropped = self._extractor(layout), Progress(callback, "gallery", len(crops)), 0
        for row in range(len(crops)):
            crop = crops.crop(row)
            if crop is not None:
                dropped += extract(crop, pool, row)
            progress.step()
        return pool, dropped

    def pool(self, counts: list[int], slots: int) -> TemplatePool:
        """Room for the templates of entries with ``counts`` pictures each."""
        shape = (len(scale_labels(self.config)), slots, self.network.length)
        return TemplatePool.empty(counts, shape, self.memory // 8)

    def extract_probe(self, crop: NDArray[np.uint8], pool: TemplatePool, row: int) -> int:
        """An :data:`Extract` for probes."""
        hypotheses = probe_hypotheses(crop, self.config, self.hallucinator, pool.weights[row])
        return self.network.extract(hypotheses, pool.templates[row], pool.weights[row])

    def _extractor(self, layout: GalleryLayout) -> Extract:
        def extract(crop: NDArray[np.uint8], pool: TemplatePool, row: int) -> int:
            hypotheses, place = gallery_hypotheses(crop, layout, pool.weights[row]), (pool.templates[row], pool.weights[row])
            if self.degraded_network is self.gallery_network:
                return self.gallery_network.extract(hypotheses, *place)
            dropped = self.gallery_network.extract(islice(hypotheses, len(layout.identities)), *place)
            return dropped + self.degraded_network.extract(hypotheses, *place)

        return extract

    def _take(
        self, side: Sequence[Entry], faces: Hint | None, slots: int, extract: Extract, progress: Progress
    ) -> Taken:
        hints = hints_for(faces, side, self.config.faces)
        pool = self.pool([len(entry.sources) for entry in side], slots)
        crops, status, sizes, dropped = CropStore(), [], np.full((len(side), 2), np.nan, np.float32), 0
        too_large = 0
        for index, entry in enumerate(side):
            reasons, notes = [], []
            network = self.network if progress.stage == "probe" else self.gallery_network
            alignment = network.network.card.contract.alignment
            for row, found in enumerate(self._crops(entry, hints[index], alignment), int(pool.first[index])):
                if isinstance(found, InputError):
                    if self.config.errors == "raise":
                        raise InputError(f"{progress.stage} {entry.id}: {found}") from found
                    reasons.append(str(found))
                    crops.append(None)
                else:
                    dropped += extract(found.picture, pool, row)
                    crops.append(found.picture)
                    if progress.stage == "probe":
                        notes += left_out(found.picture, self.config)
                        sizes[index] = np.fmax(sizes[index], (found.native, effective_resolution(found.picture)))
                progress.step()
            usable = bool((pool.weights[pool.first[index] : pool.first[index + 1]] > 0).any())
            status.append(_status(entry, reasons, notes, usable))
            too_large += bool(notes)
            if not usable and self.config.errors == "raise":
                raise InputError(f"{progress.stage} {entry.id}: {status[-1]}")
        return Taken(tuple(e.id for e in side), tuple(status), pool, crops, sizes, dropped, too_large)

    def _crops(self, entry: Entry, hints: Sequence[Hint], alignment: str) -> Iterator[FoundCrop | InputError]:
        """The face crop of every picture at its work size, or why there is none."""
        options = self.config.degradations
        for source, hint in zip(entry.sources, hints, strict=True):
            try:
                found = find_crop(source, hint, self.config, alignment, self.detector, self.memory // DECODING)
                if found is None:
                    raise InputError("no face found")
                work = work_image(found.picture, self.config.work_size, options.resize)
                if LIVE * 4 * work.size > self.memory // 2:
                    raise InputError(
                        f"a crop of {work.shape[1]} x {work.shape[0]} px does not fit in half of memory_limit "
                        f"({self.memory} bytes) as floats: set work_size, or raise memory_limit"
                    )
                yield FoundCrop(work, found.native)
            except InputError as error:
                yield error


def _count(side: Sequence[Entry]) -> int:
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
