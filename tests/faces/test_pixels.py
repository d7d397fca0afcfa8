"""Pictures whose pixels are not square: what is found and cut in them is what it would have been in square ones."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid import find_faces
from meetmid.cli.parser import build_parser
from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, InputError
from meetmid.faces.crops import Face, given_faces
from meetmid.faces.finding import CROP_SIDE, find_crop
from meetmid.faces.pixels import RECORDED, SHOWN, recorded, squared
from meetmid.images import MAX_PIXELS

CONFIG, ALIGNMENT = MatchConfig(), "arcface-112"
POINTS = np.array([[80.0, 60], [110, 62], [94, 80], [82, 98], [108, 99]])


class Finder:
    """A detector that finds what it is told and keeps the shapes of what it was shown."""

    def __init__(self, *faces: Face) -> None:
        self.faces, self.shown = list(faces), list[tuple[int, ...]]()

    def detect(self, image: np.ndarray) -> list[Face]:
        self.shown.append(image.shape[:2])
        return self.faces


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that can be enlarged and reduced without loss."""
    waves = np.random.default_rng(1).uniform(0, 255, (8, 8, 3)).astype(np.float32)
    return np.clip(cv2.resize(waves, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def stored(image: np.ndarray, aspect: float) -> np.ndarray:
    height, width = image.shape[:2]
    size = round(width / max(1.0, aspect)), round(height * min(1.0, aspect))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def points_stored(points: np.ndarray, aspect: float) -> np.ndarray:
    return (points + 0.5) * [min(1.0, 1 / aspect), min(1.0, aspect)] - 0.5


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.2, 5))
def test_pixels_become_square_and_coordinates_go_there_and_back(height, width, aspect):
    image = np.full((height, width, 3), 7, np.uint8)
    seen = squared(image, aspect, MAX_PIXELS)
    assert seen.picture.shape[0] == round(height * max(1, 1 / aspect))
    assert seen.picture.shape[1] == round(width * max(1, aspect))
    assert (seen.picture == 7).all()
    (whole,) = given_faces([0, 0, width, height], seen.across, seen.down)
    np.testing.assert_allclose(whole.box, (0, 0, *seen.picture.shape[1::-1]), atol=1e-9)
    corners = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (0, 0), (-0.5, height - 0.5), (width - 0.5, height - 0.5)])
    (face,) = given_faces(corners, seen.across, seen.down)
    np.testing.assert_allclose(face.points[4], np.array(seen.picture.shape[1::-1]) - 0.5, atol=1e-9)
    np.testing.assert_allclose(seen.back(face).points, corners, atol=1e-9)
    there = seen.back(replace(whole, score=0.5))
    np.testing.assert_allclose(there.box, (0, 0, width, height), atol=1e-9)
    assert there.points is None
    assert there.score == 0.5


def test_square_pixels_are_left():
    image = picture(30, 40)
    assert squared(image, 1.0, 9).picture is image
    assert squared(image, 1.001, 9).picture is image
    points = np.random.default_rng(0).uniform(0, 30, (5, 2))
    assert np.array_equal(given_faces(points)[0].points, points)  # to the bit
    face = Face((1 / 3, 2, 3, 4), ((1 / 3, 0.1),) * 5)
    assert squared(image, 1.0, 9).back(face) is squared(image, 1.0, 9).face(face) is face


@pytest.mark.parametrize("aspect", [0.5, 0.8, 12 / 11, 4 / 3, 2.0])
@pytest.mark.parametrize("crop", ["arcface5", "box", "square"])
def test_a_marked_face_is_cut_as_from_square_pixels(aspect, crop):
    """By points in the picture's own pixels; its size counts these."""
    scene, config = smooth(240, 240), replace(CONFIG, crop=crop)
    want = find_crop(scene, POINTS, config, ALIGNMENT, Finder())
    got = find_crop(stored(scene, aspect), points_stored(POINTS, aspect), config, ALIGNMENT, Finder(), aspect=aspect)
    assert got.picture.shape == want.picture.shape
    assert np.abs(got.picture.astype(int) - want.picture).max() <= 4
    assert got.native == pytest.approx(want.native / np.sqrt(max(aspect, 1 / aspect)), rel=0.01)


def test_a_box_keeps_its_middle():
    scene = smooth(240, 240)
    config = replace(CONFIG, crop="box")
    want = find_crop(scene, [[60, 40, 50, 70]], config, ALIGNMENT, Finder())
    got = find_crop(stored(scene, 0.5), [[60, 20, 50, 35]], config, ALIGNMENT, Finder(), aspect=0.5)
    assert got.picture.shape == want.picture.shape
    assert np.abs(got.picture.astype(int) - want.picture).max() <= 4
    assert got.native == pytest.approx(np.sqrt(50 * 35))


