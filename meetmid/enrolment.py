"""Enrolling into a file: committed as it goes on, and continued where an earlier run was stopped."""

from __future__ import annotations

import hashlib
import json
import operator
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from meetmid.comparison import Comparison
from meetmid.errors import ConfigError
from meetmid.faces.detection import identity
from meetmid.faces.finding import WAY, Hint, hints_by_id, hints_for, looks
from meetmid.gallery.manifest import Share
from meetmid.gallery.store import Gallery
from meetmid.gallery.writer import GalleryWriter
from meetmid.images import Entry, digest
from meetmid.intake import count
from meetmid.runtime.progress import Progress, ProgressCallback
from meetmid.templates.stored import Stored

Add = Literal["append", "replace", "overwrite"]
"""What becomes of a gallery that is there: it is added to, and entries of the same ids are refused or go, or all of it goes."""

COMMIT_SECONDS = 20.0
"""About as much work is lost when an enrolment is killed."""


def enroll_into(
    path: str | os.PathLike[str],
    compare: Comparison,
    side: Sequence[Entry],
    faces: Hint | None,
    callback: ProgressCallback | None,
    *,
    add: Add | None = None,
    stored: Stored | None = None,
    key: str | os.PathLike[str] | None = None,
    share: Share | None = None,
) -> Gallery:
    """Enrol ``side`` into the gallery at ``path``, which appears when all is done; with ``add``, its entries become part of the
    gallery there, all in one, or it takes that one's place. Returns the entries of ``side``.

    Until then what was enrolled is committed every 20 seconds or so beside it. The same call goes on from there, as far as
    names, pictures and hints are the same; however often it is stopped, the gallery is the same in the end. What cannot be
    written or added is told before any work.
    """
    if add not in (None, *get_args(Add)):
        raise ConfigError(f"add expects {' or '.join(map(repr, get_args(Add)))}, got {add!r}")
    hints = hints_for(faces, side, compare.config.faces)
    empty = replace(compare.enrolled([], None, Progress(None, "gallery", 0)), share=share)
    detector = identity(compare.intake.detector) if looks(hints) else ""
    values = [compare.config.to_dict(), detector, WAY, compare.intake.memory, compare.intake.gallery_hashes]
    job = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    if add in (None, "overwrite"):
        opened = GalleryWriter.begin(path, empty.manifest(stored or "float32", job), key)
    else:
        ids = [entry.id for entry in side]
        opened = GalleryWriter.extend(path, empty, ids, job, replaces=add == "replace", stored=stored, key=key)
    with opened as writer:
        done = _kept(writer, side, hints)
        progress = Progress(callback, "gallery", count(side), count(side[:done]))
        for part in _parts(done, len(side)):
            chunk = side[part]
            own = hints_by_id(zip(chunk, hints[part], strict=True))
            writer.append(compare.enrolled(chunk, own, progress, tuple(map(_source, chunk, hints[part]))))
        writer.finish()
        return Gallery.open(path, key=key, verify=False).part(writer.before, writer.count)


def shared(
    side: Sequence[Entry], faces: Hint | None, part: tuple[int, int], mode: str
) -> tuple[Sequence[Entry], Hint | None, Share | None]:
    """The ``part`` = (k, n)-th of n shares of a side, 1 <= k <= n, its hints, and which share it is: content decides, so that
    an entry is in the same share wherever and in whatever order the side is listed; of a file that cannot be read, its name.
    Raises ConfigError."""
    try:
        k, n = map(operator.index, part)
    except (TypeError, ValueError):
        k, n = 0, 0
    if not 1 <= k <= n:
        raise ConfigError(f"part expects (k, n), two whole numbers with 1 <= k <= n, got {part!r}")
    if n == 1:
        return side, faces, None
    hints = hints_for(faces, side, mode)
    sources = list(map(_source, side, hints))
    whole = hashlib.sha256("".join(sorted(sources)).encode()).hexdigest()
    own = [p for p, source in zip(zip(side, hints, strict=True), sources, strict=True) if int(source[:16], 16) % n == k - 1]
    return [entry for entry, _ in own], hints_by_id(own), Share(k, n, whole)


def _kept(writer: GalleryWriter, side: Sequence[Entry], hints: Sequence[Sequence[Hint]]) -> int:
    """How many entries of ``side`` an earlier run has enrolled; what it has beyond them is removed."""
    if writer.count == writer.before:
        return 0
    there = writer.contents().entries.part(writer.before, writer.count)
    done = 0
    for entry, its, name, source in zip(side, hints, there.ids, there.sources, strict=False):
        if entry.id != name or _source(entry, its) != source:
            break
        done += 1
    writer.remove(there.ids[done:])
    return done


def _parts(start: int, stop: int) -> Iterator[slice]:
    """Stretches of entries that take about :data:`COMMIT_SECONDS` each, by the time that those before took."""
    size = 1
    while start < stop:
        begun = time.monotonic()
        yield slice(start, min(stop, start + size))
        start += size
        rate = size / max(time.monotonic() - begun, 1e-3)
        size = max(1, min(int(rate * COMMIT_SECONDS), 4 * size))


def _source(entry: Entry, hints: Sequence[Hint]) -> str:
    """A digest of what an entry is made from: its pictures' bytes and where their faces are said to be."""
    total = hashlib.sha256()
    for source, hint in zip(entry.sources, hints, strict=True):
        told: Any = hint if isinstance(hint, str) else np.asarray(hint, np.float64).tolist()
        total.update(digest(source) + json.dumps(told).encode())
    return total.hexdigest()
