"""What every protocol gives: pictures, whose they are, and who is compared with whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.evaluation.trials import listed

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})


Picture = Path | NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """A ``picture`` (file, or (H, W, 3) uint8 RGB) of a subject: ``id`` is unique within its side, ``tags`` say how it was
    taken; ``truth`` shows the same moment as a generator should make it look, where there is such a picture."""

    id: str
    subject: str
    picture: Picture = field(repr=False, compare=False)
    tags: tuple[tuple[str, str], ...] = ()
    truth: Picture | None = field(default=None, repr=False, compare=False)

    def tag(self, name: str) -> str:
        """One of the tags, "" if it has none of that name."""
        return dict(self.tags).get(name, "")


@dataclass(frozen=True)
class SearchProtocol:
    """Probes and gallery of one experiment; ``source`` is where the owner hands the pictures out, ``note`` how it may differ
    from the published one."""

    name: str
    gallery: tuple[Sample, ...] = field(repr=False)
    probes: tuple[Sample, ...] = field(repr=False)
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for side, samples in (("gallery", self.gallery), ("probe", self.probes)):
            seen: set[str] = set()
            double = [s.id for s in samples if s.id in seen or seen.add(s.id)]  # type: ignore[func-returns-value]
            if double:
                raise InputError(f"{self.name}: expected every {side} id once, got {listed(double)} more than once")
            if not samples:
                told = f"; they are handed out at {self.source}" if self.source else ""
                raise InputError(f"{self.name}: expected {side} pictures, got none{told}")

    @property
    def probe_subjects(self) -> list[str]:
        """Subject of every probe."""
        return [s.subject for s in self.probes]

    @property
    def gallery_subjects(self) -> list[str]:
        """Subject of every gallery entry."""
        return [s.subject for s in self.gallery]

    def restricted(self, keep: Callable[[Sample], bool]) -> SearchProtocol:
        """The same experiment with those pictures of both sides that ``keep`` says."""
        return replace(self, gallery=tuple(filter(keep, self.gallery)), probes=tuple(filter(keep, self.probes)))


@dataclass(frozen=True, eq=False)
class PairProtocol:
    """Pairs (``first[k]``, ``second[k]``), whether they are ``mated`` (N,) and their ``fold`` (N,) from 0."""

    name: str
    first: tuple[Sample, ...] = field(repr=False)
    second: tuple[Sample, ...] = field(repr=False)
    mated: NDArray[np.bool_] = field(repr=False)
    fold: NDArray[np.int64] = field(repr=False)
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not len(self.mated):
            raise InputError(f"{self.name}: expected pairs, got none")


class Folder:
    """A dataset's folder, whose files are looked up whatever the case of their names; missing ones are collected."""

    def __init__(self, name: str, root: str | os.PathLike[str], source: str) -> None:
        self.name, self.root, self.source = name, Path(root), source
        self.missing: list[str] = []
        self._listed: dict[Path, dict[str, Path]] = {}
        if not self.root.is_dir():
            raise InputError(f"{name}: expected its folder, found none at {self.root}; it is handed out at {source}")

    def find(self, *names: str) -> Path | None:
        """The first of these paths relative to the root that exists; else None, and the first is noted as missing."""
        found = self.maybe(*names)
        if found is None:
            self.missing.append(names[0])
        return found

    def maybe(self, *names: str) -> Path | None:
        """The first of these paths relative to the root that exists, if any does."""
        return next((found for found in map(self._resolve, names) if found is not None), None)

    def names(self, folder: str = "") -> list[str]:
        """Names in a sub-folder, sorted; empty where there is none."""
        at = self.root if not folder else self._resolve(folder)
        return [] if at is None or not at.is_dir() else sorted(path.name for path in at.iterdir())

    def pictures(self, folder: str = "") -> list[Path]:
        """Pictures right in a sub-folder, sorted by name."""
        at = self.root if not folder else self._resolve(folder)
        if at is None or not at.is_dir():
            return []
        return sorted(path for path in at.iterdir() if path.suffix.lower() in PICTURES)

    def lines(self, name: str) -> list[str]:
        """The lines of a text file without blank ones; noted as missing where it is not there."""
        path = self.find(name)
        if path is None:
            return []
        return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]

    def check(self) -> None:
        """Raise InputError naming what is missing and where the owner hands it out."""
        self.missing = list(dict.fromkeys(self.missing))
        if self.missing:
            raise InputError(
                f"{self.name} at {self.root} is incomplete: {len(self.missing)} files are missing ({listed(self.missing)}); "
                f"it is handed out at {self.source}"
            )

    def _resolve(self, name: str) -> Path | None:
        at = self.root
        for part in name.split("/"):
            if at not in self._listed:
                self._listed[at] = {path.name.lower(): path for path in at.iterdir()} if at.is_dir() else {}
            found = self._listed[at].get(part.lower())
            if found is None:
                return None
            at = found
        return at


def subsets(subjects: Iterable[str], size: int, count: int) -> list[frozenset[str]]:
    """``count`` random subsets of ``size`` subjects, of the seeds 0 to ``count`` - 1 (repeated random sub-sampling validation;
    networks.md section 12)."""
    names = sorted(set(subjects))
    if size > len(names):
        raise InputError(f"expected subsets of at most {len(names)} subjects, got {size}")
    chosen = (np.random.default_rng(seed).choice(len(names), size, replace=False) for seed in range(count))
    return [frozenset(names[k] for k in index) for index in chosen]


def samples(found: Sequence[tuple[str, str, Path | None]], **tags: str) -> list[Sample]:
    """Samples of (id, subject, path) without those whose file is missing, all with the same tags."""
    return [Sample(name, subject, path, tuple(sorted(tags.items()))) for name, subject, path in found if path is not None]


def numbered(names: Iterable[str]) -> list[str]:
    """Those that are whole numbers, in their order."""
    return sorted((name for name in names if name.isdigit()), key=int)
