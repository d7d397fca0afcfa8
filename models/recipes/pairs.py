"""Pictures for the translating recipes: from folders, paired or not, or simulated from the training faces.

A paired folder has the same relative paths under its source and its target folder. The person is the first folder of the path,
or the file name up to its last underscore, or what a rule finds in the path. ``points.csv`` in a folder (columns file, x0, y0,
x1, y1, ...) gives K landmarks of every picture in pixels; without it the pictures are taken as aligned and get the five points
of the ArcFace template. Target pictures are aligned crops either way: matchers see them as they are.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from meetmid.models.recipes.faces import faces
from meetmid.models.recipes.spectra import SPECTRA
from numpy.typing import NDArray

from meetmid.faces.alignment import ARCFACE_112, align
from meetmid.images import load
from meetmid.resize import resize, to_uint8

IN_MEMORY = 2**31
FAR = 0.1
"""Share of the side by which the mean landmarks of target pictures may differ from those of aligned crops."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Pictures:
    """N pictures of one spectrum: (N, size, size, 3) uint8 RGB, landmarks (N, K, 2) in their pixels, and whose they are."""

    people: list[str]
    pictures: NDArray[np.uint8]
    points: NDArray[np.float32]

    def take(self, index: NDArray[np.int64]) -> Pictures:
        """The pictures of ``index``."""
        return Pictures([self.people[i] for i in index], self.pictures[index], self.points[index])


@dataclass(frozen=True)
class Pairs:
    """Pictures of a source and a target spectrum, the k-th of both of the same person (and in AG-GAN of the same moment)."""

    source: Pictures
    target: Pictures

    def __post_init__(self) -> None:
        if self.source.people != self.target.people:
            raise ValueError("paired pictures must show the same people in the same order")

    def __len__(self) -> int:
        return len(self.source.people)


def template_points(size: int) -> NDArray[np.float32]:
    """The five points of an aligned crop of ``size`` pixels."""
    return ARCFACE_112.scaled(size, size).astype(np.float32)


def _person(path: Path, rule: re.Pattern[str] | None) -> str:
    if rule is None:
        return path.parts[0] if len(path.parts) > 1 else path.stem.rpartition("_")[0] or path.stem
    found = rule.search(path.as_posix())
    if found is None or rule.groups != 1:
        raise ValueError(f"the rule for persons, {rule.pattern!r}, expects one group that is found in {path.as_posix()}")
    return found[1]


