"""Super-resolution hypotheses: working sizes, levels, repeats, and the generator's arithmetic."""

import cv2
import numpy as np
import pytest

from meetmid.config import SIGMAS, MatchConfig
from meetmid.errors import InputError, ModelError
from meetmid.probes.blur import blur, blur_levels
from meetmid.probes.hallucination import Hallucinator, hallucinate, working_levels
from meetmid.probes.hypotheses import ProbeHypothesis, left_out, probe_hypotheses, probe_names, probe_picture, probe_slots
from meetmid.resize import resize, to_float, to_uint8


def generated(picture, scale):
    """What the tiny generator computes: nearest neighbours, then the sharpening kernel with a zero border."""
    big = np.repeat(np.repeat(picture.astype(np.float64), scale, axis=0), scale, axis=1)
    padded = np.pad(big, ((1, 1), (1, 1), (0, 0)))
    cross = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return np.clip(1.4 * big - 0.1 * cross, 0, 1)


def test_the_generator_is_run_as_its_card_says(tiny_family, face):
    pictures = np.stack([to_float(face(k, 24)) for k in range(10)])
    generator = Hallucinator(tiny_family, (2, 4, 8), device="cpu")
    for scale in (2, 4, 8):
        got = generator(pictures, scale)
        assert got.shape == (10, 24 * scale, 24 * scale, 3)
        for picture, enlarged in zip(pictures, got, strict=True):
            np.testing.assert_allclose(enlarged, generated(picture, scale), atol=1e-5)
        assert np.array_equal(generator(pictures[7:8], scale)[0], got[7])
    generator.close()
    assert np.array_equal(generator(pictures, 2), Hallucinator(tiny_family, (2,), device="cpu")(pictures, 2))


@pytest.mark.parametrize(("lr_size", "size"), [(24, (24, 24)), (12, (12, 12)), (None, (30, 21))])
def test_working_size_and_where_the_blur_happens(face, lr_size, size):
    crop = face(3, 30)[:, :21]
    working = list(working_levels(crop, SIGMAS, lr_size=lr_size))
    want = list(blur_levels(resize(to_float(crop), size), SIGMAS))
    assert [(v.sigma, v.count) for v in working] == [(v.sigma, v.count) for v in want]
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(working, want, strict=True))
    native = list(working_levels(crop, SIGMAS, lr_size=lr_size, blur_at="native"))
    for level in native:
        assert np.array_equal(level.picture, resize(blur(to_float(crop), level.sigma), size))
    assert sum(v.count for v in native) == 16


def test_pictures_smaller_than_a_generator_takes_are_enlarged(face):
    crop = face(3, 5)
    assert next(working_levels(crop, (0.0,), lr_size=None)).picture.shape == (8, 8, 3)
    assert next(working_levels(crop[:, :2], (0.0,), lr_size=None, method="cv2")).picture.shape == (8, 8, 3)


def test_hallucinate_repeats_collapsed_levels(tiny_family, face):
    crop = face(2, 20)[:, :16]
    got = hallucinate(crop, 4, model=tiny_family, device="cpu")
    assert got.shape == (16, 80, 64, 3)
    assert got.dtype == np.uint8
    for k in range(4):
        assert np.array_equal(got[k], got[0])
    for sigma, picture in zip(SIGMAS[4:], got[4:], strict=True):
        want = to_uint8(generated(blur(to_float(crop), sigma), 4))
        assert np.abs(picture.astype(int) - want).max() <= 1
    squashed = hallucinate(crop, 2, sigmas=(0.0, 1.0), lr_size=24, model=tiny_family)
    assert squashed.shape == (2, 48, 48, 3)
    assert np.array_equal(hallucinate(crop[..., ::-1], 2, sigmas=(0.0,), model=tiny_family, color="bgr")[0],
                          hallucinate(crop, 2, sigmas=(0.0,), model=tiny_family)[0])
    coded = cv2.imencode(".png", crop[..., ::-1])[1].tobytes()
    assert np.array_equal(hallucinate(coded, 4, model=tiny_family, device="cpu"), got)
    flat = np.full((16, 16, 3), 90, np.uint8)
    assert hallucinate(flat, 2, model=tiny_family).shape == (16, 32, 32, 3)


