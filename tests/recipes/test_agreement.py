"""Labels that a detector agrees on with itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes.agreement import FEWEST, VIEWS, agreed, read_labels, relabelled, write_labels
from meetmid.models.recipes.scenes import KnownFace

from meetmid.faces.crops import Face

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])
POINTS = np.array([[160.0, 160.0], [200.0, 162.0], [180.0, 182.0], [164.0, 204.0], [198.0, 205.0]])


class Dots:
    """A detector that finds five coloured dots, each off by a few pixels at random; a mirrored face has its own left eye."""

    def __init__(self, noise: float, gone: int = 0) -> None:
        self.rng, self.noise, self.gone, self.asked = np.random.default_rng(0), noise, gone, 0

    def detect(self, image: np.ndarray) -> list[Face]:
        self.asked += 1
        if self.asked <= self.gone:
            return []
        found = []
        for colour in COLOURS:
            y, x = np.nonzero(np.abs(image.astype(int) - colour).sum(axis=2) < 90)
            found.append([x.mean(), y.mean()])
        points = np.array(found)
        if points[0, 0] > points[1, 0]:
            points = points[[1, 0, 2, 4, 3]]
        points += self.rng.normal(0, self.noise, (5, 2))
        width, height = np.ptp(points, axis=0) * [2.0, 1.8]
        box = (*(points.mean(axis=0) - [width / 2, height / 2]), width, height)
        return [Face(tuple(float(v) for v in box), tuple(map(tuple, points.tolist())), 0.9)]


@pytest.fixture
def face() -> KnownFace:
    picture = np.full((370, 360, 3), 128, np.uint8)
    for (x, y), colour in zip(POINTS, COLOURS, strict=True):
        cv2.circle(picture, (int(x), int(y)), 8, tuple(int(v) for v in colour), -1)
    code = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    return KnownFace(code, (140.0, 140.0, 80.0, 90.0), POINTS + np.array([5.0, -4.0]))


def test_the_median_over_views_is_nearer_than_one_view(face: KnownFace) -> None:
    found = agreed(face, Dots(0.0))
    assert found is not None
    assert found[1] == len(VIEWS)
    assert np.abs(found[0].points - POINTS).max() < 0.6
    width, height = np.ptp(POINTS, axis=0) * [2.0, 1.8]
    wanted = (*(POINTS.mean(axis=0) - [width / 2, height / 2]), width, height)
    assert np.abs(np.subtract(found[0].box, wanted)).max() < 3
    noisy = agreed(face, Dots(3.0))
    assert noisy is not None
    assert np.linalg.norm(noisy[0].points - POINTS, axis=1).mean() < 1.8  # one view of noise 3 px is off by 3.8


def test_a_face_found_in_too_few_views_has_no_label(face: KnownFace) -> None:
    assert agreed(face, Dots(0.0, gone=len(VIEWS) - FEWEST + 1)) is None
    boxes_left = Dots(0.0, gone=len(VIEWS) - FEWEST)  # the upright views come first: points, but no box
    assert agreed(face, boxes_left) is None
    assert agreed(face, Dots(0.0, gone=len(VIEWS) - FEWEST - 1)) is not None


def test_labels_are_made_once_and_kept(face: KnownFace, tmp_path) -> None:
    path = tmp_path / "labels.csv"
    detector = Dots(0.0)
    write_labels(path, [("a", face)], detector)
    write_labels(path, [("a", face), ("b", face)], detector)
    assert detector.asked == 2 * len(VIEWS)
    write_labels(path, [("c", face)], Dots(0.0, gone=99))
    labels = read_labels(path)
    assert list(labels) == ["a", "b"]  # c has no agreement, and is not asked for again
    write_labels(path, [("c", face)], detector)
    assert detector.asked == 2 * len(VIEWS)
    kept = list(relabelled([("a", face), ("c", face), ("d", face)], labels))
    assert len(kept) == 1
    assert np.abs(kept[0].points - POINTS).max() < 0.6
