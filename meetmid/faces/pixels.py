"""Pictures whose pixels are not square, as recorders store them: every other row left out, or fewer columns than are shown.

Faces out of proportion are found badly, and an alignment that keeps proportions leaves a matcher faces it never saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.errors import TooLargeError
from meetmid.faces.crops import Face, moved
from meetmid.images import MAX_PIXELS

SHOWN = {
    (640, 240): (4, 3), (704, 240): (4, 3), (720, 240): (4, 3), (704, 288): (4, 3), (720, 288): (4, 3), (352, 480): (4, 3),
    (352, 576): (4, 3), (960, 1080): (16, 9),
}
"""Sizes (width, height) that recorders store pictures in (2CIF, half D1, 1080N) and hardly anything else has, and the shape in
which they show them. Those that ordinary pictures have too, or that are shown in several shapes, are left out."""

RECORDED = "as recorders store what they show in another shape"
"""What a status says of a picture whose size tells that its pixels may not be square."""


@dataclass(frozen=True, eq=False)
class Squared:
    """A ``picture`` (H, W, 3) uint8 of square pixels; ``across`` and ``down``, how many of them one pixel of the other picture
    has become along each side."""

    picture: NDArray[np.uint8]
    across: float = 1.0
    down: float = 1.0

    def face(self, face: Face) -> Face:
        """A face in the other picture's coordinates in those of this one."""
        return moved(face, self.across, self.down)

    def back(self, face: Face) -> Face:
        """A face in this picture's coordinates in those of the other one."""
        return moved(face, 1 / self.across, 1 / self.down)


def squared(picture: NDArray[np.uint8], aspect: float, most: int) -> Squared:
    """A picture (H, W, 3) uint8 whose pixels are ``aspect`` times as wide as high, enlarged bicubically along one side so that
    they are square; itself where they are. Raises TooLargeError where these are more than ``most``."""
    height, width = picture.shape[:2]
    size = round(width * max(1.0, aspect)), round(height * max(1.0, 1 / aspect))
    if size == (width, height):
        return Squared(picture)
    if size[0] * size[1] > most:
        told = "" if most >= MAX_PIXELS else " (as memory_limit allows)"
        raise TooLargeError(
            f"expected at most {most} pixels{told} once they are square, got {width} x {height}, {size[0]} x {size[1]} by "
            f"pixel_aspect={aspect:g}"
        )
    enlarged = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return Squared(enlarged, size[0] / width, size[1] / height)


def recorded(size: tuple[int, int]) -> str:
    """What is to be said of a picture of this (width, height) whose pixels are taken for square; nothing of most."""
    if size not in SHOWN:
        return ""
    (width, height), (wide, high) = size, SHOWN[size]
    return f"{width} x {height} px, {RECORDED}: if shown at {wide}:{high}, say pixel_aspect={wide * height / high / width:.3f}"
