"""Faces as surveillance cameras caught them: TinyFace, QMUL-SurvFace and FRMDB, as their owners describe the trees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from meetmid.errors import InputError
from meetmid.evaluation.protocols.layout import Folder, PairProtocol, Sample, SearchProtocol

TINYFACE = "https://qmul-tinyface.github.io (Z. Cheng, X. Zhu and S. Gong, ACCV 2018)"
SURVFACE = "https://qmul-survface.github.io (Z. Cheng, X. Zhu and S. Gong, 2018)"
FRMDB = "https://github.com/airtlab/face-recognition-from-mugshots-database (P. Contardo et al., Sensors 23(4), 2023)"
FRONTAL = "33"
"""FRMDB names a mugshot by its angles: 0 to 6 for -135 to 135 degrees around, 1 to 4 for 60 to -30 degrees up."""


def read_tinyface(root: str | os.PathLike[str], *, distractors: bool = True) -> SearchProtocol:
    """The closed-set test: ``Testing_Set/Probe`` against ``Gallery_Match`` and, unless left out, ``Gallery_Distractor``.

    Who is who is in ``probe_img_ID_pairs.mat`` and ``gallery_match_img_ID_pairs.mat``; a distractor is nobody else's picture.
    ``root`` is the folder with ``Testing_Set``. Raises InputError.
    """
    folder = Folder("TinyFace", root, TINYFACE)
    sides = []
    for place, table, key in (("Gallery_Match", "gallery_match", "gallery"), ("Probe", "probe", "probe")):
        sides.append(_listed(folder, f"Testing_Set/{place}", f"Testing_Set/{table}_img_ID_pairs.mat", key))
    if distractors:
        place = "Testing_Set/Gallery_Distractor"
        found = folder.pictures(place)
        if not found:
            folder.missing.append(f"{place}/*.jpg")
        role = (("role", "distractor"),)
        sides[0] += [Sample(f"Gallery_Distractor/{p.name}", f"distractor {p.stem}", p, role) for p in found]
    folder.check()
    return SearchProtocol("TinyFace", tuple(sides[0]), tuple(sides[1]), TINYFACE)


def read_survface(root: str | os.PathLike[str], *, unmated: bool = True) -> SearchProtocol:
    """The open-set test of ``Face_Identification_Test_Set``: ``mated_probe`` and, unless left out, ``unmated_probe`` against
    ``gallery``, whose people the two .mat files name. Raises InputError."""
    folder = Folder("QMUL-SurvFace", root, SURVFACE)
    top = "Face_Identification_Test_Set"
    gallery, probes = (
        _listed(folder, f"{top}/{key}", f"{top}/{key}_img_ID_pairs.mat", key) for key in ("gallery", "mated_probe")
    )
    if unmated:
        found = folder.pictures(f"{top}/unmated_probe")
        if not found:
            folder.missing.append(f"{top}/unmated_probe/*.jpg")
        probes += [Sample(f"unmated_probe/{p.name}", f"unmated {p.stem}", p, (("role", "unmated"),)) for p in found]
    folder.check()
    return SearchProtocol("QMUL-SurvFace", tuple(gallery), tuple(probes), SURVFACE)


def read_survface_pairs(root: str | os.PathLike[str]) -> PairProtocol:
    """The verification pairs of ``Face_Verification_Test_Set``, as one fold per tenth of either kind. Raises InputError."""
    folder = Folder("QMUL-SurvFace", root, SURVFACE)
    top = "Face_Verification_Test_Set"
    first: list[Sample] = []
    second: list[Sample] = []
    mated, fold = [], []
    for kind in ("positive", "negative"):
        name = f"{kind}_pairs_names"
        pairs = _matlab(folder, f"{top}/{name}.mat", name)
        rows = [] if pairs is None else [[_text(cell) for cell in np.ravel(row)] for row in np.asarray(pairs)]
        if any(len(row) != 2 for row in rows):
            raise InputError(f"QMUL-SurvFace: expected two names a row in {name}.mat, got {len(rows[0])}")
        for number, row in enumerate(rows):
            found = [folder.find(f"{top}/verification_images/{picture}") for picture in row]
            for side, picture, path in zip((first, second), row, found, strict=True):
                if path is not None:
                    side.append(Sample(picture, picture.split("_")[0], path))
            mated.append(kind == "positive")
            fold.append(number * 10 // len(rows))
    folder.check()
    return PairProtocol("QMUL-SurvFace", tuple(first), tuple(second), np.array(mated), np.array(fold, np.int64), SURVFACE)


def read_frmdb(
    root: str | os.PathLike[str], *, views: tuple[str, ...] = (FRONTAL,), cropped: bool = True
) -> SearchProtocol:
    """39 people: mugshots from ``views`` (two digits: angle around and angle up) against one frame of each of five cameras.

    ``root`` is the folder ``frmdb``: ``cropped/{mugshots,surveillance}/NNN/Img_XX.png``, or with ``cropped=False``
    ``original/NNN/NNN_{Mugshots,Frames}/Img_XX.jpg``. Several views of a person are several entries. Raises InputError.
    """
    folder = Folder("FRMDB", root, FRMDB)
    gallery: list[Sample] = []
    probes: list[Sample] = []
    for subject in (f"{number:03d}" for number in range(1, 40)):
        for side, place, names, tag in (
            (gallery, "mugshots", views, "view"), (probes, "surveillance", tuple(f"0{k}" for k in range(1, 6)), "camera"),
        ):
            original = f"original/{subject}/{subject}_{'Mugshots' if side is gallery else 'Frames'}"
            at, ending = (f"cropped/{place}/{subject}", "png") if cropped else (original, "jpg")
            for name in names:
                path = folder.find(f"{at}/Img_{name}.{ending}")
                if path is not None:
                    side.append(Sample(f"{subject}/{name}", subject, path, ((tag, name),)))
    folder.check()
    return SearchProtocol("FRMDB", tuple(gallery), tuple(probes), FRMDB)


def _listed(folder: Folder, place: str, table: str, key: str) -> list[Sample]:
    """Samples of a picture folder whose people a .mat file tells: ``<key>_set`` file names, ``<key>_ids`` numbers."""
    names, ids = (_matlab(folder, table, f"{key}_{what}") for what in ("set", "ids"))
    if names is None or ids is None:
        return []
    files, people = [_text(cell) for cell in np.asarray(names).ravel()], [int(n) for n in np.asarray(ids).ravel()]
    if len(files) != len(people):
        counts = f"{len(files)} and {len(people)}"
        raise InputError(f"{folder.name}: expected as many {key}_set as {key}_ids in {table}, got {counts}")
    top = place.rpartition("/")[2]
    found = [(name, person, folder.find(f"{place}/{name}")) for name, person in zip(files, people, strict=True)]
    return [Sample(f"{top}/{name}", str(person), path) for name, person, path in found if path is not None]


def _matlab(folder: Folder, name: str, variable: str) -> Any:
    """A variable of a MATLAB file; None, and noted as missing, without the file. Raises InputError for another content."""
    path = folder.find(name)
    if path is None:
        return None
    from scipy.io import loadmat

    try:
        values = loadmat(Path(path), variable_names=[variable])
    except Exception as error:  # the reader has no common error of its own
        raise InputError(f"{folder.name}: expected a MATLAB file at {path}, got {type(error).__name__}: {error}") from error
    if variable not in values:
        raise InputError(f"{folder.name}: expected the variable {variable} in {path}, got none of that name")
    return values[variable]


def _text(cell: Any) -> str:
    """The string in a cell, however deep it is nested."""
    while isinstance(cell, np.ndarray) and cell.size == 1:
        cell = cell.reshape(-1)[0]
    return str(cell).strip()
