"""The eleven gallery degradations of Grm et al. 2023, Table 1 (degradations.md sections 1 and 2).

Every function takes (image, stream, options, kernel_scale): a (H, W, 3) float32 RGB image in [0, 1], the node's random
numbers, the readings of what the paper leaves open, and a factor on the sizes of the blur kernels. It returns a new
unclipped float32 image of the same size; :func:`apply` clips. The order of the draws is part of the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.config import DegradationOptions
from meetmid.errors import InputError
from meetmid.gallery.kernels import border_type, disk_kernel, gauss_kernel, motion_kernel, warp
from meetmid.gallery.noise import add_noise, shuffle_pixels
from meetmid.gallery.paths import DEGRADATIONS
from meetmid.gallery.randomness import NodeStream
from meetmid.resize import Image, resize, rounded
from meetmid.runtime.sessions import LUMA

VARIANCE = 0.02
"""Variance of both noises on the [0, 1] scale (Grm et al. 2023, Table 1)."""

_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST_EXACT}


def gauss_noise(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """x + n, n ~ N(0, 0.02) per pixel and channel, or per pixel with ``noise_color="gray"``."""
    result: Image = add_noise(image, stream.key, math.sqrt(VARIANCE), options.noise_color == "gray", False)
    return result


def speckle(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """x + x n, n of mean 0 and variance 0.02, Gaussian or (``speckle_dist``, as MATLAB's ``imnoise``) uniform."""
    gray = options.noise_color == "gray"
    if options.speckle_dist == "gaussian":
        result: Image = add_noise(image, stream.key, math.sqrt(VARIANCE), gray, True)
        return result
    shape = (*image.shape[:2], 1 if gray else image.shape[2])
    noise = math.sqrt(3.0 * VARIANCE) * (2.0 * stream.uniforms(math.prod(shape)) - 1.0)
    return np.asarray(image * (np.float32(1.0) + noise.astype(np.float32).reshape(shape)), np.float32)


def color(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """HSV hue shift of up to ``hue`` turns, then saturation factor; grey images stay as they are."""
    shift_draw, factor_draw = stream.uniforms(2)
    shift = options.hue * (2.0 * shift_draw - 1.0)
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), np.float32)
    hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(360.0 * shift), np.float32(360.0))
    hsv[..., 1] = np.minimum(hsv[..., 1] * np.float32(_within(options.saturation, factor_draw)), np.float32(1.0))
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)


