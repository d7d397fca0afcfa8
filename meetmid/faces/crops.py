"""From a picture and what is known about its faces to one crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.config import Crop
from meetmid.errors import InputError
from meetmid.faces.alignment import AlignmentTemplate, align, fineness
from meetmid.images import MAX_PIXELS

BOX_FACTOR = 1.3
"""The detector's box is enlarged about its centre by this factor (Grm et al. 2023, section 4.1)."""


@dataclass(frozen=True)
class Face:
    """One face: ``box`` (x, y, w, h) in pixels, ``points`` five (x, y) pairs or None, detector ``score`` in [0, 1].

    ``size`` is the geometric mean of the box's sides in pixels."""

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...] | None = None
    score: float = 1.0

    @property
    def size(self) -> float:
        """Native size in pixels."""
        return float(np.sqrt(self.box[2] * self.box[3]))

    def touches(self, picture: tuple[int, ...]) -> bool:
        """Whether a part of its box lies in a (H, W) picture."""
        (x, y, w, h), (rows, columns) = self.box, picture
        return x < columns and y < rows and x + w > 0 and y + h > 0


def moved(face: Face, across: float, down: float) -> Face:
    """A face in a picture in which every pixel has become ``across`` times ``down``: boxes lie at edges of pixels, points in
    their middles."""
    if across == down == 1:
        return face
    x, y, w, h = face.box
    points = None
    if face.points is not None:
        points = tuple(((a + 0.5) * across - 0.5, (b + 0.5) * down - 0.5) for a, b in face.points)
    return Face((x * across, y * down, w * across, h * down), points, face.score)


def given_faces(hint: Any, across: float = 1.0, down: float = 1.0) -> list[Face]:
    """Faces from an (N, 4) or (4,) array of boxes (x, y, w, h) or an (N, 5, 2) or (5, 2) array of points; validated, then moved
    to a picture in which every pixel has become ``across`` times ``down``; the boxes of points are made there."""
    expected = "faces expects boxes (N, 4) as x, y, w, h or points (N, 5, 2)"
    try:
        array = np.asarray(hint, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{expected}, got {type(hint).__name__}") from error
    if array.shape in ((4,), (5, 2)):
        array = array[None]
    if array.shape[1:] not in ((4,), (5, 2)):
        raise InputError(f"{expected}, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{expected}, got NaN or infinite values")
    if array.ndim == 2:
        if (array[:, 2:] <= 0).any():
            raise InputError(f"{expected}, got a box without area: {array.tolist()}")
        return [moved(Face((float(x), float(y), float(w), float(h))), across, down) for x, y, w, h in array]
    return [_from_points(points if across == down == 1 else (points + 0.5) * [across, down] - 0.5) for points in array]


def _from_points(points: NDArray[np.float64]) -> Face:
    """The box of five points: their extent enlarged to roughly a detector's face box."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre, side = (low + high) / 2, float(max(high - low)) * 2.0
    x, y = centre - side / 2
    return Face((float(x), float(y), side, side), tuple((float(a), float(b)) for a, b in points))


def most_prominent(faces: list[Face], picture: tuple[int, int]) -> Face:
    """The face with the largest score x area, discounted by its distance from the centre of a (H, W) picture."""

    def prominence(face: Face) -> float:
        x, y, w, h = face.box
        offset = np.hypot((x + w / 2) / picture[1] - 0.5, (y + h / 2) / picture[0] - 0.5)
        return float(face.score * w * h * (1.0 - offset))

    return max(faces, key=prominence)


def cut_box(image: NDArray[np.uint8], box: tuple[float, float, float, float], *, square: bool) -> NDArray[np.uint8]:
    """Cut ``box`` enlarged x 1.3 about its centre, at native resolution, edges replicated where it leaves the picture.

    ``square`` expands the short side first; otherwise the crop keeps the box's shape and is squashed by later resizes, as
    in the paper. Raises InputError when the enlarged box does not touch the picture or is absurdly large.
    """
    x, y, w, h = box
    centre_x, centre_y = x + w / 2, y + h / 2
    if square:
        w = h = max(w, h)
    width, height = max(1, round(w * BOX_FACTOR)), max(1, round(h * BOX_FACTOR))
    if width * height > MAX_PIXELS:
        raise InputError(f"the face box {box} is larger than any picture ({MAX_PIXELS} pixels)")
    left, top = round(centre_x - width / 2), round(centre_y - height / 2)
    rows, columns = image.shape[:2]
    if not Face((left, top, width, height)).touches((rows, columns)):
        raise InputError(f"the face box {box} lies outside the {columns} x {rows} picture")
    inside = image[max(top, 0) : min(top + height, rows), max(left, 0) : min(left + width, columns)]
    pad = (max(-top, 0), max(top + height - rows, 0), max(-left, 0), max(left + width - columns, 0))
    if any(pad):
        inside = cv2.copyMakeBorder(inside, *pad, cv2.BORDER_REPLICATE).astype(np.uint8)
    return np.ascontiguousarray(inside)


def can_align(face: Face, how: Crop) -> bool:
    """Whether :func:`cut` aligns the face: the configuration asks for it and its points are known."""
    return how == "arcface5" and face.points is not None


def cut(
    image: NDArray[np.uint8], face: Face, *, how: Crop, template: AlignmentTemplate, is_fine: bool = False
) -> tuple[NDArray[np.uint8], int]:
    """One face crop (H, W, 3) uint8: aligned where ``how`` asks for it and the points are known, else the box x 1.3; and its
    pixels per pixel of the picture along each side, more than one where ``is_fine`` and the aligned face is small. Raises
    InputError where the face lies outside the picture."""
    if can_align(face, how):
        points = np.array(face.points)
        if not _from_points(points).touches(image.shape[:2]):
            rows, columns = image.shape[:2]
            raise InputError(f"the face's points {np.round(points, 1).tolist()} lie outside the {columns} x {rows} picture")
        fine = fineness(points, template) if is_fine else 1
        return align(image, points, template, fine=fine), fine
    return cut_box(image, face.box, square=how == "square"), 1
