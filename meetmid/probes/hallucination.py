"""Super-resolution of blurred probes through ONNX generators (Grm et al. 2023, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.config import SIGMAS
from meetmid.errors import ConfigError, InputError
from meetmid.images import Source, describe, load
from meetmid.probes.blur import BlurLevel, blur_levels
from meetmid.resize import MAX_ENLARGED, ResizeFilter, fits, resize, rounded, to_float, to_uint8
from meetmid.runtime.registry import get_family
from meetmid.runtime.sessions import Network, from_planes
from meetmid.validation import is_whole

MIN_SIDE = 8
"""The smallest picture a generator takes (networks.md section 2)."""


class Hallucinator:
    """One generator per scale; shared by threads, pickled without its sessions."""

    def __init__(
        self, family: str, scales: Sequence[int], *, device: str = "auto", threads: int | None = None
    ) -> None:
        cards = get_family(family, tuple(scales)) if scales else {}
        self.networks = {scale: Network(card, device=device, threads=threads) for scale, card in cards.items()}

    def __call__(self, pictures: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """(N, h, w, 3) float32 RGB in [0, 1] to (N, scale * h, scale * w, 3), clipped to [0, 1]."""
        network = self.networks[scale]
        return from_planes(network.run(pictures), network.card)

    def check(self, lr_size: int | None) -> None:
        """Raise ConfigError where a generator takes pictures of one size only and ``lr_size`` is another."""
        for network in self.networks.values():
            size = network.card.contract.size
            if min(size) > 0 and size != (lr_size, lr_size):
                raise ConfigError(
                    f"hallucinator {network.card.name!r} takes pictures of {size[1]} x {size[0]} px, the configuration hands "
                    f"it lr_size={lr_size}; set lr_size={size[0]}"
                )

    def heat(self, picture: NDArray[np.float32], scale: int) -> NDArray[np.float32] | None:
        """What the generator attends to in (h, w, 3), as (h, w) in [0, 1], or None where it does not tell.

        The map from its smallest to its largest value, enlarged bilinearly to the picture (networks.md section 6.2)."""
        raw = self.networks[scale].heat(picture)
        if raw is None:
            return None
        low, high = float(raw.min()), float(raw.max())
        unit = (raw - low) / max(high - low, 1e-12)
        enlarged = cv2.resize(unit, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, np.float32)

    def batch(self, size: tuple[int, int], scale: int) -> int:
        """How many pictures of ``size`` (height, width) are enlarged together."""
        return self.networks[scale].batch(*size)

    def close(self) -> None:
        """Release the sessions."""
        for network in self.networks.values():
            network.close()


def working_size(shape: tuple[int, ...], lr_size: int | None) -> tuple[int, int]:
    """(height, width) at which a crop of ``shape`` enters the generator."""
    height, width = shape[:2] if lr_size is None else (lr_size, lr_size)
    return max(height, MIN_SIDE), max(width, MIN_SIDE)


def working_levels(
    crop: NDArray[np.uint8],
    sigmas: Sequence[float],
    *,
    lr_size: int | None,
    blur_at: str = "working",
    method: ResizeFilter = "bicubic",
    quantize: bool = False,
) -> Iterator[BlurLevel]:
    """The distinct blurred copies of a crop at the super-resolver's working size, one after the other.

    ``lr_size`` squashes the crop to a square first (24 in the paper's reading, networks.md section 4.2); ``None`` keeps its
    native size. ``blur_at="native"`` blurs before that resize instead of after it; ``quantize``
    rounds to 8 bits after each stage.
    """
    size = working_size(crop.shape, lr_size)
    picture = to_float(crop)
    if blur_at == "working":
        picture = rounded(resize(picture, size, method=method), quantize)
    for level in blur_levels(picture, sigmas):
        yield replace(level, picture=rounded(resize(level.picture, size, method=method), quantize))


def hallucinate(
    image: Source,
    scale: int = 4,
    *,
    sigmas: Sequence[float] | None = None,
    lr_size: int | None = None,
    model: str = "edsr-face",
    color: Any = "rgb",
    device: str = "auto",
) -> NDArray[np.uint8]:
    """Every super-resolution hypothesis of one face crop, or with ``scale=1`` every translation of a translating ``model``.

    Returns (m, scale * h, scale * w, 3) uint8 RGB, one picture per level of ``sigmas`` (default: the paper's 16). With
    ``lr_size=None`` the crop is enlarged as it is, after a side below 8 px was stretched to 8 (so h and w are at least 8);
    ``lr_size=24`` squashes it to 24 x 24 first, as the paper. These pictures are synthetic: they show what the generator
    imagines, not what the camera saw. Raises InputError for a bad picture, sigma, scale or ``lr_size`` and for a
    picture that would be enlarged to more than 1024 x 1024 pixels, ModelError for a missing scale, ConfigError for a model that
    takes another ``lr_size``.
    """
    try:
        levels = () if isinstance(sigmas, str | bytes) else tuple(map(float, SIGMAS if sigmas is None else sigmas))
    except (TypeError, ValueError):
        levels = ()
    if not levels or not all(0 <= level < math.inf for level in levels):
        raise InputError(f"sigmas expects at least one blur of 0 px or more, got {sigmas!r}")
    if lr_size is not None and not is_whole(lr_size, MIN_SIDE):
        raise InputError(f"lr_size expects at least {MIN_SIDE} px, or None for native, got {lr_size!r}")
    if not is_whole(scale, 1):
        raise InputError(f"scale expects a whole number of at least 1, got {scale!r}")
    crop = load(image, color=color)
    height, width = working_size(crop.shape, lr_size)
    if not fits((height, width), scale):
        raise InputError(
            f"{describe(image)}: {scale}x of {width} x {height} px is more than {MAX_ENLARGED} pixels; super-resolution is for "
            f"small face crops: cut the face out, or pass lr_size"
        )
    generator = Hallucinator(model, (scale,), device=device)
    generator.check(lr_size)
    distinct = list(working_levels(crop, levels, lr_size=lr_size))
    step = generator.batch((height, width), scale)
    stack = np.stack([level.picture for level in distinct])
    parts = [to_uint8(generator(stack[k : k + step], scale)) for k in range(0, len(stack), step)]
    generator.close()
    return np.repeat(np.concatenate(parts), [level.count for level in distinct], axis=0)
