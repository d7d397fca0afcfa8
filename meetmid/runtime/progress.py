"""Progress that is really reported, and cancelling that really cancels."""

from __future__ import annotations

from collections.abc import Callable

from meetmid.errors import Cancelled

ProgressCallback = Callable[[int, int, str], "bool | None"]
"""``(done, total, stage)``; returning ``False`` cancels."""


class Progress:
    """Counts one stage and tells the callback after every step."""

    def __init__(self, callback: ProgressCallback | None, stage: str, total: int) -> None:
        self._callback, self._stage, self._total, self._done = callback, stage, total, 0

    def step(self) -> None:
        """One more is done; raises Cancelled when the callback says ``False``."""
        self._done += 1
        if self._callback is not None and self._callback(self._done, self._total, self._stage) is False:
            raise Cancelled(f"cancelled by the progress callback during {self._stage} at {self._done} of {self._total}")
