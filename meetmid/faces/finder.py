"""The library's own face finder: boxes, scores and five points from one small network run over a pyramid of the picture."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError, ModelError
from meetmid.faces.alignment import mirrored
from meetmid.faces.crops import Face
from meetmid.faces.pointer import Pointer
from meetmid.runtime.cards import ModelCard, read_card
from meetmid.runtime.sessions import Network

STRIDES = (8, 16, 32)
"""Of the network's maps, finest first; a side it is given is a multiple of the last."""

ENLARGED = 6 / 5
"""The finest pass shows the picture enlarged, so that a face of 12 px covers more than one cell."""

LARGEST = 200
"""Faces of more pixels than this are left to the next pass, on a picture :data:`STEP` times smaller."""

STEP = 4
WHOLE = 330
"""Pictures of at most this many pixels a side need no pass more: a face that fills them is still one the network knows."""

TILE = 1024
"""Pictures with more pixels a side than this go through the finest pass in tiles that overlap by more than a face."""

OVERLAP = 272
IN_COMMON = 0.45
"""Of two boxes whose intersection is a larger share of their union, the one of the lower score is dropped."""

CLOSE, SHARE = 160, 0.6
"""Points are found anew in a view of this side, of which the box takes this share."""

TINY, LENIENT = 20.0, 0.7
"""Faces of fewer pixels count from a score so many times the threshold on: a pixel that their box is off costs them more of it,
and hardly anything else so small is taken for a face."""

LEAST = 0.3
"""Score of what counts as a face in the close view, where one is known to be."""

SMALL = 64.0
"""Boxes whose side, the root of their area, is less leave their points to the pointer, if the card names one."""

