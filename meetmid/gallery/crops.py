"""The face crops that explanations are made from, kept losslessly."""

from __future__ import annotations

import tempfile
import threading
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 16 * 2**20


class CropStore:
    """PNG-coded RGB crops by position; spills to an unnamed temporary file beyond 16 MB. Safe to share by threads."""

    def __init__(self, codes: list[bytes] | None = None) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, prefix="meetmid-")  # noqa: SIM115
        self._spans: list[tuple[int, int]] = []
        self._lock = threading.Lock()
        for code in codes or []:
            self._append(code)

    def __len__(self) -> int:
        return len(self._spans)

    def __getstate__(self) -> dict[str, Any]:
        return {"codes": [self.code(k) for k in range(len(self))]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["codes"])  # type: ignore[misc]

    def _append(self, code: bytes) -> None:
        with self._lock:
            start = self._file.seek(0, 2)
            self._file.write(code)
            self._spans.append((start, len(code)))

    def append(self, crop: NDArray[np.uint8] | None) -> None:
        """Keep the next crop; None marks a picture that gave none."""
        self._append(b"" if crop is None else cv2.imencode(".png", np.ascontiguousarray(crop[..., ::-1]))[1].tobytes())

    def code(self, index: int) -> bytes:
        """The PNG bytes of a crop; empty where there is none."""
        start, length = self._spans[index]
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

    def pack(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All codes in one array and their lengths, for a file."""
        codes = [self.code(k) for k in range(len(self))]
        return np.frombuffer(b"".join(codes), np.uint8), np.array([len(c) for c in codes], np.int64)

    @classmethod
    def unpack(cls, data: NDArray[np.uint8], lengths: NDArray[np.int64]) -> CropStore:
        """The inverse of :meth:`pack`."""
        store = cls()
        for end, length in zip(np.cumsum(lengths), lengths, strict=True):
            store._append(data[end - length : end].tobytes())
        return store
