"""Each degradation against a slow, obvious reference; every option; identities; ranges."""

import colorsys
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal
from skimage.transform import ProjectiveTransform

from meetmid.config import DegradationOptions
from meetmid.errors import InputError
from meetmid.gallery.degradations import apply
from meetmid.gallery.kernels import disk_kernel, gauss_kernel, motion_kernel
from meetmid.gallery.paths import DEGRADATIONS
from meetmid.gallery.randomness import SHARED_IMAGE_ID, NodeStream, node_key
from meetmid.resize import resize

DEFAULT = DegradationOptions()
RANDOM = ("gauss_noise", "speckle", "color", "bright", "persp", "shear", "pshuf")
FIXED = ("motion", "gblur", "disk", "downup")


def stream(seed=0):
    return NodeStream(node_key(seed, SHARED_IMAGE_ID, b"\5"))


def picture(height=32, width=28, seed=1, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, (height, width, 3)).astype(np.float32)


def flat(value, side=64):
    return np.full((side, side, 3), value, np.float32)


def run(name, image, seed=0, scale=1.0, **options):
    return apply(name, image, stream(seed), DegradationOptions(**options), scale)


class TestKernels:
    def test_motion_table(self):
        np.testing.assert_allclose(motion_kernel(), [0.025] + [0.05] * 19 + [0.025], rtol=1e-6)
        np.testing.assert_allclose(motion_kernel(20, True), [0.05] * 20, rtol=1e-6)

    def test_gauss_table(self):
        np.testing.assert_allclose(gauss_kernel(), (0.07077, 0.24446, 0.36955, 0.24446, 0.07077), atol=5e-6)

    def test_disk_table(self):
        quadrant = disk_kernel()[:6, :6]
        expected = np.array(
            [
                (0, 0, 0, 0.00125, 0.00497, 0.00626),
                (0, 0.00003, 0.00616, 0.01240, 0.01273, 0.01273),
                (0, 0.00616, 0.01273, 0.01273, 0.01273, 0.01273),
                (0.00125, 0.01240, 0.01273, 0.01273, 0.01273, 0.01273),
                (0.00497, 0.01273, 0.01273, 0.01273, 0.01273, 0.01273),
                (0.00626, 0.01273, 0.01273, 0.01273, 0.01273, 0.01273),
            ]
        )
        np.testing.assert_allclose(quadrant, expected, atol=5e-6)
        assert disk_kernel().shape == (11, 11)
        assert np.count_nonzero(disk_kernel()) == 101
        assert disk_kernel()[5, 5] == pytest.approx(1 / (25 * math.pi), rel=1e-6)

    def test_binary_disk(self):
        kernel = disk_kernel(5, True)
        assert kernel.shape == (11, 11)
        assert np.count_nonzero(kernel) == 89
        assert set(np.unique(kernel)) == {0, np.float32(1 / 89)}

    @pytest.mark.parametrize("radius", [0.3, 0.5, 1.0, 1.25, 2.7, 5.0, 7.5])
    def test_disk_areas_by_counting(self, radius):
        kernel = disk_kernel(radius)
        side, fine = kernel.shape[0], 200
        grid = (np.arange(side * fine) + 0.5) / fine - side / 2
        inside = (grid[:, None] ** 2 + grid[None, :] ** 2 < radius**2).reshape(side, fine, side, fine)
        np.testing.assert_allclose(kernel, inside.mean(axis=(1, 3)) / (math.pi * radius**2), atol=3e-3 / radius)

    @given(st.floats(0.05, 30.0))
    @settings(max_examples=40)
    def test_any_size_is_symmetric_and_sums_to_one(self, size):
        kernels = [motion_kernel(size), motion_kernel(size, True), disk_kernel(size), disk_kernel(size, True)]
        kernels.append(gauss_kernel(size, 2 * math.ceil(size) + 1))
        for kernel in kernels:
            assert kernel.dtype == np.float32
            assert kernel.min() >= 0
            assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
            np.testing.assert_allclose(kernel, np.flip(kernel), atol=1e-7)

    def test_tables_are_read_only(self):
        with pytest.raises(ValueError, match="read-only"):
            disk_kernel()[0, 0] = 1


