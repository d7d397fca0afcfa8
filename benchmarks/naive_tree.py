"""The degradation tree as NumPy and OpenCV make it: the obvious functions in place of the compiled ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
from PIL import Image

from meetmid.gallery import degradations, tree


def normals(stream: object, count: int) -> np.ndarray:
    """Box and Muller's deviates from NumPy's Philox."""
    words = np.random.Philox(key=stream.key).random_raw(count + count % 2)
    u = ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(-1, 2)
    radius, angle = np.sqrt(-2.0 * np.log1p(-u[:, 0])), 2.0 * np.pi * u[:, 1]
    return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]


def gauss_noise(image: np.ndarray, stream: object, *_: object) -> np.ndarray:
    return image + (math.sqrt(0.02) * normals(stream, image.size)).astype(np.float32).reshape(image.shape)


def speckle(image: np.ndarray, stream: object, *_: object) -> np.ndarray:
    return image + image * (math.sqrt(0.02) * normals(stream, image.size)).astype(np.float32).reshape(image.shape)


def pshuf(image: np.ndarray, stream: object, *_: object) -> np.ndarray:
    rows, columns, out = image.shape[0] // 2, image.shape[1] // 2, image.copy()
    whole = out[: rows * 2, : columns * 2].reshape(rows, 2, columns, 2, 3)
    blocks = whole.transpose(0, 2, 1, 3, 4).reshape(-1, 4, 3)
    u = np.random.Philox(key=stream.key).random_raw(4 * len(blocks)).reshape(-1, 4)
    blocks = np.take_along_axis(blocks, np.argsort(u, axis=1, kind="stable")[:, :, None], axis=1)
    shuffled = blocks.reshape(rows, columns, 2, 2, 3).transpose(0, 2, 1, 3, 4)
    out[: rows * 2, : columns * 2] = shuffled.reshape(rows * 2, columns * 2, 3)
    return out


def shrink(image: np.ndarray, size: tuple[int, int], **_: object) -> np.ndarray:
    """Pillow's antialiased bicubic filter, plane by plane."""
    planes = [Image.fromarray(image[..., c]).resize(size[::-1], Image.Resampling.BICUBIC) for c in range(3)]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1), 0.0, 1.0)


def halve(image: np.ndarray, **_: object) -> np.ndarray:
    return shrink(image, ((image.shape[0] + 1) // 2, (image.shape[1] + 1) // 2))


@contextmanager
def naive() -> Iterator[None]:
    """The obvious functions, for as long as this lasts."""
    functions = {"gauss_noise": gauss_noise, "speckle": speckle, "pshuf": pshuf}
    with (
        mock.patch.dict(degradations._FUNCTIONS, functions), mock.patch.object(tree, "halve", halve),
        mock.patch.object(degradations, "resize", shrink),
    ):
        yield
