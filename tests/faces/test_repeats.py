"""Repeated pixels are found and joined, also after coding with losses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetmid.faces.repeats import joined
from meetmid.probes.resolution import Detail
from meetmid.resize import resize, to_float, to_uint8


def coded(picture, quality):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def zoomed(picture, rows, columns):
    return np.repeat(np.repeat(picture, rows, axis=0), columns, axis=1)


@settings(max_examples=60)
@given(st.integers(0, 999), st.integers(16, 40), st.integers(2, 9), st.integers(2, 9))
def test_joining_takes_a_zoom_back(seed, side, rows, columns):
    picture = np.random.default_rng(seed).integers(0, 256, (side, side + 3, 3), np.uint8)
    found = joined(zoomed(picture, rows, columns))
    assert found.repeats == (rows, columns)
    assert np.array_equal(found.picture, picture)


def test_runs_longer_than_a_block_and_cut_ones_are_joined():
    picture = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)
    found = joined(zoomed(picture, 16, 12))
    assert found.repeats == (16, 12)
    assert np.array_equal(found.picture, picture)
    cut = zoomed(picture, 4, 4)[3:-2, 1:]
    assert np.array_equal(joined(cut).picture, picture)


@pytest.mark.parametrize("true", [16, 24, 48])
@pytest.mark.parametrize(("times", "shift"), [(2, 0), (2, 3), (3, 0), (3, 1), (4, 0), (4, 3), (5, 0), (5, 2), (8, 0)])
def test_a_coded_zoom_holds_what_the_picture_held(face, true, times, shift):
    texture = np.random.default_rng(2).normal(0, 12, (true, true, 1))
    far = np.clip(resize(to_float(face(1, 96)), (true, true)) * 255 + texture, 0, 255).astype(np.uint8)
    for quality in (95, 80) if times > 2 else (95,):
        large = coded(np.pad(zoomed(far, times, times), ((shift, 0), (shift, 0), (0, 0)), "edge"), quality)
        found = joined(large)
        assert found.repeats == (times, times)
        assert true <= found.picture.shape[0] <= true + 2  # what was added at the edges is there too
        assert Detail.of(large).resolution <= true + 2


@pytest.mark.parametrize("quality", [95, 70, 50, 30, 15])
def test_coding_alone_and_smooth_enlargement_repeat_nothing(face, quality):
    for seed in range(4):
        for true in (24, 48):
            far = to_uint8(resize(to_float(face(seed, 96)), (true, true)))
            for large in (far, *(cv2.resize(far, (n, n), interpolation=cv2.INTER_CUBIC) for n in (2 * true, 3 * true, 100))):
                plain = coded(large, quality)
                found = joined(plain)
                assert found.repeats == (1, 1)
                assert found.picture is plain


@pytest.mark.parametrize("factor", [1.2, 4 / 3, 1.5, 5 / 3, 1.75, 2.25, 2.5, 2.75, 3.5, 4.5])
@pytest.mark.parametrize("true", [24, 48])
def test_a_zoom_by_a_broken_factor_is_not_joined_to_less_than_the_picture(face, factor, true):
    side = round(factor * true)
    texture = np.random.default_rng(2).normal(0, 12, (true, true, 1))
    for seed in range(4):
        far = np.clip(resize(to_float(face(seed, 96)), (true, true)) * 255 + texture, 0, 255).astype(np.uint8)
        large = cv2.resize(far, (side, side), interpolation=cv2.INTER_NEAREST)
        for shown in (large, coded(large, 95), coded(large, 80)):
            assert min(joined(shown).picture.shape[:2]) >= true


def test_scan_lines_are_not_joined(face):
    for every in range(3, 9):
        lines = face(1, 96).copy()
        lines[::every] = (lines[::every] * 0.7).astype(np.uint8)
        assert joined(lines).repeats == (1, 1)


def test_flat_and_tiny_pictures_are_left():
    for picture in (np.full((64, 64, 3), 9, np.uint8), np.zeros((1, 1, 3), np.uint8), np.zeros((64, 3, 3), np.uint8)):
        assert joined(picture).repeats == (1, 1)
        assert joined(picture).picture is picture


@pytest.mark.parametrize("coding", [None, 85])
def test_a_zoomed_probe_is_lifted_as_what_it_was(small, red_face, portraits, coding):
    far = [to_uint8(resize(to_float(red_face(seed, 96)), (20, 20))) for seed in (1, 2)]
    large = [zoomed(picture, 4, 4) for picture in far]
    large = large if coding is None else [coded(picture, coding) for picture in large]
    with small(sharp_between=(16, 50)) as matcher:
        got = matcher.match([large[0], far[1]], portraits)
        want = matcher.match([joined(large[0]).picture, far[1]], portraits)
        assert np.array_equal(got.scores, want.scores)
        assert got.probe_status == ("ok: pixels repeated 4 x 4 times were joined", "ok")
        assert got.probe_size[0, 0] == 80  # as it came
        assert got.probe_size[0, 1] == want.probe_size[0, 1] <= 20
        assert got.explain(0, 1).score == got.scores[0, 1]
        assert not got.failed
    if coding is None:
        assert np.array_equal(got.scores[0], matcher.match(far[:1], portraits).scores[0])
    with small(sharp_between=None) as matcher:  # as published, where every probe is far
        assert matcher.match(large[:1], portraits).probe_status == ("ok",)


def test_portraits_are_left_as_they_are(small, face):
    portrait = zoomed(face(1, 30), 3, 3)
    with small(sharp_between=(16, 50)) as matcher:
        gallery = matcher.enroll([portrait])
        assert gallery.status == ("ok",)
        assert gallery.crops.crop(0).shape == matcher.enroll([face(1, 48)]).crops.crop(0).shape


@pytest.mark.parametrize(("crop", "box"), [
    ("box", (40, 30, 24, 24)), ("square", (40, 30, 24, 24)), ("arcface5", None), ("square", (46, 24, 12, 40)),
    ("box", (-6, 30, 24, 24)), ("square", (40, 70, 30, 34)),
])
@pytest.mark.parametrize("cut", [0, 2])
def test_a_face_in_a_zoomed_frame_is_cut_from_joined_pixels(small, face, portraits, crop, box, cut):
    """The same crop as from the frame before the zoom, by boxes and points in the frame's own pixels."""
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    frame[30:54, 40:64] = face(1, 24)
    points = np.array([[47.0, 38], [57, 38.5], [52, 43], [48, 48], [56, 47.5]])
    large = zoomed(frame, 4, 4)[cut:, cut:]
    before = points if box is None else np.array(box, float)
    after = 4 * points + 1.5 - cut if box is None else 4 * before - [cut, cut, 0, 0]
    with small(sharp_between=(16, 50), crop=crop) as matcher:
        want = matcher.match(frame, portraits, faces={"probe": [before[None]], "gallery": "crop"})
        got = matcher.match(large, portraits, faces={"probe": [after[None]], "gallery": "crop"})
        assert got.probe_status == ("ok: pixels repeated 4 x 4 times were joined",)
        np.testing.assert_allclose(got.probe_crops.crop(0).astype(int), want.probe_crops.crop(0), atol=1)
        np.testing.assert_allclose(got.scores, want.scores, atol=2e-2)
        assert got.probe_size[0, 0] == pytest.approx(4 * want.probe_size[0, 0])


def test_a_box_outside_is_told_in_its_own_coordinates(small, face, portraits):
    frame = zoomed(face(1, 60), 4, 4)
    with small(sharp_between=(16, 50), crop="box") as matcher:
        got = matcher.match(frame, portraits, faces={"probe": [np.array([[-95.0, 120, 80, 80]])], "gallery": "crop"})
    assert "(-95.0, 120.0, 80.0, 80.0) lies outside the 240 x 240 picture" in got.probe_status[0]
