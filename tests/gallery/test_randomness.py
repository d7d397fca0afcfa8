"""Node streams against the published vectors and statistics."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetmid.errors import ConfigError
from meetmid.gallery.noise import deviates
from meetmid.gallery.paths import degradation_paths, path_bytes
from meetmid.gallery.randomness import SHARED_IMAGE_ID, NodeStream, image_id, node_key

VECTORS = {
    (0,): ("c576c7d2b1f7c7985cf7f479d07e3a46", "283eb636bcb3bc30 b89179ca8842b48b b6f31d288c559852 ca954216a7103fd1"),
    (0, 3): ("7180e17476a14ab49842d449a04a9f3f", "a83fa4362837f41f e003c1d7e8741a94 f97897909270536b 02e8b32516c29639"),
    (10, 10, 10): (
        "061ac585eaf509dba781012d1fdf21c8", "9e978e7c9f17bf9c ec2d7cec7508b612 44c5f6f3300326c9 3e4c7f1a3ac436e6",
    ),
}


@pytest.mark.parametrize("path", VECTORS)
def test_vectors(path):
    key = node_key(0, SHARED_IMAGE_ID, bytes(path))
    assert key.hex() == VECTORS[path][0]
    assert [f"{word:016x}" for word in NodeStream(key).words(4)] == VECTORS[path][1].split()


def first_stream():
    return NodeStream(node_key(0, SHARED_IMAGE_ID, b"\0"))


def test_first_uniforms():
    np.testing.assert_allclose(first_stream().uniforms(3), (0.15720691, 0.72096978, 0.71464712), atol=5e-9)


def normals(stream, n):
    half = (n + 1) // 2
    held, cosines, sines = np.empty(half), np.empty(half), np.empty(half)
    deviates(stream.words(2 * half), held, cosines, sines)
    return np.concatenate([cosines, sines])[:n]


def test_box_muller_moments():
    found = normals(first_stream(), 200_000)
    assert round(found.mean(), 4) == 0.0018
    assert round(found.var(), 4) == 1.0020


@given(st.integers(0, 41))
def test_normals_are_cosines_then_sines_of_word_pairs(n):
    u = first_stream().uniforms(n + n % 2)
    pairs = [(u[i], u[i + 1]) for i in range(0, len(u), 2)]
    expected = [np.sqrt(-2 * np.log(1 - a)) * trig(2 * np.pi * b) for trig in (np.cos, np.sin) for a, b in pairs]
    found = normals(first_stream(), n)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected[:n], rtol=1e-9, atol=1e-9)


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_stream_continues(m, n):
    split, whole = first_stream(), first_stream()
    np.testing.assert_array_equal(np.concatenate((split.uniforms(m), split.uniforms(n))), whole.uniforms(m + n))


def test_uniforms_lie_in_the_unit_interval():
    u = first_stream().uniforms(100_000)
    assert u.dtype == np.float64
    assert u.min() >= 0
    assert u.max() < 1


def test_every_node_has_its_own_key():
    keys = {node_key(seed, SHARED_IMAGE_ID, path_bytes(p)) for p in degradation_paths() for seed in (0, 1, 2**64 - 1)}
    assert len(keys) == 3 * 1463


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_image_id(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    message = struct.pack("<II", height, width) + image.tobytes()
    assert image_id(image) == hashlib.blake2b(message, digest_size=16).digest()
    assert image_id(np.asfortranarray(image)) == image_id(image)
    assert image_id(image ^ np.uint8(1)) != image_id(image)


def test_image_id_knows_the_shape():
    assert image_id(np.zeros((2, 6, 3), np.uint8)) != image_id(np.zeros((3, 4, 3), np.uint8))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_range(seed):
    with pytest.raises(ConfigError, match="seed"):
        node_key(seed, SHARED_IMAGE_ID, b"")
