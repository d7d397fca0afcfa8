"""What a figure was measured on."""

from __future__ import annotations

import csv
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def description() -> dict[str, str]:
    """Machine and versions, for the columns of every CSV."""
    found = {"machine": platform.machine(), "cores": str(os.cpu_count()), "python": platform.python_version()}
    for name in ("numpy", "numba", "opencv-python", "onnxruntime-gpu", "onnxruntime", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    """Rows with the machine's description added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = description()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], *facts])
        writer.writeheader()
        writer.writerows({**row, **facts} for row in rows)
