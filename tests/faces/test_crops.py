"""The box x 1.3, hand-computed; which face counts; and what users hand in as faces."""

from __future__ import annotations

import numpy as np
import pytest

from meetmid.errors import InputError
from meetmid.faces.alignment import ARCFACE_112, align
from meetmid.faces.crops import Face, cut, cut_box, given_faces, most_prominent

Y, X = np.mgrid[0:80, 0:100]
PICTURE = np.stack([X, Y, X + Y], axis=2).astype(np.uint8)
"""Every pixel says where it is: red = column, green = row."""


@pytest.mark.parametrize(
    ("box", "square", "expected"),
    [
        ((20, 30, 20, 10), False, (17, 28, 26, 13)),  # 26 x 13 about (30, 35); 35 - 6.5 rounds to 28
        ((20, 30, 20, 10), True, (17, 22, 26, 26)),
        ((20, 30, 10, 20), True, (12, 27, 26, 26)),
        ((40.2, 20.4, 30.0, 40.0), False, (36, 14, 39, 52)),
        ((50, 40, 0.2, 0.2), False, (50, 40, 1, 1)),
    ],
)
def test_the_box_is_enlarged_about_its_centre(box, square: bool, expected: tuple[int, int, int, int]) -> None:
    left, top, width, height = expected
    found = cut_box(PICTURE, box, square=square)
    np.testing.assert_array_equal(found, PICTURE[top : top + height, left : left + width])
    assert found.flags.c_contiguous


def test_edges_are_replicated() -> None:
    found = cut_box(PICTURE, (-10, 60, 20, 30), square=False)  # 26 x 39 about (0, 75): columns -13..12, rows 56..94
    assert found.shape == (39, 26, 3)
    np.testing.assert_array_equal(found[0, :, 0], [0] * 13 + list(range(13)))
    top = int(found[0, 0, 1])
    np.testing.assert_array_equal(found[:, 0, 1], np.clip(np.arange(top, top + 39), 0, 79))
    assert top in (55, 56)


def test_a_box_around_everything_holds_everything() -> None:
    found = cut_box(PICTURE, (0, 0, 100, 80), square=False)
    assert found.shape == (104, 130, 3)
    np.testing.assert_array_equal(found[12:92, 15:115], PICTURE)


@pytest.mark.parametrize("box", [(100, 10, 10, 10), (200, 10, 10, 10), (10, 95, 10, 10), (-30, 10, 10, 10), (1, -50, 10, 10)])
def test_a_box_outside_the_picture_is_refused(box: tuple[float, ...]) -> None:
    inside = box == (100, 10, 10, 10)  # enlarged, this one still touches
    if inside:
        assert cut_box(PICTURE, box, square=False).shape == (13, 13, 3)
        return
    with pytest.raises(InputError, match="lies outside the 100 x 80 picture"):
        cut_box(PICTURE, box, square=False)


@pytest.mark.parametrize("box", [(0, 0, 1e6, 1e6), (-1e9, -1e9, 3e9, 3e9)])
def test_an_absurd_box_is_refused_before_memory_is_taken(box: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="larger than any picture"):
        cut_box(PICTURE, box, square=False)


def test_how_a_face_is_cut() -> None:
    points = np.array(ARCFACE_112.points) * 0.5 + (20, 10)
    with_points = Face((30, 20, 20, 10), tuple(map(tuple, points)))
    for is_fine, fine in ((False, 1), (True, 2)):
        crop, its = cut(PICTURE, with_points, how="arcface5", template=ARCFACE_112, is_fine=is_fine)
        assert its == fine
        np.testing.assert_array_equal(crop, align(PICTURE, points, fine=fine))
    bare = Face((30, 20, 20, 10))
    for how, square in (("arcface5", False), ("box", False), ("square", True)):
        expected = cut_box(PICTURE, bare.box, square=square)
        crop, fine = cut(PICTURE, bare, how=how, template=ARCFACE_112, is_fine=True)  # a box's pixels are the picture's
        assert fine == 1
        np.testing.assert_array_equal(crop, expected)
    assert cut(PICTURE, with_points, how="box", template=ARCFACE_112)[0].shape == (13, 26, 3)


def test_boxes_and_points_are_read_in_every_shape() -> None:
    (one,) = given_faces([1, 2, 3, 4])
    assert one == Face((1.0, 2.0, 3.0, 4.0))
    assert one.size == pytest.approx(12**0.5)
    assert given_faces(np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32))[1].box == (5.0, 6.0, 7.0, 8.0)
    points = [[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]]
    (face,) = given_faces(points)
    assert face.points == tuple((float(x), float(y)) for x, y in points)
    assert face.box == (0.0, 0.0, 40.0, 40.0)  # the extent, 20 x 20 about (20, 20), doubled
    assert len(given_faces(np.stack([points, points]))) == 2
    assert given_faces(np.zeros((0, 4))) == []


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        ([1, 2, 3], r"got shape \(3,\)"),
        (np.zeros((2, 5)), r"got shape \(2, 5\)"),
        (np.zeros((68, 2)), r"got shape \(68, 2\)"),
        ([[1, 2, 3, 4], [5, 6]], "got list"),
        ("left", "got str"),
        (None, "got shape"),
        ([1, 2, np.nan, 4], "got NaN or infinite values"),
        ([1, 2, np.inf, 4], "got NaN or infinite values"),
        ([1, 2, 0, 4], "got a box without area"),
        ([1, 2, 5, -4], "got a box without area"),
    ],
)
def test_faces_that_are_none(hint: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        given_faces(hint)
    assert "boxes (N, 4) as x, y, w, h or points (N, 5, 2)" in str(error.value)


def test_the_most_prominent_face_is_large_sure_and_central() -> None:
    small, large = Face((40, 30, 20, 20)), Face((30, 20, 40, 40))
    assert most_prominent([small, large], (80, 100)) is large
    unsure = Face((30, 20, 40, 40), score=0.1)
    assert most_prominent([small, unsure], (80, 100)) is small
    corner = Face((0, 0, 20, 20))
    assert most_prominent([corner, small], (80, 100)) is small
    assert most_prominent([corner], (80, 100)) is corner
