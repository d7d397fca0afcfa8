"""Experiments: a protocol run with a matcher, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, InputError
from meetmid.evaluation.camera import FarCamera
from meetmid.evaluation.ladder import Centring, Rung, climb, subset_rank1
from meetmid.evaluation.measures import Measure, pair_measures, quality_measures, search_measures
from meetmid.evaluation.protocols import PairProtocol, Sample, SearchProtocol, subsets
from meetmid.evaluation.quality import SSIM_SIDE, psnr, ssim
from meetmid.evaluation.trials import Trials
from meetmid.gallery.tree import work_image
from meetmid.matcher import Matcher
from meetmid.probes.hypotheses import probe_pictures, seen_by
from meetmid.resize import resize, to_uint8
from meetmid.result import MatchResult
from meetmid.status import usable

Picture = NDArray[np.uint8]
CROP = (("cut", "crop"),)
"""Tag of a sample whose picture is a face crop already, whatever the configuration says of the others."""
SUBSET, SUBSETS = 80, 10


@dataclass(frozen=True, eq=False)
class SearchStudy:
    """Probes searched in a gallery: the ``result``, its ``trials`` and ``measures``; ``rungs`` of the ladder and the rank-1
    percentages of the ``subsets`` of people (networks.md section 12, RRSSV), where they were asked for."""

    protocol: SearchProtocol
    result: MatchResult
    trials: Trials = field(repr=False)
    measures: tuple[Measure, ...]
    rungs: tuple[Rung, ...] = field(default=(), repr=False)
    subsets: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def failed(self) -> tuple[tuple[str, str, str], ...]:
        """(side, id, reason) of every picture without a score."""
        return self.result.failed


@dataclass(frozen=True, eq=False)
class ShownPair:
    """The face crops (h, w, 3) uint8 RGB of pair ``index``, None where none could be cut."""

    index: int
    first: Picture | None = field(repr=False)
    second: Picture | None = field(repr=False)


@dataclass(frozen=True, eq=False)
class PairStudy:
    """Pairs compared: ``scores`` (N,), NaN where either picture failed for the reason in ``failed`` (side, id, reason);
    ``hardest``: the mated pairs with the lowest scores, then the others with the highest."""

    protocol: PairProtocol
    scores: NDArray[np.float64] = field(repr=False)
    measures: tuple[Measure, ...]
    failed: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    config: MatchConfig = field(repr=False)
    models: dict[str, str]
    hardest: tuple[ShownPair, ...] = field(default=(), repr=False)


def search_study(
    matcher: Matcher, protocol: SearchProtocol, *, centrings: Sequence[Centring] = (), draws: int = 500, seed: int = 0
) -> SearchStudy:
    """Search every probe of a protocol; with ``centrings`` also the ladder, for which the matcher needs
    :func:`meetmid.evaluation.ladder.ladder_config`, of one ``lr_size``, nothing covered. Raises what
    :meth:`meetmid.Matcher.match` does."""
    if centrings and matcher.config.sizes:
        raise ConfigError(f"the ladder expects one lr_size, got {matcher.config.lr_size}")
    if centrings and matcher.config.covers:
        raise ConfigError(f"the ladder expects covered_by='nothing', got {matcher.config.covered_by!r}")
    gallery = matcher.enroll(*_side(matcher, protocol.gallery), faces=_hints(matcher, protocol.gallery))
    probes = matcher.lift(*_side(matcher, protocol.probes), faces=_hints(matcher, protocol.probes))
    people = protocol.probe_subjects, protocol.gallery_subjects
    rungs = tuple(climb(probes.pool, gallery.pool, *people, centrings)) if centrings else ()
    rates, known = None, sorted(set(people[1]))
    if rungs and len(known) >= SUBSET:
        mated = set(people[0]) & set(known)
        chosen = [some for some in subsets(known, SUBSET, SUBSETS) if some & mated]
        rates = subset_rank1(probes.pool, gallery.pool, *people, chosen, centrings[-1]) if chosen else None
    result = matcher.match(probes, gallery)
    trials = Trials.of(result, *people)
    broken = [[not usable(s) for s in status] for status in (result.probe_status, result.gallery_status)]
    measures = search_measures(
        trials, failed=(broken[0], broken[1]), calibration=result.calibration, draws=draws, seed=seed
    ) + _quality(matcher, protocol.probes)
    return SearchStudy(protocol, result, trials, tuple(measures), rungs, rates)


def pair_study(matcher: Matcher, protocol: PairProtocol, *, draws: int = 500, seed: int = 0) -> PairStudy:
    """Compare the pairs of a protocol, fold by fold; the second picture of a pair is the probe."""
    scores = np.full(len(protocol.mated), np.nan)
    failed: dict[tuple[str, str, str], None] = {}
    warnings: dict[str, None] = {}
    models: dict[str, str] = {}
    for fold in np.unique(protocol.fold):
        rows = np.flatnonzero(protocol.fold == fold)
        gallery, columns = _distinct([protocol.first[k] for k in rows])
        probes, places = _distinct([protocol.second[k] for k in rows])
        result = matcher.match(
            matcher.lift(*_side(matcher, probes), faces=_hints(matcher, probes)),
            matcher.enroll(*_side(matcher, gallery), faces=_hints(matcher, gallery)),
        )
        scores[rows] = result.scores[places, columns]
        failed |= dict.fromkeys(result.failed)
        warnings |= dict.fromkeys(result.warnings)
        models = result.models
    people = [[sample.subject for sample in side] for side in (protocol.first, protocol.second)]
    measures = pair_measures(scores, protocol.mated, protocol.fold, people[0], people[1], draws=draws, seed=seed)
    measures += _quality(matcher, _distinct(protocol.second)[0])
    return PairStudy(
        protocol, scores, tuple(measures), tuple(failed), tuple(warnings), matcher.config, models,
        tuple(_shown(matcher, protocol, k) for k in _hardest(scores, protocol.mated)),
    )


def _hardest(scores: NDArray[np.float64], mated: NDArray[np.bool_]) -> list[int]:
    """The mated pairs with the lowest scores and the others with the highest, six of either kind."""
    own, other = (np.flatnonzero((mated == kind) & ~np.isnan(scores)) for kind in (True, False))
    return [*own[np.argsort(scores[own], kind="stable")][:6], *other[np.argsort(-scores[other], kind="stable")][:6]]


def _shown(matcher: Matcher, protocol: PairProtocol, k: int) -> ShownPair:
    pair = protocol.first[k], protocol.second[k]
    return ShownPair(k, _crop_of(matcher, pair[0], 1.0), _crop_of(matcher, pair[1]))


def lowered(samples: Sequence[Sample], matcher: Matcher, size: int) -> tuple[Sample, ...]:
    """The samples' face crops, reduced to ``size`` px a side by area averaging; their ``truth`` is the crop as it was.

    One whose face cannot be cut stays as it is, so that its failure is recorded with its reason.
    """
    if size < 4:
        raise InputError(f"expected a size of at least 4 px, got {size}")

    def lower(crop: Picture, _: int) -> Picture:
        _check_larger(crop, size)
        return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA))

    return _seen(samples, matcher, lower)


def _check_larger(crop: Picture, size: int) -> None:
    if min(crop.shape[:2]) < size:
        raise InputError(
            f"expected face crops of at least {size} px to be seen {size} px wide, got one of {crop.shape[1]} x {crop.shape[0]}"
        )


def captured(samples: Sequence[Sample], matcher: Matcher, camera: FarCamera, seed: int) -> tuple[Sample, ...]:
    """The samples as a simulated far camera sees them, each with its own draw of ``seed``."""

    def see(crop: Picture, number: int) -> Picture:
        _check_larger(crop, camera.size)
        return camera.capture(crop, (seed, number))

    return _seen(samples, matcher, see)


def simulated(protocol: SearchProtocol, matcher: Matcher, size: int, seed: int) -> SearchProtocol:
    """A protocol of ordinary portraits whose probes a :class:`FarCamera` catches ``size`` px wide; its name says so."""
    probes = captured(protocol.probes, matcher, FarCamera(size=size), seed)
    return replace(protocol, name=f"{protocol.name}, simulated far camera of {size} px", probes=probes)


def _seen(samples: Sequence[Sample], matcher: Matcher, see: Callable[[Picture, int], Picture]) -> tuple[Sample, ...]:
    found = []
    for number, sample in enumerate(samples):
        crop = _cut(matcher, sample.picture)
        if crop is None:
            found.append(sample)
            continue
        try:
            found.append(replace(sample, picture=see(crop, number), tags=(*sample.tags, *CROP), truth=crop))
        except InputError as error:
            raise InputError(f"{sample.id}: {error}") from error
    return tuple(found)


def _cut(matcher: Matcher, picture: Any, pixel_aspect: float | None = 1.0) -> Picture | None:
    """A face crop; ``pixel_aspect`` None is the configuration's, for what the matcher meets as a probe."""
    try:
        return matcher.cut(picture, pixel_aspect=pixel_aspect)
    except InputError:
        return None


