"""Tuning: templates of everything that is tried, made once, then choices scored on people that they were not made on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from meetmid.config import Color, Faces, MatchConfig
from meetmid.errors import ConfigError
from meetmid.evaluation.camera import CAMERAS, FarCamera
from meetmid.evaluation.choices import Scores
from meetmid.evaluation.held_out import HeldOut, Option, validate
from meetmid.evaluation.identification import search
from meetmid.evaluation.selection import Objective, everyone
from meetmid.evaluation.trials import Trials
from meetmid.faces.detection import Detector
from meetmid.gallery.paths import select_paths
from meetmid.matcher import GIB, Matcher
from meetmid.presets import advised
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.cores import cores
from meetmid.runtime.progress import ProgressCallback
from meetmid.templates.centering import ReferenceMeans
from meetmid.timing import Sample, expected_seconds
from meetmid.tuning.grid import AS_IT_IS, FACE, RECOGNITION, Grid, Opened, options, templates, with_paths
from meetmid.tuning.people import People, cut, gathered
from meetmid.tuning.result import Tuned, models_of

FOLDS = 3
MANY, FEW = "len<=2", "len<=1"
"""Gallery paths that are tried where there is time, and where there is not; the former begin with the latter."""
SCREENED = 3
"""Options that a split keeps after a glance at all."""
TEMPLATES, CHOOSING = 0.65, 0.9
"""Shares of the time that making templates, and then all, may be expected to take."""
TRIED, SOME = 64, 4
"""Pictures and candidates that are timed."""
SPREAD, STEPS = 3, 3
"""Distinct beginnings that the lists of all splits are expected to have at a step, and steps for which there must be time."""
LENGTHS = ((6, 5), (6, 3))
"""The longest list and the repeats of the folds, from what takes longest on."""


def tune(
    portraits: Any,
    probes: Any = None,
    *,
    matcher: str | os.PathLike[str] | ModelCard | None = None,
    gallery_matcher: str | os.PathLike[str] | ModelCard | None = None,
    reference: ReferenceMeans | str | os.PathLike[str] | None = None,
    detector: str | Detector | None = None,
    faces: Faces = "auto",
    color: Color = "rgb",
    sizes: Sequence[int] = (24, 16),
    cameras: Sequence[FarCamera] = CAMERAS,
    seeds: Sequence[int] = (0, 1),
    minutes: float = 15.0,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    memory_limit: int = GIB,
    progress: ProgressCallback | None = None,
) -> Tuned:
    """Choose gallery paths, the probe's hypotheses, rules and centring for a matcher and a camera, and say what that is worth.

    ``portraits`` is a side (:func:`meetmid.images.entries`); a sub-directory or nested list is one subject, whose first picture
    is the portrait. ``probes`` is a side of real far pictures, every one a probe, of subjects of the same names (file names
    without ending; positions in a list), their pixels square; other pictures of ``portraits`` are then left out. Without,
    simulated ``cameras`` see the subjects' other pictures at all ``sizes`` (px) with all ``seeds``; where fewer than 20
    subjects have others, also the portraits themselves, which flatters every figure, and is said. Everything is chosen and
    scored on disjoint people; where the gain over the preset "balanced" (as the matcher's card has it; or "plain", if that is
    better) is not shown by its 95 % interval, that preset's configuration is kept. All pictures are treated as far ones here;
    the configuration has the preset's ``sharp_between`` again. ``minutes`` bound the time on this machine: what is tried is cut
    to fit.

    Raises InputError for fewer than 20 subjects, the same picture under two names, and unknown subjects; ConfigError for
    options that do not fit and where ``minutes`` are too few; what :class:`Matcher` raises.
    """
    begun = time.monotonic()
    if not minutes > 0:
        raise ConfigError(f"minutes expects more than 0, got {minutes}")
    if not sizes or not seeds or not cameras or min(sizes) < 4:
        raise ConfigError(f"tuning expects sizes of at least 4 px, seeds and cameras, got {tuple(sizes)} and {tuple(seeds)}")
    models: dict[str, Any] = {
        "matcher": matcher, "gallery_matcher": gallery_matcher, "reference": reference, "device": device, "threads": threads,
        "memory_limit": memory_limit, "progress": progress,
    }
    pictures = gathered(portraits, probes)
    opened: Opened = partial(Matcher, **models)
    with opened("plain", detector=detector) as known:
        card, finder, alike = known.card, known.config.detector, known.network.same_crops(known.gallery_network)

    def for_user(config: MatchConfig) -> MatchConfig:
        return replace(config, faces=faces, color=color, detector=finder, keep_crops=True)

    bare = replace(advised("balanced", card.presets), scales=(), paths="none", centering="none", score_norm="none")
    with opened(config=for_user(bare), detector=detector) as first:
        people = cut(first, pictures, sizes, cameras, seeds, progress)
        means = _reference(first, reference is not None)
    preset = advised("balanced", card.presets)
    base = replace(preset, faces="crop", keep_crops=False, sharp_between=None)  # what is tuned is for far pictures
    grid = _affordable(base, people, opened, 60 * minutes * TEMPLATES - (time.monotonic() - begun))
    people = replace(people, views=people.views[: grid.views], labels=people.labels[: grid.views])
    name, against, scores = _baseline(card, people, opened, means)
    made = templates(grid, base, people, opened, memory_limit // 8)
    found = options(grid, base, made, people, means, len(grid.paths), LENGTHS[0][0])
    left = 60 * minutes * CHOOSING - (time.monotonic() - begun)
    count, most, repeats = _fitting(found, grid, left, threads or cores(), memory_limit // 4)
    found = options(grid, base, made, people, means, count, most)
    held: HeldOut = validate(
        [option for option, _ in found.values()], scores, folds=FOLDS, repeats=repeats, seed=seed, screen=SCREENED,
        threads=threads or cores(), memory=memory_limit // 4,
        seconds=60 * minutes * CHOOSING - (time.monotonic() - begun), progress=progress,
    )
    best = with_paths(found[held.option][1], held.chosen)
    best = replace(best, sharp_between=preset.sharp_between if best.comparable and alike else None)
    kept = best if held.pays else against
    with opened(config=for_user(kept), detector=detector) as last:
        own, partner = last.config.matcher, last.config.gallery_matcher
        configs = [replace(for_user(config), matcher=own, gallery_matcher=partner) for config in (best, against)]
        tried = {
            "paths": count, "longest": most, "options": len(found), "views": list(people.labels), "minutes": minutes,
            "sizes": list(sizes) if pictures.simulated else [], "seeds": list(seeds) if pictures.simulated else [],
        }
        return Tuned(
            last.config, configs[0], configs[1], name, held, _described(pictures.simulated, people, cameras), tried,
            models_of(last), _versions(), _notes(people, pictures.simulated, against, means, kept, held, most), people.failed,
        )


def _reference(matcher: Matcher, given: bool) -> ReferenceMeans | None:
    """The matcher's reference means, where it has any; raises ConfigError where ``given`` ones do not fit."""
    try:
        return matcher.reference
    except ConfigError:
        if given:
            raise
        return None


