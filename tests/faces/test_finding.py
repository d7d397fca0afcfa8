"""Which part of a picture is matched: modes, hints and their errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import meetmid
from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, InputError
from meetmid.faces import finder as finders
from meetmid.faces.alignment import TEMPLATES, align
from meetmid.faces.crops import Face, cut_box
from meetmid.faces.detection import open_detector
from meetmid.faces.finding import CROP_SIDE, find_crop, find_faces, hints_for, hints_of_sides
from meetmid.images import Entry

CONFIG = MatchConfig(crop="box")
ALIGNMENT = "arcface-112"


class Finder:
    """A detector that finds what it is told and counts how often it is asked."""

    def __init__(self, *faces: Face) -> None:
        self.faces, self.asked = list(faces), 0

    def detect(self, image: np.ndarray) -> list[Face]:
        self.asked += 1
        assert image.dtype == np.uint8
        return self.faces


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_crop_is_taken_whole() -> None:
    image = picture(400, 100)
    found = find_crop(image, "crop", CONFIG, ALIGNMENT, Finder())
    np.testing.assert_array_equal(found.picture, image)
    assert found.native == 200


def test_auto_takes_small_pictures_as_crops_and_searches_large_ones() -> None:
    finder = Finder(Face((20, 20, 40, 40)))
    assert find_crop(picture(CROP_SIDE, CROP_SIDE), "auto", CONFIG, ALIGNMENT, finder).picture.shape == (192, 192, 3)
    assert finder.asked == 0
    found = find_crop(picture(50, CROP_SIDE + 1), "auto", CONFIG, ALIGNMENT, finder)
    assert finder.asked == 1
    assert found.picture.shape == (52, 52, 3)
    assert found.native == 40


def test_detect_searches_small_pictures_too() -> None:
    finder = Finder(Face((5, 5, 10, 10), score=0.9), Face((20, 20, 30, 30), score=0.9))
    image = picture(60, 60)
    found = find_crop(image, "detect", CONFIG, ALIGNMENT, finder)
    np.testing.assert_array_equal(found.picture, cut_box(image, (20, 20, 30, 30), square=False))
    assert find_crop(image, "detect", CONFIG, ALIGNMENT, Finder()) is None


def test_the_face_of_a_crop_is_the_one_around_its_centre() -> None:
    """The frame that is put around the crop (0.3 x 60 = 18 px) is taken off again; a face beside the centre is none."""
    points = tuple((38.0 + 4 * k, 40.0) for k in range(5))
    inside, beside = Face((28, 28, 40, 40), points, 0.4), Face((0, 0, 12, 12), None, 0.9)
    image = picture(60, 60)
    found = find_crop(image, "landmarks", CONFIG, ALIGNMENT, Finder(beside, inside))
    assert found is not None
    np.testing.assert_array_equal(found.picture, cut_box(image, (10, 10, 40, 40), square=False))
    assert found.native == 40
    assert find_crop(image, "landmarks", CONFIG, ALIGNMENT, Finder(beside)) is None


def test_only_the_face_that_is_cut_has_its_points_looked_for(monkeypatch) -> None:
    large, small = Face((90, 60, 60, 80), score=0.9), Face((10, 10, 30, 30), score=0.9)
    template = np.array(TEMPLATES[ALIGNMENT].points)
    asked: list[Face] = []

    def pointed(self: finders.Finder, image: np.ndarray, its: Face) -> Face:
        asked.append(its)
        return replace(its, points=tuple(map(tuple, template * 0.7 + 85.0)))

    monkeypatch.setattr(finders.Finder, "rough", lambda self, image: [small, large])
    monkeypatch.setattr(finders.Finder, "pointed", pointed)
    ours, image = open_detector("finder", device="cpu"), picture(240, 240)
    for hint in ("detect", "auto"):
        found = find_crop(image, hint, replace(CONFIG, crop="arcface5"), ALIGNMENT, ours)
        np.testing.assert_array_equal(found.picture, align(image, template * 0.7 + 85.0))
    inside = Face((60, 60, 50, 50))
    monkeypatch.setattr(finders.Finder, "rough", lambda self, image: [small, inside])
    found = find_crop(image[:100, :100], "landmarks", replace(CONFIG, crop="arcface5"), ALIGNMENT, ours)
    assert asked == [large, large, inside]
    np.testing.assert_array_equal(found.picture, align(image[:100, :100], template * 0.7 + 85.0 - 30))  # framed by 30 px
    monkeypatch.setattr(finders.Finder, "rough", lambda self, image: [])
    assert find_crop(image, "detect", CONFIG, ALIGNMENT, ours) is find_crop(image, "landmarks", CONFIG, ALIGNMENT, ours) is None
    assert len(asked) == 3


def test_given_boxes_and_points_need_no_finder() -> None:
    image = picture(200, 300)
    boxes = np.array([[10, 10, 20, 20], [100, 80, 60, 60]])
    found = find_crop(image, boxes, CONFIG, ALIGNMENT, Finder())
    np.testing.assert_array_equal(found.picture, cut_box(image, (100, 80, 60, 60), square=False))
    points = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]]) + 30
    aligned = find_crop(image, points, replace(CONFIG, crop="arcface5"), ALIGNMENT, Finder())
    assert abs(aligned.picture.shape[0] - 112) <= 2
    assert find_crop(image, np.zeros((0, 4)), CONFIG, ALIGNMENT, Finder()) is None


@pytest.mark.parametrize(
    ("hint", "message"),
    [("face", "faces expects one of auto, crop, detect, landmarks"), ([1, 2], "got shape"), ([900, 9, 9, 9], "outside")],
)
def test_bad_hints_are_input_errors(hint: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_crop(picture(60, 60), hint, CONFIG, ALIGNMENT, Finder())


def test_colour_order_reaches_the_crop() -> None:
    image = picture(30, 30)
    found = find_crop(image, "crop", replace(CONFIG, color="bgr"), ALIGNMENT, Finder())
    np.testing.assert_array_equal(found.picture, image[..., ::-1])


def test_find_faces_takes_any_picture_and_any_finder() -> None:
    face = Face((1, 2, 3, 4))
    assert find_faces(picture(20, 20), detector=Finder(face)) == [face]
    assert meetmid.find_faces is find_faces
    with pytest.raises(ConfigError, match="'yunet:FILE', 'scrfd:FILE', 'insightface:PACK' or 'finder:MODEL', got 'haar'"):
        find_faces(picture(20, 20), detector="haar")
    with pytest.raises(InputError, match=r"nowhere\.png"):
        find_faces("nowhere.png", detector=Finder(face))


# --- hints ------------------------------------------------------------------------------------------------------------

ONE = [Entry("a", ("1.png",))]
THREE = [Entry("a", ("1.png",)), Entry("b", ("2.png", "3.png")), Entry("c", ("4.png",))]
BOX, POINTS = [1, 2, 3, 4], np.zeros((5, 2))


def test_a_mode_holds_for_every_picture() -> None:
    assert hints_for("crop", THREE, "auto") == [["crop"], ["crop", "crop"], ["crop"]]
    assert hints_for(None, THREE, "auto") == [["auto"], ["auto", "auto"], ["auto"]]


@pytest.mark.parametrize("hint", [BOX, tuple(BOX), np.array(BOX), np.array([BOX, BOX]), POINTS, POINTS.tolist(), [BOX, BOX]])
def test_one_picture_takes_its_hint_bare(hint: object) -> None:
    ((found,),) = hints_for(hint, ONE, "auto")
    assert np.array_equal(found, hint)


@pytest.mark.parametrize("hint", [[BOX], [[BOX]], [np.array(BOX)], np.array([BOX])])
def test_one_picture_takes_a_list_of_one(hint: object) -> None:
    ((found,),) = hints_for(hint, ONE, "auto")
    assert np.array_equal(np.squeeze(found), BOX)


def test_one_item_per_entry_and_per_picture_of_a_group() -> None:
    found = hints_for([BOX, ["crop", POINTS], "detect"], THREE, "auto")
    assert found[0] == [BOX]
    assert found[1][0] == "crop"
    assert found[1][1] is POINTS
    assert found[2] == ["detect"]


def test_one_array_for_all_pictures_of_a_group() -> None:
    boxes = np.array([BOX])
    found = hints_for([BOX, boxes, "crop"], THREE, "auto")
    assert found[1][0] is boxes
    assert found[1][1] is boxes
    assert hints_for(["crop", "detect", "crop"], THREE, "auto")[1] == ["detect", "detect"]


def test_an_array_of_as_many_rows_as_a_group_has_pictures_is_one_per_picture() -> None:
    other = [5, 6, 7, 8]
    for item in (np.array([BOX, other]), [BOX, other], [np.array(BOX), np.array(other)]):
        assert [np.asarray(h).tolist() for h in hints_for([BOX, item, "crop"], THREE, "auto")[1]] == [BOX, other]
        assert [np.asarray(h).tolist() for h in hints_for({"b": item}, THREE, "auto")[1]] == [BOX, other]
    two = np.stack([np.zeros((5, 2)), np.ones((5, 2))])
    assert [h.max() for h in hints_for(["crop", two, "crop"], THREE, "auto")[1]] == [0, 1]
    assert hints_for([two], [Entry("a", (b"",))], "auto")[0][0] is two  # candidates in the only picture
    five = Entry("e", (b"",) * 5)
    assert [h is POINTS for h in hints_for({"e": POINTS}, [five], "auto")[0]] == [True] * 5  # one face's points, five of them
    assert [h.shape for h in hints_for({"e": np.zeros((5, 5, 2))}, [five], "auto")[0]] == [(5, 2)] * 5
    assert [h.shape for h in hints_for({"e": np.zeros((5, 3, 4))}, [five], "auto")[0]] == [(3, 4)] * 5


def test_arrays_are_read_row_by_row() -> None:
    two = THREE[::2]
    assert [h[0].tolist() for h in hints_for(np.array([BOX, BOX]), two, "auto")] == [BOX, BOX]
    assert [h[0].shape for h in hints_for(np.zeros((2, 5, 2)), two, "auto")] == [(5, 2), (5, 2)]


def test_a_mapping_names_entries_and_the_rest_has_the_default() -> None:
    assert hints_for({"b": ["crop", BOX]}, THREE, "auto") == [["auto"], ["crop", BOX], ["auto"]]


def test_counts_that_do_not_fit_are_config_errors() -> None:
    with pytest.raises(ConfigError, match=r"one item per entry \(3\), got 2"):
        hints_for(["crop", "crop"], THREE, "auto")
    with pytest.raises(ConfigError, match=r"faces of 'b' expects one item per picture \(2\), got 3"):
        hints_for(["crop", ["crop"] * 3, "crop"], THREE, "auto")
    with pytest.raises(ConfigError, match="got int"):
        hints_for(7, THREE, "auto")
    for item in (None, 1.5):
        with pytest.raises(ConfigError, match=f"faces of 'a' expects a mode, boxes or points, got {item}"):
            hints_for([item, "crop", "crop"], THREE, "auto")
    with pytest.raises(ConfigError, match=r"faces of 'b' expects modes, boxes or points, got \['crop', None\]"):
        hints_for(["crop", ["crop", None], "crop"], THREE, "auto")


def test_other_modes_are_config_errors_wherever_they_stand() -> None:
    assert hints_for([["detect"]], [Entry("a", (b"",))], "auto") == [["detect"]]
    nested = ["crop", ["crop", "croop"], "crop"], [["croop"], "crop", "crop"]
    for hint in ("croop", ["crop", "croop", "crop"], *nested, {"b": "croop"}):
        with pytest.raises(ConfigError, match="one of auto, crop, detect, landmarks, boxes or points, got 'croop'"):
            hints_for(hint, THREE, "auto")
    for hint in ("croop", {"probe": "croop"}):
        with pytest.raises(ConfigError, match="got 'croop'"):
            hints_of_sides(hint)


def test_a_face_outside_the_picture_is_refused() -> None:
    image, config = picture(250, 250), replace(CONFIG, crop="arcface5")
    points = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]]) + 60.0
    for moved in (points + 5000.0, points - np.array([240, 0]), points + np.array([0, 240]), points * 1e9):
        with pytest.raises(InputError, match=r"the face's points .* lie outside the 250 x 250 picture"):
            find_crop(image, moved, config, ALIGNMENT, Finder())
    cut_off = points - np.array([110, 0])
    np.testing.assert_array_equal(find_crop(image, cut_off, config, ALIGNMENT, Finder()).picture, align(image, cut_off))


def test_points_on_a_line_are_refused() -> None:
    line = np.column_stack([np.linspace(60, 160, 5), np.linspace(80, 120, 5)])
    with pytest.raises(InputError, match="five points of a face, got points on a line"):
        find_crop(picture(250, 250), line, replace(CONFIG, crop="arcface5"), ALIGNMENT, Finder())


def test_the_points_of_a_long_strip_are_not_looked_for() -> None:
    finder = Finder()
    with pytest.raises(InputError, match="a face crop is expected to be at most 5 times as long as wide, got 100000 x 5 px"):
        find_crop(np.zeros((5, 100_000, 3), np.uint8), "landmarks", CONFIG, ALIGNMENT, finder)
    assert finder.asked == 0
    assert find_crop(picture(20, 100), "landmarks", CONFIG, ALIGNMENT, finder) is None
    strip, ours = picture(20, 190), open_detector("finder", device="cpu")
    assert np.array_equal(find_crop(strip, "auto", replace(CONFIG, crop="arcface5"), ALIGNMENT, ours).picture, strip)


@pytest.mark.parametrize("found", [
    (1, 2, 3, 4), Face((10, 10, float("nan"), 20)), Face((10, 10, 0, 0)), Face((1, 2, 3, 4), ((0.0, float("inf")),) * 5),
    Face((1, 2, 3, 4), ((0.0, 1.0),) * 3), Face((1, 2, 3, 4), ()), Face((1, 2, 3, 4), ((0.0, 1.0, 2.0),) * 5),
    Face((1, 2, 3, 4), score=None), Face((1, 2, 3, 4), score=float("nan")),
])
def test_a_detector_that_gives_no_face_fails_its_picture_alone(small, face, found) -> None:
    class Once:
        def detect(self, image: np.ndarray) -> list[Face]:
            return [found if image.shape[0] == 250 else Face((20, 20, 40, 40))]

    with small(faces="detect", crop="box", detector=Once()) as matcher:
        result = matcher.match([face(1, 200), face(2, 250)], face(1, 200))
    assert np.isnan(result.scores[:, 0]).tolist() == [False, True]
    assert "the face finder failed on a 250 x 250 px picture: it should give" in result.probe_status[1]


def test_hints_for_faces_that_were_cut_before_are_refused(small, face) -> None:
    pictures, box = [face(1, 60)], [[1, 1, 30, 30]]
    with small() as matcher:
        enrolled, lifted = matcher.enroll(pictures), matcher.lift(pictures)
        for probe, hint, side in (
            (pictures, {"gallery": box}, "gallery"), (lifted, box, "probe"), (lifted, {"probe": box}, "probe"),
        ):
            with pytest.raises(ConfigError, match=f"those of the {side} side are, which were cut out before"):
                matcher.match(probe, enrolled, faces=hint)
        assert matcher.match(lifted, enrolled, faces="crop").scores.shape == (1, 1)


# --- through the Matcher ----------------------------------------------------------------------------------------------


def test_a_batch_keeps_pictures_without_a_face_as_failures(small, red_face) -> None:
    class Second(Finder):
        def detect(self, image: np.ndarray) -> list[Face]:
            self.asked += 1
            return [] if self.asked == 2 else [Face((10, 10, 40, 40))]

    with small(faces="detect", detector=Second()) as matcher:
        result = matcher.match([red_face(k) for k in range(3)], [red_face(9)])
    assert result.probe_status == ("ok", "no face found", "ok")
    assert np.isnan(result.scores[1]).all()
    assert np.isfinite(result.scores[[0, 2]]).all()


def test_auto_cuts_the_face_out_of_a_small_picture_that_shows_much_more(small, red_face, monkeypatch) -> None:
    """Where the library's own finder sees one that takes less than half of the sides; others stay crops."""
    sides = {64: 31.0, 60: 31.0, 48: 0.0}  # of the face that is seen in pictures of these sizes
    asked: list[tuple[int, ...]] = []

    def rough(self: finders.Finder, image: np.ndarray) -> list[Face]:
        asked.append(image.shape)
        side = sides[len(image)]
        return [Face((5.0, 5.0, side, side))] if side else []

    monkeypatch.setattr(finders.Finder, "rough", rough)
    monkeypatch.setattr(finders.Finder, "pointed", lambda self, image, its: its)
    probes, portraits = [red_face(k, size) for k, size in enumerate(sides)], [red_face(3, 64), red_face(4, 60)]
    told = "ok: small as a face crop, but showed much more than a face, which was cut out"
    with small(faces="auto", crop="box") as matcher:
        result = matcher.match(probes, portraits)
        assert result.probe_status == (told, "ok", "ok")
        assert result.gallery_status == (told, "ok")
        cut = matcher.match(probes, portraits, faces={"probe": [np.array([5, 5, 31, 31]), "crop", "crop"], "gallery": {
            "0": np.array([5, 5, 31, 31]), "1": "crop"}})
        assert np.array_equal(cut.scores, result.scores)
        group = matcher.match([[probes[0], probes[0], probes[1]]], portraits, faces={"gallery": "crop"})
        assert group.probe_status == (told,)
        asked.clear()
        assert matcher.match(probes, portraits, faces="crop").probe_status == ("ok",) * 3
        assert not asked
        # what the finder only accepts as a face because it is tiny is no reason to cut
        monkeypatch.setattr(finders.Finder, "rough", lambda self, image: [Face((9.0, 9.0, 15.0, 15.0), score=0.6)])
        assert matcher.match(probes, portraits).probe_status == ("ok",) * 3
    with small(faces="auto", detector=Finder(Face((5, 5, 20, 20)))) as matcher:  # a caller's own detector is not asked
        assert matcher.match(probes, portraits).probe_status == ("ok",) * 3


