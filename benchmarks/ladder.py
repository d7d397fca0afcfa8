"""The ladder of the fused scheme's Tables 2 and 3 on the development people; `meetmid evaluate` prints it for yours.

    python benchmarks/ladder.py --matcher NAME [--matcher NAME] [--sizes 24 16] [--paths "len<=1"]

One gallery portrait per person of the test part; their other pictures are the probes, caught by two simulated cameras. Prints
closed-set rank-1 as k/n with 95 % intervals that draw people
for three centrings and writes benchmarks/results/ladder.csv. Templates are cached in --cache.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import write_csv
from pools import pools

from meetmid.evaluation.ladder import CENTRINGS, climb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matcher", action="append", required=True, help="a matcher's name, folder or ONNX file")
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--paths", default="len<=1")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--probes-each", type=int, default=3)
    parser.add_argument("--part", choices=("selection", "test"), default="test")
    parser.add_argument("--cache", type=Path, default=Path("build/ladder"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "ladder.csv")
    args = parser.parse_args()
    rows = []
    for matcher in args.matcher:
        subjects, mates, gallery, probes = pools(
            matcher, args.sizes, args.paths, args.part, args.people, args.probes_each, args.cache
        )
        for size, pool in probes.items():
            title = f"{matcher}, {size} px, {len(subjects)} people, {len(mates)} probes, gallery paths {args.paths}"
            print(f"\n{title}\n{'':<56}" + "".join(f"{c:>28}" for c in CENTRINGS))
            cells: list[str] = []
            for rung in climb(pool, gallery, mates, subjects):
                low, high = rung.interval
                k, n = rung.k, len(rung.hits)
                cells.append(f"{k}/{n} = {100 * k / n:.1f} [{low:.1f}, {high:.1f}]")
                rows.append({
                    "matcher": matcher, "size": size, "part": args.part, "paths": args.paths, "step": rung.step,
                    "centring": rung.centring, "k": k, "n": n, "percent": round(100 * k / n, 2), "low95": round(low, 2),
                    "high95": round(high, 2),
                })
                if len(cells) == len(CENTRINGS):
                    print(f"{rung.step:<56}" + "".join(f"{c:>28}" for c in cells), flush=True)
                    cells.clear()
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
