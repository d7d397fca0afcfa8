"""What the stages cost here: the 48 hallucinations of one probe, the tree of one portrait, and the presets.

    python benchmarks/cost.py [--matcher NAME]

Medians of repeated runs; writes benchmarks/results/cost.csv with machine and versions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from machine import write_csv

from meetmid import PRESETS, DegradationOptions, Matcher
from meetmid.gallery.paths import degradation_paths
from meetmid.gallery.tree import walk
from meetmid.probes.hallucination import Hallucinator


def median_seconds(call, repeats: int) -> float:
    """Median wall seconds of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matcher", help="a matcher's name (default: the presets' own)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "cost.csv")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []

    def row(what: str, seconds: float) -> None:
        rows.append({"what": what, "seconds": round(seconds, 4)})
        print(f"{what:<60}{seconds:10.3f} s", flush=True)

    probe = rng.random((16, 24, 24, 3)).astype(np.float32)
    with_scales = Hallucinator("edsr-face", (2, 4, 8), device="cpu")
    for scale in (2, 4, 8):
        row(f"16 hallucinations, {scale}x", median_seconds(lambda s=scale: with_scales(probe, s), args.repeats))
    row("48 hallucinations of one probe", median_seconds(lambda: [with_scales(probe, s) for s in (2, 4, 8)], args.repeats))
    for side in (256, 512):
        picture = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        paths = degradation_paths()
        row(
            f"tree of 1463 nodes, {side} px portrait",
            median_seconds(lambda p=picture, n=paths: list(walk(p, n, seed=0, options=DegradationOptions())), 3),
        )
    for name in PRESETS:
        with Matcher(name, matcher=args.matcher, device="cpu") as matcher:
            row(f"preset {name}, expected for one probe", matcher.plan(1, 0).seconds or 0.0)
            row(f"preset {name}, expected for one portrait", matcher.plan(0, 1).seconds or 0.0)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