def test_boxes_per_side_reach_the_pictures(small, face) -> None:
    large = np.zeros((300, 300, 3), np.uint8)
    large[100:164, 120:184] = face(1)
    box = np.array([120 + 64 * 0.15 / 1.3, 100 + 64 * 0.15 / 1.3, 64 / 1.3, 64 / 1.3])
    with small(crop="box") as matcher:
        cut = matcher.match([large], [face(1)], faces={"probe": [box], "gallery": "crop"})
        whole = matcher.match([face(1)], [face(1)], faces="crop")
        with pytest.raises(ConfigError, match="keys 'probe' and 'gallery', got"):
            matcher.match([large], [face(1)], faces={"probes": [box]})
        for own in ([box], {"probe": {"0": box}}):
            given = matcher.match([large], matcher.enroll([face(1)]), faces=own)
            assert np.array_equal(given.scores, cut.scores)
        alone = meetmid.match(large, face(1), matcher=matcher.card, config=matcher.config, faces=box)
        assert np.array_equal(alone.scores, cut.scores)
        with pytest.raises(ConfigError, match=r"ids of the side's entries as keys, got \['1'\]"):
            matcher.match([large], [face(1)], faces={"probe": {"1": box}})
        with pytest.raises(ConfigError, match="ids of the side"):
            matcher.enroll([large], faces={"probe": [box]})
    assert cut.probe_status == ("ok",)
    assert cut.probe_size[0, 0] == pytest.approx(64 / 1.3)
    np.testing.assert_allclose(cut.scores, whole.scores, atol=2e-2)
