"""The training faces: LFW people with a single picture, and UTKFace; read straight from their archives.

``root`` is a folder with ``lfw/lfw_dev.tar``, ``lfw/points.csv``, ``utkface/utkface_train.tar``, ``utkface/points.csv``.
People with two or more LFW pictures are never trained on.
"""

from __future__ import annotations

import argparse
import csv
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

POINTS = ("lex", "ley", "rex", "rey", "nx", "ny", "lmx", "lmy", "rmx", "rmy")


def add_data(parser: argparse.ArgumentParser, holds: str) -> None:
    """``--data``, the folder that holds so much, default ``$MEETMID_DATA`` or the one beside the checkout."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("MEETMID_DATA") or beside), help=f"folder with {holds}"
    )


def read_points(path: Path) -> dict[str, NDArray[np.float64]]:
    """File name to five points (5, 2)."""
    with path.open(newline="") as file:
        return {row["file"]: np.array([float(row[k]) for k in POINTS]).reshape(5, 2) for row in csv.DictReader(file)}


def _pictures(archive: Path, wanted: set[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name in wanted:
                stream = tar.extractfile(member)
                assert stream is not None
                data = np.frombuffer(stream.read(), np.uint8)
                yield member.name, np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1].copy()


def faces(root: Path, part: str) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.float64]]]:
    """(name, picture RGB uint8, points) of ``"lfw-single"``, ``"lfw-multiple"`` or ``"utkface"``, in archive order."""
    folder, archive = ("utkface", "utkface_train.tar") if part == "utkface" else ("lfw", "lfw_dev.tar")
    points = read_points(root / folder / "points.csv")
    if part != "utkface":
        count = Counter(name.split("/")[0] for name in points)
        single = part == "lfw-single"
        points = {n: p for n, p in points.items() if (count[n.split("/")[0]] == 1) == single}
    for name, picture in _pictures(root / folder / archive, set(points)):
        yield name, picture, points[name]
