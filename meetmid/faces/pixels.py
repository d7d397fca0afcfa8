"""Pictures whose pixels are not square, as recorders store them: every other row left out, or fewer columns than are shown.

Faces out of proportion are found badly, and an alignment that keeps proportions leaves a matcher faces it never saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.faces.crops import Face

STORED = {
    (width, height): 4 / 3 * height / width
    for widths, heights in (((640, 704, 720), (240, 288)), ((352, 360), (480, 576)), ((960,), (480, 576)))
    for width in widths for height in heights
}
"""Sizes (width, height) that recorders store pictures in which they show at 4:3 (half the lines: 2CIF, half the columns: half
D1, and 960H) and hardly anything else has, and the width of such pixels by their height."""


@dataclass(frozen=True, eq=False)
class Squared:
    """A ``picture`` (H, W, 3) uint8 of square pixels; ``across`` and ``down``, how many of them one pixel of the other picture
    has become along each side."""

    picture: NDArray[np.uint8]
    across: float = 1.0
    down: float = 1.0

    def back(self, face: Face) -> Face:
        """A face in this picture's coordinates, of pixels' edges for boxes and of their middles for points, in the other's."""
        x, y, w, h = face.box
        points = None if face.points is None else tuple(
            ((a + 0.5) / self.across - 0.5, (b + 0.5) / self.down - 0.5) for a, b in face.points
        )
        return Face((x / self.across, y / self.down, w / self.across, h / self.down), points, face.score)


def squared(picture: NDArray[np.uint8], aspect: float) -> Squared:
    """A picture (H, W, 3) uint8 whose pixels are ``aspect`` times as wide as high, enlarged bicubically along one side so that
    they are square; itself where they are."""
    height, width = picture.shape[:2]
    size = round(width * max(1.0, aspect)), round(height * max(1.0, 1 / aspect))
    if size == (width, height):
        return Squared(picture)
    enlarged = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return Squared(enlarged, size[0] / width, size[1] / height)
