"""The degradation tree of one portrait: shared prefixes, depth first (degradations.md sections 3 to 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from meetmid.config import DegradationOptions
from meetmid.errors import ConfigError, InputError
from meetmid.gallery.degradations import apply
from meetmid.gallery.paths import DEGRADATIONS, Path, format_path, parse_path, path_bytes
from meetmid.gallery.randomness import SHARED_IMAGE_ID, NodeStream, image_id, node_key
from meetmid.resize import Image, ResizeFilter, halve, resize, rounded, to_float, to_uint8

KERNEL_SIDE = 512
"""The side at which ``scale_kernels`` leaves the blur kernels as they are."""


def work_image(
    image: NDArray[np.uint8], work_size: int | None = 512, method: ResizeFilter = "bicubic"
) -> NDArray[np.uint8]:
    """The picture the tree starts from: uint8 (H, W, 3), its longer side reduced to ``work_size`` and never enlarged.

    ``None`` keeps the native size. Returns ``image`` itself where there is nothing to reduce.
    """
    if work_size is None:
        return image
    if work_size < 1:
        raise ConfigError(f"work_size expects at least 1 px, or None for native, got {work_size}")
    return image if max(image.shape[:2]) <= work_size else scaled(image, work_size, method)


def scaled(image: NDArray[np.uint8], longer: int, method: ResizeFilter = "bicubic") -> NDArray[np.uint8]:
    """A picture uint8 (H, W, 3) of this ``longer`` side, reduced or enlarged; itself where it has it."""
    now = max(image.shape[:2])
    if now == longer:
        return image
    height, width = (max(1, (2 * side * longer + now) // (2 * now)) for side in image.shape[:2])
    return to_uint8(resize(image, (height, width), method=method))


def walk(
    image: NDArray[np.uint8], paths: Sequence[Path], *, seed: int, options: DegradationOptions
) -> Iterator[tuple[int, Image]]:
    """The images of ``paths``, as (position in ``paths``, (h, w, 3) float32 in [0, 1]).

    Parameters: ``image`` uint8 (H, W, 3), already at its work size. Visits the nodes depth first in canonical order and
    computes each wanted node and its ancestors once; besides the root at most three images are alive. The root is
    halved, sides rounded up, once per function after the first. A node's image depends only on ``image``, ``seed``,
    ``options`` and its path. Raises InputError for duplicates.
    """
    wanted: dict[bytes, int] = {}
    for position, path in enumerate(paths):
        if wanted.setdefault(path_bytes(path), position) != position:
            raise InputError(f"walk expects each path once, got {format_path(path)} twice")
    prefixes = {path[:length] for path in wanted for length in range(1, len(path) + 1)}
    identity = SHARED_IMAGE_ID if options.draws == "shared" else image_id(image)

    def children(prefix: bytes) -> list[bytes]:
        nodes = (prefix + bytes((function,)) for function in range(len(DEGRADATIONS)))
        return [node for node in nodes if node in prefixes]

    def visit(node: bytes, base: Image) -> Iterator[tuple[int, Image]]:
        scale = max(base.shape[:2]) / KERNEL_SIDE if options.scale_kernels else 1.0
        stream = NodeStream(node_key(seed, identity, node))
        degraded = apply(DEGRADATIONS[node[-1]], base, stream, options, scale)
        below = children(node)
        half = rounded(halve(degraded, method=options.resize), options.quantize) if below else None
        if node in wanted:
            yield wanted[node], degraded
        del degraded
        if half is not None:
            for child in below:
                yield from visit(child, half)

    root = to_float(image)
    if b"" in wanted:
        yield wanted[b""], root.copy()
    for child in children(b""):
        yield from visit(child, root)


def degrade(
    image: NDArray[np.uint8],
    path: Sequence[str] | str,
    *,
    seed: int = 0,
    work_size: int | None = 512,
    options: DegradationOptions | None = None,
) -> NDArray[np.uint8]:
    """One degraded portrait: uint8 (H, W, 3) RGB in, uint8 (h, w, 3) out.

    ``path`` names, or a string such as ``"gblur+downup"`` (``"identity"``: only the reduction to ``work_size``). Each
    function after the first halves the size.
    """
    chosen = parse_path(path) if isinstance(path, str) else tuple(path)
    options = options or DegradationOptions()
    picture = work_image(image, work_size, options.resize)
    ((_, degraded),) = walk(picture, (chosen,), seed=seed, options=options)
    return to_uint8(degraded)
