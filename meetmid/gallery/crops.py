"""The face crops that explanations are made from, kept losslessly."""

from __future__ import annotations

import struct
import tempfile
import threading
import weakref
import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 4 * 2**20
HEAD = 33
"""Bytes of a PNG before its first chunk that may say how dense its pixels are: signature and IHDR (ISO/IEC 15948, 5.6)."""


def _density(fine: int) -> bytes:
    """The chunk that says so many pixels per unit, whatever that is (pHYs; ISO/IEC 15948, 11.3.5.3)."""
    body = b"pHYs" + struct.pack(">IIB", fine, fine, 0)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


class CropStore:
    """PNG-coded RGB crops by position; spills to an unnamed temporary file beyond 4 MB. Safe to share by threads."""

    def __init__(self) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, prefix="meetmid-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._packed: tuple[NDArray[np.uint8], ...] = ()
        self._spans: list[tuple[int, int, int]] = []  # which packed array, start, length
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._spans)

    def __getstate__(self) -> dict[str, Any]:
        data, lengths = self.pack()
        return {"data": np.array(data), "lengths": lengths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self._fill(state["data"], state["lengths"])

    def append(self, crop: NDArray[np.uint8] | None, fine: int = 1) -> None:
        """Keep the next crop, which has ``fine`` pixels per pixel of its picture; None marks a picture that gave none."""
        code = b"" if crop is None else cv2.imencode(".png", np.ascontiguousarray(crop[..., ::-1]))[1].tobytes()
        if code and fine > 1:
            code = code[:HEAD] + _density(fine) + code[HEAD:]
        with self._lock:
            start = self._file.seek(0, 2)
            self._file.write(code)
            self._spans.append((0, start, len(code)))

    def code(self, index: int) -> bytes:
        """The PNG bytes of a crop; empty where there is none."""
        which, start, length = self._spans[index]
        if self._packed:
            return self._packed[which][start : start + length].tobytes()
        with self._lock:
            self._file.seek(start)
            data: bytes = self._file.read(length)
        return data

    def crop(self, index: int) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB, bit for bit what was kept, or None."""
        code = self.code(index)
        if not code:
            return None
        decoded = np.asarray(cv2.imdecode(np.frombuffer(code, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        return np.ascontiguousarray(decoded[..., ::-1])

    def fine(self, index: int) -> int:
        """A crop's pixels per pixel of its picture; 1 where there is none."""
        code = self.code(index)
        return int.from_bytes(code[HEAD + 8 : HEAD + 12], "big") if code[HEAD + 4 : HEAD + 8] == b"pHYs" else 1

    def part(self, start: int, stop: int) -> CropStore:
        """Crops start .. stop, as a store of their own; those that lie in files stay there."""
        if self._packed:
            store = CropStore()
            store._packed, store._spans = self._packed, self._spans[start:stop]
            return store
        codes = [self.code(k) for k in range(start, stop)]
        return CropStore.unpack(np.frombuffer(b"".join(codes), np.uint8), np.array([len(c) for c in codes], np.int64))

    def picked(self, order: Sequence[int]) -> CropStore:
        """Crops at these positions, as a store of their own."""
        whole, store = self._whole(), CropStore()
        store._packed, store._spans = whole._packed, [whole._spans[k] for k in order]
        return store

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of every crop's code."""
        return np.array([length for _, _, length in self._spans], np.int64)

    def pack(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All codes end to end, mapped where they have spilled, and their lengths, for a file."""
        lengths = self.lengths
        if self._packed:
            ends = np.cumsum(lengths)
            as_they_lie = all(start == end - length for (_, start, length), end in zip(self._spans, ends, strict=True))
            if len(self._packed) == 1 and int(lengths.sum()) == len(self._packed[0]) and as_they_lie:
                return self._packed[0], lengths
            codes = b"".join(self.code(k) for k in range(len(self)))
            return np.frombuffer(codes, np.uint8), lengths
        with self._lock:
            if lengths.sum() > IN_MEMORY:
                self._file.flush()
                return np.memmap(self._file, np.uint8, "r", shape=(int(lengths.sum()),)), lengths
            self._file.seek(0)
            return np.frombuffer(self._file.read(), np.uint8), lengths

    @classmethod
    def unpack(cls, data: NDArray[np.uint8], lengths: NDArray[np.int64]) -> CropStore:
        """The inverse of :meth:`pack`; ``data`` is kept as it is, mapped or not. Raises ValueError where they differ."""
        store = cls()
        store._fill(data, lengths)
        return store

    @classmethod
    def joined(cls, stores: Sequence[CropStore]) -> CropStore:
        """The crops of stores one after the other; those that lie in files stay there."""
        joined, packed = cls(), list[NDArray[np.uint8]]()
        for store in (store._whole() for store in stores):
            joined._spans += [(len(packed) + which, start, length) for which, start, length in store._spans]
            packed += store._packed
        joined._packed = tuple(packed)
        return joined

    def _whole(self) -> CropStore:
        """The same crops in packed arrays, mapped where they lie in files."""
        return self if self._packed else CropStore.unpack(*self.pack())

    def _fill(self, data: NDArray[np.uint8], lengths: NDArray[np.int64]) -> None:
        if data.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != len(data):
            raise ValueError(f"{len(data)} bytes of crops, lengths for {int(lengths.sum())}")
        self._packed = (data,)
        self._spans = [(0, int(end - length), int(length)) for end, length in zip(np.cumsum(lengths), lengths, strict=True)]
