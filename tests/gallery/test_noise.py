"""Compiled random words, noise and shuffles against NumPy's."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetmid.gallery.noise import PAIRS, add_noise, deviates, shuffle_pixels
from meetmid.gallery.philox import fill
from meetmid.gallery.randomness import NodeStream

keys = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(lambda pair: np.array(pair, np.uint64))
shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def numpy_words(key, first, count):
    generator = np.random.Philox(key=key)
    return generator.random_raw(first + count)[first:]


@settings(max_examples=100)
@given(keys, st.integers(0, 50), st.integers(1, 50))
def test_any_words_are_those_of_numpy(key, first, count):
    words = np.empty(4 * count, np.uint64)
    fill(key, 4 * first, words)
    assert np.array_equal(words, numpy_words(key, 4 * first, 4 * count))


@settings(max_examples=50)
@given(keys, st.lists(st.integers(0, 30), max_size=6))
def test_a_stream_goes_on_where_it_stopped(key, counts):
    stream = NodeStream(key.astype("<u8").tobytes())
    found = np.concatenate([np.zeros(0, np.uint64), *(stream.words(n) for n in counts)])
    assert np.array_equal(found, numpy_words(key, 0, sum(counts)))


def reference(words):
    u = (words >> np.uint64(11)).astype(np.float64).reshape(-1, 2) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log1p(-u[:, 0])), 2.0 * np.pi * u[:, 1]
    return radius * np.cos(angle), radius * np.sin(angle)


def made(words):
    held, cosines, sines = (np.empty(len(words) // 2) for _ in range(3))
    deviates(words, held, cosines, sines)
    return cosines, sines


def test_deviates_are_those_of_the_library_functions():
    words = numpy_words(np.array([1, 2], np.uint64), 0, 400_000)
    for found, wanted in zip(made(words), reference(words), strict=True):
        assert np.abs(found - wanted).max() < 1e-12


def test_deviates_of_extreme_words():
    quarters = (0, 2**61, 2**62, 2**63, 3 * 2**62)
    edges = np.array([*quarters, 1, 2**11, 2**12, 2**53, 2**63 - 1, 2**64 - 2**11, 2**64 - 1], np.uint64)
    near = np.concatenate([edges, edges + np.uint64(2**11), edges - np.uint64(2**11)])
    words = np.stack(np.meshgrid(near, near), axis=-1).reshape(-1)
    cosines, sines = made(words)
    assert np.isfinite(cosines).all()
    assert np.isfinite(sines).all()
    for found, wanted in zip((cosines, sines), reference(words), strict=True):
        assert np.abs(found - wanted).max() < 1e-12


@settings(max_examples=60)
@given(keys, shapes, st.booleans(), st.booleans())
def test_noise_of_any_shape(key, shape, gray, scaled):
    image = np.random.default_rng(0).random((*shape, 3), np.float32)
    planes = 1 if gray else 3
    count = shape[0] * shape[1] * planes
    cosines, sines = reference(numpy_words(key, 0, count + count % 2))
    noise = 0.14 * np.concatenate([cosines, sines])[:count].reshape(*shape, planes)
    wanted = np.clip(image + noise * (image if scaled else 1.0), 0, 1)
    found = add_noise(image, key, 0.14, gray, scaled)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 2e-7


def test_noise_across_tiles():
    image = np.full((2 * PAIRS + 7, 3, 3), 0.5, np.float32)
    key = np.array([5, 6], np.uint64)
    cosines, sines = reference(numpy_words(key, 0, image.size + image.size % 2))
    wanted = np.clip(image + 0.1 * np.concatenate([cosines, sines])[: image.size].reshape(image.shape), 0, 1)
    assert np.abs(add_noise(image, key, 0.1, False, False) - wanted).max() < 2e-7


@settings(max_examples=60)
@given(keys, shapes, st.integers(1, 7))
def test_shuffles_are_stable_sorts(key, shape, n):
    image = np.arange(shape[0] * shape[1] * 3, dtype=np.float32).reshape(*shape, 3)
    rows, columns = shape[0] // n, shape[1] // n
    wanted = image.copy()
    words = numpy_words(key, 0, rows * columns * n * n) >> np.uint64(11)
    for block in range(rows * columns):
        row, column = divmod(block, columns)
        cells = image[row * n : (row + 1) * n, column * n : (column + 1) * n].reshape(n * n, 3)
        order = np.argsort(words[block * n * n : (block + 1) * n * n], kind="stable")
        wanted[row * n : (row + 1) * n, column * n : (column + 1) * n] = cells[order].reshape(n, n, 3)
    assert np.array_equal(shuffle_pixels(image, key, n), wanted)


def test_large_shuffles_read_the_stream_piece_by_piece():
    image = np.random.default_rng(0).random((130, 150, 3), np.float32)
    key = np.array([7, 8], np.uint64)
    blocks = image[:130, :150].reshape(65, 2, 75, 2, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 4, 3)
    words = (numpy_words(key, 0, 4 * len(blocks)) >> np.uint64(11)).reshape(-1, 4)
    blocks = np.take_along_axis(blocks, np.argsort(words, axis=1, kind="stable")[:, :, None], axis=1)
    wanted = blocks.reshape(65, 75, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(130, 150, 3)
    assert np.array_equal(shuffle_pixels(image, key, 2), wanted)


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_nothing(threads):
    image = np.random.default_rng(0).random((64, 64, 3), np.float32)
    every = [np.array([k, k + 1], np.uint64) for k in range(24)]
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda key: add_noise(image, key, 0.1, False, True), every))
    assert all(np.array_equal(one, add_noise(image, key, 0.1, False, True)) for one, key in zip(found, every, strict=True))
