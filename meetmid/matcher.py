"""The Matcher: wires faces, probe side, gallery side, templates and scores together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.comparison import Comparison
from meetmid.config import MatchConfig
from meetmid.enrolment import Add, enroll_into, shared
from meetmid.equipment import equip
from meetmid.errors import ConfigError, InputError
from meetmid.evaluation.calibration import Calibration
from meetmid.faces.detection import Detector, networks_of
from meetmid.faces.finding import Hint, find_crop, hints_of_sides, may_look
from meetmid.gallery.hypotheses import GalleryHypothesis, gallery_picture
from meetmid.gallery.manifest import check_free, check_pictures
from meetmid.gallery.store import Gallery
from meetmid.gallery.tree import work_image
from meetmid.identification import has_short_way, short_way
from meetmid.images import entries
from meetmid.intake import Intake, Taken, count
from meetmid.notes import notes
from meetmid.plan import Plan, make_plan
from meetmid.probes.hypotheses import ProbeHypothesis, probe_pictures, scale_labels, seen_by
from meetmid.resize import to_uint8
from meetmid.result import MatchResult, candidates, made_with
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.progress import Clock, Progress, ProgressCallback
from meetmid.scores.ranking import Candidate, check_count
from meetmid.status import count_usable
from meetmid.templates.centering import ReferenceMeans, pool_means, pool_moment
from meetmid.templates.stored import Stored
from meetmid.timing import Sample, expected_seconds
from meetmid.validation import is_whole

GIB = 2**30
MIN_MEMORY = 128 * 2**20


class Matcher:
    """Matches faces across resolutions with one configuration.

    ``preset`` (with what the matcher's card says of it, but not on enlargement where ``hallucinator`` or ``sigmas`` is given)
    or ``config`` (as it is) says what to compute; keywords of :class:`meetmid.MatchConfig` such as ``faces``, ``color``,
    ``seed``, ``errors`` override it (its Z-norm, ``sharp_between`` and ``even_light`` go where they leave no room for them);
    ``fusion`` is a (probe rule, gallery rule) pair. ``matcher`` and ``hallucinator`` name models, folders or ONNX files,
    ``gallery_matcher`` another one for the portraits, in the same template space, default the partner that the matcher's card
    names, or else itself; ``reference`` is a :class:`ReferenceMeans` or its file, default the model's own; ``calibration`` a
    :class:`meetmid.evaluation.Calibration` or its file, learned with this very configuration from other people.
    With ``reduced`` the matcher is the variant in fewer bits (int8, float16) that its card names for the device, a model of its
    own; ModelError where it names none. ``device`` as in :mod:`meetmid.runtime.sessions`, ``threads`` for networks and scores,
    ``memory_limit`` in bytes beyond the models (at least 128 MiB, default 1 GiB), ``progress`` a callback ``(done, total,
    stage)`` that cancels with False.

    Can be shared by threads and pickled (sessions reopen lazily, the progress callback stays behind); use as a context
    manager or call :meth:`close`. Raises ConfigError, ModelError or DeviceError.
    """

    def __init__(
        self,
        preset: str = "balanced",
        *,
        config: MatchConfig | None = None,
        matcher: str | os.PathLike[str] | ModelCard | None = None,
        gallery_matcher: str | os.PathLike[str] | ModelCard | None = None,
        hallucinator: str | os.PathLike[str] | None = None,
        detector: str | Detector | None = None,
        reference: ReferenceMeans | str | os.PathLike[str] | None = None,
        calibration: Calibration | str | os.PathLike[str] | None = None,
        fusion: tuple[str, str] | None = None,
        reduced: bool = False,
        device: str = "auto",
        threads: int | None = None,
        memory_limit: int | None = None,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> None:
        if threads is not None and not is_whole(threads, 1):
            raise ConfigError(f"threads expects at least 1, got {threads!r}")
        if memory_limit is not None and not is_whole(memory_limit, MIN_MEMORY):
            raise ConfigError(f"memory_limit expects at least {MIN_MEMORY} bytes, a whole number, got {memory_limit!r}")
        self._memory = GIB if memory_limit is None else int(memory_limit)
        self.equipment = equip(
            preset, config, matcher=matcher, gallery_matcher=gallery_matcher, hallucinator=hallucinator, detector=detector,
            fusion=fusion, reduced=reduced, device=device, threads=threads, options=options,
        )
        self.config, self.card, self.hallucinator = self.equipment.config, self.equipment.card, self.equipment.hallucinator
        self.network, self.gallery_network = self.equipment.network, self.equipment.gallery_network
        self.device, self._threads, self._progress = device, threads, progress
        self._reference = reference if isinstance(reference, ReferenceMeans | None) else ReferenceMeans.load(reference)
        self.calibration = calibration if isinstance(calibration, Calibration | None) else Calibration.load(calibration)
        if self.calibration is not None:
            self.calibration.check(made_with(self.config, self._hashes()))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_progress": None}

    def __enter__(self) -> Matcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release every session; the next use opens them again."""
        self.equipment.close()

    @property
    def reference(self) -> ReferenceMeans:
        """The reference means in use; raises ConfigError where there are none."""
        if self._reference is None:
            path = self.card.reference_means() if self.equipment.has_partner else None
            if path is None:
                raise ConfigError(
                    f"matcher {self.card.name!r} has no reference means for centering='reference': learn them once with "
                    f"Matcher.learn_means(probes, portraits), or choose centering 'set', 'vector' or 'none'"
                )
            self._reference = ReferenceMeans.load(path)
        self._reference.check(self.equipment.space, self.config.normalize, self.config.flip)
        return self._reference

    def enroll(
        self,
        images: Any,
        ids: Sequence[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        progress: ProgressCallback | None = None,
        *,
        faces: Hint | None = None,
        add: Add | None = None,
        stored: Stored | None = None,
        key: str | os.PathLike[str] | None = None,
        part: tuple[int, int] = (1, 1),
    ) -> Gallery:
        """Templates of every portrait, kept for any number of matches.

        ``images`` a side (:func:`meetmid.images.entries`), ``ids`` its names, ``faces`` per picture as in :meth:`match`.
        With ``path`` the gallery is written there while it is made, ``stored`` (default ``"float32"``) and encrypted with
        ``key`` as in :meth:`meetmid.Gallery.save`; a run that was stopped is continued by the same call. Where a gallery is
        there already, ``add="append"`` adds to it, to which ``stored`` and ``key`` must fit, and refuses ids that it has;
        ``"replace"`` takes its entries of the same ids out; ``"overwrite"`` takes the place of the whole; without, StoreError.
        Until all is enrolled readers see it as it was; what was enrolled of a run that was stopped is lost if the gallery is
        changed otherwise. ``part=(k, n)`` enrols the k-th of n shares, which the pictures' content decides, into a gallery of
        its own, for :meth:`meetmid.Gallery.merged`, which asks for them all. Returns the entries of ``images``. A portrait that
        fails is recorded in ``status`` (``errors="raise"`` raises InputError instead). Meanwhile templates and crops may lie in
        temporary files (``TMPDIR``), which ``key`` does not encrypt. Raises ConfigError, and StoreError.
        """
        if add in ("append", "replace") and part != (1, 1):
            raise ConfigError(f"add expects no part where it is {add!r}: enrol a part into a gallery of its own")
        for name, value in {"add": add, "stored": stored, "key": key}.items():
            if path is None and value is not None:
                raise ConfigError(f"{name} expects the path of a gallery: without one nothing is written")
        if path is not None and add is None:
            cure = "'append' and 'replace' of add (--append, --replace) add to it, 'overwrite' takes its place (--overwrite)"
            check_free(path, cure)
        check_pictures(images)
        side, faces, share = shared(entries(images, ids=ids, what="gallery"), faces, part, self.config.faces)
        callback = progress or self._progress
        if path is None:
            return replace(self.comparison.enroll(side, faces, callback), share=share)
        return enroll_into(path, self.comparison, side, faces, callback, add=add, stored=stored, key=key, share=share)

    def match(
        self, probe: Any, gallery: Any, *, faces: Hint | None = None, progress: ProgressCallback | None = None
    ) -> MatchResult:
        """Similarities of every probe with every gallery entry.

        A side is one picture, a sequence (a nested list is one subject), a directory, or what :meth:`lift` and
        :meth:`enroll` made of one. ``faces`` overrides the configuration: a mode, or, as
        ``{"probe": ..., "gallery": ...}``, per side a mode or one item per entry, in order or by id (boxes (N, 4) as x, y, w,
        h or points (N, 5, 2)); boxes or points without a side are the probes'. Raises InputError for an unusable side,
        StoreError for a gallery of another matcher or configuration.
        """
        config, callback = self.config, progress or self._progress
        self._check_means()
        check_pictures(gallery)
        hints, clock, compare = hints_of_sides(faces), Clock(), self.comparison
        made = {"probe": isinstance(probe, Taken), "gallery": isinstance(gallery, Gallery)}
        for side, hint in hints.items():
            if made[side] and not isinstance(hint, str | None):
                raise ConfigError(f"faces says where those of the {side} side are, which were cut out before")
        probes = self._lifted(probe, hints["probe"], callback)
        means = compare.set_means(probes)
        clock.mark("probe")
        dropped, scores, met = 0, None, None
        for run in compare.runs(gallery, hints["gallery"], probes, callback):
            clock.mark("gallery")
            scores = compare.score(probes, run, means, scores)
            met = run.kept
            dropped = dropped + met.dropped if compare.native else met.dropped
            run.progress(callback).step()
            clock.mark("scores")
            del run
        assert scores is not None
        assert met is not None
        told = notes(self, probes, dropped, met.stored, () if isinstance(gallery, Gallery) else met.status)
        looked = probes.looked or (not made["gallery"] and may_look(hints["gallery"], config.faces))
        crops, first = (probes.crops, probes.pool.first) if config.keep_crops else (None, None)
        return MatchResult(
            scores, probes.ids, met.ids, probes.status, met.status, probes.sizes, told, config, self._models(looked),
            clock.seconds, crops, first, means, self.calibration, (self, met),
        )

    def identify(
        self, probe: Any, gallery: Any, k: int = 10, *, faces: Hint | None = None, miss: float = 0.0, strength: float = 100.0
    ) -> list[list[Candidate]]:
        """The ``k`` most alike gallery entries of every probe, with their full scores; an empty list for a failed probe.

        Exact by default. With ``miss`` above 0 and a rule that is S_max, summed templates (or, of portraits that are not
        enrolled, the undegraded ones) tell whom to compare in full: those that may be among the best, but for a nominal chance
        of ``miss`` per probe. Measured chances are larger (:mod:`meetmid.scores.progressive`). Rules that add are one product
        for everyone anyway. ``strength`` as in :meth:`meetmid.MatchResult.rank`. Raises InputError, and what :meth:`match`
        raises.
        """
        check_count(k)
        if not 0 <= miss < 1:
            raise InputError(f"miss expects a chance in [0, 1), got {miss}")
        compare = self.comparison
        check_pictures(gallery)
        if miss == 0 or not has_short_way(compare, gallery):
            return self.match(probe, gallery, faces=faces).rank(k, strength)
        self._check_means()
        hints = hints_of_sides(faces)
        probes = self._lifted(probe, hints["probe"], self._progress)
        scores, ids = short_way(compare, probes, gallery, hints["gallery"], k, miss, self._progress)
        return candidates(scores, ids, k, self.calibration, strength)

    def _check_means(self) -> None:
        """Missing means are told before the long work."""
        if self.config.centering == "reference":
            self.reference.of("probe", scale_labels(self.config))
            if self.config.score_norm == "z":
                self.reference.second_moment()

    def plan(self, probes: Any, gallery: Any, *, measure: bool = True) -> Plan:
        """What a match costs: templates, FLOPs, bytes, and, measured here in about two seconds, the seconds it will take.

        ``probes`` and ``gallery`` are numbers of pictures, which are then taken for face crops of 24 and 160 px, or the sides
        themselves (or an enrolled Gallery), of which some are tried: decoding and finding faces take their time too. Raises
        InputError for an unusable side.
        """
        check_pictures(probes)
        check_pictures(gallery)
        p, g = Sample.of(probes, "probe"), Sample.of(gallery, "gallery")
        stages = expected_seconds(self.comparison, p, g) if measure else None
        return make_plan(
            self.config, (self.network, self.gallery_network), self.hallucinator, p.count, g.count, stages,
            enrolled=isinstance(gallery, Gallery), rank_1=self.equipment.measured,
        )

    def lift(self, probe: Any, ids: Sequence[str] | None = None, *, faces: Hint | None = None) -> Taken:
        """The uncentred templates of every probe hypothesis, for any number of matches or ways to fuse them: ``pool``, and
        ``plain``, those of the pictures as they are by the portraits' network. Entries whose ``share`` is 1 have only these."""
        check_pictures(probe)
        taken = self.comparison.intake.probes(entries(probe, ids=ids, what="probe"), faces, self._progress)
        return replace(taken, made_by=self._made_by)

    def _lifted(self, probe: Any, faces: Hint | None, callback: ProgressCallback | None) -> Taken:
        if not isinstance(probe, Taken):
            check_pictures(probe)
            return self.comparison.intake.probes(entries(probe, what="probe"), faces, callback)
        if probe.made_by != self._made_by:
            raise InputError("the probes were lifted with another configuration or other models than this Matcher has")
        return probe

    @property
    def _made_by(self) -> str:
        return " ".join([self.config.hash(), *(network.card.sha256 for network in self.equipment.networks)])

    def cut(self, image: Any, *, faces: Hint | None = None, pixel_aspect: float | None = None) -> NDArray[np.uint8] | None:
        """The face crop (h, w, 3) uint8 RGB that a probe's hypotheses start from, at its own resolution (a match cuts aligned
        faces of less than 64 px twice as fine); None where no face was found. ``pixel_aspect`` is the
        configuration's where none is given. Raises InputError for an unusable picture."""
        alignment = self.card.contract.alignment
        config = self.config if pixel_aspect is None else replace(self.config, pixel_aspect=pixel_aspect)
        hint = config.faces if faces is None else faces
        found = find_crop(image, hint, config, alignment, self.equipment.detector, aspect=config.pixel_aspect)
        return None if found is None else found.picture

    def learn_means(self, probes: Any, portraits: Any, *, faces: Hint | None = None) -> ReferenceMeans:
        """Reference means per side and scale from a cohort of ``probes`` (pictures like those to come) and ``portraits``.

        The cohort's people must not be among those that are matched later. Save the result and pass it as ``reference``.
        Pictures that fail are left out and not counted; raises InputError where a side has no other.
        """
        hints, compare = hints_of_sides(faces), self.comparison.having(sharp_between=None)
        layouts = compare.layouts()
        probe = compare.intake.probes(entries(probes, what="probes"), hints["probe"], self._progress)
        side = entries(portraits, what="portraits")
        progress = Progress(self._progress, "gallery", count(side))
        gallery = compare.intake.portraits(side, hints["gallery"], layouts, progress)
        conditions = {
            "normalize": self.config.normalize, "flip": self.config.flip, "crop": self.config.crop,
            "config": self.config.hash(), "probes": count_usable("probes", probe.status),
            "portraits": count_usable("portraits", gallery.status),
        }
        labels = scale_labels(self.config)
        means = pool_means(probe.pool)
        moment = pool_moment(probe.pool, means) if self.config.identity else None
        return ReferenceMeans(self.equipment.space, labels, means, pool_means(gallery.pool), conditions, moment)

    def show_probe(self, crop: NDArray[np.uint8]) -> list[tuple[ProbeHypothesis, NDArray[np.uint8]]]:
        """Every distinct hypothesis of a face crop (H, W, 3) uint8 RGB: what it is and the picture, (h, w, 3) uint8."""
        work = work_image(crop, self.config.work_size, self.config.degradations.resize)
        config = seen_by(work, self.config)
        return [(what, to_uint8(picture)) for _, what, _, picture in probe_pictures(work, config, self.hallucinator)]

    def show_gallery(self, crop: NDArray[np.uint8]) -> list[tuple[GalleryHypothesis, NDArray[np.uint8]]]:
        """Every distinct hypothesis of a portrait's face crop (H, W, 3) uint8 RGB: what it is and the picture, (h, w, 3)
        uint8."""
        work = work_image(crop, self.config.work_size, self.config.degradations.resize)
        made: dict[GalleryHypothesis, NDArray[np.uint8]] = {}
        for layout in self.comparison.layouts().each:
            for scale, used in enumerate(layout.counts()):
                for slot in range(used):
                    if layout.describe(scale, slot) not in made:
                        what, picture = gallery_picture(work, layout, scale, slot)
                        made[what] = to_uint8(picture)
        return list(made.items())

    @property
    def comparison(self) -> Comparison:
        """The stages between pictures and scores."""
        intake = Intake(
            self.config, self.network, self.gallery_network, self.hallucinator, self.equipment.detector, self._memory,
            self._threads, self.equipment.reader,
        )
        return Comparison(self.config, intake, lambda: self.reference, self._threads)

    def _hashes(self) -> dict[str, str]:
        known = {n.card.name: f"sha256 {n.card.sha256}" for n in self.equipment.networks}
        if self.config.centering == "reference":
            known["reference means"] = f"sha256 {self.reference.digest}"
        return known

    def _models(self, looked: bool) -> dict[str, str]:
        """Of all networks, and of the detector where it ``looked`` for faces."""
        own = {n.card.name: f"sha256 {n.card.sha256} on {n.provider}" for n in self.equipment.networks}
        return (networks_of(self.equipment.detector) if looked else {}) | self._hashes() | own


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
