"""Five points of a small face, found anew in close views of it: a face finder's own are too rough to align such a face by."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ModelError
from meetmid.faces.alignment import ARCFACE_112, MIRRORED, similarity
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.sessions import Network

SIDE = 80
"""Of a view in pixels."""

SCALE = 0.48
"""Of the face in it, as a share of ArcFace's in a crop of 112 px: a finder's box takes about 0.6 of the view."""

PLACES = (np.array(ARCFACE_112.points) - [55.5, 64.5]) * SCALE + (SIDE - 1) / 2
"""Where the points (5, 2) of an upright face lie in a view: below its middle are the mouth and the chin."""

BOXED = 0.6
"""Side of a box, the root of its area, as a share of the view."""


class Pointer:
    """The points of faces whose boxes are known, by the network of a ``pointer`` card."""

    def __init__(self, card: ModelCard, *, device: str = "auto", threads: int | None = None) -> None:
        if card.task != "pointer":
            raise ModelError(f"expected a pointer's card, {card.name!r} is a {card.task}")
        self.card = card
        self._network = Network(card, device=device, threads=threads)

    def points(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.float64]:
        """The points (5, 2) in pixels of an RGB uint8 (H, W, 3) picture, of the face in a box (4,) as left, top, width, height:
        looked for in a view as the box lies, then in one as the points found there do."""
        scale = BOXED * SIDE / float(np.sqrt(box[2] * box[3]))
        middle = box[:2] + box[2:] / 2 - 0.5
        found = self._seen(image, np.column_stack([scale * np.eye(2), (SIDE - 1) / 2 - scale * middle]))
        return self._seen(image, similarity(found, PLACES))

    def _seen(self, image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of the points in a view, to which ``matrix`` (2, 3) leads, and in its mirror image."""
        back = np.linalg.inv(matrix[:, :2])
        corners = (np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) - 0.5 - matrix[:, 2]) @ back.T
        limits = np.array(image.shape[1::-1])
        low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, limits - 1)  # a warp refuses very wide pictures
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 3, low + 1, limits)
        near = np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ low])
        around = image[low[1] : high[1], low[0] : high[0]]
        view = cv2.warpAffine(around, near, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shown = np.asarray(view, np.uint8)
        rows = self._network.run(np.stack([shown, shown[:, ::-1]])).astype(np.float64).reshape(2, 5, 2)
        places = (rows[0] + rows[1, MIRRORED] * [-1, 1]) / 2 * SIDE + (SIDE - 1) / 2
        return np.asarray((places - matrix[:, 2]) @ back.T)

    def close(self) -> None:
        """Release the session; the next use opens it again."""
        self._network.close()
