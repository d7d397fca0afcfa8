"""How many threads there are for."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

OF_PROCESS, MOUNTS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
UNBOUNDED = 1 << 30


def cores() -> int:
    """The cores that this process may run on, where the system tells, else all of the machine's; fewer where a container's
    share of their time is less (:func:`allowed`)."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, allowed(OF_PROCESS, MOUNTS))


@functools.cache
def allowed(of_process: Path, mounts: Path) -> int:
    """How many cores' time Linux's control groups allow, rounded up, and at least one: the least of the process's groups and
    what they lie in (the kernel's documentation, cgroup-v2, cpu.max, and scheduler/sched-bwc, cpu.cfs_quota_us). As many as
    you like where none is bounded or the system has none."""
    try:
        lines = of_process.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return UNBOUNDED
    bounds = [bound for line in lines for folder in _folders(line, mounts) for bound in _bounds(folder)]
    return max(1, min(bounds, default=UNBOUNDED))


def _folders(line: str, mounts: Path) -> Iterator[Path]:
    """Where the group of a line ``number:controllers:path`` may be told, up to the outermost, as which a container sees its
    own."""
    number, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if number != "0" and "cpu" not in controllers.split(","):
        return
    inner = PurePosixPath(path.lstrip("/"))
    for root in (mounts, mounts / "unified") if number == "0" else (mounts / controllers, mounts / "cpu"):
        yield from (root / group for group in (inner, *inner.parents))


def _bounds(folder: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        yield math.ceil(int(quota) / int(period))  # "max" is no number
    with suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        if int(quota) > 0:
            yield math.ceil(int(quota) / int(period))
