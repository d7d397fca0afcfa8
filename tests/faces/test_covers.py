"""What a mask, dark glasses or a hat hides is covered, whatever is there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.faces.alignment import TEMPLATES, align
from meetmid.faces.covers import LABELS, ROWS, TOLD, covered, has_rows

SHARES = {"mask": (0.55, 1.0), "glasses": (0.32, 0.55), "hat": (0.0, 0.35)}


def slowly(picture, cover):
    """Pixel by pixel: a row is hidden where it reaches into the hidden shares of the height."""
    height, width = picture.shape[:2]
    low, high = SHARES[cover]
    hidden = [r for r in range(height) if (r + 1) / height > low + 1e-9 and r / height < high - 1e-9]
    seen = [float(v) for r in range(height) if r not in hidden for v in picture[r].ravel()]
    seen = seen or [float(v) for v in picture.ravel()]
    level, out = sum(seen) / len(seen), picture.astype(np.float64)
    for r in hidden:
        for c in range(width):
            away = ((c + 0.5) / width - 0.5) / 0.55
            out[r, c] = level * (0.75 + 0.25 * (1 - away * away) ** 0.5)
    return out


HEIGHTS = st.integers(1, 60) | st.sampled_from((100, 180, 200))


@given(st.integers(0, 2**32 - 1), HEIGHTS, st.integers(1, 60), st.sampled_from(sorted(SHARES)))
def test_the_rows_of_a_cover_show_a_grey_thing(seed, height, width, cover):
    rng = np.random.default_rng(seed)
    picture = rng.random((height, width, 3), np.float32)
    before = picture.copy()
    got = covered(picture, cover)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, slowly(picture, cover), atol=1e-6)
    assert np.array_equal(picture, before)
    changed = (got != picture).any(axis=(1, 2))
    if changed.all():
        return
    picture[changed] = rng.random((int(changed.sum()), width, 3), np.float32)
    assert np.array_equal(covered(picture, cover), got)  # what hides a part does not matter


def test_every_cover_is_told_and_kept():
    assert ROWS == SHARES
    assert LABELS == {"mask": -1, "glasses": -2, "hat": -3}  # as in files
    assert set(TOLD) == set(ROWS)


def test_eyes_nose_and_mouth_lie_where_the_rows_expect_them():
    assert [name for name, its in TEMPLATES.items() if has_rows(its)] == ["arcface-112", "arcface-96x112"]
    eyes, nose, mouth = (TEMPLATES["arcface-112"].points[k][1] / 112 for k in (0, 2, 3))
    assert ROWS["hat"][1] < eyes < nose < mouth
    assert ROWS["glasses"][0] < eyes < ROWS["glasses"][1] == ROWS["mask"][0] < nose


@pytest.mark.parametrize(("cover", "hides"), [("mask", (2, 3, 4)), ("glasses", (0, 1)), ("hat", ())])
def test_they_hide_the_points_of_an_aligned_face(cover, hides):
    points = np.array(TEMPLATES["arcface-112"].points) * 2 + 30
    whole = np.full((300, 300, 3), 90, np.uint8)
    for x, y in points.round().astype(int):
        whole[y - 2 : y + 3, x - 2 : x + 3] = 255
    crop = align(whole, points, TEMPLATES["arcface-96x112"]).astype(np.float32) / 255
    got = covered(crop, cover)
    for k, (x, y) in enumerate(TEMPLATES["arcface-96x112"].scaled(crop.shape[1], crop.shape[0])):
        assert (got[round(y), round(x)] > 0.9).all() == (k not in hides)
