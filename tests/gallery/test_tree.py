"""The tree: shapes, prefixes, subsets, threads, options, and the single-path entry."""

import gc
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

import meetmid
from meetmid.config import DegradationOptions
from meetmid.errors import ConfigError, InputError
from meetmid.gallery.degradations import apply
from meetmid.gallery.paths import DEGRADATIONS, degradation_paths, path_bytes, path_index, select_paths
from meetmid.gallery.randomness import NodeStream, image_id, node_key
from meetmid.gallery.tree import degrade, scaled, walk, work_image
from meetmid.resize import halve, to_float, to_uint8

DEFAULT = DegradationOptions()
ALL = degradation_paths()


def portrait(height=40, width=32, seed=3):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def images(image, paths, seed=0, **options):
    return {paths[i]: node.copy() for i, node in walk(image, paths, seed=seed, options=DegradationOptions(**options))}


@pytest.fixture(scope="module")
def tree():
    return images(portrait(), ALL)


def test_every_node_once_depth_first(tree):
    order = [i for i, _ in walk(portrait(), ALL, seed=0, options=DEFAULT)]
    assert sorted(order) == list(range(1463))
    assert [ALL[i] for i in order] == sorted(ALL, key=path_bytes)
    assert len(tree) == 1463


@pytest.mark.parametrize(
    ("shape", "by_depth"),
    [((29, 22), [(29, 22), (15, 11), (8, 6)]), ((512, 512), [(512, 512), (256, 256), (128, 128)]),
     ((1, 1), [(1, 1)] * 3), ((3, 1), [(3, 1), (2, 1), (1, 1)])],
)
def test_sizes_by_depth(shape, by_depth):
    for path, node in images(portrait(*shape), [("gblur",), ("gblur", "persp"), ("gblur", "persp", "pshuf")]).items():
        assert node.shape == (*by_depth[len(path) - 1], 3)
        assert node.dtype == np.float32
        assert 0 <= node.min() <= node.max() <= 1


def test_nodes_follow_equation_one(tree):
    """rho3(half(rho2(half(rho1(G))))), each with the draws of its own prefix."""
    picture = portrait()
    for path in select_paths("random:60"):
        node = to_float(picture)
        for depth, name in enumerate(path):
            if depth:
                node = halve(node)
            key = node_key(0, image_id(picture), path_bytes(path[: depth + 1]))
            node = apply(name, node, NodeStream(key), DEFAULT)
        assert node.tobytes() == tree[path].tobytes()


def test_children_grow_from_their_parent_s_own_hypothesis(tree):
    picture = portrait()
    for path in (p for p in ALL if len(p) > 1 and p[-1] == "disk"):
        key = node_key(0, image_id(picture), path_bytes(path))
        assert apply("disk", halve(tree[path[:-1]]), NodeStream(key), DEFAULT).tobytes() == tree[path].tobytes()


@settings(max_examples=15)
@given(st.lists(st.sampled_from([(), *ALL]), min_size=1, max_size=12, unique=True))
def test_a_subset_equals_the_full_tree(tree, paths):
    subset = images(portrait(), paths)
    assert set(subset) == set(paths)
    for path, node in subset.items():
        expected = tree[path] if path else to_float(portrait())
        assert node.tobytes() == expected.tobytes()


def test_positions_refer_to_the_given_order():
    paths = [("pshuf",), (), ("color", "disk"), ("color",)]
    assert [i for i, _ in walk(portrait(), paths, seed=0, options=DEFAULT)] == [1, 3, 2, 0]
    assert list(walk(portrait(), [], seed=0, options=DEFAULT)) == []


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("side", [1, 2, 13])
def test_flat_portraits_stay_in_range(level, side, quantize):
    picture = np.full((side, side, 3), level, np.uint8)
    for node in images(picture, ALL, quantize=quantize).values():
        assert np.isfinite(node).all()
        assert 0 <= node.min() <= node.max() <= 1


def test_threads_change_nothing(tree):
    before = cv2.getNumThreads()
    try:
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            with ThreadPoolExecutor(4) as pool:
                branches = [[p for p in ALL if p[0] == name] for name in DEGRADATIONS]
                for part in pool.map(lambda branch: images(portrait(), branch), branches):
                    for path, node in part.items():
                        assert node.tobytes() == tree[path].tobytes()
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("name", ["motion", "gblur", "disk", "persp", "downup"])
def test_opencv_threads_change_nothing_on_large_images(name):
    before = cv2.getNumThreads()
    try:
        results = []
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            results.append(images(portrait(512, 480), [(name,)])[(name,)].tobytes())
    finally:
        cv2.setNumThreads(before)
    assert results[0] == results[1]


