"""The ladder of the fused scheme's Tables 2 and 3 on the development people; `meetmid evaluate` prints it for yours.

    python benchmarks/ladder.py --matcher NAME [--matcher NAME] [--sizes 24 16] [--paths "len<=1"]

One gallery portrait per person of the test part; their other pictures are the probes, caught by two simulated cameras. Prints
closed-set rank-1 as k/n with Wilson 95 % intervals (probes of one person are not independent, so these are a little narrow)
for three centrings and writes benchmarks/results/ladder.csv. Templates are cached in --cache.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from machine import write_csv
from people import captures, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation.ladder import CENTRINGS, climb, ladder_config
from meetmid.templates.pool import TemplatePool


def pools(
    matcher: str, sizes: list[int], paths: str, part: str, people: int, probes_each: int, cache: Path
) -> tuple[list[str], list[str], TemplatePool, dict[int, TemplatePool]]:
    """Subjects of the gallery and of the probes, gallery templates, probe templates by size."""
    gallery_side, probe_side = pictures(part, people, probes_each)
    config = ladder_config(paths, faces="crop", keep_crops=False)
    with Matcher(config=config, matcher=matcher) as lifted:
        template = lifted.card.contract.alignment
        key = f"{lifted.card.sha256} {[n.card.sha256 for n in lifted.hallucinator.networks.values()]} {part} {people}"
        gallery = cached(
            cache, f"{key} {config.gallery_hash()} gallery", lambda: lifted.enroll(portraits(gallery_side, template)).pool
        )
        probes = {
            size: cached(
                cache, f"{key} {config.hash()} {probes_each} {size}",
                lambda size=size: lifted.lift(captures(probe_side, template, size, seed=7)).pool,
            )
            for size in sizes
        }
    return [name for name, *_ in gallery_side], [name for name, *_ in probe_side], gallery, probes


def cached(folder: Path, key: str, make) -> TemplatePool:
    """A pool from its file, or made and written."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
    if not path.exists():
        pool = make()
        np.savez(path, templates=pool.templates, weights=pool.weights, first=pool.first)
    with np.load(path) as data:
        return TemplatePool(data["templates"], data["weights"], data["first"])


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
