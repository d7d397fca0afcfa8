"""How faces found, missed and falsely found are counted."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes.finding_figures import Findings, errors_told, in_common, look, point_error
from meetmid.models.recipes.scenes import Scene

from meetmid.evaluation.intervals import wilson
from meetmid.faces.crops import Face

FIVE = ((10.0, 10.0), (20.0, 10.0), (15.0, 15.0), (11.0, 20.0), (19.0, 20.0))


class Told:
    """A detector that gives a list per picture."""

    def __init__(self, *lists: list[Face]) -> None:
        self.lists = iter(lists)

    def detect(self, image: np.ndarray) -> list[Face]:
        return next(self.lists)


def scene(*boxes: tuple[float, ...]) -> Scene:
    return Scene(np.zeros((9, 9, 3), np.uint8), np.array(boxes).reshape(-1, 4), np.array([FIVE] * len(boxes)).reshape(-1, 5, 2))


def test_a_face_is_found_once_by_the_best_box_and_the_rest_are_false() -> None:
    moved = tuple((x + 1.0, y) for x, y in FIVE)
    first = [Face((0, 0, 30, 30), moved, 0.9), Face((1, 0, 30, 30), FIVE, 0.8), Face((200, 0, 9, 9), None, 0.3)]
    second = [Face((0, 0, 15, 30), FIVE, 0.7)]  # half of the face: an intersection over union of exactly 0.5
    scenes = [scene((0, 0, 30, 30), (50, 50, 16, 16)), scene((0, 0, 30, 30)), scene()]
    seen = look(Told(first, second, [Face((0, 0, 9, 9), None, 0.6)]), scenes)
    assert seen.pictures == 3
    np.testing.assert_array_equal(seen.sizes, [30, 16, 30])
    np.testing.assert_array_equal(seen.scores, [0.9, 0, 0.7])
    np.testing.assert_allclose(seen.errors, [0.1, np.nan, 0.0])
    assert sorted(seen.false_scores) == [0.3, 0.6, 0.8]
    assert seen.threshold(1.0) == 0.0  # three false boxes, three pictures
    assert 0.3 < seen.threshold(0.7) < 0.3001  # two are allowed
    assert 0.8 < seen.threshold(0.0) < 0.8001
    assert seen.recall((20.0, 40.0), 0.8) == (1, 2, *wilson(1, 2))
    assert seen.recall((12.0, 20.0), 0.0)[:2] == (0, 1)
    np.testing.assert_allclose(seen.point_errors(20, 0.8), [0.1])


def test_overlaps_and_errors_by_hand() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 5, 10, 10], [20, 20, 5, 5]])
    np.testing.assert_allclose(in_common(Face((0, 0, 10, 10)), boxes), [1, 25 / 175, 0])
    assert in_common(Face((0, 0, 1, 1)), np.zeros((0, 4))).shape == (0,)
    five = np.array(FIVE)
    assert point_error(five + np.array([3, 4]), five) == pytest.approx(0.5)


def test_errors_are_told_by_size() -> None:
    sizes = np.array([15.0, 30, 50, 300, 60])
    seen = Findings(sizes, np.array([0.5, 0.5, 0.5, 0.5, 0]), np.array([0.3, 0.2, 0.1, 0.1, np.nan]), np.zeros(0), 2)
    told = errors_told(seen)
    assert told["point_error_40_to_400_px"].startswith("10.00 % of the eye distance [10.00, 10.00], median 10.00 %, 2 faces")
    assert told["point_error_12_to_20_px"].startswith("30.00 %")