def test_bad_requests(tiny_family, face):
    for sigmas in ((), (-0.1,), (float("nan"),), "soft", "12", 1.0, (None,)):
        with pytest.raises(InputError, match="sigmas"):
            hallucinate(face(1, 20), 2, sigmas=sigmas, model=tiny_family)
    for lr_size in (4, 24.5, "24"):
        with pytest.raises(InputError, match="lr_size"):
            hallucinate(face(1, 20), 2, lr_size=lr_size, model=tiny_family)
    for scale in ("4", 2.0, 0):
        with pytest.raises(InputError, match="scale expects a whole number"):
            hallucinate(face(1, 20), scale, model=tiny_family)
    with pytest.raises(InputError, match=r"array \(140, 130, 3\) uint8: 8x of 130 x 140 px is more than 1048576 pixels"):
        hallucinate(face(1, 140)[:, :130], 8, model=tiny_family)
    with pytest.raises(ModelError, match="3"):
        hallucinate(face(1, 20), 3, model=tiny_family)
    with pytest.raises(InputError):
        hallucinate(b"no picture", 2, model=tiny_family)


@pytest.mark.parametrize("identity", [True, False])
def test_slots_names_and_pictures_of_a_probe(tiny_family, face, identity):
    config = MatchConfig(scales=(2, 4), lr_size=24, identity=identity, sigmas=SIGMAS)
    generator = Hallucinator(tiny_family, config.scales, device="cpu")
    crop = face(4, 30)
    weights = np.zeros((2 + identity, probe_slots(config)))
    found = {h.slots[0]: h.picture for h in probe_hypotheses(crop, config, generator, weights)}
    names = probe_names(crop, config)
    assert set(found) == set(names) == {(int(s), int(m)) for s, m in np.argwhere(weights > 0)}
    assert weights[identity:].tolist() == [[4] + [1] * 12 + [0] * 3] * 2
    if identity:
        assert weights[0].tolist() == [1] + [0] * 15
        assert names[0, 0] == ProbeHypothesis(1, 0.0)
        assert np.array_equal(found[0, 0], to_float(crop))
    levels = working_levels(crop, SIGMAS, lr_size=24)
    for slot, level in enumerate(levels):
        for k, scale in enumerate(config.scales):
            assert names[k + identity, slot] == ProbeHypothesis(scale, level.sigma)
            np.testing.assert_allclose(found[k + identity, slot], generated(level.picture, scale), atol=1e-5)
    for slot in ((identity, 0), (1 + identity, 12)):
        what, picture = probe_picture(crop, config, generator, *slot)
        assert what == names[slot]
        assert np.array_equal(picture, found[slot])


def test_a_scale_whose_picture_would_be_too_large_has_no_hypotheses(tiny_family):
    config = MatchConfig(scales=(2, 4), lr_size=None, sigmas=(0.0,), identity=False)
    crop = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    weights = np.zeros((2, 1))
    generator = Hallucinator(tiny_family, config.scales, device="cpu")
    assert [h.slots for h in probe_hypotheses(crop, config, generator, weights)] == [((0, 0),)]
    assert weights.tolist() == [[1], [0]]
    assert list(probe_names(crop, config)) == [(0, 0)]
    assert left_out(crop, config) == ["no 4x hypotheses: 4x of 300 x 300 px is more than 1048576 pixels"]
    assert left_out(crop[:256, :256], config) == []


def test_pictures_run_one_at_a_time_on_the_cpu_and_where_they_are_large(tiny_family, face, monkeypatch):
    generator = Hallucinator(tiny_family, (2,), device="cpu")
    pictures = np.stack([to_float(face(k, 120)) for k in range(3)])
    sizes = []
    run = generator.networks[2]._run_batch

    def counting(batch, **options):
        sizes.append(len(batch))
        return run(batch, **options)

    monkeypatch.setattr(generator.networks[2], "_run_batch", counting)
    got = generator(pictures, 2)
    assert sizes == [1, 1, 1]
    np.testing.assert_allclose(got[2], generated(pictures[2], 2), atol=1e-5)
    assert generator.batch((12, 12), 2) == 1
    monkeypatch.setattr("meetmid.runtime.sessions.Network.provider", "CUDAExecutionProvider")
    assert [generator.batch((side, side), 2) for side in (112, 120)] == [8, 1]