def test_a_caller_may_overwrite_what_it_gets(tree):
    for i, node in walk(portrait(), [(), *ALL[:300]], seed=0, options=DEFAULT):
        if i:
            assert node.tobytes() == tree[ALL[i - 1]].tobytes()
        node[:] = 7


def test_few_images_are_alive():
    alive, most = weakref.WeakSet(), 0

    class Traced(np.ndarray):
        __hash__ = object.__hash__

    def traced(function):
        def call(*arguments, **keywords):
            out = function(*arguments, **keywords).view(Traced)
            alive.add(out)
            nonlocal most
            gc.collect(0)
            most = max(most, len(alive))
            return out

        return call

    module = sys.modules["meetmid.gallery.tree"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "apply", traced(apply))
        patch.setattr(module, "halve", traced(halve))
        for item in walk(portrait(), select_paths("random:40"), seed=0, options=DEFAULT):
            del item
    assert most <= 3


class TestOptions:
    def test_seed(self):
        paths = [("gauss_noise",), ("persp",), ("gblur",)]
        first, second = images(portrait(), paths, seed=0), images(portrait(), paths, seed=1)
        assert [first[p].tobytes() == second[p].tobytes() for p in paths] == [False, False, True]

    def test_draws(self):
        """Shared draws warp two portraits alike: a marker on both backgrounds lands in the same place."""
        plain, other = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
        plain[30:34, 20:24] = other[30:34, 20:24] = 255
        other[0, 0] = 1

        def centre(image, draws):
            mass = images(image, [("persp",)], draws=draws)[("persp",)][8:, 8:, 0].astype(float)
            return np.array([(mass.sum(axis=axis) * np.arange(56)).sum() / mass.sum() for axis in (0, 1)])

        np.testing.assert_allclose(centre(plain, "shared"), centre(other, "shared"), atol=1e-3)
        assert np.abs(centre(plain, "image") - centre(other, "image")).max() > 0.1

    def test_shared_draws_use_the_zero_id(self):
        key = node_key(5, bytes(16), b"\0")
        expected = apply("gauss_noise", to_float(portrait()), NodeStream(key), DEFAULT)
        result = images(portrait(), [("gauss_noise",)], seed=5, draws="shared")[("gauss_noise",)]
        assert result.tobytes() == expected.tobytes()

    def test_resize(self):
        path = ("gblur", "gblur")
        half = halve(images(portrait(), [("gblur",)])[("gblur",)], method="cv2")
        expected = apply("gblur", half, NodeStream(bytes(16)), DEFAULT)
        assert images(portrait(), [path], resize="cv2")[path].tobytes() == expected.tobytes()
        assert images(portrait(), [path])[path].tobytes() != expected.tobytes()

    def test_quantize_also_rounds_the_halved_images(self):
        path = ("gblur", "disk")
        options = DegradationOptions(quantize=True)
        first = apply("gblur", to_float(portrait()), NodeStream(bytes(16)), options)
        half = to_float(to_uint8(halve(first)))
        expected = apply("disk", half, NodeStream(bytes(16)), options)
        assert images(portrait(), [path], quantize=True)[path].tobytes() == expected.tobytes()

    def test_scale_kernels_follows_the_longer_side_of_the_node(self):
        picture = portrait(256, 100)
        nodes = images(picture, [("disk",), ("disk", "motion")], scale_kernels=True)
        first = apply("disk", to_float(picture), NodeStream(bytes(16)), DEFAULT, 256 / 512)
        second = apply("motion", halve(first), NodeStream(bytes(16)), DEFAULT, 128 / 512)
        assert nodes["disk",].tobytes() == first.tobytes()
        assert nodes["disk", "motion"].tobytes() == second.tobytes()


class TestHalving:
    TAPS = (-0.01171875, -0.03515625, 0.11328125, 0.43359375)

    def test_impulse_response(self):
        taps = np.array((*self.TAPS, *self.TAPS[::-1]))
        for at in (15, 16):
            line = np.full((8, 32, 3), 0.5, np.float32)
            line[:, at] += 0.25
            response = (halve(line)[2, :, 0] - 0.5) / 0.25
            expected = [taps[at - (2 * j - 3)] if 0 <= at - (2 * j - 3) < 8 else 0.0 for j in range(16)]
            np.testing.assert_allclose(response, expected, atol=1e-6)

    @pytest.mark.parametrize("shape", [(1, 1), (29, 22), (64, 64)])
    def test_gain_is_one(self, shape):
        np.testing.assert_allclose(halve(np.full((*shape, 3), 0.7, np.float32)), 0.7, atol=1e-6)


