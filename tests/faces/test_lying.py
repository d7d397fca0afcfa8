"""Small pictures that are no aligned crops have their face aligned, where that is sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meetmid.faces import finder as finders
from meetmid.faces.alignment import ARCFACE_112, CLASSIC_96X112, align
from meetmid.faces.crops import Face
from meetmid.faces.lying import is_aligned

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


def test_auto_aligns_what_a_box_cut_out(small, face, monkeypatch):
    """By the library's own finder, for both sides, and only where crops are aligned; the status says so."""
    points = {60: smaller(0.7) + 2.0, 48: ARCFACE_112.scaled(48, 48)}

    def rough(self: finders.Finder, image: np.ndarray) -> list[Face]:
        side = next(side for side in points if len(image) in (side, side + 2 * round(0.3 * side)))
        margin = (len(image) - side) / 2
        its = seen(points[side] + margin, 0.9)
        return [replace(its, box=(margin + 0.1 * side, margin + 0.1 * side, 0.8 * side, 0.8 * side))]

    monkeypatch.setattr(finders.Finder, "rough", rough)
    monkeypatch.setattr(finders.Finder, "pointed", lambda self, image, its: its)
    chip, aligned, portraits = face(1, 60), face(2, 48), [face(3, 60), face(4, 48)]
    told = "ok: small as a face crop, but its face lay elsewhere than in an aligned one, so that it was aligned"
    with small(faces="auto", crop="arcface5", work_size=None) as matcher:
        result = matcher.match([chip, aligned], portraits)
        assert result.probe_status == (told, "ok")
        assert result.gallery_status == (told, "ok")
        np.testing.assert_array_equal(matcher.cut(chip), align(chip, points[60]))
        want = matcher.match([chip, aligned], portraits, faces={"probe": [points[60], "crop"], "gallery": [points[60], "crop"]})
        assert np.array_equal(result.scores, want.scores)
        assert matcher.match([chip, aligned], portraits, faces="crop").probe_status == ("ok", "ok")
    with small(faces="auto", crop="box") as matcher:
        assert matcher.match([chip, aligned], portraits).probe_status == ("ok", "ok")
