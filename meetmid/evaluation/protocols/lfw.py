"""LFW, CALFW, CPLFW and XQLFW: verification pairs in ten folds (networks.md section 13.2)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.evaluation.protocols.layout import Folder, PairProtocol, Sample

LFW = "http://vis-www.cs.umass.edu/lfw/ (view 2 of G. B. Huang et al., UMass Amherst 07-49, 2007)"
CALFW = "http://whdeng.cn/CALFW/ (T. Zheng, W. Deng and J. Hu, 2017)"
CPLFW = "http://whdeng.cn/CPLFW/ (T. Zheng and W. Deng, 2018)"
XQLFW = "https://martlgap.github.io/xqlfw/ (M. Knoche, S. Hoermann and G. Rigoll, 2021)"


def read_lfw(root: str | os.PathLike[str], pairs: str | os.PathLike[str] | None = None) -> PairProtocol:
    """LFW's ``pairs.txt``: ten folds of 300 mated and 300 non-mated pairs.

    ``root`` holds ``lfw/Name/Name_0001.jpg`` (or the people themselves) and, unless ``pairs`` says where, ``pairs.txt``. Raises
    InputError for missing pictures or a damaged list.
    """
    return _read_pairs("LFW", root, pairs, "pairs.txt", ("lfw", "lfw-deepfunneled", "lfw_funneled"), LFW)


def read_xqlfw(root: str | os.PathLike[str], pairs: str | os.PathLike[str] | None = None) -> PairProtocol:
    """XQLFW's ``xqlfw_pairs.txt``, LFW's format over pictures of the widest quality difference."""
    return _read_pairs("XQLFW", root, pairs, "xqlfw_pairs.txt", ("lfw_original_imgs_min_qual0.85variant11", "xqlfw"), XQLFW)


def read_calfw(root: str | os.PathLike[str]) -> PairProtocol:
    """CALFW (pairs with an age difference): ``pairs_CALFW.txt`` and ``aligned images``."""
    return _read_two_lines("CALFW", root, "pairs_CALFW.txt", CALFW)


def read_cplfw(root: str | os.PathLike[str]) -> PairProtocol:
    """CPLFW (pairs with a pose difference): ``pairs_CPLFW.txt`` and ``aligned images``."""
    return _read_two_lines("CPLFW", root, "pairs_CPLFW.txt", CPLFW)


def _read_pairs(
    name: str, root: str | os.PathLike[str], pairs: str | os.PathLike[str] | None, file: str, folders: tuple[str, ...],
    source: str,
) -> PairProtocol:
    folder = Folder(name, root, source)
    if pairs is not None and not Path(pairs).is_file():
        raise InputError(f"{name}: expected a list of pairs, found none at {pairs}")
    text = None if pairs is None else Path(pairs).read_text(encoding="utf-8", errors="replace")
    lines = folder.lines(file) if text is None else [line for line in text.splitlines() if line.strip()]
    folder.check()
    header = lines[0].split() if lines else []
    if len(header) != 2 or not all(field.isdigit() for field in header):
        raise InputError(f"{name}: expected a first line '10 300' in {file}, got {lines[:1]}")
    folds, each = (int(field) for field in header)
    if len(lines) != 1 + 2 * folds * each:
        raise InputError(f"{name}: expected {2 * folds * each} pairs in {file}, got {len(lines) - 1}")
    first, second, mated = [], [], []
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) not in (3, 4) or not all(fields[k].isdigit() for k in ((1, 2) if len(fields) == 3 else (1, 3))):
            raise InputError(f"{name}: expected 'name i j' or 'name i name j' in line {number} of {file}, got {line!r}")
        one, other = (fields[0], fields[1]), (fields[0], fields[2]) if len(fields) == 3 else (fields[2], fields[3])
        first.append(_picture(folder, *one, folders))
        second.append(_picture(folder, *other, folders))
        mated.append(len(fields) == 3)
    folder.check()
    return _protocol(name, first, second, mated, np.arange(len(mated)) // (2 * each), source)


def _picture(folder: Folder, person: str, number: str, folders: tuple[str, ...]) -> Sample | None:
    stem = f"{person}/{person}_{int(number):04d}"
    path = folder.find(*(f"{top}/{stem}.jpg" for top in folders), f"{stem}.jpg")
    return None if path is None else Sample(stem, person, path)


def _read_two_lines(name: str, root: str | os.PathLike[str], file: str, source: str) -> PairProtocol:
    """Each pair is two consecutive lines "picture label"; label 0 tells a non-mated pair, others count the folds."""
    folder = Folder(name, root, source)
    lines = [line.split() for line in folder.lines(file)]
    folder.check()
    if len(lines) % 2 or any(len(line) != 2 or not line[1].lstrip("-").isdigit() for line in lines):
        raise InputError(f"{name}: expected two lines 'picture label' for every pair in {file}, got {len(lines)} lines")
    found: list[Sample | None] = []
    for picture, _ in lines:
        path = folder.find(f"aligned images/{picture}", f"images/{picture}", picture)
        found.append(None if path is None else Sample(picture, picture.rpartition("_")[0], path))
    folder.check()
    mated = [line[1] != "0" for line in lines[::2]]
    return _protocol(name, found[::2], found[1::2], mated, _folds(np.array([int(line[1]) for line in lines[::2]])), source)


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of mated pairs what their labels count, of the others, whose labels are all 0, as many parts one after the other; tenths
    of either kind where mated pairs have one label."""
    names, fold = np.unique(labels[labels != 0], return_inverse=True)
    parts = len(names) if len(names) > 1 else 10
    found = np.empty(len(labels), np.int64)
    for kind in (labels != 0, labels == 0):
        count = int(kind.sum())
        found[kind] = np.arange(count) * parts // max(1, count)
    if len(names) > 1:
        found[labels != 0] = fold
    return found


def _protocol(
    name: str, first: list[Sample | None], second: list[Sample | None], mated: list[bool], fold: np.ndarray, source: str
) -> PairProtocol:
    one, other = (tuple(s for s in side if s is not None) for side in (first, second))
    return PairProtocol(name, one, other, np.array(mated), fold.astype(np.int64), source)