def test_finders_see_square_pixels():
    there = Face((60, 40, 50, 70), tuple(map(tuple, POINTS.tolist())), 0.9)
    finder = Finder(there)
    found = find_crop(smooth(120, 240), "detect", CONFIG, ALIGNMENT, finder, aspect=0.5)
    assert found.picture.shape == find_crop(smooth(240, 240), "detect", CONFIG, ALIGNMENT, Finder(there)).picture.shape
    (face,) = find_faces(smooth(120, 240), detector=finder, pixel_aspect=0.5)
    assert finder.shown == [(240, 240)] * 2
    np.testing.assert_allclose(face.box, (60, 20, 50, 35))
    np.testing.assert_allclose(face.points, points_stored(POINTS, 0.5))
    marked = find_crop(smooth(120, 240), [face.points], CONFIG, ALIGNMENT, Finder(), aspect=0.5)
    np.testing.assert_array_equal(marked.picture, found.picture)


def test_a_crop_is_taken_as_it_is():
    image = picture(24, 48)
    for hint in ("crop", "auto"):
        found = find_crop(image, hint, CONFIG, ALIGNMENT, Finder(), aspect=2.0)
        np.testing.assert_array_equal(found.picture, image)
        assert found.native == pytest.approx(np.sqrt(24 * 48))
    large = find_crop(picture(CROP_SIDE, CROP_SIDE), "auto", CONFIG, ALIGNMENT, Finder(), aspect=5.0)
    assert large.picture.shape == (CROP_SIDE, CROP_SIDE, 3)


def test_probes_alone_have_other_pixels(small, face):
    scene = np.zeros((240, 240, 3), np.uint8)
    scene[60:156, 70:166] = face(1, 96)
    hint = {"probe": [np.array([[70.0, 30, 96, 48]])], "gallery": [np.array([[70.0, 60, 96, 96]])]}
    whole = hint | {"probe": hint["gallery"]}
    with small(crop="box") as known, small(crop="box", pixel_aspect=0.5) as told:
        assert told.config.gallery_hash() == known.config.gallery_hash()
        assert told.config.hash() != known.config.hash()
        want = known.match(scene, scene, faces=whole)
        got = told.match(stored(scene, 0.5), scene, faces=hint)
        assert got.gallery_status == want.gallery_status
        assert got.probe_crops.crop(0).shape == want.probe_crops.crop(0).shape
        ours, theirs = (matcher.enroll(scene, faces=hint["gallery"]).crops.crop(0) for matcher in (told, known))
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(got.scores, want.scores, atol=2e-4)
        unsaid = known.match(stored(scene, 0.5), scene, faces=hint)
        assert np.abs(unsaid.scores - want.scores).max() > 4e-4
        assert got.probe_size[0, 0] == pytest.approx(np.sqrt(96 * 48))
        assert got.config.to_dict()["pixel_aspect"] == 0.5


@pytest.mark.parametrize("aspect", [0.5, 4 / 3])
def test_a_zoom_of_such_a_picture_is_joined_before(aspect):
    scene = smooth(120, 120)
    points = POINTS / 2
    kept = stored(scene, aspect)
    want = find_crop(kept, points_stored(points, aspect), CONFIG, ALIGNMENT, Finder(), joins=True, aspect=aspect)
    zoomed = np.repeat(np.repeat(kept, 3, axis=0), 3, axis=1)
    marked = 3 * points_stored(points, aspect) + 1
    got = find_crop(zoomed, marked, CONFIG, ALIGNMENT, Finder(), joins=True, aspect=aspect)
    assert got.repeats == (3, 3)
    assert np.abs(got.picture.astype(int) - want.picture).max() <= 8
    assert got.native == pytest.approx(3 * want.native)


def test_an_uneven_zoom_is_squared():
    """Where more rows than columns repeat each other, a recorder's pixels were shown as they look."""
    scene = smooth(120, 120)
    zoomed = np.repeat(np.repeat(stored(scene, 0.5), 4, axis=0), 2, axis=1)
    got = find_crop(zoomed, POINTS + 0.5, CONFIG, ALIGNMENT, Finder(), joins=True)
    want = find_crop(scene, POINTS / 2, CONFIG, ALIGNMENT, Finder())
    assert got.repeats == (4, 2)
    assert got.picture.shape == want.picture.shape
    assert np.abs(got.picture.astype(int) - want.picture).max() <= 8


def test_the_face_of_a_crop_is_looked_for_in_square_pixels():
    finder = Finder(Face((30, 30, 40, 40), tuple(map(tuple, (0.3 * POINTS + 25).tolist())), 0.9))
    assert find_crop(smooth(60, 30), "landmarks", CONFIG, ALIGNMENT, finder, aspect=2.0) is not None
    assert finder.shown == [(96, 96)]  # 60 x 60 px, framed