Found = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Scores (K,), boxes (K, 4) as left, top, width, height, and points (K, 5, 2), in pixels of the picture."""


class Finder:
    """Faces of about 12 px to the whole of a picture, by the network of a ``detector`` card, whose partner, if it names one, is
    the pointer that finds the points of the small ones.

    ``threshold`` is the lowest score in [0, 1] of a face that counts (of less than 20 px: 0.7 of it): an estimate of the
    overlap between its box and the face's, so a small or blurred face scores low.
    """

    def __init__(self, card: ModelCard, *, device: str = "auto", threads: int | None = None, threshold: float = 0.7) -> None:
        if card.task != "detector":
            raise ModelError(f"expected a detector's card, {card.name!r} is a {card.task}")
        self.card, self.threshold = card, threshold
        self._network = Network(card, device=device, threads=threads)
        self._pointer = None
        if card.partner is not None:
            path = card.partner / "card.toml"
            if not path.is_file():
                raise ModelError(
                    f"detector {card.name!r}: expected its partner, the pointer, in {card.partner}, found no card there: put "
                    f"that folder beside it, or take 'partner' out of its card"
                )
            self._pointer = Pointer(read_card(path), device=device, threads=threads)

    @property
    def sha256(self) -> str:
        """Of its networks' files."""
        return "".join(card.sha256 for card in self.cards)

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """Its own and the pointer's, if it has one."""
        return (self.card, self._pointer.card) if self._pointer else (self.card,)

    def close(self) -> None:
        """Release the sessions; the next use opens them again."""
        self._network.close()
        if self._pointer:
            self._pointer.close()

    def at(self, threshold: float) -> Finder:
        """The same finder with another threshold."""
        other = copy(self)
        other.threshold = threshold
        return other

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Every face of an RGB uint8 (H, W, 3) picture, best score first."""
        return [self.pointed(image, face) for face in self.rough(image)]

    def pointed(self, image: NDArray[np.uint8], face: Face) -> Face:
        """A face of :meth:`rough` with points that were looked for anew."""
        return replace(face, points=_pairs(self._closer(image, np.array(face.box), np.array(face.points))))

    def rough(self, image: NDArray[np.uint8]) -> list[Face]:
        """As :meth:`detect`, with points that are too rough to align by."""
        passes = [self._pass(image, shrink) for shrink in shrinks(image.shape[:2])]
        scores, boxes, points = (np.concatenate(parts) for parts in zip(*passes, strict=True))
        kept = np.asarray(cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, IN_COMMON), int).ravel()
        return [_face(scores[k], boxes[k], points[k]) for k in sorted(kept, key=lambda k: -scores[k])]

    def _closer(self, image: NDArray[np.uint8], box: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The points (5, 2) of a small face by the pointer, else their mean in a close view of the face and in its mirror
        image; ``points`` where they miss it."""
        if self._pointer and np.sqrt(box[2] * box[3]) < SMALL:
            try:
                near = self._pointer.points(image, box)
            except InputError:  # points that coincide
                return points
            return near if (np.abs(near - box[:2] - box[2:] / 2) < box[2:]).all() else points
        shown, left, top, step = close_view(image, box)
        found = []
        for view, cells in enumerate(self._network.run(np.stack([shown, shown[:, ::-1]]))):
            _, boxes, seen = decode(cells, (CLOSE, CLOSE), LEAST)
            shares = overlap(boxes, np.append((CLOSE - box[2:] / step) / 2, box[2:] / step))
            if shares.max(initial=0.0) < IN_COMMON:
                continue
            best = seen[shares.argmax()]
            if view == 1:
                best = mirrored(best, CLOSE)
            found.append((best + 0.5) * step - 0.5 + np.array([left, top]))
        return np.mean(found, axis=0) if found else points

    def _pass(self, image: NDArray[np.uint8], shrink: int) -> Found:
        """What is found in the picture shrunk ``shrink``-fold, tile by tile."""
        height, width = image.shape[:2]
        is_last = shrink == shrinks((height, width))[-1]
        parts = []
        for top, bottom in tiles(height, shrink):
            for left, right in tiles(width, shrink):
                tile = image[top:bottom, left:right]
                scores, boxes, points = self._tile(tile, shrink)
                boxes = boxes + np.array([left, top, 0, 0])
                kept = ~_cut_off(boxes, (left, top, tile.shape[1], tile.shape[0]), (width, height), 2 * shrink)
                if not is_last:
                    kept &= np.sqrt(boxes[:, 2] * boxes[:, 3]) <= 1.3 * LARGEST * shrink
                parts.append((scores[kept], boxes[kept], points[kept] + np.array([left, top])))
        scores, boxes, points = (np.concatenate(found) for found in zip(*parts, strict=True))
        return scores, boxes, points

    def _tile(self, tile: NDArray[np.uint8], shrink: int) -> Found:
        height, width = (shown_side(side, shrink) for side in tile.shape[:2])
        how = cv2.INTER_LINEAR if height >= tile.shape[0] else cv2.INTER_AREA
        shown = cv2.resize(tile, (width, height), interpolation=how)
        scores, boxes, points = decode(self._network.run(shown[None])[0], (height, width), LENIENT * self.threshold)
        ratio = np.array([tile.shape[1] / width, tile.shape[0] / height])
        boxes, points = boxes * np.tile(ratio, 2), (points + 0.5) * ratio - 0.5
        kept = (scores >= self.threshold) | (np.sqrt(boxes[:, 2] * boxes[:, 3]) < TINY)
        return scores[kept], boxes[kept], points[kept]


def overlap(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (K, 4) with one of them, as left, top, width, height."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, :2] + boxes[:, 2:], box[:2] + box[2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    return np.asarray(common / (boxes[:, 2:].prod(axis=1) + box[2:].prod() - common))


def close_view(image: NDArray[np.uint8], box: NDArray[np.float64]) -> tuple[NDArray[np.uint8], int, int, float]:
    """A square around a box as the network sees it, (160, 160, 3) uint8, the picture's edge repeated beyond it; the square's
    left and top pixel, and pixels of the picture per pixel of the view."""
    side = max(2, round(float(np.sqrt(box[2] * box[3])) / SHARE))
    left, top = (round(float(box[k] + box[k + 2] / 2 - side / 2)) for k in (0, 1))
    rows, columns = (_span(start, side, length) for start, length in ((top, image.shape[0]), (left, image.shape[1])))
    inside = image[rows[0] : rows[1], columns[0] : columns[1]]
    whole = cv2.copyMakeBorder(inside, *rows[2:], *columns[2:], cv2.BORDER_REPLICATE)
    how = cv2.INTER_AREA if side > CLOSE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(whole, (CLOSE, CLOSE), interpolation=how), np.uint8), left, top, side / CLOSE