def _affordable(base: MatchConfig, people: People, opened: Opened, seconds: float) -> Grid:
    """The richest grid whose templates are expected to be made in time; raises ConfigError where none is."""
    views = len(people.views)
    every, single = select_paths(MANY), select_paths(FEW)
    all_lifts = (AS_IT_IS, *RECOGNITION, *FACE)
    half = max(1, views // 2)
    grids = [
        Grid(all_lifts, every, views), Grid(all_lifts, single, views), Grid(all_lifts, single, half),
        Grid((AS_IT_IS, *RECOGNITION), single, half), Grid((AS_IT_IS, *RECOGNITION), single, 1),
    ]
    known: dict[tuple[MatchConfig, str], float] = {}

    def each(config: MatchConfig, stage: str) -> float:
        """Seconds per picture, from a short run of some of them."""
        if (config, stage) not in known:
            crops = people.views[0] if stage == "probe" else people.portraits
            some = Sample.of(list(crops[:TRIED]), stage)
            sides = {"probe": Sample((), 0), "gallery": Sample((), 0)} | {stage: some}
            with opened(config=config) as matcher:
                took = expected_seconds(matcher.comparison, sides["probe"], sides["gallery"])
            known[config, stage] = took[stage] / some.count
        return known[config, stage]

    least = 0.0
    for grid in grids:
        portraits, probes = len(people.portraits), grid.views * len(people.mates)
        least = sum(portraits * each(config, "gallery") for config in grid.gallery_configs(base))
        least += sum(probes * each(config, "probe") for config in grid.probe_configs(base))
        if least <= seconds:
            return grid
    raise ConfigError(
        f"the least that can be tuned is expected to take {least / 60 / TEMPLATES:.1f} minutes on this machine: give more "
        f"minutes or fewer pictures"
    )


def _baseline(
    card: ModelCard, people: People, opened: Opened, means: ReferenceMeans | None
) -> tuple[str, MatchConfig, list[Scores]]:
    """The better of the presets "balanced" and "plain", by rank-1 on everyone, held-out people too, which can only make it
    harder to beat: its name, configuration and scores."""
    found = []
    for name in ("balanced", "plain"):
        config = advised(name, card.presets)
        if config.centering == "reference" and (means is None or not set(config.scales) <= set(means.scales)):
            config = replace(config, centering="set", score_norm="none")
        with opened(config=replace(config, faces="crop", keep_crops=False, sharp_between=None)) as matcher:
            gallery = matcher.enroll(list(people.portraits))
            scores = [matcher.match(list(view), gallery).scores for view in people.views]
        hits = sum(int(search(Trials.of(s, people.mates, people.subjects)).hits().sum()) for s in scores)
        found.append((hits, name, config, scores))
    _, name, config, scores = max(found, key=lambda item: item[0])
    return name, config, scores


def _fitting(
    found: dict[str, tuple[Option, MatchConfig]], grid: Grid, seconds: float, threads: int, memory: int
) -> tuple[int, int, int]:
    """Paths, the longest list and the repeats of the folds that are expected to be chosen among in ``seconds``."""
    each = []
    for which in ("S_add, S_max; set", "S_add, T_add; none"):
        option = [option for option, _ in found.values() if which in option.name][-1]
        names = everyone(option.runs)
        members = np.ones((len(names), FOLDS), bool)
        objective = Objective(option.runs, option.choice, members, names, None, threads, memory)
        states = objective.start()
        objective.value(states, frozenset(), 0)  # the first call warms up
        begun = time.perf_counter()
        for candidate in range(1, 1 + SOME):
            objective.value(states, frozenset(), candidate)
        each.append((time.perf_counter() - begun) / SOME)
    mean = sum(each) / len(each)
    single = sum(len(path) == 1 for path in grid.paths)
    left = seconds - 2 * len(found) * mean
    for count in dict.fromkeys((len(grid.paths), single)):
        for most, repeats in LENGTHS:
            if count * min(most, STEPS) * SPREAD * 2 * SCREENED * mean * repeats / LENGTHS[0][1] <= left:
                return count, most, repeats
    return single, 3, 1


def _described(simulated: bool, people: People, cameras: Sequence[FarCamera]) -> str:
    if not simulated:
        return "real far pictures"
    return f"{len(cameras)} simulated far cameras: {'; '.join(people.labels)}"


def _notes(
    people: People, simulated: bool, against: MatchConfig, means: ReferenceMeans | None, kept: MatchConfig, held: HeldOut,
    most: int,
) -> tuple[str, ...]:
    told = []
    if simulated:
        told.append("the far pictures are simulated: these are figures about the simulator; give real ones as probes")
    if people.same:
        told.append(
            f"{people.same} of {len(people.mates)} far pictures were made from the portrait itself, so that both sides show "
            f"one photograph: this flatters every figure"
        )
    if means is None:
        told.append("this matcher has no reference means, so only the centrings 'none', 'vector' and 'set' were tried")
    if against.centering == "set":
        told.append("the preset was centred by 'set', since its means are not there")
    if kept.centering == "set":
        told.append("centering='set' takes its means from the two sides at hand: match batches, not single pictures")
    if any(len(names) < most for names in held.lists.values()):
        told.append(f"the time cut lists of paths short, which could have had {most}: give more minutes for longer ones")
    if people.failed:
        told.append(f"{len(people.failed)} pictures failed and do not count")
    return tuple(told)


def _versions() -> dict[str, str]:
    import cv2
    import onnxruntime

    from meetmid import __version__

    return {"meetmid": __version__, "numpy": np.__version__, "opencv": cv2.__version__, "onnxruntime": onnxruntime.__version__}
