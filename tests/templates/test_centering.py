"""Centring: means that no order can change, the four modes through a Matcher, and reference means on disk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetmid.errors import ConfigError, InputError, ModelError, StoreError
from meetmid.scores.fusion import fuse
from meetmid.templates.centering import MeanAccumulator, ReferenceMeans


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), magnitude=st.sampled_from([0.01, 1.0, 100.0]))
def test_means_equal_float64_and_ignore_the_order(seed, magnitude):
    rng = np.random.default_rng(seed)
    templates = (magnitude * rng.normal(0.5, 1, (9, 2, 4, 6))).astype(np.float32)
    weights = rng.integers(0, 4, (9, 2, 4)).astype(float)
    weights[:, 1] *= seed % 2
    found = []
    for order in (np.arange(9), rng.permutation(9)):
        total = MeanAccumulator(2, 6)
        for k in order:
            total.add(templates[k], weights[k])
        found.append(total.means())
    assert np.array_equal(*found)
    for s in range(2):
        flat, w = templates[:, s].reshape(-1, 6).astype(np.float64), weights[:, s].ravel()
        want = np.average(flat, axis=0, weights=w) if w.any() else np.zeros(6)
        np.testing.assert_allclose(found[0][s], want, rtol=1e-6, atol=1e-6 * magnitude)


def test_sums_that_would_overflow_are_refused():
    total = MeanAccumulator(1, 2)
    big = np.full((1, 1, 2), 1e9, np.float32)
    for _ in range(17):
        total.add(big, np.ones((1, 1)))
    np.testing.assert_allclose(total.means(), 1e9)
    with pytest.raises(ModelError, match="too large to average"):
        total.add(big, np.ones((1, 1)))


def sides(matcher, probes, portraits):
    """Uncentred templates and weights of both sides."""
    gallery = matcher.enroll(portraits)
    made = [matcher.comparison.sides([p], gallery, None)[0][1] for p in probes]
    p, wp = np.concatenate([s.templates for s in made]), np.concatenate([s.weights for s in made])
    return p, wp, np.array(gallery.pool.templates), gallery.pool.weights


def weighted_mean(t, w):
    return np.einsum("isnd,isn->sd", t.astype(np.float64), w) / w.sum(axis=(0, 2))[:, None]


def test_the_four_modes_through_a_matcher(small, face):
    probes, portraits = [face(k, 20) for k in range(3)], [face(k, 48) for k in range(4)]
    with small() as plain:
        p, wp, g, wg = sides(plain, probes, portraits)
    cohort = [face(k, 20) for k in range(50, 54)], [face(k, 48) for k in range(50, 55)]
    with small() as plain:
        means = plain.learn_means(*cohort)
        cp, cwp, cg, cwg = sides(plain, *cohort)
    np.testing.assert_allclose(means.probe, weighted_mean(cp, cwp), atol=1e-6)
    np.testing.assert_allclose(means.gallery, weighted_mean(cg, cwg), atol=1e-6)
    centred = {
        "none": (p, g),
        "vector": (p - p.mean(axis=-1, keepdims=True), g - g.mean(axis=-1, keepdims=True)),
        "set": (p - weighted_mean(p, wp)[None, :, None], g - weighted_mean(g, wg)[None, :, None]),
        "reference": (p - means.probe[None, :, None], g - means.gallery[None, :, None]),
    }
    for mode, pair in centred.items():
        with small(centering=mode, reference=means) as matcher:
            got = matcher.match(probes, portraits).scores
        a, b = (t.astype(np.float32) for t in pair)
        want = fuse(a, b, add="mean", probe_weights=wp, gallery_weights=wg)
        np.testing.assert_allclose(got, want, atol=2e-5, err_msg=mode)


def test_reference_means_are_saved_bit_for_bit_and_reproducibly(small, face, tmp_path):
    with small() as matcher:
        means = matcher.learn_means([face(1, 20)], [face(2, 48)])
    means.save(tmp_path / "means.npz")
    back = ReferenceMeans.load(tmp_path / "means.npz")
    assert back.scales == means.scales == (1, 2, 4)
    assert back.matcher == means.matcher
    assert back.conditions == means.conditions
    assert np.array_equal(back.probe, means.probe)
    assert np.array_equal(back.gallery, means.gallery)
    back.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "means.npz").read_bytes()
    assert np.array_equal(means.of("gallery", (4, 1)), means.gallery[[2, 0]])
    with pytest.raises(ConfigError, match=r"not for \[8\]"):
        means.of("probe", (1, 8))
    results = []
    for reference in (means, tmp_path / "means.npz", str(tmp_path / "means.npz")):
        with small(centering="reference", reference=reference) as matcher:
            results.append(matcher.match(face(3, 20), face(4, 48)).scores)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_reference_means_that_do_not_fit_are_refused(small, face, make_matcher, tmp_path):
    with small() as matcher:
        means = matcher.learn_means([face(1, 20)], [face(2, 48)])
    other = make_matcher(tmp_path / "other", seed=5, name="other")
    for options in ({"matcher": other}, {"flip": True}, {"normalize": "l2"}):
        wrong = small(centering="reference", reference=means, **options)
        with wrong as matcher, pytest.raises(ConfigError, match="learned for"):
            matcher.match(face(3, 20), face(4, 48))
    with small(centering="reference") as matcher, pytest.raises(ConfigError, match="no reference means"):
        matcher.match(face(3, 20), face(4, 48))
    with small(lr_size=None) as matcher, pytest.raises(ConfigError, match="native"):
        matcher.learn_means([face(1, 20)], [face(2, 48)])
    with small() as matcher, pytest.raises(InputError, match="portraits"):
        matcher.learn_means([face(1, 20)], [])


def test_files_that_hold_no_means_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    whole = ReferenceMeans("0", (1,), np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), {})
    whole.save(tmp_path / "whole.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("no")
    for name in ("array.npy", "other.npz", "cut.npz", "empty.npz", "text.npz", "missing.npz"):
        with pytest.raises(StoreError, match="expected reference means"):
            ReferenceMeans.load(tmp_path / name)