def _side(matcher: Matcher, samples: Sequence[Sample]) -> tuple[list[Any], list[str]]:
    """Pictures as the matcher takes them, and their ids."""
    flip = matcher.config.color == "bgr"
    pictures = [
        (s.picture[..., ::-1] if flip else s.picture) if isinstance(s.picture, np.ndarray) else s.picture for s in samples
    ]
    return pictures, [s.id for s in samples]


def _hints(matcher: Matcher, samples: Sequence[Sample]) -> dict[str, str]:
    return {s.id: s.tag("cut") or matcher.config.faces for s in samples}


def _distinct(samples: Sequence[Sample]) -> tuple[list[Sample], list[int]]:
    """Every sample once, and where each of the given ones is."""
    places: dict[str, int] = {}
    for sample in samples:
        places.setdefault(sample.id, len(places))
    once = {sample.id: sample for sample in samples}
    return [once[name] for name in places], [places[sample.id] for sample in samples]


def _quality(matcher: Matcher, samples: Sequence[Sample]) -> list[Measure]:
    """How close what the generator makes of each probe comes to its truth, where there is one."""
    found = []
    for sample in samples:
        crop = None if sample.truth is None else _crop_of(matcher, sample)
        is_cut = isinstance(sample.truth, np.ndarray) and bool(sample.tag("cut"))  # and its colours are in order
        truth = None if crop is None else np.asarray(sample.truth) if is_cut else _cut(matcher, sample.truth)
        if crop is not None and truth is not None:
            found.append(_compared(matcher, crop, truth))
    seen = [pair for pair in found if pair is not None]
    return quality_measures(seen) if seen else []


