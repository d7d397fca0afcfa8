"""The generic protocol: a table of pictures, or two folders with a sub-folder per subject."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from meetmid.errors import InputError
from meetmid.evaluation.protocols.layout import PICTURES, Sample, SearchProtocol
from meetmid.evaluation.trials import listed


def read_table(path: str | os.PathLike[str]) -> SearchProtocol:
    """A CSV with the columns side ("probe" or "gallery"), file (relative to the CSV) and subject; id is optional, other
    columns become tags. Raises InputError naming lines or files that are wrong."""
    source = Path(path)
    if not source.is_file():
        raise InputError(f"expected a protocol as CSV, found none at {source}")
    sides: dict[str, list[Sample]] = {"gallery": [], "probe": []}
    missing = []
    with source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        lacking = {"side", "file", "subject"} - set(rows.fieldnames or ())
        if lacking:
            raise InputError(f"{source}: expected the columns side, file and subject, got none of {', '.join(sorted(lacking))}")
        for number, row in enumerate(rows, 2):
            if row["side"] not in sides or not row["file"] or not row["subject"]:
                raise InputError(f"{source}, line {number}: expected side probe or gallery, a file and a subject, got {row}")
            picture = source.parent / row["file"]
            if not picture.is_file():
                missing.append(row["file"])
            tags = tuple(sorted((k, v) for k, v in row.items() if k and v and k not in ("side", "file", "subject", "id")))
            sides[row["side"]].append(Sample(row.get("id") or row["file"], row["subject"], picture, tags))
    if missing:
        raise InputError(f"{source}: {len(missing)} pictures are missing ({listed(missing)})")
    return SearchProtocol(source.stem, tuple(sides["gallery"]), tuple(sides["probe"]))


def read_folders(probes: str | os.PathLike[str], gallery: str | os.PathLike[str]) -> SearchProtocol:
    """Two folders with a sub-folder of pictures for every subject; an id is "subject/file"."""
    return SearchProtocol(Path(probes).name, _subjects(Path(gallery)), _subjects(Path(probes)))


def read_portraits(root: str | os.PathLike[str]) -> SearchProtocol:
    """A folder with a sub-folder per subject: everyone's first picture by name is the gallery, all others are probes.

    Subjects with a single picture are left out. Raises InputError where nobody has two."""
    found = _subjects(Path(root))
    gallery = tuple({sample.subject: sample for sample in reversed(found)}.values())[::-1]
    first = {sample.id for sample in gallery}
    probes = tuple(sample for sample in found if sample.id not in first)
    known = {sample.subject for sample in probes}
    if not probes:
        raise InputError(f"{root}: expected people with at least two pictures, got {len(gallery)} with at most one")
    return SearchProtocol(Path(root).name, tuple(sample for sample in gallery if sample.subject in known), probes)


def _subjects(root: Path) -> tuple[Sample, ...]:
    if not root.is_dir():
        raise InputError(f"expected a folder with a sub-folder per subject, found none at {root}")
    return tuple(
        Sample(f"{subject.name}/{picture.name}", subject.name, picture)
        for subject in sorted(p for p in root.iterdir() if p.is_dir())
        for picture in sorted(subject.iterdir()) if picture.suffix.lower() in PICTURES
    )
