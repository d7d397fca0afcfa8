"""Progress that is really reported, and cancelling that really cancels."""

from __future__ import annotations

import time
from collections.abc import Callable

from meetmid.errors import Cancelled

ProgressCallback = Callable[[int, int, str], "bool | None"]
"""``(done, total, stage)``; returning ``False`` cancels."""


class Progress:
    """Counts one stage and tells the callback after every step."""

    def __init__(self, callback: ProgressCallback | None, stage: str, total: int, done: int = 0) -> None:
        self._callback, self.stage, self._total, self._done = callback, stage, total, done

    def step(self, count: int = 1) -> None:
        """``count`` more are done; raises Cancelled when the callback says ``False``."""
        self._done += count
        if self._callback is not None and self._callback(self._done, self._total, self.stage) is False:
            raise Cancelled(f"cancelled by the progress callback during {self.stage} at {self._done} of {self._total}")


class Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, stage: str) -> None:
        """The time since the last mark belongs to ``stage``."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