def _room(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array for pictures, in an unnamed temporary file where it is large."""
    if int(np.prod(shape)) <= IN_MEMORY:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(prefix="meetmid-") as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _landmarks(folder: Path) -> dict[str, NDArray[np.float64]]:
    path = folder / "points.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row.pop("file"): np.array([float(v) for v in row.values()]).reshape(-1, 2) for row in csv.DictReader(file)}


def _names(folder: Path) -> list[Path]:
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not names:
        raise ValueError(f"no pictures in {folder}")
    return names


def read_folder(
    folder: Path, size: int, names: list[Path] | None = None, person: re.Pattern[str] | None = None
) -> Pictures:
    """The pictures of a folder (or the named ones) resized to ``size`` x ``size``, landmarks moved along."""
    chosen = _names(folder) if names is None else names
    given = _landmarks(folder)
    pictures, points = _room((len(chosen), size, size, 3)), []
    for number, name in enumerate(chosen):
        picture = load(folder / name)
        height, width = picture.shape[:2]
        small = np.clip(resize(picture, (size, size)), 0.0, 1.0).astype(np.float32)
        pictures[number] = to_uint8(small)
        if given and name.as_posix() not in given:
            raise ValueError(f"{folder / 'points.csv'} has no landmarks of {name.as_posix()}")
        scale = np.array([size / width, size / height])
        points.append((given[name.as_posix()] + 0.5) * scale - 0.5 if given else template_points(size))
    return Pictures([_person(n, person) for n in chosen], pictures, np.stack(points).astype(np.float32))


def check_aligned(pictures: Pictures) -> None:
    """Raise ValueError where five given landmarks are far from those of aligned crops, which identity losses expect."""
    if pictures.points.shape[1] != 5:
        return
    size = pictures.pictures.shape[1]
    off = float(np.linalg.norm(pictures.points.mean(0) - template_points(size), axis=1).mean()) / size
    if off > FAR:
        raise ValueError(
            f"the target pictures are not aligned: their mean landmarks lie {100 * off:.0f} % of the side from those of an "
            f"ArcFace crop (at most {100 * FAR:.0f} %); cut them with meetmid.faces.alignment.align first"
        )


def read_pairs(source: Path, target: Path, size: int, person: re.Pattern[str] | None = None) -> Pairs:
    """Two folders with the same relative paths; raises ValueError naming what only one of them has."""
    ours, theirs = set(_names(source)), set(_names(target))
    if ours != theirs:
        alone = ", ".join(str(p) for p in sorted(ours ^ theirs)[:5])
        raise ValueError(f"{source} and {target} are not paired: only one of them has {alone}")
    names = sorted(ours)
    pairs = Pairs(read_folder(source, size, names, person), read_folder(target, size, names, person))
    check_aligned(pairs.target)
    return pairs


def read_unpaired(source: Path, target: Path, size: int, seed: int, person: re.Pattern[str] | None = None) -> Pairs:
    """Two folders of the same people: each source picture with a random target picture of its person.

    People whom only one folder has are left out; raises ValueError if nobody remains.
    """
    first, second = read_folder(source, size, None, person), read_folder(target, size, None, person)
    check_aligned(second)
    rng = np.random.default_rng(seed)
    of = {person: [k for k, p in enumerate(second.people) if p == person] for person in set(second.people)}
    ours = [k for k, person in enumerate(first.people) if person in of]
    if not ours:
        raise ValueError(f"{source} and {target} have no person in common")
    theirs = [int(rng.choice(of[first.people[k]])) for k in ours]
    return Pairs(first.take(np.array(ours)), second.take(np.array(theirs)))


def split_people(pairs: Pairs, share: float, seed: int) -> tuple[Pairs, Pairs]:
    """Training and validation pairs without a person in common; ``share`` of the people, at least two, validate."""
    people = sorted(set(pairs.source.people))
    count = max(2, round(share * len(people)))
    if len(people) < count + 1:
        raise ValueError(f"a split by person expects at least 3 people, got {len(people)}")
    chosen = set(np.random.default_rng(seed).permutation(people)[:count].tolist())
    held = np.array([person in chosen for person in pairs.source.people])
    training, validation = np.flatnonzero(~held), np.flatnonzero(held)
    return (
        Pairs(pairs.source.take(training), pairs.target.take(training)),
        Pairs(pairs.source.take(validation), pairs.target.take(validation)),
    )


def simulated(
    data: Path, part: str, spectrum: str, size: int, count: int, seed: int, *, each: int = 1,
    people: Collection[str] | None = None,
) -> Pairs:
    """``count`` people of the training faces, ``each`` pictures of everyone, with their simulated spectrum.

    ``part`` is that of :func:`meetmid.models.recipes.faces.faces`; ``people`` restricts it to those names. UTKFace has no
    names: every picture counts as a person.
    """
    found: dict[str, list[NDArray[np.uint8]]] = {}
    complete = 0
    for name, picture, points in faces(data, part):
        person = name.split("/")[0]
        if (people is not None and person not in people) or len(found.get(person, ())) == each:
            continue
        crops = found.setdefault(person, [])
        crops.append(align(picture, points, ARCFACE_112, size=(size, size)))
        complete += len(crops) == each
        if complete == count:
            break
    kept = [(person, crop) for person, crops in found.items() if len(crops) == each for crop in crops]
    if not kept:
        raise ValueError(f"no person of {part} has {each} pictures")
    names, targets = [person for person, _ in kept], np.stack([crop for _, crop in kept])
    at = template_points(size)
    rendered = [SPECTRA[spectrum](crop, at.astype(np.float64), (seed, k)) for k, crop in enumerate(targets)]
    sources = Pictures(
        names, np.stack([r[0] for r in rendered]), np.stack([r[1] for r in rendered]).astype(np.float32)
    )
    return Pairs(sources, Pictures(names, targets, np.repeat(at[None], len(names), 0)))
