"""Random numbers that depend only on seed, image and path, not on order or threads (degradations.md section 6).

A node's 128-bit BLAKE2b key seeds Philox-4x64-10 (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011). Only raw 64-bit words are used: NumPy keeps their stream fixed, but not that of its distributions (NEP 19).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ConfigError

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
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed expects an integer in [0, 2**64), got {seed}")
    message = b"meetmid-deg-1" + seed.to_bytes(8, "little") + image + bytes((len(path),)) + path
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
        self._generator = np.random.Philox(key=np.frombuffer(key, "<u8").astype(np.uint64))

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next n raw 64-bit words, (n,) uint64."""
        words: NDArray[np.uint64] = self._generator.random_raw(n)
        return words

    def uniforms(self, n: int) -> NDArray[np.float64]:
        """(n,) float64 in [0, 1): the upper 53 bits of one word each."""
        return (self.words(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normals(self, n: int) -> NDArray[np.float64]:
        """(n,) float64 standard normals from ceil(n / 2) word pairs: all cosine branches, then all sine branches.

        Source: G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates", Annals of
        Mathematical Statistics 29(2), 1958.
        """
        pairs = self.uniforms(n + n % 2).reshape(-1, 2)
        radius = np.sqrt(-2.0 * np.log1p(-pairs[:, 0]))
        angle = 2.0 * np.pi * pairs[:, 1]
        return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:n]
