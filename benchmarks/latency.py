"""How long one face takes, on this machine, with the models that ship.

    python benchmarks/latency.py [--portraits 1000] [--repeats 15]

Enrolling one portrait (a JPEG of 250 x 250 px, and a face crop), matching one probe of 24 px against so many enrolled portraits
(whose templates are made up: their number decides the time, not their values), medians after a call that warms up; and a fresh
process from ``import meetmid`` to its first score. Writes benchmarks/results/latency.csv.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from machine import write_csv
from people import captures, pictures, portraits

from meetmid import PRESETS, Matcher
from meetmid.templates.pool import TemplatePool

FIRST = """
import sys, time
begun = time.perf_counter()
import meetmid
score = meetmid.match(sys.argv[1], sys.argv[2], faces="crop").scores[0, 0]
print(time.perf_counter() - begun)
"""


def median(work: Callable[[], object], repeats: int) -> float:
    """Seconds of a call, the first one left out."""
    work()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def first_score(probe: np.ndarray, portrait: np.ndarray, repeats: int) -> float:
    """Seconds from the import to the first score in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder, name)) for name in ("probe.png", "portrait.png")]
        for name, picture in zip(names, (probe, portrait), strict=True):
            cv2.imwrite(name, picture[..., ::-1])
        runs = [subprocess.run([sys.executable, "-c", FIRST, *names], capture_output=True, text=True, check=True)
                for _ in range(repeats)]
    return statistics.median(float(run.stdout) for run in runs)


def measured(preset: str, count: int, repeats: int) -> Iterator[tuple[str, float]]:
    """What a preset takes."""
    gallery_side, probe_side = pictures("selection", 2, 1)
    coded = cv2.imencode(".jpg", gallery_side[0][1][..., ::-1])[1].tobytes()
    with Matcher(preset, keep_crops=False) as matcher:
        alignment = matcher.card.contract.alignment
        crop, caught = portraits(gallery_side, alignment)[0], captures(probe_side, alignment, 24, seed=7)[0]
        yield "enrol a JPEG, its face found", median(lambda: matcher.enroll(coded, faces="detect"), repeats)
        yield "enrol a face crop", median(lambda: matcher.enroll(crop, faces="crop"), repeats)
        one = matcher.enroll(crop, faces="crop")
        templates = np.random.default_rng(0).standard_normal((count, *one.pool.templates.shape[1:]), np.float32)
        pool = TemplatePool(templates, np.repeat(one.pool.weights, count, axis=0), np.arange(count + 1))
        many = replace(one, ids=tuple(map(str, range(count))), status=("ok",) * count, pool=pool)
        yield f"match a probe of 24 px with {count} enrolled portraits", median(
            lambda: matcher.match(caught, many, faces="crop"), repeats
        )
        yield f"identify it among {count} enrolled portraits", median(
            lambda: matcher.identify(caught, many, faces="crop"), repeats
        )


def tell(rows: list[dict[str, object]], preset: str, what: str, seconds: float, repeats: int) -> None:
    """Keep and print."""
    rows.append({"preset": preset, "what": what, "milliseconds": round(1e3 * seconds, 2), "repeats": repeats})
    print(f"{preset:<10}{what:<60}{1e3 * seconds:>9.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--presets", nargs="+", default=[name for name in PRESETS if not name.startswith("paper")])
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "latency.csv")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for preset in args.presets:
        for what, seconds in measured(preset, args.portraits, args.repeats):
            tell(rows, preset, what, seconds, args.repeats)
    gallery_side, probe_side = pictures("selection", 2, 1)
    crop, caught = portraits(gallery_side, "arcface-112")[0], captures(probe_side, "arcface-112", 24, seed=7)[0]
    seconds = first_score(caught, crop, min(5, args.repeats))
    tell(rows, "balanced", "import meetmid to the first score, a new process", seconds, min(5, args.repeats))
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