def bright(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """Brightness b (x b, or + b - 1), clip, then contrast about the mean luma of the result (or about 0.5)."""
    b_draw, c_draw = stream.uniforms(2)
    b, c = _within(options.brightness, b_draw), _within(options.contrast, c_draw)
    lit = image * np.float32(b) if options.brightness_mode == "multiply" else image + np.float32(b - 1.0)
    lit = _clip(lit)
    pivot = 0.5 if options.contrast_about == "half" else float(np.dot(cv2.mean(lit)[:3], LUMA))
    return (lit - np.float32(pivot)) * np.float32(c) + np.float32(pivot)


def motion(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """Horizontal motion blur of window 20."""
    kernel = motion_kernel(20.0 * kernel_scale, options.motion == "even20")
    return _separable(image, kernel, np.ones(1, np.float32), options)


def gblur(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """Gaussian blur, sigma 1.1, window 5; a scaled window is the smallest odd one with 2 * scale px either side."""
    kernel = gauss_kernel(1.1 * kernel_scale, 2 * math.ceil(2.0 * kernel_scale) + 1)
    return _separable(image, kernel, kernel, options)


def disk(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """Disk (out-of-focus) blur of radius 5."""
    kernel = disk_kernel(5.0 * kernel_scale, options.disk_kind == "binary")
    blurred = cv2.filter2D(image, -1, kernel, borderType=border_type(image, options.border))
    return np.asarray(blurred, np.float32)


def persp(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """The image's corners move inwards by U(0, ``persp_scale``) of width and height each; bilinear."""
    height, width = image.shape[:2]
    moves = options.persp_scale * stream.uniforms(8).reshape(4, 2)
    square = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    unit = _homography(square, square + moves * (1.0 - 2.0 * square))
    pixels = np.array([(width, 0.0, -0.5), (0.0, height, -0.5), (0.0, 0.0, 1.0)])
    inverse = np.asarray(np.linalg.inv(pixels @ unit @ np.linalg.inv(pixels)), np.float64)
    result: Image = warp(image, inverse, options.warp_border == "zero")
    return result


def shear(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """Shear along x and y about the centre by angles of up to ``shear`` degrees; bilinear."""
    height, width = image.shape[:2]
    tangents = np.tan(np.radians(options.shear * (2.0 * stream.uniforms(2) - 1.0)))
    a = 0.0 if options.shear_axes == "y" else float(tangents[0])
    b = 0.0 if options.shear_axes == "x" else float(tangents[1])
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    forward = np.array([(1.0, a, -a * y), (b, 1.0, -b * x), (0.0, 0.0, 1.0)])
    result: Image = warp(image, np.linalg.inv(forward), options.warp_border == "zero")
    return result


def downup(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """Bicubic reduction (antialiased by default) to floor(side / factor), at least 1 px, and back; several factors cost
    one draw."""
    height, width = image.shape[:2]
    factors = options.downup_factors
    factor = factors[int(stream.uniforms(1)[0] * len(factors))] if len(factors) > 1 else factors[0]
    small = resize(image, (max(1, height // factor), max(1, width // factor)), method=options.resize)
    if options.downup_up == "bicubic":
        return resize(small, (height, width), method=options.resize)
    enlarged = cv2.resize(small, (width, height), interpolation=_INTERPOLATION[options.downup_up])
    return np.asarray(enlarged, np.float32)


def pshuf(image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float) -> Image:
    """Permutes the pixels inside every ``patch`` x ``patch`` block, or with ``pshuf="positions"`` the blocks.

    Source: G. Kang, X. Dong, L. Zheng and Y. Yang, "PatchShuffle regularization", arXiv:1707.07103, 2017. Colours move
    together; rows and columns beyond the last whole block stay. Output k takes input ``argsort(u)[k]``, stable, with
    patch^2 uniforms per block (blocks row-major), or one per block for positions.
    """
    n = options.patch
    if options.pshuf == "pixels":
        result: Image = shuffle_pixels(image, stream.key, n)
        return result
    rows, columns, channels = image.shape[0] // n, image.shape[1] // n, image.shape[2]
    out = image.copy()
    if rows * columns == 0:
        return out
    whole = out[: rows * n, : columns * n].reshape(rows, n, columns, n, channels)
    blocks = whole.transpose(0, 2, 1, 3, 4).reshape(rows * columns, n * n, channels)
    blocks = blocks[np.argsort(stream.uniforms(rows * columns), kind="stable")]
    shuffled = blocks.reshape(rows, columns, n, n, channels).transpose(0, 2, 1, 3, 4)
    out[: rows * n, : columns * n] = shuffled.reshape(rows * n, columns * n, channels)
    return out


Degradation = Callable[[Image, NodeStream, DegradationOptions, float], Image]

_FUNCTIONS: dict[str, Degradation] = dict(
    zip(
        DEGRADATIONS,
        (gauss_noise, speckle, color, bright, motion, gblur, disk, persp, shear, downup, pshuf),
        strict=True,
    )
)


def apply(
    name: str, image: Image, stream: NodeStream, options: DegradationOptions, kernel_scale: float = 1.0
) -> Image:
    """One degradation, clipped to [0, 1] and, with ``options.quantize``, rounded to multiples of 1/255.

    Parameters: ``image`` (H, W, 3) float32 in [0, 1]. Returns a new array like it. Raises InputError for unknown names.
    """
    if name not in _FUNCTIONS:
        raise InputError(f"unknown degradation {name!r}; known are {', '.join(DEGRADATIONS)}")
    made = _FUNCTIONS[name](image, stream, options, kernel_scale)
    return rounded(np.clip(made, np.float32(0.0), np.float32(1.0), out=None if made is image else made), options.quantize)


def _clip(image: Image) -> Image:
    return np.clip(image, np.float32(0.0), np.float32(1.0))


def _within(span: tuple[float, float], u: float) -> float:
    return span[0] + (span[1] - span[0]) * u


def _separable(
    image: Image, along_x: NDArray[np.float32], along_y: NDArray[np.float32], options: DegradationOptions
) -> Image:
    blurred = cv2.sepFilter2D(image, -1, along_x, along_y, borderType=border_type(image, options.border))
    return np.asarray(blurred, np.float32)


def _homography(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The projective map (3, 3) of four points (4, 2) onto four others, its last entry 1."""
    system, values = np.zeros((8, 8)), target.reshape(8)
    for k, ((x, y), (u, v)) in enumerate(zip(source, target, strict=True)):
        system[2 * k] = (x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y)
        system[2 * k + 1] = (0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y)
    return np.append(np.linalg.solve(system, values), 1.0).reshape(3, 3)