def _span(start: int, count: int, length: int) -> tuple[int, int, int, int]:
    """Of ``count`` pixels from ``start`` along a side of ``length``: the first and last (exclusive) that are there, and how
    often the one at either end is repeated."""
    first = min(max(start, 0), length - 1)
    last = max(first + 1, min(start + count, length))
    before = min(max(first - start, 0), count - (last - first))
    return first, last, before, count - before - (last - first)


def shown_side(side: int, shrink: int) -> int:
    """What a side is resized to: the nearest multiple of the coarsest stride that loses less than 4 %."""
    unit, exact = STRIDES[-1], side * ENLARGED / shrink
    near = round(exact / unit) * unit
    return near if near >= 0.96 * exact else near + unit


def shrinks(shape: tuple[int, ...]) -> list[int]:
    """By what the passes over a (height, width) picture shrink it: the last one sees a face as large as the picture."""
    found = [1]
    while max(shape) > WHOLE * found[-1]:
        found.append(found[-1] * STEP)
    return found


def tiles(side: int, shrink: int) -> list[tuple[int, int]]:
    """First and last (exclusive) pixels of the tiles along a side: as few, and as small, as overlap enough; all of one size,
    and the last one ends with the picture."""
    overlap = OVERLAP * shrink
    count = 1 if side <= TILE * shrink else -(-(side - overlap) // (TILE * shrink - overlap))
    tile = -(-(side + (count - 1) * overlap) // count)
    starts = [round(k * (side - tile) / max(1, count - 1)) for k in range(count)]
    return [(start, start + tile) for start in starts]


def _cut_off(
    boxes: NDArray[np.float64], tile: tuple[int, int, int, int], picture: tuple[int, int], slack: int
) -> NDArray[np.bool_]:
    """Which boxes come within ``slack`` px of an edge of the tile (left, top, width, height) that is no edge of the picture
    (width, height): the tile beside it sees the whole face."""
    low, high = np.array(tile[:2]), np.array(tile[:2]) + tile[2:]
    before = (boxes[:, :2] < low + slack) & (low > 0)
    after = (boxes[:, :2] + boxes[:, 2:] > high - slack) & (high < picture)
    return np.asarray((before | after).any(axis=1))


def decode(cells: NDArray[np.float32], shape: tuple[int, int], threshold: float) -> Found:
    """The cells (K, 15) of all strides over a (height, width) input, finest first, whose score reaches ``threshold``.

    A cell holds what :func:`meetmid.networks.finder.decode` reads: a score's logit, the box's centre in strides from the cell's
    and the logarithms of its sides in strides, and five points in sizes of the box from its centre.
    """
    counts = [(shape[0] // s) * (shape[1] // s) for s in STRIDES]
    if len(cells) != sum(counts):
        raise ModelError(f"the face finder returned {len(cells)} cells for {shape[1]} x {shape[0]} px, expected {sum(counts)}")
    with np.errstate(divide="ignore"):
        chosen = np.flatnonzero(cells[:, 0] >= np.log(np.float64(threshold)) - np.log1p(-np.float64(threshold)))
    level = np.searchsorted(np.cumsum(counts), chosen, side="right")
    stride = np.array(STRIDES, np.float64)[level]
    row, column = np.divmod(chosen - np.concatenate([[0], np.cumsum(counts)])[level], (shape[1] // stride).astype(np.int64))
    rows, centre, stride = cells[chosen].astype(np.float64), np.column_stack([column, row]) + 0.5, stride[:, None]
    scores = 1 / (1 + np.exp(-rows[:, 0]))
    middle, size = (centre + rows[:, 1:3]) * stride, np.exp(np.minimum(rows[:, 3:5], 6.0)) * stride
    extent = np.sqrt(size.prod(axis=1))[:, None, None]
    points = middle[:, None] + extent * rows[:, 5:].reshape(-1, 5, 2) - 0.5
    return scores, np.hstack([middle - size / 2, size]), points


def _face(score: Any, box: NDArray[np.float64], points: NDArray[np.float64]) -> Face:
    x, y, w, h = (float(v) for v in box)
    return Face((x, y, w, h), _pairs(points), float(score))


def _pairs(points: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((float(a), float(b)) for a, b in points)
