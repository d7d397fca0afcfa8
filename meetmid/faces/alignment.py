"""Five-point similarity alignment.

Points are always ordered image-left eye, image-right eye, nose, image-left mouth corner, image-right mouth corner, (x, y)
in pixels with the centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.errors import InputError
from meetmid.resize import resize, to_uint8


@dataclass(frozen=True)
class AlignmentTemplate:
    """Where the five points land in a face crop, in units of ``size`` = (width, height) pixels."""

    name: str
    size: tuple[int, int]
    points: tuple[tuple[float, float], ...]

    def scaled(self, width: float, height: float) -> NDArray[np.float64]:
        """The five points (5, 2) in a crop of ``width`` x ``height`` pixels."""
        return np.array(self.points) * (width / self.size[0], height / self.size[1])


ARCFACE_112 = AlignmentTemplate(
    "arcface-112",
    (112, 112),
    ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)),
)
"""The ArcFace template (networks.md section 1)."""

ARCFACE_128 = AlignmentTemplate("arcface-128", (128, 128), tuple((x + 8.0, y) for x, y in ARCFACE_112.points))
"""ArcFace's points 8 px to the right in a 128 px crop, as InsightFace cuts it (networks.md section 1)."""

CLASSIC_96X112 = AlignmentTemplate(
    "arcface-96x112",
    (96, 112),
    ((30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041)),
)
"""The 96 x 112 template of SphereFace and MTCNN-era matchers: ArcFace's points moved left by 8 px."""

_LIGHTCNN_SCALE = 48.0 / (0.5 * (92.3655 + 92.2041) - 0.5 * (51.6963 + 51.5014))
LIGHTCNN_128 = AlignmentTemplate(
    "lightcnn-128",
    (128, 128),
    tuple(
        (64.0 + _LIGHTCNN_SCALE * (x - 55.9132), 40.0 + _LIGHTCNN_SCALE * (y - 51.59885)) for x, y in ARCFACE_112.points
    ),
)
"""LightCNN's frame: mid-eyes at y = 40, mid-mouth 48 px below (networks.md section 1), on a face of ArcFace's proportions,
centred between the eyes, since the source gives no more."""

TEMPLATES = {t.name: t for t in (ARCFACE_112, ARCFACE_128, CLASSIC_96X112, LIGHTCNN_128)}


MIRRORED = [1, 0, 2, 4, 3]
"""Where the five points of a mirrored face lie among a face's."""

FINE = 64
"""Crops of fewer pixels a side at their faces' own resolution are small."""


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares similarity transform that maps ``source`` onto ``target``, both (N, 2); returns (2, 3) float64.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE TPAMI
    13(4), 1991, eqs. 40-43 (reflections excluded). Raises InputError when the points coincide or lie on a line.
    """
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    centred_source, centred_target = source - mean_source, target - mean_target
    variance = float((centred_source**2).sum(axis=1).mean())
    if not variance > 1e-12:
        raise InputError(f"alignment expects five distinct face points, got points that coincide: {source.tolist()}")
    (xx, xy), (_, yy) = centred_source.T @ centred_source
    if xx * yy - xy**2 < (1e-3 / (1 + 1e-6) * (xx + yy)) ** 2:  # they spread a thousandth as far across as along
        raise InputError(f"alignment expects five points of a face, got points on a line: {source.tolist()}")
    u, d, vt = np.linalg.svd(centred_target.T @ centred_source / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float(d @ signs) / variance
    return np.hstack([scale * rotation, (mean_target - scale * rotation @ mean_source)[:, None]])


def mirrored(points: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Five points (5, 2) as they lie in the mirror image of a picture of ``width`` pixels."""
    return np.column_stack([width - 1 - points[:, 0], points[:, 1]])[MIRRORED]


def size_in(points: NDArray[np.float64], template: AlignmentTemplate, size: tuple[int, int] | None = None) -> float:
    """Pixels of the template's crop, of its own or another ``size`` (width, height), per pixel of the picture in which a face
    has its five points."""
    matrix = similarity(points, template.scaled(*(size or template.size)))
    return math.hypot(matrix[0, 0], matrix[1, 0])


def fineness(points: NDArray[np.float64], template: AlignmentTemplate) -> int:
    """Crop pixels per picture pixel that a face is to be cut with: 2 where it is small, since a warp at a small face's own
    resolution blurs it, else 1."""
    return 2 if max(template.size) < FINE * size_in(points, template) else 1


def align(
    image: NDArray[np.uint8],
    points: NDArray[np.float64],
    template: AlignmentTemplate = ARCFACE_112,
    *,
    size: tuple[int, int] | None = None,
    max_side: int = 512,
    fine: int = 1,
) -> NDArray[np.uint8]:
    """Cut a face so that its five points land on ``template`` (constant-0 border; bilinear, bicubic where ``fine`` > 1).

    ``image`` (H, W, 3) uint8 RGB, ``points`` (5, 2). ``size`` = (width, height) of the crop; without it the crop keeps the
    face's own resolution (``fine`` crop pixels per picture pixel along each side), its longer side bounded by ``max_side``. A
    picture that is shrunk is first resized with the antialiased bicubic filter, so that the warp never aliases.
    """
    scale = size_in(points, template)
    if size is None:
        factor = min(fine / scale, max_side / max(template.size))
        size = (max(1, round(template.size[0] * factor)), max(1, round(template.size[1] * factor)))
    shrink = scale * max(size[0] / template.size[0], size[1] / template.size[1])
    if shrink < 0.75:
        height, width = image.shape[:2]
        small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        image = to_uint8(resize(image, small))
        ratio = np.array([small[1] / width, small[0] / height])
        points = (points + 0.5) * ratio - 0.5
    matrix = similarity(points, template.scaled(*size))
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC if fine > 1 else cv2.INTER_LINEAR), np.uint8)
