"""A progress bar on standard error."""

from __future__ import annotations

import sys
import time

WIDTH = 28


class Bar:
    """A :data:`ProgressCallback` that draws one line per stage where standard error is a terminal: what is done, how many a
    second since the stage's first step, and the seconds that are left at that rate."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._stage = ""
        self._begun, self._first = 0.0, 0

    def __call__(self, done: int, total: int, stage: str) -> None:
        """Draw one step."""
        if not self._shown:
            return
        if stage != self._stage:
            self._stage, self._begun, self._first = stage, time.monotonic(), done
        spent, made = time.monotonic() - self._begun, done - self._first
        told = f"{made / spent:6.1f}/s {spent / made * (total - done):6.0f} s left" if made and spent else ""
        drawn = "#" * (WIDTH * done // max(total, 1))
        sys.stderr.write(f"\r{stage:<9}[{drawn:.<{WIDTH}}] {done}/{total} {told:<24}" + ("\n" if done >= total else ""))
        sys.stderr.flush()