def box_muller(stream, n):
    """Standard normals as degradations.md section 6 has them: cosine branches of all pairs, then the sine branches."""
    pairs = stream.uniforms(n + n % 2).reshape(-1, 2)
    radius, angle = np.sqrt(-2.0 * np.log1p(-pairs[:, 0])), 2.0 * np.pi * pairs[:, 1]
    return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:n]


class TestNoise:
    @pytest.mark.parametrize("name", ["gauss_noise", "speckle"])
    @pytest.mark.parametrize("noise_color", ["rgb", "gray"])
    def test_reference(self, name, noise_color):
        image = picture(7, 5)
        planes = 3 if noise_color == "rgb" else 1
        noise = math.sqrt(0.02) * box_muller(stream(), 35 * planes).reshape(7, 5, planes)
        expected = image + noise * (1 if name == "gauss_noise" else image)
        np.testing.assert_allclose(run(name, image, noise_color=noise_color), np.clip(expected, 0, 1), atol=1e-6)

    def test_variance_at_mid_grey(self):
        noisy = run("gauss_noise", flat(0.5, 512))
        assert noisy.var() == pytest.approx(0.02, rel=0.01)
        assert noisy.mean() == pytest.approx(0.5, abs=1e-3)
        assert abs(np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1]) < 0.01

    @pytest.mark.parametrize("value", [0.2, 0.4, 0.6])
    @pytest.mark.parametrize("speckle_dist", ["gaussian", "uniform"])
    def test_speckle_variance_follows_the_square(self, value, speckle_dist):
        noisy = run("speckle", flat(value, 512), speckle_dist=speckle_dist)
        assert noisy.var() == pytest.approx(0.02 * value**2, rel=0.01)

    def test_clipping_biases_dark_and_bright(self):
        assert run("gauss_noise", flat(0.05, 256)).mean() == pytest.approx(0.085, abs=2e-3)
        assert run("gauss_noise", flat(0.95, 256)).mean() == pytest.approx(0.915, abs=2e-3)
        assert run("gauss_noise", flat(0.05, 256)).std() == pytest.approx(0.099, abs=2e-3)

    def test_uniform_speckle_is_bounded_and_gaussian_is_not(self):
        image = flat(0.5, 128)
        bound = 0.5 * math.sqrt(0.06)
        uniform = run("speckle", image, speckle_dist="uniform")
        expected = image * (1 + math.sqrt(0.06) * (2 * stream().uniforms(image.size).reshape(image.shape) - 1))
        np.testing.assert_allclose(uniform, expected, atol=1e-6)
        assert np.abs(uniform - 0.5).max() <= bound + 1e-6
        assert np.abs(run("speckle", image) - 0.5).max() > bound

    def test_gray_noise_keeps_grey(self):
        noisy = run("gauss_noise", flat(0.5), noise_color="gray")
        np.testing.assert_array_equal(noisy[..., 0], noisy[..., 2])

    def test_speckle_keeps_black(self):
        assert not run("speckle", flat(0.0)).any()


