"""The pictures that a configuration is tuned on: everyone's portrait and far pictures of them, and what may not leak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.evaluation.camera import FarCamera
from meetmid.evaluation.trials import listed
from meetmid.images import Entry, Source, describe, digest, entries
from meetmid.matcher import Matcher
from meetmid.runtime.progress import Progress, ProgressCallback
from meetmid.status import failures, usable

Crop = NDArray[np.uint8]
LEAST_PEOPLE = 20


@dataclass(frozen=True)
class Pictures:
    """Whose pictures there are: one ``portraits`` source per subject, and ``far`` ones as (subject, source), which are real far
    pictures, or (``simulated``) pictures for a simulated camera, ``same`` of which are the portrait itself."""

    portraits: dict[str, Source] = field(repr=False)
    far: tuple[tuple[str, Source], ...] = field(repr=False)
    simulated: bool
    same: int = 0


@dataclass(frozen=True)
class People:
    """Face crops (H, W, 3) uint8 RGB: the ``portraits`` of ``subjects``, and ``views`` of every far picture of ``mates``, one
    per size and seed, which ``labels`` tell. ``failed`` (side, subject, reason) have none and do not count."""

    subjects: tuple[str, ...] = field(repr=False)
    portraits: tuple[Crop, ...] = field(repr=False)
    mates: tuple[str, ...] = field(repr=False)
    views: tuple[tuple[Crop, ...], ...] = field(repr=False)
    labels: tuple[str, ...]
    same: int
    failed: tuple[tuple[str, str, str], ...]


def gathered(portraits: Any, probes: Any) -> Pictures:
    """Everyone's pictures. Raises InputError for too few people, unknown subjects, and pictures that are there twice."""
    side = _subjects(portraits, "portraits")
    first = {name: sources[0] for name, sources in side.items()}
    others = [(name, source) for name, sources in side.items() for source in sources[1:]]
    if probes is not None:
        mated = _subjects(probes, "probes")
        unknown = sorted(set(mated) - set(first))
        if unknown:
            raise InputError(f"probes expect a portrait of the same name for every subject, got none of {listed(unknown)}")
        found = Pictures(first, tuple((name, source) for name, its in mated.items() for source in its), simulated=False)
    elif len({name for name, _ in others}) >= LEAST_PEOPLE:
        found = Pictures(first, tuple(others), simulated=True)
    else:
        alone = [(name, source) for name, source in first.items() if name not in {mate for mate, _ in others}]
        found = Pictures(first, (*others, *alone), simulated=True, same=len(alone))
    people = len({name for name, _ in found.far})
    if people < LEAST_PEOPLE:
        raise InputError(
            f"tuning expects far pictures of at least {LEAST_PEOPLE} subjects who have a portrait, so that it can be measured "
            f"on people whom it did not see, got {people}: add sub-folders with a portrait and other pictures of one person"
        )
    _check_twice([*first.items(), *(others if probes is None else found.far)])
    return found


def _subjects(side: Any, what: str) -> dict[str, tuple[Source, ...]]:
    """The pictures of every subject: a sub-directory or nested list, or a file, whose name without its ending names the
    subject."""
    found: dict[str, tuple[Source, ...]] = {}
    for entry in entries(side, what=what):
        name = _name(entry)
        if name in found:
            raise InputError(f"{what}: expected one entry per subject, got {name!r} twice; put their pictures in a sub-folder")
        if not entry.sources:
            raise InputError(f"{what}: {entry.problem or f'expected pictures of {name!r}, got none'}")
        found[name] = entry.sources
    return found


def _name(entry: Entry) -> str:
    source = entry.sources[0] if len(entry.sources) == 1 else None
    is_file = not isinstance(source, bytes | np.ndarray) and source is not None and Path(describe(source)).name == entry.id
    return Path(entry.id).stem if is_file else entry.id


def _check_twice(pictures: Sequence[tuple[str, Source]]) -> None:
    seen: dict[bytes, tuple[str, Source]] = {}
    for name, source in pictures:
        key = digest(source)
        if key not in seen:
            seen[key] = name, source
            continue
        other, its = seen[key]
        both = f"{describe(its)} of {other!r} and {describe(source)} of {name!r} are the same picture: "
        raise InputError(both + ("give it once" if name == other else "one person under two names would be their own impostor"))


def cut(
    matcher: Matcher, pictures: Pictures, sizes: Sequence[int], cameras: Sequence[FarCamera], seeds: Sequence[int],
    callback: ProgressCallback | None,
) -> People:
    """The face crops of all pictures, seen by the ``cameras`` in turn where they are simulated, at every size with every
    seed; ``matcher`` finds and aligns them, at their own resolution. Raises InputError where too few are left."""
    names = list(pictures.portraits)
    gallery = matcher.enroll([[pictures.portraits[name]] for name in names], ids=names, progress=callback)
    assert gallery.crops is not None
    failed = list(failures("portrait", names, gallery.status))
    portraits: dict[str, Crop] = {}
    for k, name in enumerate(names):
        crop = gallery.crops.crop(k)
        if crop is not None and usable(gallery.status[k]):
            portraits[name] = crop
    mates, views, kept = [], [], 0
    labels = tuple(f"{size} px, seed {seed}" for seed in seeds for size in sizes) if pictures.simulated else ("real",)
    progress = Progress(callback, "cut", len(pictures.far))
    for number, (name, source) in enumerate(pictures.far):
        crop, why = _crop(matcher, source)
        if crop is not None and pictures.simulated and min(crop.shape[:2]) < max(sizes):
            why = f"expected a face crop of at least {max(sizes)} px to simulate a far camera, got {min(crop.shape[:2])} px"
        if why:
            failed.append(("probe", name, why))
        elif name in portraits and crop is not None:
            seen: tuple[Crop, ...] = (crop,)
            if pictures.simulated:
                camera = cameras[number % len(cameras)]
                seen = tuple(
                    replace(camera, size=size).capture(crop, (seed, size, number)) for seed in seeds for size in sizes
                )
            mates.append(name)
            views.append(seen)
            kept += number >= len(pictures.far) - pictures.same
        progress.step()
    left = len(set(mates))
    if left < LEAST_PEOPLE:
        first = f"; the first failure: {failed[0][1]}: {failed[0][2]}" if failed else ""
        raise InputError(f"tuning expects usable far pictures of at least {LEAST_PEOPLE} subjects, got {left}{first}")
    return People(
        tuple(portraits), tuple(portraits.values()), tuple(mates), tuple(zip(*views, strict=True)), labels, kept, tuple(failed)
    )


def _crop(matcher: Matcher, source: Source) -> tuple[Crop | None, str]:
    try:
        found = matcher.cut(source)
    except InputError as error:
        return None, str(error)
    return found, "" if found is not None else "no face found"
