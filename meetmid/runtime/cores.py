"""How many threads there are for."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may run on, where the system tells, else all of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
