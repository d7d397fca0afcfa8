"""A progress bar on standard error."""

from __future__ import annotations

import sys
import time

WIDTH = 28


class Bar:
    """A :data:`ProgressCallback` that draws one line per stage where standard error is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._stage = ""
        self._begun = 0.0

    def __call__(self, done: int, total: int, stage: str) -> None:
        """Draw one step."""
        if not self._shown:
            return
        if stage != self._stage:
            self._stage, self._begun = stage, time.monotonic()
        filled = WIDTH * done // max(total, 1)
        spent = max(time.monotonic() - self._begun, 1e-9)
        left = spent / done * (total - done)
        end = "\n" if done >= total else ""
        drawn = "#" * filled + "." * (WIDTH - filled)
        sys.stderr.write(f"\r{stage:<9}[{drawn}] {done}/{total} {done / spent:6.1f}/s {left:6.0f} s left{end}")
        sys.stderr.flush()