class TestColor:
    def test_reference(self):
        image = picture(6, 5)
        u = stream().uniforms(2)
        shift, factor = 0.05 * (2 * u[0] - 1), 0.6 + 0.8 * u[1]
        expected = np.empty(image.shape)
        for y, x in np.ndindex(6, 5):
            h, s, v = colorsys.rgb_to_hsv(*map(float, image[y, x]))
            expected[y, x] = colorsys.hsv_to_rgb((h + shift) % 1.0, min(s * factor, 1.0), v)
        np.testing.assert_allclose(run("color", image), expected, atol=2e-5)

    def test_zero_range_is_the_identity(self):
        image = picture()
        np.testing.assert_allclose(run("color", image, hue=0.0, saturation=(1.0, 1.0)), image, atol=1e-6)

    def test_grey_stays(self):
        image = np.repeat(picture()[..., :1], 3, axis=2)
        np.testing.assert_allclose(run("color", image), image, atol=1e-6)

    def test_saturation_range(self):
        image = picture()
        grey = run("color", image, saturation=(0.0, 0.0))
        np.testing.assert_allclose(grey, image.max(axis=2, keepdims=True).repeat(3, axis=2), atol=1e-6)
        full = run("color", image, hue=0.0, saturation=(1e6, 1e6))
        assert np.abs(full.min(axis=2)).max() < 1e-6

    def test_hue_range(self):
        red = np.zeros((4, 4, 3), np.float32) + np.array((1, 0, 0), np.float32)
        u = stream().uniforms(2)[0]
        turned = run("color", red, hue=0.5, saturation=(1.0, 1.0))[0, 0]
        assert colorsys.rgb_to_hsv(*turned)[0] == pytest.approx((0.5 * (2 * u - 1)) % 1, abs=1e-5)


class TestBright:
    @pytest.mark.parametrize("mode", ["multiply", "add"])
    @pytest.mark.parametrize("about", ["luma", "half"])
    @pytest.mark.parametrize("seed", range(4))
    def test_reference(self, mode, about, seed):
        image = picture()
        u = stream(seed).uniforms(2)
        b, c = 0.7 + 0.6 * u
        lit = np.clip(image * b if mode == "multiply" else image + b - 1, 0, 1)
        pivot = 0.5 if about == "half" else (lit @ (0.299, 0.587, 0.114)).mean()
        expected = np.clip((lit - pivot) * c + pivot, 0, 1)
        np.testing.assert_allclose(
            run("bright", image, seed, brightness_mode=mode, contrast_about=about), expected, atol=2e-6
        )

    @pytest.mark.parametrize("mode", ["multiply", "add"])
    @pytest.mark.parametrize("about", ["luma", "half"])
    def test_unit_factors_are_the_identity(self, mode, about):
        image = picture()
        same = run("bright", image, brightness=(1, 1), contrast=(1, 1), brightness_mode=mode, contrast_about=about)
        np.testing.assert_allclose(same, image, atol=1e-6)

    def test_ranges(self):
        np.testing.assert_allclose(run("bright", flat(0.4), brightness=(0.5, 0.5)), flat(0.2), atol=1e-6)
        image = picture()
        assert run("bright", image, brightness=(1, 1), contrast=(0, 0)).std() < 1e-6


KERNELS = {
    "motion": np.outer([1], motion_kernel()), "gblur": np.outer(gauss_kernel(), gauss_kernel()), "disk": disk_kernel(),
}