def test_a_matcher_cuts_probes_and_portraits(small):
    scene = smooth(120, 240)
    with small(crop="box", pixel_aspect=0.5) as matcher:
        box = np.array([60.0, 20, 50, 35])
        assert matcher.cut(scene, faces=box).shape == (91, 65, 3)
        assert matcher.cut(scene, faces=box, pixel_aspect=1).shape == (46, 65, 3)


@pytest.mark.parametrize(("size", "aspect"), [
    ((704, 288), 0.545), ((720, 240), 0.444), ((352, 576), 2.182), ((960, 1080), 2.0),
])
def test_a_recorder_s_size_is_told(small, face, size, aspect):
    width, height = size
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:96, :96] = face(1, 96)
    shape = "16:9" if height == 1080 else "4:3"
    box = {"probe": [np.array([[0.0, 0, 96, 96]])], "gallery": [np.array([[0.0, 0, 96, 96]])]}
    told = f"{width} x {height} px, as recorders store what they show in another shape: if shown at {shape}, say "
    told += f"pixel_aspect={aspect:.3f}"
    with small(crop="box") as matcher:
        got = matcher.match(frame, frame, faces=box)
        assert got.probe_status == (f"ok: {told}",)
        assert got.gallery_status == ("ok",)
        assert any(note.startswith("1 of 1 probes have a size as recorders store") for note in got.warnings)
        assert "recorders" not in " ".join(matcher.match(frame[:96, :96], frame, faces=box | {"probe": "crop"}).warnings)
    with small(detector=Finder()) as matcher:  # and where no face is found, for which it may be the reason
        got = matcher.match(frame, face(2), faces={"probe": "detect", "gallery": "crop"})
        assert got.probe_status == (f"no face found in {told}",)
        assert any("1 of 1 probes have a size" in note for note in got.warnings)
        assert matcher.enroll(frame, faces="detect").status == ("no face found",)
        assert matcher.cut(frame, faces="detect") is None
    for said in (aspect, 1.01):
        with small(crop="box", pixel_aspect=said) as matcher:
            got = matcher.match(frame, frame, faces=box)
            assert got.probe_status == ("ok",)
            assert "recorders" not in " ".join(got.warnings)


def test_ordinary_sizes_are_no_recorder_s():
    ordinary = {
        (640, 480), (720, 480), (720, 576), (1440, 1080), (1920, 1080), (352, 288), (1280, 720), (250, 250), (360, 480),
        (960, 480),
    }
    assert not ordinary & set(SHOWN)
    assert not any(map(recorded, ordinary))
    assert all(RECORDED in recorded(size) for size in SHOWN)


def test_no_more_than_fits_is_enlarged(tmp_path):
    path = tmp_path / "wide.png"
    cv2.imwrite(str(path), picture(100, 100))
    assert find_crop(path, [[10, 10, 30, 30]], CONFIG, ALIGNMENT, Finder(), 20_000, aspect=0.5) is not None
    told = r"at most 20000 pixels \(as memory_limit allows\) once they are square, got 100 x 100, 100 x 400 by pixel_aspect"
    for source in (path, picture(100, 100)):
        with pytest.raises(InputError, match=told):
            find_crop(source, [[10, 10, 30, 30]], CONFIG, ALIGNMENT, Finder(), 20_000, aspect=0.25)
        assert find_crop(source, "crop", CONFIG, ALIGNMENT, Finder(), 20_000, aspect=0.25).picture.shape == (100, 100, 3)


@pytest.mark.parametrize("wrong", [0, -1, 0.1, 5.1, float("nan"), float("inf"), "2", None, True])
def test_what_is_no_aspect_is_refused(small, wrong):
    with pytest.raises(ConfigError, match=r"pixel_aspect expects a width by height, a finite number of 0\.2 to 5, got"):
        small(pixel_aspect=wrong)
    with pytest.raises(ConfigError, match="pixel_aspect expects"):
        find_faces(picture(9, 9), detector=Finder(), pixel_aspect=wrong)


def test_the_command_line_takes_a_number_or_a_ratio(capsys):
    def parsed(text: str) -> float:
        return build_parser().parse_args(["match", "p", "g", "--pixel-aspect", text]).pixel_aspect

    assert parsed("12:11") == 12 / 11
    assert parsed("0.545") == 0.545
    for wrong in ("wide", "1:0", "1:2:3", ""):
        with pytest.raises(SystemExit):
            parsed(wrong)
        assert "expected a number or two such as 12:11" in capsys.readouterr().err
