"""The effective resolution and the noise of a crop."""

import cv2
import numpy as np
import pytest

from meetmid.faces.alignment import ARCFACE_112, align
from meetmid.probes.resolution import Detail, effective_resolution, noise_level
from meetmid.resize import resize, to_float, to_uint8


def lossless(crop, side, allowed=2.0):
    """Whether reducing the longer side to ``side`` loses at most so many grey levels RMS in half of 8 x 8 tiles."""
    factor = side / max(crop.shape[:2])
    small = tuple(max(1, round(n * factor)) for n in crop.shape[:2])
    restored = resize(resize(to_float(crop), small), crop.shape[:2])
    squares = ((restored.astype(np.float64) - to_float(crop)) ** 2).mean(axis=2)
    tiles = [tile.mean() for rows in np.array_split(squares, 8) for tile in np.array_split(rows, 8, axis=1)]
    return 255 * np.sqrt(np.median(tiles)) <= allowed


def sharp(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def noisy(crop, sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, crop.shape)
    return np.clip(np.rint(crop + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("true", [6, 14, 24])
def test_an_enlarged_picture_is_found_out(true):
    crop = to_uint8(resize(to_float(sharp(true)), (96, 96)))
    found = effective_resolution(crop)
    assert 0.6 * true <= found <= 3 * true < 96
    assert lossless(crop, found)
    assert not lossless(crop, found - 1)


def test_flat_and_tiny_pictures_and_those_of_noise_alone():
    assert effective_resolution(sharp(40)) == 40
    assert Detail.of(sharp(40)).resolution == 1  # white noise holds no detail
    assert Detail.of(np.full((50, 30, 3), 77, np.uint8)) == Detail(1, 0.0)
    assert Detail.of(np.zeros((1, 1, 3), np.uint8)) == Detail(1, 0.0)
    assert effective_resolution(sharp(40)[:, :20]) == 40


def test_blur_lowers_it(face):
    crop = face(1, 64)
    soft = to_uint8(resize(resize(to_float(crop), (16, 16)), (64, 64)))
    assert effective_resolution(soft) < effective_resolution(crop) <= 64


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_noise_is_measured(face, sigma):
    smooth = to_uint8(resize(to_float(face(1, 24)), (96, 96)))
    clear = np.clip(smooth, 40, 215)  # no noise is clipped away
    assert noise_level(noisy(clear, sigma)) == pytest.approx(sigma, rel=0.15)


def test_noise_that_came_after_the_enlargement_is_no_detail(face):
    soft = to_uint8(resize(to_float(face(1, 24)), (96, 96)))
    clean, loud = Detail.of(soft), Detail.of(noisy(soft, 6.0))
    assert effective_resolution(noisy(soft, 6.0)) > 80
    assert abs(loud.resolution - clean.resolution) <= 0.3 * clean.resolution
    factor = loud.resolution / 96
    assert lossless(noisy(soft, 6.0), loud.resolution, np.hypot(2.0, loud.noise * np.sqrt(1 - factor**2)))


ARTEFACTS = {
    "time stamp": lambda u: cv2.putText(u, "CAM 3 12:01", (2, 180), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1),
    "bar": lambda u: np.concatenate([np.zeros_like(u[:, :24]), u[:, 24:]], axis=1),
    "border of a frame": lambda u: np.where((np.indices(u.shape[:2]).sum(axis=0) < 120)[..., None], 0, u).astype(np.uint8),
}


@pytest.mark.parametrize("name", ARTEFACTS)
@pytest.mark.parametrize("true", [16, 24])
def test_an_edge_in_some_place_is_no_detail(face, name, true):
    far = to_uint8(resize(to_float(face(1, 96)), (true, true)))
    enlarged = cv2.resize(far, (192, 192), interpolation=cv2.INTER_CUBIC)
    plain, marked = Detail.of(enlarged), Detail.of(ARTEFACTS[name](enlarged.copy()))
    assert plain.resolution <= 1.5 * true
    assert marked.resolution <= 1.3 * plain.resolution


@pytest.mark.parametrize("side", [96, 112, 192])
@pytest.mark.parametrize("true", [16, 24])
def test_repeated_pixels_are_no_detail(face, true, side):
    far = face(1, true)
    assert Detail.of(cv2.resize(far, (side, side), interpolation=cv2.INTER_NEAREST)).resolution <= true


@pytest.mark.parametrize("side", [20, 32])
@pytest.mark.parametrize("sigma", [0.0, 8.0, 20.0])
def test_a_finely_cut_face_is_measured_by_the_pixels_of_its_picture(face, side, sigma):
    """Bicubic interpolation makes noise smooth: the crop itself would seem to hold more detail than its picture."""
    picture = np.clip(noisy(cv2.resize(face(1, 2 * side), (2 * side,) * 2), sigma), 0, 255).astype(np.uint8)
    points = np.array(ARCFACE_112.points) * side / 112 + side / 2
    fine, native = (align(picture, points + 0.3, fine=times) for times in (2, 1))
    assert fine.shape == (2 * side, 2 * side, 3)
    known, asked = Detail.of(native), Detail.of(fine, 2)
    assert asked.resolution <= side
    assert abs(asked.resolution - known.resolution) <= 0.2 * side
    assert asked.noise > 0.8 * known.noise
    if sigma == 20.0:
        assert Detail.of(fine).resolution > asked.resolution
