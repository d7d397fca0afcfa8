"""Light of probes: measured, left alone where it is usual, brought to the edge of that elsewhere."""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import lstsq
from scipy.stats import median_abs_deviation

from meetmid.errors import ConfigError
from meetmid.presets import PRESETS, configured
from meetmid.probes.light import COMMON, DARK, USUAL, Light, _gains, evened, light

LOW, HIGH = USUAL


def picture(side: int = 48, level: float = 130.0, contrast: float = 25.0, seed: int = 0) -> np.ndarray:
    """Smooth structure of a face's colours and about this mean and standard deviation, without a slope on purpose."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = sum(np.cos(2 * np.pi * (k * x + j * y + rng.random())) for k in (1, 2, 3) for j in (1, 2, 3))
    waves = (waves - waves.mean()) / waves.std()
    return shown((level + contrast * waves[..., None]) * (1.15, 0.95, 0.8))


def shown(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def within(crop: np.ndarray, slack: tuple[float, ...] = (0.05, 0.05, 2.0, 1.0, 0.03, 0.03)) -> None:
    for its, low, high, more in zip(*map(astuple, (light(crop), LOW, HIGH)), slack, strict=True):
        assert low - more <= its <= high + more


def fitted(crop: np.ndarray) -> tuple[float, float]:
    """The plane by scipy's least squares; where it is steeper down than usual beside the one with the step that leaves the
    smallest squares, if that leaves far less."""
    places, seen = measured(crop)
    (across, down, _), left = reweighted(places, seen)
    if -1.1 <= down <= 1.2:
        return across, down
    best, edges = np.inf, sorted(set(places[:, 1]))
    for above, below in pairwise(edges):
        step = (places[:, 1] > (above + below) / 2).astype(float)
        if len(edges) < 4 or not 0.12 <= step.mean() <= 0.88:
            continue
        with_it = np.column_stack([places, step])
        squares = np.sum((seen - with_it @ lstsq(with_it, seen)[0]) ** 2)
        if squares < best - 1e-9:
            best, stepped = squares, with_it
    if best < np.inf:
        (beside, lower, *_), less = reweighted(stepped, seen)
        if abs(lower) < abs(down) and np.mean(abs(less)) < 0.75 * np.mean(abs(left)):
            return beside, lower
    return across, down


def measured(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the face's pixels, each with a 1, and the logarithms of their luma."""
    height, width = crop.shape[:2]
    rows, values = [], []
    for r in range(height):
        for c in range(width):
            x, y = (c + 0.5) / width - 0.5, (r + 0.5) / height - 0.58
            if (x / 0.34) ** 2 + (y / 0.42) ** 2 <= 1:
                rows.append((x, y, 1.0))
                values.append(np.log(crop[r, c] @ np.array([0.299, 0.587, 0.114]) + DARK))
    return np.array(rows), np.array(values)


