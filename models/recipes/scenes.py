"""Scenes with known faces: real faces put into larger pictures of clutter, as cameras may have caught them.

A scene depends on its seed alone. Backgrounds are parts of the training pictures without their faces, shapes and noise; faces
are scaled, tilted, mirrored, darkened, blurred, covered in part, made to wear masks where that is asked for, and the whole
scene is blurred, noised and JPEG-coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from meetmid.models.recipes.worn import wear
from numpy.typing import NDArray

from meetmid.faces.alignment import MIRRORED

Picture = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels."""
AROUND = 1.9
"""Side of the part of a picture that is pasted, in sizes of its face."""


@dataclass(frozen=True, eq=False)
class KnownFace:
    """A picture as it is coded, its face's box (left, top, width, height) and five points (5, 2) in its pixels."""

    code: bytes
    box: Box
    points: NDArray[np.float64]

    @cached_property
    def picture(self) -> Picture:
        """(H, W, 3) uint8 RGB; kept once decoded, 1.3 GB for all the training faces."""
        picture = cv2.imdecode(np.frombuffer(self.code, np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture (H, W, 3) uint8 RGB, and the boxes (N, 4) and points (N, 5, 2) of its faces in pixels."""

    picture: Picture
    boxes: NDArray[np.float64]
    points: NDArray[np.float64]


def compose(
    faces: Sequence[KnownFace], size: tuple[int, int], seed: tuple[int, ...], *, smallest: float = 10.0, largest: float = 400.0,
    most: int = 6, worn: float = 0.0,
) -> Scene:
    """A scene of ``size`` (height, width) with up to ``most`` faces of ``smallest`` to ``largest`` px (the root of width times
    height of the box), spread evenly in octaves; now and then without any. ``worn`` is the share of faces that wear something
    (:mod:`meetmid.models.recipes.worn`)."""
    rng = np.random.default_rng(seed)
    canvas = background(faces, size, rng).astype(np.float32)
    boxes: list[NDArray[np.float64]] = []
    points: list[NDArray[np.float64]] = []
    limit = min(largest, 0.9 * min(size))
    for _ in range(int(rng.integers(0 if rng.random() < 0.1 else 1, most + 1))):
        side = float(np.exp(rng.uniform(np.log(smallest), np.log(limit))))
        placed = _place(canvas, faces[int(rng.integers(len(faces)))], side, boxes, rng, worn)
        if placed is not None:
            boxes.append(placed[0])
            points.append(placed[1])
    return Scene(
        photographed(canvas, rng), np.array(boxes).reshape(-1, 4), np.array(points).reshape(-1, 5, 2)
    )


def _place(
    canvas: NDArray[np.float32], face: KnownFace, side: float, taken: Sequence[NDArray[np.float64]], rng: np.random.Generator,
    worn: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Paste a face of ``side`` px where it covers no other; its box and points, None where no place was found."""
    height, width = canvas.shape[:2]
    left, top, w, h = face.box
    native = float(np.sqrt(w * h))
    scale = side / native
    middle = np.array([left + w / 2, top + h / 2])
    reach = 0.5 * side
    for _ in range(12):
        at = np.array([rng.uniform(0.35, 1) * reach + rng.random() * (width - 1.35 * reach),
                       rng.uniform(0.6, 1) * reach + rng.random() * (height - 1.6 * reach)])
        own = np.array([at[0] - w * scale / 2, at[1] - h * scale / 2, w * scale, h * scale])
        pasted_at = np.array([*(at - AROUND / 2 * side), AROUND * side, AROUND * side])
        if all(_covered(own, other) < 0.05 and _shared(pasted_at, other) < 0.1 for other in taken):
            break
    else:
        return None
    picture = face.picture
    if scale < 0.7:  # the warp alone would alias
        small = (max(2, round(picture.shape[1] * scale)), max(2, round(picture.shape[0] * scale)))
        ratio = np.array([small[0] / picture.shape[1], small[1] / picture.shape[0]])
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
    else:
        ratio = np.ones(2)
    angle = float(rng.normal(0, 12) if rng.random() < 0.85 else rng.uniform(-45, 45))
    mirrored = rng.random() < 0.5
    turn = cv2.getRotationMatrix2D((0.0, 0.0), angle, 1.0)[:, :2] * (scale / ratio.mean())
    if mirrored:
        turn = turn @ np.diag([-1.0, 1.0])
    matrix = np.hstack([turn, (at - turn @ _scaled(middle, ratio))[:, None]])
    corner = np.maximum(0, np.floor(at - 0.8 * AROUND * side)).astype(int)  # all of what is pasted, however it is turned
    area = canvas[corner[1] : int(at[1] + 0.8 * AROUND * side) + 2, corner[0] : int(at[0] + 0.8 * AROUND * side) + 2]
    local, shape = np.hstack([turn, (matrix[:, 2] - corner)[:, None]]), area.shape[1::-1]
    flags = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REFLECT_101}
    pasted = cv2.warpAffine(picture, local, shape, **flags).astype(np.float32)
    mask = _mask(picture.shape[:2], _scaled(middle, ratio), native * ratio.mean(), rng)
    alpha = cv2.warpAffine(mask, local, shape, flags=cv2.INTER_LINEAR)[..., None]
    pasted = (pasted - 127) * np.float32(rng.uniform(0.6, 1.15)) + np.float32(127 + rng.uniform(-35, 25))
    moved = _scaled(face.points, ratio) @ turn.T + matrix[:, 2]
    moved = moved[MIRRORED] if mirrored else moved
    if worn > 0 and rng.random() < worn:
        wear(pasted, moved - corner, rng)
    _cover(pasted, at - corner, side, rng)
    area += alpha * (pasted - area)
    corners = np.array([[left, top], [left + w, top], [left, top + h], [left + w, top + h]])
    axes = np.abs(turn @ np.diag(ratio))
    size = np.array([w, h]) * (scale if abs(angle) < 20 else 1.0)
    if abs(angle) >= 20:  # the box around the turned one, drawn in: a face is round
        size = 0.5 * (axes @ np.array([w, h]) + np.array([w, h]) * scale)
    centre = (_scaled(corners, ratio) @ turn.T + matrix[:, 2]).mean(0)
    return np.array([*(centre - size / 2), *size]), moved


def _scaled(points: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places of a picture that was resized by ``ratio``; a pixel's place is its centre."""
    return (points + 0.5) * ratio - 0.5


def _mask(shape: tuple[int, ...], middle: NDArray[np.float64], native: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """What of the picture is pasted: the head and its surroundings, hard or soft at its edge."""
    y, x = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)
    dx, dy = np.abs(x - middle[0]) / (AROUND / 2 * native), np.abs(y - middle[1] + 0.05 * native) / (AROUND / 2 * 1.15 * native)
    distance = np.maximum(dx, dy) if rng.random() < 0.5 else np.sqrt(dx**2 + dy**2)
    soft = rng.uniform(0.02, 0.3)
    return np.clip((1 - distance) / soft, 0, 1).astype(np.float32)


def _cover(pasted: NDArray[np.float32], at: NDArray[np.float64], side: float, rng: np.random.Generator) -> None:
    """Now and then a bar, a mask, glasses or a hand-sized patch over a part of the face."""
    if rng.random() > 0.15:
        return
    w, h = rng.uniform(0.15, 1.2) * side, rng.uniform(0.08, 0.35) * side
    x, y = at + rng.uniform(-0.45, 0.45, 2) * side
    first, second = (int(x - w / 2), int(y - h / 2)), (int(x + w / 2), int(y + h / 2))
    cv2.rectangle(pasted, first, second, tuple(rng.uniform(0, 255, 3).tolist()), -1)


def _shared(area: NDArray[np.float64], box: NDArray[np.float64]) -> float:
    """The share of a box that lies in an area."""
    low, high = np.maximum(area[:2], box[:2]), np.minimum(area[:2] + area[2:], box[:2] + box[2:])
    return float(np.prod(np.clip(high - low, 0, None)) / (box[2] * box[3]))


def _covered(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """What two boxes have in common, as a share of the smaller one."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    return float(np.prod(np.clip(high - low, 0, None)) / min(a[2] * a[3], b[2] * b[3]))


def background(faces: Sequence[KnownFace], size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Pictures' corners, enlarged and side by side, with shapes, lines and blobs of any colour over them."""
    height, width = size
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = rng.integers(0, 256, 3)
    kind = rng.random()
    if kind < 0.75:
        cells = int(rng.integers(1, 5))
        for row in range(cells):
            for column in range(cells):
                top, bottom = row * height // cells, (row + 1) * height // cells
                left, right = column * width // cells, (column + 1) * width // cells
                patch = _corner(faces[int(rng.integers(len(faces)))], rng)
                canvas[top:bottom, left:right] = cv2.resize(patch, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    else:
        coarse = rng.integers(0, 256, (int(rng.integers(2, 12)), int(rng.integers(2, 12)), 3)).astype(np.uint8)
        canvas[:] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(0, 14))):
        colour = tuple(int(v) for v in (rng.integers(0, 256, 3) if rng.random() < 0.6 else _skin(rng)))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        a, b = int(np.exp(rng.uniform(1, np.log(width / 3)))), int(np.exp(rng.uniform(1, np.log(height / 3))))
        shape = rng.random()
        if shape < 0.4:
            cv2.ellipse(canvas, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        elif shape < 0.7:
            cv2.rectangle(canvas, (x, y), (x + a, y + b), colour, -1)
        else:
            cv2.line(canvas, (x, y), (x + a - b, y + b), colour, int(rng.integers(1, 8)), cv2.LINE_AA)
    return canvas


def _corner(face: KnownFace, rng: np.random.Generator) -> Picture:
    """A part of a picture beside its face."""
    picture = face.picture
    height, width = picture.shape[:2]
    left, top, w, h = face.box
    sides = {
        "left": (0, height, 0, int(left - 0.15 * w)), "right": (0, height, int(left + 1.15 * w), width),
        "above": (0, int(top - 0.25 * h), 0, width),
    }
    usable = [s for s in sides.values() if s[1] - s[0] >= 12 and s[3] - s[2] >= 12]
    if not usable:
        return np.asarray(rng.integers(0, 256, (8, 8, 3)), np.uint8)
    y0, y1, x0, x1 = usable[int(rng.integers(len(usable)))]
    part = picture[y0:y1, x0:x1]
    side = int(rng.integers(12, min(part.shape[:2]) + 1))
    y, x = int(rng.integers(part.shape[0] - side + 1)), int(rng.integers(part.shape[1] - side + 1))
    return np.ascontiguousarray(part[y : y + side, x : x + side])


def _skin(rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour that skin may have, so that blobs of it are no faces."""
    light = rng.uniform(0.2, 1.0)
    return np.clip(np.array([235, 185, 155]) * light + rng.normal(0, 12, 3), 0, 255)


def photographed(canvas: NDArray[np.float32], rng: np.random.Generator) -> Picture:
    """What a camera makes of it: light, colour, blur, noise, JPEG."""
    picture: NDArray[np.float32] = canvas
    light = rng.uniform(0.25, 0.8) if rng.random() < 0.25 else 1.0
    picture = picture * (light * (1 + rng.normal(0, 0.06, 3))).astype(np.float32)
    if rng.random() < 0.15:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.4:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.5)), np.float32)
    noise = np.float32(rng.uniform(0, 10) if rng.random() < 0.6 else 0.5)
    picture = picture + noise * rng.standard_normal(picture.shape, np.float32)
    shown = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, code = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])
        shown = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(shown)