class TestFilters:
    @pytest.mark.parametrize("name", KERNELS)
    @pytest.mark.parametrize(
        ("shape", "border", "mode"),
        [((32, 28), "reflect101", "mirror"), ((11, 40), "reflect101", "mirror"), ((10, 40), "reflect101", "nearest"),
         ((32, 9), "reflect101", "nearest"), ((32, 28), "zero", "constant"), ((4, 6), "zero", "constant")],
    )
    def test_reference(self, name, shape, border, mode):
        image = picture(*shape)
        planes = [ndimage.correlate(image[..., c].astype(float), KERNELS[name], mode=mode) for c in range(3)]
        np.testing.assert_allclose(run(name, image, border=border), np.stack(planes, axis=2), atol=2e-6)

    @pytest.mark.parametrize("name", FIXED)
    @pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
    @pytest.mark.parametrize("side", [1, 7, 64])
    def test_constant_images_are_invariant(self, name, value, side):
        np.testing.assert_allclose(run(name, flat(value, side)), flat(value, side), atol=1e-6)

    def test_zero_border_darkens_the_frame(self):
        assert run("disk", flat(1.0), border="zero")[0, 0, 0] < 0.5

    def test_motion_is_horizontal(self):
        rows = np.repeat(picture(32, 1), 40, axis=1)
        np.testing.assert_allclose(run("motion", rows), rows, atol=1e-6)

    def test_even_motion_has_twenty_equal_taps(self):
        line = np.zeros((12, 64, 3), np.float32)
        line[:, 32] = 1
        blurred = run("motion", line, motion="even20")[5, :, 0]
        np.testing.assert_allclose(blurred[23:43], 0.05, rtol=1e-5)
        assert np.count_nonzero(blurred) == 20

    def test_binary_disk_impulse(self):
        dot = np.zeros((31, 31, 3), np.float32)
        dot[15, 15] = 1
        assert np.count_nonzero(run("disk", dot, disk_kind="binary")[..., 0]) == 89
        assert np.count_nonzero(run("disk", dot)[..., 0]) == 101

    @pytest.mark.parametrize("scale", [0.05, 0.25, 0.5, 2.0, 3.0])
    def test_scaled_kernels(self, scale):
        image = picture(96, 96)
        gauss = gauss_kernel(1.1 * scale, 2 * math.ceil(2 * scale) + 1)
        kernels = {
            "motion": np.outer([1], motion_kernel(20 * scale)), "gblur": np.outer(gauss, gauss),
            "disk": disk_kernel(5 * scale),
        }
        for name, kernel in kernels.items():
            extended = np.pad(image[..., 0].astype(float), 40, mode="reflect")
            expected = signal.convolve(extended, kernel, mode="same", method="direct")[40:-40, 40:-40]
            np.testing.assert_allclose(run(name, image, scale=scale)[..., 0], expected, atol=5e-6)

    def test_scale_one_is_the_table(self):
        assert motion_kernel(20.0).size == 21
        assert run("gblur", picture(), scale=1.0).tobytes() == run("gblur", picture()).tobytes()


def sample(image, u, v, border):
    """Bilinear samples at columns u and rows v."""
    mode = "nearest" if border == "replicate" else "grid-constant"
    planes = [ndimage.map_coordinates(image[..., c].astype(float), (v, u), order=1, mode=mode) for c in range(3)]
    return np.stack(planes, axis=-1)


class TestWarps:
    @pytest.mark.parametrize("border", ["replicate", "zero"])
    @pytest.mark.parametrize("scale", [0.1, 0.25])
    @pytest.mark.parametrize("seed", range(3))
    def test_persp_reference(self, border, scale, seed):
        height, width = 30, 41
        image = picture(height, width)
        m = scale * stream(seed).uniforms(8).reshape(4, 2) * (width, height)
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
        inwards = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
        back = ProjectiveTransform.from_estimate(corners + inwards * m, corners)
        y, x = np.mgrid[:height, :width]
        points = back(np.column_stack((x.ravel() + 0.5, y.ravel() + 0.5))) - 0.5
        expected = sample(image, *points.T, border).reshape(image.shape)
        result = run("persp", image, seed, persp_scale=scale, warp_border=border)
        np.testing.assert_allclose(result, expected, atol=1e-5)

    @pytest.mark.parametrize("border", ["replicate", "zero"])
    @pytest.mark.parametrize("axes", ["both", "x", "y"])
    @pytest.mark.parametrize("seed", range(3))
    def test_shear_reference(self, border, axes, seed):
        height, width = 30, 41
        image = picture(height, width)
        a, b = np.tan(np.radians(10 * (2 * stream(seed).uniforms(2) - 1)))
        a, b = a * (axes != "y"), b * (axes != "x")
        cx, cy = (width - 1) / 2, (height - 1) / 2
        expected = np.empty(image.shape)
        for y, x in np.ndindex(height, width):
            u, v = np.linalg.solve([(1, a), (b, 1)], (x + a * cy, y + b * cx))
            expected[y, x] = sample(image, np.array([u]), np.array([v]), border)[0]
        result = run("shear", image, seed, shear_axes=axes, warp_border=border)
        np.testing.assert_allclose(result, expected, atol=1e-5)

    @pytest.mark.parametrize("border", ["replicate", "zero"])
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (33, 20)])
    def test_zero_range_is_the_identity(self, border, shape):
        image = picture(*shape)
        np.testing.assert_allclose(run("persp", image, persp_scale=0.0, warp_border=border), image, atol=1e-6)
        np.testing.assert_allclose(run("shear", image, shear=0.0, warp_border=border), image, atol=1e-6)

    def test_shear_angle_is_the_range(self):
        steep, mild = run("shear", picture(), shear=30.0), run("shear", picture(), shear=1.0)
        assert np.abs(steep - picture()).mean() > np.abs(mild - picture()).mean()

    @pytest.mark.parametrize("seed", range(20))
    def test_persp_shrinks_the_picture(self, seed):
        inside = run("persp", flat(1.0), seed, warp_border="zero").mean()
        assert 0.6 < inside < 1.0
        np.testing.assert_allclose(run("persp", flat(1.0), seed), 1.0, atol=1e-6)

    @pytest.mark.parametrize("seed", range(30))
    def test_extreme_perspective_stays_finite(self, seed):
        out = run("persp", picture(16, 16), seed, persp_scale=0.499)
        assert np.isfinite(out).all()