def reweighted(places: np.ndarray, seen: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Pixel by pixel, six times: what is left tells the next weights."""
    weights = np.ones(len(seen))
    for _ in range(6):
        factors = lstsq(places * np.sqrt(weights)[:, None], seen * np.sqrt(weights))[0]
        left = seen - places @ factors
        spread = 1.4826 * median_abs_deviation(left) + 0.02
        weights = np.array([1.0 if abs(far) <= spread else (spread / far) ** 2 for far in left])
    return [float(factor) for factor in factors], left


@given(st.integers(0, 2**32 - 1), st.integers(8, 64), st.integers(8, 64))
def test_the_plane_is_that_of_reweighted_least_squares(seed: int, height: int, width: int) -> None:
    crop = np.repeat(np.random.default_rng(seed).integers(0, 256, (height, width, 1), np.uint8), 3, axis=2)
    its = light(crop)
    assert (its.across, its.down) == pytest.approx(fitted(crop), abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(12, 64), st.floats(0.2, 0.9), st.integers(0, 255), st.floats(-2, 2))
def test_where_a_plane_is_steep_an_edge_counts(seed: int, side: int, edge: float, level: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    crop = rng.integers(60, 180, (side, side, 1)) * np.exp(slope * (np.arange(side) / side - 0.5))[:, None, None]
    crop[round(edge * side) :] = level
    crop = np.repeat(shown(crop), 3, axis=2)
    its = light(crop)
    assert (its.across, its.down) == pytest.approx(fitted(crop), abs=1e-7)


@pytest.mark.parametrize("side", [16, 24, 64, 160])
@pytest.mark.parametrize("top", [0.6, 0.75])
def test_a_dark_mask_or_scarf_is_no_light(side: int, top: float) -> None:
    crop = picture(side, contrast=15.0)
    covered, plain = crop.copy(), light(crop)
    covered[round(top * side) :] = 20
    seen = light(covered)
    assert abs(seen.across - plain.across) < 0.3
    assert abs(seen.down - plain.down) < 0.6
    (_, without, _), _ = reweighted(*measured(covered))
    assert without < -2  # which a plane alone takes for a lamp


@pytest.mark.parametrize("side", [16, 24, 64, 160])
def test_dark_glasses_are_no_light(side: int) -> None:
    crop = picture(side, contrast=15.0)
    covered, plain = crop.copy(), light(crop)
    covered[round(0.32 * side) : round(0.5 * side)] = 20
    seen = light(covered)
    assert abs(seen.across - plain.across) < 0.25
    assert abs(seen.down - plain.down) < 0.25
    y, _ = np.mgrid[0:side, 0:side] / side - 0.5
    lit = shown(covered * np.exp(-1.6 * y - 0.2)[..., None])  # a lamp above, besides
    assert light(lit).down == pytest.approx(plain.down - 1.6, abs=0.4)


def test_level_and_contrast_are_those_of_the_face_alone() -> None:
    crop = picture()
    bordered = crop.copy()
    bordered[:, :3] = bordered[:, -3:] = 0  # beyond a frame's edge
    assert light(bordered) == light(crop)


@pytest.mark.parametrize("side", [6, 24, 64, 200])
def test_usual_light_is_left_alone_to_the_bit(side: int) -> None:
    crop = picture(side)
    assert evened(crop) is crop
    assert light(crop).usual() == light(crop)


@pytest.mark.parametrize("change", [
    lambda x: 0.2 * x, lambda x: 0.15 * x + 200, lambda x: x.mean() + 0.2 * (x - x.mean()), lambda x: 60 + 0.1 * x,
], ids=["dark", "fog", "flat", "dark and flat"])
@pytest.mark.parametrize("side", [24, 48, 160])
def test_unusual_levels_come_to_the_edge_of_the_usual(change, side: int) -> None:
    changed = shown(change(picture(side).astype(float)))
    out = evened(changed)
    assert (out.dtype, out.shape) == (np.uint8, changed.shape)
    assert light(changed).usual() != light(changed)
    within(out)


@pytest.mark.parametrize(("right", "below"), [(3.0, 0.0), (-3.0, 0.0), (0.0, 2.5), (0.0, -2.5), (2.0, -2.0)])
def test_a_lamp_is_taken_away_as_far_as_it_is_unusual(right: float, below: float) -> None:
    crop = picture(64)
    y, x = np.mgrid[0:64, 0:64] / 64 - 0.5
    lit = shown(crop * np.exp(right * x + below * y - 0.3)[..., None])
    seen, out = light(lit), light(evened(lit))
    assert abs(seen.across) > HIGH.across or not LOW.down <= seen.down <= HIGH.down
    assert LOW.across - 0.25 <= out.across <= HIGH.across + 0.25  # what was clipped in white or black is lost
    assert LOW.down - 0.25 <= out.down <= HIGH.down + 0.25
    before, after = (np.corrcoef(crop[12:52, 12:52].ravel(), its[12:52, 12:52].ravel())[0, 1] for its in (lit, evened(lit)))
    assert after > before


def test_hues_stay() -> None:
    crop = np.empty((32, 32, 3), np.uint8)
    crop[:] = (40, 30, 20)
    crop[::2] = (20, 15, 10)
    out = evened(crop).astype(float)
    difference = out[::2].mean((0, 1)) - out[1::2].mean((0, 1))
    assert difference / difference[1] == pytest.approx([4 / 3, 1.0, 2 / 3], abs=0.05)


@pytest.mark.parametrize("lamp", [(1.2, 0.85, 0.35), (0.8, 1.15, 0.75), (0.55, 0.8, 1.3), (1.25, 0.8, 1.1)], ids=str)
@pytest.mark.parametrize("exposure", [1.0, 0.3])
@pytest.mark.parametrize("side", [16, 64, 160])
def test_the_colour_of_a_lamp_is_taken_away(lamp: tuple[float, ...], exposure: float, side: int) -> None:
    crop = picture(side, contrast=15.0)
    lit = shown(exposure * crop * np.array(lamp))
    assert not (LOW.red <= light(lit).red <= HIGH.red and LOW.blue <= light(lit).blue <= HIGH.blue)
    within(evened(lit))
    before, after = (ratios(lit, crop), ratios(evened(lit), crop))
    assert np.ptp(after) < 0.5 * np.ptp(before)


def ratios(its: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The contrast of every channel by that in another picture, logarithms, beside green's."""
    grown = np.log(its.std((0, 1)) / other.std((0, 1)))
    return np.asarray(grown - grown[1])


@pytest.mark.parametrize("lamp", [(1.2, 0.85, 0.35), (0.8, 1.15, 0.75), (0.55, 0.8, 1.3)], ids=str)
def test_a_coloured_lamp_leaves_the_mean_luma(lamp: tuple[float, ...]) -> None:
    lit = shown(picture(64, contrast=15.0) * np.array(lamp))
    before, after = (float((its[24:52, 20:44] @ np.array([0.299, 0.587, 0.114])).mean()) for its in (lit, evened(lit)))
    assert evened(lit) is not lit
    assert after == pytest.approx(before, abs=2.0)


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1.5), st.floats(0.5, 1.5))
def test_red_and_blue_are_those_of_the_means(seed: int, red: float, blue: float) -> None:
    crop = shown(picture(24, seed=seed) * np.array([red, 1.0, blue]))
    means, count = np.zeros(3), 0
    for r in range(24):
        for c in range(24):
            if (((c + 0.5) / 24 - 0.5) / 0.34) ** 2 + (((r + 0.5) / 24 - 0.58) / 0.42) ** 2 <= 1:
                means, count = means + crop[r, c], count + 1
    its = light(crop)
    wanted = np.log(means[0] / means[1]), np.log(means[2] / means[1])
    assert (its.red, its.blue) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("exposure", [1.0, 0.2])
