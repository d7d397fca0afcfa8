"""Small pictures that are no aligned crops have their face aligned, where that is sure."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest
from meetmid.models.recipes.faces import faces

from meetmid.faces import finder as finders
from meetmid.faces.alignment import ARCFACE_112, CLASSIC_96X112, align, similarity
from meetmid.faces.crops import Face, cut_box, given_faces
from meetmid.faces.lying import is_aligned
from meetmid.matcher import Matcher

PLACES = ARCFACE_112.scaled(56, 56)
EYES = float(np.linalg.norm(PLACES[1] - PLACES[0]))


def seen(points: np.ndarray, score: float) -> Face:
    return Face((10.0, 10.0, 40.0, 40.0), tuple(map(tuple, points.tolist())), score)


def lower(by: float) -> np.ndarray:
    return PLACES + np.array([0.0, by * EYES])


def smaller(by: float) -> np.ndarray:
    return (PLACES - PLACES.mean(axis=0)) * by + PLACES.mean(axis=0)


@pytest.mark.parametrize(("points", "score", "aligned"), [
    (PLACES, 1.0, True), (PLACES + 0.05 * EYES, 1.0, True),
    (smaller(0.82), 1.0, True), (smaller(0.78), 0.61, False), (smaller(0.78), 0.59, True), (smaller(1.5), 1.0, True),
    (lower(0.32), 0.71, False), (lower(-0.32), 0.71, False), (lower(0.32), 0.69, True),
    (lower(0.28), 1.0, True), (lower(0.58), 0.9, False), (lower(0.62), 0.9, True),
])
def test_what_lies_elsewhere_by_hand(points, score, aligned):
    assert is_aligned(seen(points, score), (56, 56), ARCFACE_112) == aligned


def test_turned_faces_and_the_other_alignment_are_aligned():
    angle = np.deg2rad(10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centred = PLACES - PLACES.mean(axis=0)
    assert is_aligned(seen(centred @ turn.T + PLACES.mean(axis=0), 1.0), (56, 56), ARCFACE_112)
    assert is_aligned(seen(PLACES, 1.0), (56, 56), CLASSIC_96X112)
    assert is_aligned(seen(CLASSIC_96X112.scaled(56, 56), 1.0), (56, 56), ARCFACE_112)
    assert is_aligned(Face((0, 0, 56, 56)), (56, 56), ARCFACE_112)  # nothing is known


@pytest.mark.parametrize("yaw", [30, 45, 60, 70])
def test_faces_turned_away_are_aligned(yaw):
    """Their points, of which the nose lies nearer to the camera, where :func:`align` brings them."""
    angle, flat = np.deg2rad(yaw), PLACES - PLACES.mean(axis=0)
    depth = np.array([0.0, 0, 0.6 * EYES, 0, 0])
    there = np.column_stack([flat[:, 0] * np.cos(angle) + depth * np.sin(angle), flat[:, 1]])
    brought = similarity(there, PLACES)
    points = there @ brought[:, :2].T + brought[:, 2]
    assert is_aligned(seen(points, 1.0), (56, 56), ARCFACE_112)
    assert not is_aligned(seen((points - points.mean(axis=0)) * 0.78 + points.mean(axis=0), 1.0), (56, 56), ARCFACE_112)


def test_points_that_coincide_tell_nothing():
    assert is_aligned(seen(np.full((5, 2), 28.0), 1.0), (56, 56), ARCFACE_112)


def test_the_finder_that_ships_knows_chips_from_aligned_crops(data):
    """Faces of people with a single picture; what a box 1.8 times as large cuts out, and aligned crops, both about 48 px."""
    kinds: dict[str, list[np.ndarray]] = {"box": [], "aligned": []}
    with Matcher("plain", device="cpu") as matcher:
        for _, picture, points in islice(faces(data, "lfw-single"), 12):
            ((x, y, w, h),) = (its.box for its in given_faces(points))
            chip = cut_box(picture, (x - 0.19 * w, y - 0.19 * h, 1.38 * w, 1.38 * h), square=True)
            for kind, crop in (("box", chip), ("aligned", align(picture, points, CLASSIC_96X112))):
                kinds[kind].append(cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA))
        status = {kind: matcher.lift(crops, faces="auto").status for kind, crops in kinds.items()}
    assert sum("so that it was aligned" in its for its in status["box"]) >= 10
    assert status["aligned"] == ("ok",) * 12


def test_auto_aligns_what_a_box_cut_out(small, red_face, monkeypatch):
    """By the library's own finder, for both sides, and only where crops are aligned; the status says so."""
    points = {60: smaller(0.7) + 2.0, 48: ARCFACE_112.scaled(48, 48)}

    def rough(self: finders.Finder, image: np.ndarray) -> list[Face]:
        side = next(side for side in points if len(image) in (side, side + 2 * round(0.3 * side)))
        margin = (len(image) - side) / 2
        its = seen(points[side] + margin, 0.9)
        return [replace(its, box=(margin + 0.1 * side, margin + 0.1 * side, 0.8 * side, 0.8 * side))]

    monkeypatch.setattr(finders.Finder, "rough", rough)
    monkeypatch.setattr(finders.Finder, "pointed", lambda self, image, its: its)
    chip, aligned, portraits = red_face(1, 60), red_face(2, 48), [red_face(3, 60), red_face(4, 48)]
    told = "ok: small as a face crop, but its face lay elsewhere than in an aligned one, so that it was aligned"
    with small(faces="auto", crop="arcface5", work_size=None) as matcher:
        result = matcher.match([chip, aligned], portraits)
        assert result.probe_status == (told, "ok")
        assert result.gallery_status == (told, "ok")
        np.testing.assert_array_equal(matcher.cut(chip), align(chip, points[60]))
        want = matcher.match([chip, aligned], portraits, faces={"probe": [points[60], "crop"], "gallery": [points[60], "crop"]})
        assert np.array_equal(result.scores, want.scores)
        assert matcher.match([chip, aligned], portraits, faces="crop").probe_status == ("ok", "ok")
    with small(faces="auto", crop="arcface5", pixel_aspect=1.01) as matcher:  # whose pixels need not be as they say
        assert matcher.match([chip, aligned], [aligned]).probe_status == ("ok", "ok")
    with small(faces="auto", crop="box") as matcher:
        assert matcher.match([chip, aligned], portraits).probe_status == ("ok", "ok")
