"""Random numbers that depend only on seed, image and path, not on order or threads (degradations.md section 6).

A node's 128-bit BLAKE2b key seeds Philox-4x64-10 (:mod:`meetmid.gallery.philox`), of which only raw 64-bit words are used.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ConfigError
from meetmid.gallery.philox import fill
from meetmid.validation import is_whole

SHARED_IMAGE_ID = bytes(16)
"""The image id of ``draws="shared"``: every portrait gets the same noise and warps."""


def image_id(image: NDArray[np.uint8]) -> bytes:
    """16-byte BLAKE2b of (H, W as little-endian u32, then the RGB bytes) of a uint8 (H, W, 3) work image."""
    height, width = image.shape[:2]
    digest = blake2b(height.to_bytes(4, "little") + width.to_bytes(4, "little"), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def node_key(seed: int, image: bytes, path: bytes) -> bytes:
    """16-byte key of the node that ``path`` (one byte per function) leads to, for the image id ``image``."""
    if not is_whole(seed, 0) or seed >= 2**64:
        raise ConfigError(f"seed expects an integer in [0, 2**64), got {seed!r}")
    message = b"meetmid-deg-1" + int(seed).to_bytes(8, "little") + image + bytes((len(path),)) + path
    return blake2b(message, digest_size=16).digest()


def draw_seed(seed: int, draw: int) -> int:
    """The seed of an independent repetition of the tree: ``seed`` itself for draw 0, a hash of both for the others, so that
    the draws of two seeds never meet."""
    if draw == 0:
        return seed
    message = b"meetmid-draw-1" + seed.to_bytes(8, "little") + draw.to_bytes(8, "little")
    return int.from_bytes(blake2b(message, digest_size=8).digest(), "little")


class NodeStream:
    """The random numbers of one node, from counter 0; every call continues where the last one stopped."""

    def __init__(self, key: bytes) -> None:
        """``key`` the 16 bytes of :func:`node_key`, read as two little-endian u64."""
        self.key: NDArray[np.uint64] = np.frombuffer(key, "<u8").astype(np.uint64)
        self._next = 0

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next n raw 64-bit words, (n,) uint64."""
        first, self._next = self._next, self._next + n
        begin = first // 4 * 4
        words = np.empty(-(-(self._next - begin) // 4) * 4, np.uint64)
        fill(self.key, begin, words)
        return words[first - begin : self._next - begin]

    def uniforms(self, n: int) -> NDArray[np.float64]:
        """(n,) float64 in [0, 1): the upper 53 bits of one word each."""
        return (self.words(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53