def test_grey_stays_grey(exposure: float) -> None:
    crop = shown(exposure * np.repeat(picture(48)[..., 1:2], 3, axis=2))
    out = evened(crop)
    assert (out == out[..., :1]).all()
    assert (out is crop) == (exposure == 1.0)


@given(st.floats(-6, 6), st.floats(-6, 6))
def test_no_channel_grows_more_than_eight_times_and_the_mean_luma_stays(red: float, blue: float) -> None:
    its = replace(LOW, red=red, blue=blue)
    gains, means = _gains(its, its.usual()), np.exp([red, 0.0, blue]) * (0.299, 0.587, 0.114)
    assert gains.max() <= 8 * (1 + 1e-6)
    assert gains @ means == pytest.approx(means.sum())
    if its.usual() == its:
        assert (gains == 1).all()


def test_fog_hides_colours_and_is_not_taken_for_a_lamp() -> None:
    foggy = shown(0.2 * picture(48) + 170.0)
    its = light(foggy)
    assert 0 < its.red < 0.06
    assert (its.usual().red, its.usual().blue) == (its.red, its.blue)
    assert evened(foggy).std() > 1.5 * foggy.std()


@pytest.mark.parametrize("value", [0, 3, 128, 255])
def test_a_blank_picture_stays_blank(value: int) -> None:
    out = evened(np.full((24, 24, 3), value, np.uint8))
    assert len(np.unique(out)) == 1


def test_contrast_grows_eight_times_at_most() -> None:
    crop = np.full((24, 24, 3), 100, np.uint8)
    crop[::2, ::2] = 101
    assert np.ptp(evened(crop).astype(int)) == 8


@pytest.mark.parametrize("shape", [(6, 2000), (2000, 8), (6, 300), (20, 1500)])
def test_a_strip_has_its_light_measured_too(shape: tuple[int, int]) -> None:
    crop = np.random.default_rng(1).integers(0, 40, (*shape, 3), np.uint8)
    assert np.isfinite(astuple(light(crop))).all()
    assert evened(crop).mean() > crop.mean()


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 40, 3), (40, 5, 3)])
def test_too_small_a_picture_is_left_alone(shape: tuple[int, ...]) -> None:
    crop = np.zeros(shape, np.uint8)
    assert evened(crop) is crop


