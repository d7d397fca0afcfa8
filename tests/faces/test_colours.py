"""Pictures whose red and blue look swapped: who is told, and where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.faces.colours import BLUER, SWAPPED, swapped

SKIN = (180, 130, 105)


def painted(colour: tuple[int, ...], shape: tuple[int, int] = (32, 32)) -> np.ndarray:
    noise = np.random.default_rng(3).integers(-20, 21, (*shape, 1))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (12, 12), (112, 112), (700, 500)])
def test_a_face_of_any_size_is_told_from_its_swapped_self(shape: tuple[int, int]) -> None:
    crop = painted(SKIN, shape)
    assert not swapped(crop)
    assert swapped(crop[..., ::-1])


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_it_is_the_ratio_of_blue_to_red_that_counts(red: int, green: int, blue: int) -> None:
    crop = np.empty((8, 8, 3), np.uint8)
    crop[:] = (red, green, blue)
    assert swapped(crop) == (blue > BLUER * red + 1)


@pytest.mark.parametrize("colour", [(0, 0, 0), (90, 90, 90), (255, 255, 255), (0, 0, 1)])
def test_grey_and_black_are_not_told(colour: tuple[int, ...]) -> None:
    assert not swapped(np.full((24, 24, 3), colour, np.uint8))


def test_what_surrounds_the_face_does_not_count() -> None:
    crop = painted(SKIN, (60, 60))
    crop[:15] = crop[54:] = (0, 0, 255)
    crop[:, :14] = crop[:, 46:] = (0, 0, 255)
    assert not swapped(crop)


def test_both_sides_are_told_and_an_enrolled_gallery_once(small) -> None:
    right, wrong = painted(SKIN), painted(SKIN[::-1])
    with small() as matcher:
        found = matcher.match([right, wrong, wrong], [wrong, right])
        assert found.probe_status == ("ok", f"ok: {SWAPPED}", f"ok: {SWAPPED}")
        assert found.gallery_status == (f"ok: {SWAPPED}", "ok")
        assert f"2 of 3 probes: {SWAPPED}" in found.warnings
        assert f"1 of 2 portraits: {SWAPPED}" in found.warnings
        enrolled = matcher.enroll([wrong, right])
        assert tuple(enrolled.status) == (f"ok: {SWAPPED}", "ok")
        assert not any("bluer" in text for text in matcher.match([right], enrolled).warnings)
    with small(color="bgr") as matcher:
        assert matcher.match([wrong], [wrong]).probe_status == ("ok",)
