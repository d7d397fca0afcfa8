"""Five-point alignment against scikit-image's similarity and against dots that must be found where they belong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from meetmid.errors import InputError
from meetmid.faces.alignment import ARCFACE_112, CLASSIC_96X112, TEMPLATES, align, fineness, similarity
from meetmid.runtime.cards import ALIGNMENTS

TARGET = np.array(ARCFACE_112.points)


def moved(points: np.ndarray, scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


def test_the_templates_are_the_published_ones() -> None:
    assert set(TEMPLATES) == set(ALIGNMENTS)
    published = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    np.testing.assert_array_equal(TARGET, published)
    np.testing.assert_allclose(np.array(CLASSIC_96X112.points) + np.array((8, 0)), published, atol=1e-9)
    np.testing.assert_allclose(ARCFACE_112.scaled(56, 224), TARGET * (0.5, 2))


@given(st.integers(0, 2**32 - 1))
def test_the_fit_is_that_of_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = moved(TARGET, rng.uniform(0.1, 9), rng.uniform(-3, 3), rng.uniform(-99, 999, 2)) + rng.normal(0, 3, (5, 2))
    expected = SimilarityTransform.from_estimate(points, TARGET).params[:2]
    np.testing.assert_allclose(similarity(points, TARGET), expected, atol=1e-6)


@given(
    st.floats(0.02, 50), st.floats(-np.pi, np.pi), st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
)
def test_a_moved_face_is_moved_back_exactly(scale: float, angle: float, shift: tuple[float, float]) -> None:
    points = moved(TARGET, scale, angle, shift)
    matrix = similarity(points, TARGET)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TARGET, atol=1e-6)
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(scale**-2, rel=1e-6)


def test_a_mirrored_face_is_never_reflected() -> None:
    mirrored = TARGET * (-1, 1) + np.array((112, 0))
    assert np.linalg.det(similarity(mirrored, TARGET)[:, :2]) > 0


@pytest.mark.parametrize("points", [np.full((5, 2), 40.0), np.full((5, 2), np.nan)])
def test_points_that_coincide_are_refused(points: np.ndarray) -> None:
    with pytest.raises(InputError, match="five distinct face points, got points that coincide"):
        similarity(points, TARGET)
    with pytest.raises(InputError, match="coincide"):
        align(np.zeros((50, 50, 3), np.uint8), points)


def dotted(points: np.ndarray, side: int, sigma: float) -> np.ndarray:
    """Five soft dots on grey."""
    y, x = np.mgrid[0:side, 0:side]
    dots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in points)
    return np.repeat((100 + 150 * np.clip(dots, 0, 1))[..., None], 3, axis=2).astype(np.uint8)


def found_dots(crop: np.ndarray, near: np.ndarray, reach: float) -> np.ndarray:
    """Centres of mass of what is bright around each expected place."""
    y, x = np.mgrid[0 : crop.shape[0], 0 : crop.shape[1]]
    centres = []
    for px, py in near:
        weight = np.clip(crop[..., 0].astype(float) - 110, 0, None) * (np.hypot(x - px, y - py) < reach)
        centres.append([(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()])
    return np.array(centres)


@pytest.mark.parametrize("template", [ARCFACE_112, CLASSIC_96X112], ids=lambda t: t.name)
@pytest.mark.parametrize("scale", [1.0, 2.0, 5.0])
def test_the_points_land_on_the_template(template, scale: float) -> None:
    side = int(180 * scale)
    points = moved(np.array(template.points), scale, 0.35, (0.42 * side, 0.02 * side))
    picture = dotted(points, side, 2.5 * scale)
    crop = align(picture, points, template, size=template.size)
    assert crop.shape == (template.size[1], template.size[0], 3)
    found = found_dots(crop, np.array(template.points), 7)
    assert np.abs(found - np.array(template.points)).max() < 0.15


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5, 4.0])
def test_a_crop_keeps_the_resolution_of_the_face(scale: float) -> None:
    side = int(180 * scale)
    points = moved(TARGET, scale, 0.0, (20 * scale, 20 * scale))
    crop = align(dotted(points, side, 2.5 * scale), points)
    assert crop.shape == (round(112 * scale), round(112 * scale), 3)
    expected = TARGET * round(112 * scale) / 112
    assert np.abs(found_dots(crop, expected, 7 * scale) - expected).max() < 0.15 * max(1, scale)


@pytest.mark.parametrize("scale", [0.2, 0.5])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_a_small_crop_is_twice_as_fine_and_loses_little(scale: float, angle: float) -> None:
    """Against the drawing itself at twice the resolution; cut at the face's own, bilinearly, it is blurred."""
    points = moved(TARGET, scale, angle, (60 * scale, 30 * scale))
    picture = dotted(points, 60 + round(180 * scale), 7 * scale)
    assert fineness(points, ARCFACE_112) == 2
    crop = align(picture, points, fine=2)
    side = round(224 * scale)
    assert crop.shape == (side, side, 3)
    expected = TARGET * side / 112
    fine = dotted(expected, side, 7 * side / 112).astype(float)
    native = align(picture, points, size=(round(112 * scale),) * 2)
    blurred = cv2.resize(native, (side, side), interpolation=cv2.INTER_CUBIC)
    inside = slice(side // 4, -side // 4)
    errors = [np.abs(got - fine)[inside, inside].mean() for got in (crop, blurred)]
    assert errors[0] < 0.7 * errors[1]
    assert errors[0] < 2
    assert align(picture, points, fine=2, max_side=20).shape == (20, 20, 3)


@pytest.mark.parametrize("template", [ARCFACE_112, CLASSIC_96X112], ids=lambda t: t.name)
def test_faces_of_less_than_64_px_are_small(template) -> None:
    for side, fine in ((63.5, 2), (64.5, 1)):
        assert fineness(moved(np.array(template.points), side / 112, 0.4, (9.0, 7.0)), template) == fine


def test_the_native_size_is_bounded() -> None:
    points = moved(TARGET, 9.0, 0.0, (0.0, 0.0))
    picture = np.zeros((1000, 1000, 3), np.uint8)
    assert align(picture, points).shape == (512, 512, 3)
    assert align(picture, points, CLASSIC_96X112, max_side=224).shape == (224, 192, 3)
    assert align(picture, moved(TARGET, 0.001, 0.0, (5.0, 5.0))).shape == (1, 1, 3)


def test_a_strong_reduction_does_not_alias() -> None:
    """A fine chessboard must become grey, not moiré."""
    board = np.where(np.add.outer(np.arange(1200), np.arange(1200)) % 2, 255, 0).astype(np.uint8)
    picture = np.repeat(board[..., None], 3, axis=2)
    crop = align(picture, moved(TARGET, 9.3, 0.2, (150.0, 20.0)), size=(112, 112))
    inside = crop[20:90, 20:90].astype(float)
    assert inside.std() < 3
    assert inside.mean() == pytest.approx(127.5, abs=2)


def test_outside_the_picture_is_black() -> None:
    crop = align(np.full((112, 112, 3), 200, np.uint8), TARGET - np.array((56, 0)), size=(112, 112))
    assert (crop[:, :50] == 0).all()
    assert (crop[:, 62:] == 200).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_any_five_points_give_a_picture_or_an_input_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 10.0 ** rng.uniform(-9, 4), (5, 2)) + rng.uniform(-50, 100, 2)
    try:
        crop = align(np.zeros((40, 60, 3), np.uint8), points)
    except InputError:
        return
    assert crop.ndim == 3
    assert 1 <= max(crop.shape[:2]) <= 512


def test_very_wide_pictures_are_aligned() -> None:
    picture = np.full((130, 40_000, 3), 90, np.uint8)
    crop = align(picture, TARGET + np.array((39_000, 0)))
    assert crop.shape == (112, 112, 3)
    assert (crop == 90).all()


def test_the_frames_of_other_matchers():
    """LightCNN: level eyes at y = 40 and 48 px to the mouth; ArcFace at 128 px: 8 px to the right (networks.md section 1)."""
    points = TEMPLATES["lightcnn-128"].scaled(128, 128)
    np.testing.assert_allclose(points[:2].mean(axis=0), (64, 40), atol=0.01)
    np.testing.assert_allclose(points[3:].mean(axis=0)[1], 88, atol=0.01)
    arcface = TEMPLATES["arcface-112"].scaled(112, 112)
    np.testing.assert_allclose(TEMPLATES["arcface-128"].scaled(128, 128), arcface + np.array([8.0, 0.0]))
    shape = [(p - p.mean(axis=0)) / np.linalg.norm(p - p.mean(axis=0)) for p in (points, arcface)]
    np.testing.assert_allclose(*shape, atol=1e-9)