class TestWorkImage:
    def test_reduces_the_longer_side(self):
        assert work_image(portrait(1000, 600), 512).shape == (512, 307, 3)
        assert work_image(portrait(600, 1001), 512).shape == (307, 512, 3)
        assert work_image(portrait(1000, 1), 512).shape == (512, 1, 3)

    @pytest.mark.parametrize("size", [40, 41, None])
    def test_never_enlarges(self, size):
        picture = portrait()
        assert work_image(picture, size) is picture

    def test_filter(self):
        picture = portrait(300, 200)
        expected = PillowImage.fromarray(picture).resize((100, 150), PillowImage.Resampling.BICUBIC)
        assert np.abs(work_image(picture, 150).astype(int) - np.asarray(expected)).max() <= 1
        stripes = np.zeros((300, 300, 3), np.uint8)
        stripes[:, ::3] = 255
        assert work_image(stripes, 150).std() < 0.5 * work_image(stripes, 150, "cv2").std()

    def test_refuses_nothing_at_all(self):
        with pytest.raises(ConfigError, match="work_size"):
            work_image(portrait(), 0)

    @given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
    @settings(max_examples=60)
    def test_any_size(self, height, width, size):
        out = work_image(portrait(height, width), size)
        assert out.dtype == np.uint8
        assert max(out.shape[:2]) == min(max(height, width), size)
        assert min(out.shape[:2]) >= 1


class TestDegrade:
    def test_equals_the_node(self, tree):
        for path in select_paths("random:20"):
            np.testing.assert_array_equal(degrade(portrait(), path), to_uint8(tree[path]))

    def test_forms_of_a_path(self):
        expected = degrade(portrait(), ("gblur", "downup"))
        assert expected.dtype == np.uint8
        assert expected.shape == (20, 16, 3)
        np.testing.assert_array_equal(degrade(portrait(), "gblur+downup"), expected)
        np.testing.assert_array_equal(degrade(portrait(), ["gblur", "downup"]), expected)

    @given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
    @settings(max_examples=60)
    def test_scaled_has_the_longer_side(self, height, width, longer):
        out = scaled(portrait(height, width), longer)
        assert max(out.shape[:2]) == longer
        assert abs(min(out.shape[:2]) - max(1, min(height, width) * longer / max(height, width))) <= 0.5
        assert out.dtype == np.uint8

    def test_scaled_enlarges_as_it_reduces(self):
        picture = portrait(60, 40)
        assert scaled(picture, 60) is picture
        np.testing.assert_array_equal(scaled(picture, 30), work_image(picture, 30))
        expected = PillowImage.fromarray(picture).resize((80, 120), PillowImage.Resampling.BICUBIC)
        assert np.abs(scaled(picture, 120).astype(int) - np.asarray(expected)).max() <= 1

    def test_identity_is_the_work_image(self):
        picture = portrait(80, 60)
        np.testing.assert_array_equal(degrade(picture, ()), picture)
        np.testing.assert_array_equal(degrade(picture, "identity", work_size=40), work_image(picture, 40))

    def test_noise_belongs_to_the_work_image(self):
        picture = portrait(80, 60)
        np.testing.assert_array_equal(
            degrade(picture, "gauss_noise", work_size=40), degrade(work_image(picture, 40), "gauss_noise")
        )

    def test_options_and_seed(self):
        picture = portrait()
        flat = degrade(picture, "bright", options=DegradationOptions(contrast=(0, 0), contrast_about="half"))
        assert (flat == 128).all()
        assert (degrade(picture, "speckle", seed=1) != degrade(picture, "speckle", seed=2)).any()

    def test_the_resize_option_holds_for_the_work_size_too(self):
        options = DegradationOptions(resize="cv2")
        got = degrade(portrait(), "identity", work_size=20, options=options)
        np.testing.assert_array_equal(got, work_image(portrait(), 20, "cv2"))
        assert (got != work_image(portrait(), 20)).any()

    def test_refusals(self):
        with pytest.raises(InputError, match="unknown degradation"):
            degrade(portrait(), "blur")
        for seed in (-1, 2**64, 1.5, "1", True):
            with pytest.raises(ConfigError, match="seed"):
                degrade(portrait(), "disk", seed=seed)
        assert np.array_equal(meetmid.degrade(portrait(), iter(("gblur", "disk"))), degrade(portrait(), "gblur+disk"))
        for path in (3, None, {"disk"}, {"disk": 1}, ["disk", 3], [["disk"]]):
            with pytest.raises(InputError, match="path expects names"):
                meetmid.degrade(portrait(), path)
        with pytest.raises(InputError, match="gblur twice"):
            list(walk(portrait(), [("gblur",), ("gblur",)], seed=0, options=DEFAULT))


def test_the_portrait_is_left_alone():
    picture = portrait()
    picture.setflags(write=False)
    for _, node in walk(picture, [(), *degradation_paths(1)], seed=0, options=DEFAULT):
        assert not np.shares_memory(node, picture)


def test_storage_rows_match_full_tree_positions():
    assert [path_index(p) for p in ALL] == [ALL.index(p) for p in ALL]
