"""Boxes and points that a face detector agrees on with itself over many views of one face.

A detector's points move by several per cent of the eye distance when the same picture is shifted, scaled, turned or mirrored;
their median over such views is a steadier label, and a steadier truth, than any one of them.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from meetmid.models.recipes.scenes import Box, KnownFace
from numpy.typing import NDArray

from meetmid.faces.alignment import MIRRORED
from meetmid.faces.detection import Detector

SIDE = 192
UPRIGHT = tuple(itertools.product((56.0, 70.0, 84.0, 98.0), (0.0,), (False, True)))
TURNED = tuple(itertools.product((84.0,), (-12.0, -6.0, 6.0, 12.0), (False, True)))
VIEWS = UPRIGHT + TURNED
"""Size of the face in pixels, turn in degrees, mirrored."""
FEWEST = 8
POINTS = tuple(f"{point}{axis}" for point in ("le", "re", "n", "lm", "rm") for axis in "xy")
FIELDS = ("file", "box_x", "box_y", "box_w", "box_h", *POINTS, "views")


def agreed(face: KnownFace, detector: Detector) -> tuple[KnownFace, int] | None:
    """The face with the medians of the boxes of its upright views and of the points of all its views, and in how many of them
    it was found; None where those are fewer than :data:`FEWEST`."""
    picture = face.picture
    left, top, width, height = face.box
    middle, extent = np.array([left + width / 2, top + height / 2]), float(np.sqrt(width * height))
    boxes: list[NDArray[np.float64]] = []
    points: list[NDArray[np.float64]] = []
    for number, (side, angle, mirrored) in enumerate(VIEWS):
        turn = cv2.getRotationMatrix2D((0.0, 0.0), angle, side / extent)[:, :2] @ np.diag([-1.0 if mirrored else 1.0, 1.0])
        at = SIDE / 2 + np.array([(number * 0.618) % 1, (number * 0.755) % 1]) * 24 - 12  # no two at one place of the grid
        shift = at - turn @ middle
        view = _warped(picture, turn, shift, side / extent)
        back = np.linalg.inv(turn)
        wanted = face.points @ turn.T + shift
        found = [
            (np.array(f.box), np.array(f.points)) for f in detector.detect(view)
            if f.points is not None and np.linalg.norm(np.mean(f.points, axis=0) - wanted.mean(0)) < 0.25 * side
        ]
        if not found:
            continue
        box, five = found[0]
        points.append(((five - shift) @ back.T)[MIRRORED if mirrored else slice(None)])
        if angle == 0:
            centre = back @ (box[:2] + box[2:] / 2 - shift)
            size = box[2:] * extent / side
            boxes.append(np.array([*(centre - size / 2), *size]))
    if len(points) < FEWEST or not boxes:
        return None
    x, y, w, h = (float(v) for v in np.median(boxes, axis=0))
    return replace(face, box=(x, y, w, h), points=np.median(points, axis=0)), len(points)


def _warped(
    picture: NDArray[np.uint8], turn: NDArray[np.float64], shift: NDArray[np.float64], scale: float
) -> NDArray[np.uint8]:
    if scale < 1:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.4 * np.sqrt(scale**-2 - 1) + 1e-3), np.uint8)
    matrix = np.hstack([turn, shift[:, None]])
    warped = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def write_labels(path: Path, named: Iterable[tuple[str, KnownFace]], detector: Detector) -> None:
    """Append to ``path`` a row for every face that is not in it yet; ``views`` is 0 for a face without agreement."""
    begun = path.exists()
    known = set(read_labels(path, all_rows=True)) if begun else set()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if not begun:
            writer.writerow(FIELDS)
        for name, face in named:
            if name in known:
                continue
            found = agreed(face, detector)
            kept, views = found if found is not None else (face, 0)
            writer.writerow([name, *(f"{v:.3f}" for v in (*kept.box, *kept.points.ravel())), views])


def read_labels(path: Path, *, all_rows: bool = False) -> dict[str, tuple[Box, NDArray[np.float64]]]:
    """File name to box and points; without the faces that had no agreement unless ``all_rows``."""
    with path.open(newline="") as file:
        return {
            row["file"]: (_box(row), np.array([float(row[k]) for k in FIELDS[5:15]]).reshape(5, 2))
            for row in csv.DictReader(file) if all_rows or int(row["views"])
        }


def _box(row: dict[str, str]) -> Box:
    x, y, w, h = (float(row[k]) for k in FIELDS[1:5])
    return x, y, w, h


def relabelled(
    named: Iterable[tuple[str, KnownFace]], labels: dict[str, tuple[Box, NDArray[np.float64]]]
) -> Iterator[KnownFace]:
    """The faces that have a label, with it."""
    for name, face in named:
        if name in labels:
            box, points = labels[name]
            yield replace(face, box=box, points=points)