class TestDownup:
    @pytest.mark.parametrize("shape", [(32, 28), (29, 22), (1, 5), (1, 1)])
    def test_reference(self, shape):
        image = picture(*shape)
        small = resize(image, (max(1, shape[0] // 2), max(1, shape[1] // 2)))
        np.testing.assert_array_equal(run("downup", image), resize(small, shape))

    def test_the_resize_option_holds_here_too(self):
        image = picture(32, 28)
        small = cv2.resize(image, (14, 16), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        back = cv2.resize(small, (28, 32), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        np.testing.assert_allclose(run("downup", image, resize="cv2"), back, atol=1e-6)

    def test_low_frequencies_survive_and_high_ones_do_not(self):
        x = np.arange(128, dtype=np.float32)
        slow = np.broadcast_to((0.5 + 0.4 * np.sin(x * 2 * np.pi / 32))[None, :, None], (128, 128, 3)).copy()
        fast = np.broadcast_to((0.5 + 0.4 * (-1) ** x)[None, :, None], (128, 128, 3)).astype(np.float32)
        assert np.abs(run("downup", slow) - slow)[:, 8:-8].max() < 0.01
        assert np.abs(run("downup", fast) - 0.5)[:, 8:-8].max() < 0.05

    def test_nearest_repeats_pixels(self):
        image = picture(16, 16)
        expected = resize(image, (8, 8)).repeat(2, axis=0).repeat(2, axis=1)
        np.testing.assert_allclose(run("downup", image, downup_up="nearest"), expected, atol=1e-7)

    def test_bilinear_interpolates(self):
        image = picture(16, 16)
        small = resize(image, (8, 8)).astype(float)
        expected = ndimage.zoom(small, (2, 2, 1), order=1, mode="nearest", grid_mode=True)
        np.testing.assert_allclose(run("downup", image, downup_up="bilinear"), expected, atol=1e-6)

    def test_factors(self):
        image = picture()
        by_factor = {f: run("downup", image, downup_factors=(f,)).tobytes() for f in (2, 3, 4)}
        assert by_factor[3] == resize(resize(image, (10, 9)), (32, 28)).tobytes()
        drawn = set()
        for seed in range(20):
            factor = (2, 3, 4)[int(stream(seed).uniforms(1)[0] * 3)]
            assert run("downup", image, seed, downup_factors=(2, 3, 4)).tobytes() == by_factor[factor]
            drawn.add(factor)
        assert drawn == {2, 3, 4}


def blocks(image, n):
    for y in range(0, image.shape[0] - n + 1, n):
        for x in range(0, image.shape[1] - n + 1, n):
            yield image[y : y + n, x : x + n].reshape(n * n, 3)


class TestPatchShuffle:
    @pytest.mark.parametrize("patch", [1, 2, 3, 5])
    def test_reference(self, patch):
        image = picture(13, 11)
        source = stream()
        for before, after in zip(blocks(image, patch), blocks(run("pshuf", image, patch=patch), patch), strict=True):
            order = sorted(range(patch**2), key=list(source.uniforms(patch**2)).__getitem__)
            np.testing.assert_array_equal(after, before[order])

    @given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6), st.integers(0, 99))
    @settings(max_examples=60)
    def test_keeps_every_block_s_pixels_and_the_remainder(self, height, width, patch, seed):
        image = picture(height, width)
        shuffled = run("pshuf", image, seed, patch=patch)
        for before, after in zip(blocks(image, patch), blocks(shuffled, patch), strict=True):
            assert sorted(map(tuple, before)) == sorted(map(tuple, after))
        rows, columns = height // patch * patch, width // patch * patch
        np.testing.assert_array_equal(shuffled[rows:], image[rows:])
        np.testing.assert_array_equal(shuffled[:, columns:], image[:, columns:])

    def test_every_permutation_is_equally_likely(self):
        tile = np.arange(4, dtype=np.float32).reshape(2, 2, 1) / 4
        image = np.tile(tile, (128, 128, 3))
        shuffled = np.stack(list(blocks(run("pshuf", image), 2)))[..., 0] * 4
        _, counts = np.unique(shuffled, axis=0, return_counts=True)
        assert len(counts) == 24
        np.testing.assert_allclose(counts, 128 * 128 / 24, rtol=0.2)

    def test_positions_permutes_whole_blocks(self):
        image = picture(9, 8)
        shuffled = run("pshuf", image, pshuf="positions")
        before, after = list(blocks(image, 2)), list(blocks(shuffled, 2))
        order = np.argsort(stream().uniforms(16), kind="stable")
        np.testing.assert_array_equal(np.stack(after), np.stack(before)[order])
        np.testing.assert_array_equal(shuffled[8:], image[8:])


class TestApply:
    @pytest.mark.parametrize("name", DEGRADATIONS)
    @pytest.mark.parametrize("shape", [(1, 1), (1, 17), (2, 3), (10, 11), (37, 23), (512, 512)])
    def test_stays_in_range(self, name, shape):
        for image in (picture(*shape), *(np.full((*shape, 3), v, np.float32) for v in (0.0, 0.5, 1.0))):
            before = image.copy()
            out = run(name, image)
            assert out.shape == image.shape
            assert out.dtype == np.float32
            assert np.isfinite(out).all()
            assert 0 <= out.min() <= out.max() <= 1
            np.testing.assert_array_equal(image, before)
            assert not np.shares_memory(out, image)

    @pytest.mark.parametrize("name", DEGRADATIONS)
    def test_same_key_same_image(self, name):
        assert run(name, picture()).tobytes() == run(name, picture()).tobytes()

    @pytest.mark.parametrize("name", RANDOM)
    def test_other_key_other_image(self, name):
        assert run(name, picture()).tobytes() != run(name, picture(), seed=1).tobytes()

    @pytest.mark.parametrize("name", FIXED)
    def test_fixed_functions_ignore_the_key(self, name):
        assert run(name, picture()).tobytes() == run(name, picture(), seed=1).tobytes()

    @pytest.mark.parametrize("name", DEGRADATIONS)
    def test_quantize(self, name):
        exact, coarse = run(name, picture()), run(name, picture(), quantize=True)
        np.testing.assert_allclose(coarse * 255, np.round(coarse * 255), atol=1e-4)
        assert np.abs(coarse - exact).max() <= 0.5 / 255 + 1e-6

    def test_unknown_name(self):
        with pytest.raises(InputError, match=r"'blur'.*gauss_noise.*pshuf"):
            apply("blur", picture(), stream(), DEFAULT)

    @given(st.sampled_from(DEGRADATIONS), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
    @settings(max_examples=150)
    def test_any_size(self, name, height, width, seed):
        out = run(name, picture(height, width, seed), seed)
        assert out.shape == (height, width, 3)
        assert np.isfinite(out).all()
        assert 0 <= out.min() <= out.max() <= 1
