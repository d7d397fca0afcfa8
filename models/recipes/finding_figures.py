"""What a face finder finds and misses on pictures whose faces are known, at a rate of false boxes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from meetmid.models.recipes.scenes import KnownFace, Scene, compose
from numpy.typing import NDArray

from meetmid.evaluation.intervals import wilson
from meetmid.faces.crops import Face
from meetmid.faces.detection import Detector
from meetmid.faces.finder import LENIENT, TINY, Finder

BANDS = ((12.0, 20.0), (20.0, 40.0), (40.0, 100.0), (100.0, 400.0), (20.0, 400.0))
"""Sizes of faces in pixels (the root of the box's area) that are counted together."""

SAME = 0.5
"""Least intersection over union of a box and the face it is counted for."""

SEED, SCENES = 20261123, 500


@dataclass(frozen=True, eq=False)
class Findings:
    """One row per known face: ``sizes`` in px, ``scores`` of the box that found it (0: none), ``errors`` of its points as a
    share of the eye distance (NaN: not found); ``false_scores`` of all other boxes, over ``pictures`` pictures."""

    sizes: NDArray[np.float64]
    scores: NDArray[np.float64]
    errors: NDArray[np.float64]
    false_scores: NDArray[np.float64]
    pictures: int

    def threshold(self, false_per_picture: float = 1.0) -> float:
        """The smallest score above which there are at most so many false boxes per picture."""
        allowed = int(false_per_picture * self.pictures)
        ordered = np.sort(self.false_scores)[::-1]
        return float(np.nextafter(ordered[allowed], 1)) if len(ordered) > allowed else 0.0

    def recall(self, band: tuple[float, float], threshold: float) -> tuple[int, int, float, float]:
        """Faces of a band found at a threshold, faces there are, and the Wilson 95 % interval of their ratio."""
        chosen = (self.sizes >= band[0]) & (self.sizes < band[1])
        found, count = int((self.scores[chosen] >= max(threshold, 1e-9)).sum()), int(chosen.sum())
        low, high = wilson(found, count)
        return found, count, float(low), float(high)

    def point_errors(self, smallest: float, threshold: float) -> NDArray[np.float64]:
        """The errors of the found faces of at least ``smallest`` px."""
        return self.errors[(self.sizes >= smallest) & (self.scores >= max(threshold, 1e-9))]


def composed(faces: list[KnownFace], count: int, size: tuple[int, int] = (480, 640)) -> Iterable[Scene]:
    """The scenes that finders are measured on."""
    return (compose(faces, size, (SEED, k)) for k in range(count))


def look(detector: Detector, scenes: Iterable[Scene]) -> Findings:
    """Run a finder over scenes: its boxes, best first, are counted for the unfound face they cover best."""
    sizes, scores, errors, false_scores = [], [], [], []
    pictures = 0
    for scene in scenes:
        pictures += 1
        score, error = np.zeros(len(scene.boxes)), np.full(len(scene.boxes), np.nan)
        for face in detector.detect(scene.picture):
            shares = np.where(score > 0, 0.0, in_common(face, scene.boxes))
            if len(shares) and shares.max() >= SAME:
                best = int(shares.argmax())
                score[best] = face.score
                if face.points is not None:
                    error[best] = point_error(np.array(face.points), scene.points[best])
            else:
                false_scores.append(face.score)
        sizes.append(np.sqrt(scene.boxes[:, 2] * scene.boxes[:, 3]))
        scores.append(score)
        errors.append(error)
    return Findings(np.concatenate(sizes), np.concatenate(scores), np.concatenate(errors), np.array(false_scores), pictures)


def recalls(detector: Finder, faces: list[KnownFace]) -> dict[str, str]:
    """What a card says of a finder: faces found at one false box per picture, by their size, and at the default threshold."""
    everything, seen = (look(finder, composed(faces, SCENES)) for finder in (detector.at(0.02), detector))
    told = {}
    one, least = everything.threshold(), detector.threshold
    levels = {
        "at_one_false_box_per_picture": (everything, one, f"score {one:.3f}"),
        "at_the_default_threshold": (seen, 0.0, f"score {least:.3f}, of less than {TINY:.0f} px {LENIENT * least:.3f}"),
    }
    for name, (findings, threshold, level) in levels.items():
        false = float((findings.false_scores >= threshold).sum()) / findings.pictures
        told[name] = f"{level}, {false:.2f} false boxes per picture of {findings.pictures} scenes"
        for band in BANDS:
            found, count, low, high = findings.recall(band, threshold)
            key = f"{name}_{band[0]:.0f}_to_{band[1]:.0f}_px"
            told[key] = f"{found}/{count} = {100 * found / count:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return told | errors_told(everything)


def errors_told(seen: Findings) -> dict[str, str]:
    """What a card says of the points of the faces found: their mean error and a 95 % interval that draws the faces anew."""
    told = {}
    for smallest, largest in ((12.0, 20.0), (20.0, 40.0), (40.0, 400.0)):
        chosen = (seen.sizes >= smallest) & (seen.sizes < largest) & (seen.scores > 0)
        values = seen.errors[chosen]
        if not len(values):
            continue
        drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        told[f"point_error_{smallest:.0f}_to_{largest:.0f}_px"] = (
            f"{100 * values.mean():.2f} % of the eye distance [{100 * low:.2f}, {100 * high:.2f}], median "
            f"{100 * np.median(values):.2f} %, {len(values)} faces"
        )
    return told


def in_common(face: Face, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a face's box and each of (N, 4) boxes."""
    x, y, w, h = face.box
    low = np.maximum(boxes[:, :2], [x, y])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], [x + w, y + h])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    return np.asarray(shared / (w * h + boxes[:, 2] * boxes[:, 3] - shared))


def point_error(points: NDArray[np.float64], known: NDArray[np.float64]) -> float:
    """Mean distance of five points (5, 2) from the known ones as a share of the distance between the known eyes."""
    return float(np.linalg.norm(points - known, axis=1).mean() / np.linalg.norm(known[0] - known[1]))
