"""The development people: portraits and probe pictures of one part of the committed split."""

from __future__ import annotations

import csv
import os
import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from meetmid.evaluation import FarCamera
from meetmid.evaluation.camera import CAMERAS
from meetmid.faces.alignment import TEMPLATES, align


def data_folder() -> Path:
    """``$MEETMID_DATA`` or ``../shared/data``; exits with the reason where the pictures are absent."""
    folder = Path(os.environ.get("MEETMID_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "lfw" / "points.csv").is_file():
        raise SystemExit(f"the development pictures are not at {folder}: set MEETMID_DATA to a folder with lfw/lfw_dev.tar")
    return folder


def split(part: str) -> list[str]:
    """Names of the people of ``"selection"`` or ``"test"``."""
    return (Path(__file__).parent / "splits" / f"{part}.txt").read_text(encoding="utf-8").split()


Picture = tuple[str, np.ndarray, np.ndarray]


def pictures(part: str, people: int, probes_each: int) -> tuple[list[Picture], list[Picture]]:
    """(person, picture RGB, five points) of one portrait per person, and of up to ``probes_each`` other pictures each.

    The people with most pictures come first, ties by name, so that a table has as many probes as it can."""
    folder = data_folder() / "lfw"
    points: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    keys = ("lex", "ley", "rex", "rey", "nx", "ny", "lmx", "lmy", "rmx", "rmy")
    with (folder / "points.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            points[row["file"].split("/")[0]][row["file"]] = np.array([float(row[k]) for k in keys]).reshape(5, 2)
    chosen = sorted(split(part), key=lambda name: (-len(points[name]), name))[:people]
    wanted = {file: name for name in chosen for file in sorted(points[name])[: probes_each + 1]}
    loaded = {}
    with tarfile.open(folder / "lfw_dev.tar") as tar:
        for member in tar:
            if member.name in wanted:
                data = np.frombuffer(tar.extractfile(member).read(), np.uint8)
                loaded[member.name] = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()
    sides = ([], [])
    for name in chosen:
        for k, file in enumerate(sorted(f for f in wanted if wanted[f] == name)):
            sides[k > 0].append((name, loaded[file], points[name][file]))
    return sides


def columns(gallery: list, probes: list) -> np.ndarray:
    """(P,) each probe's person among those of the gallery."""
    subjects = [person for person, *_ in gallery]
    return np.array([subjects.index(person) for person, *_ in probes])


def kept(target: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, made and written where it is not there."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, **make())
    with np.load(target) as file:
        return {key: file[key] for key in file.files}


def portraits(side: list, template: str) -> list[np.ndarray]:
    """Aligned crops at native resolution."""
    return [align(picture, points, TEMPLATES[template]) for _, picture, points in side]


def captures(side: list, template: str, size: int, seed: int) -> list[np.ndarray]:
    """The probes as two simulated cameras caught them, ``size`` x ``size`` px; a probe's number decides which one."""
    crops = portraits(side, template)
    cameras = [FarCamera(**{**vars(camera), "size": size}) for camera in CAMERAS]
    return [cameras[k % len(cameras)].capture(crop, (seed, size, k)) for k, crop in enumerate(crops)]