def _crop_of(matcher: Matcher, sample: Sample, pixel_aspect: float | None = None) -> Picture | None:
    is_crop = isinstance(sample.picture, np.ndarray) and bool(sample.tag("cut"))
    return np.asarray(sample.picture) if is_crop else _cut(matcher, sample.picture, pixel_aspect)


def _compared(matcher: Matcher, crop: Picture, truth: Picture) -> tuple[float, float] | None:
    """PSNR and SSIM of what the generator makes of the crop, unblurred and at the largest scale, with the truth at its size;
    without a generator, of the crop enlarged bicubically to the truth's. None where that is too small for SSIM."""
    config = matcher.config
    made = None
    if config.scales:
        work = work_image(crop, config.work_size, config.degradations.resize)
        seen = seen_by(work, config)
        alone = replace(seen, sigmas=(0.0,), even_light=False)
        largest = alone.own_scales + int(np.argmax(config.scales))
        shown = probe_pictures(work, alone, matcher.hallucinator, only=largest)
        made = next((to_uint8(picture) for _, _, _, picture in shown), None)
    if made is None:
        made = to_uint8(resize(crop, (truth.shape[0], truth.shape[1])))
    if min(made.shape[:2]) < SSIM_SIDE:
        return None
    wanted = to_uint8(resize(truth, (made.shape[0], made.shape[1])))
    return psnr(made, wanted), ssim(made, wanted)