def test_light_comes_as_far_inside_as_it_lies_outside_and_no_farther_than_to_what_is_common() -> None:
    least, most = COMMON
    far = Light(9.0, -9.0, 0.0, 20.0, 2.0, -2.0)
    wanted = Light(most.across, least.down, least.level, 20.0, most.red, least.blue)
    assert astuple(far.usual()) == pytest.approx(astuple(wanted))
    near = Light(HIGH.across + 0.25, LOW.down - 0.125, HIGH.level + 1, LOW.contrast, 0.3, -0.1)
    wanted = Light(HIGH.across - 0.25, LOW.down + 0.125, HIGH.level - 1, LOW.contrast, 0.3, -0.1)
    assert astuple(near.usual()) == pytest.approx(astuple(wanted))
    assert LOW.usual() == LOW
    assert HIGH.usual() == HIGH


@pytest.mark.parametrize(("seen", "wanted"), [
    ((-0.1, -0.17), (0.04, -0.17)),  # 0.07 outside, so 0.07 inside: 0.4 of the way to 0.25
    ((-0.1, -0.41), (0.04, -0.314)),  # blue is usual, and goes 0.4 of its way to -0.17
    ((-0.1, 0.063), (0.04, -0.0302)),  # blue by itself would go 0.066 of its 0.233
    ((0.9, -0.3), (0.25, -0.17)),
    ((0.3, 0.3), (0.25, -0.17)),
    ((0.0, 0.0), (0.0, 0.0)),  # grey
    ((0.06, -0.05), (0.06, -0.05)),  # pale
])
def test_both_colours_go_the_same_share_of_their_way(seen: tuple[float, float], wanted: tuple[float, float]) -> None:
    its = replace(LOW, red=seen[0], blue=seen[1]).usual()
    assert (its.red, its.blue) == pytest.approx(wanted)
    assert its == replace(LOW, red=its.red, blue=its.blue)


def test_probes_are_evened_and_portraits_are_not(small) -> None:
    dark, usual = (0.2 * picture(32, seed=1)).astype(np.uint8), picture(32, seed=2)
    with small(even_light=True, keep_crops=True) as evening, small(keep_crops=True) as without:
        found = evening.match([dark, usual], [usual, dark])
        assert found.probe_status == ("ok: unusual light was evened out", "ok")
        assert found.gallery_status == ("ok", "ok")
        assert "1 of 2 probes: unusual light was evened out" in found.warnings
        assert not any("light" in text for text in evening.match([usual], [dark]).warnings)
        np.testing.assert_array_equal(found.scores, without.match([evened(dark), usual], [usual, dark]).scores)
        assert not np.array_equal(found.scores, without.match([dark, usual], [usual, dark]).scores)
        np.testing.assert_array_equal(found.probe_crops.crop(0), dark)  # as it came
        np.testing.assert_array_equal(found.probe_size, without.match([dark, usual], [usual, dark]).probe_size)
        shown = [picture for what, picture in evening.show_probe(dark) if not what.synthetic]
        np.testing.assert_array_equal(shown, [evened(dark)])
        told = found.explain(0, 1)
        pictures = [picture for _, picture in evening.show_probe(dark)]
        assert any(np.array_equal(told.probe_picture, picture) for picture in pictures)
        assert sum(value for _, value in told.probe_shares) == pytest.approx(1, abs=1e-6)


def test_a_gallery_does_not_depend_on_it(small) -> None:
    with small(even_light=True, keep_crops=True) as evening, small(keep_crops=True) as without:
        gallery = without.enroll([picture(32)])
        assert evening.match([picture(32)], gallery).scores.shape == (1, 1)
        assert evening.config.gallery_hash() == without.config.gallery_hash()
        assert evening.config.hash() != without.config.hash()


def test_presets_that_adapt_even_it_and_what_is_translated_cannot() -> None:
    assert {name for name, its in PRESETS.items() if its.even_light} == {"fast", "balanced", "accurate"}
    with pytest.raises(ConfigError, match=r"even_light=True expects no scale 1: .* got \(1,\)"):
        replace(PRESETS["balanced"], scales=(1,), sharp_between=None)
    assert not configured(PRESETS["balanced"], "m", "translator", None, None, {"scales": (1,)}).even_light
    assert configured(PRESETS["balanced"], "m", None, None, None, {"scales": (2,)}).even_light
    assert not configured(PRESETS["balanced"], "m", None, None, None, {"even_light": False}).even_light
