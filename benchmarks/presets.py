"""What each preset gives and costs, on the test part of the development people.

    python benchmarks/presets.py [--matcher NAME --centering set] [--presets plain fast balanced]

Closed-set rank-1 at 24 and 16 px through the two simulated cameras, k/n with Wilson 95 % intervals, and the network runs per
probe and per portrait. A matcher without reference means of its own needs --centering.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import write_csv
from people import captures, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation import Trials, search, wilson


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matcher", default="midface-s")
    parser.add_argument("--centering")
    parser.add_argument("--presets", nargs="+", default=["plain", "fast", "balanced"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--probes-each", type=int, default=3)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "presets.csv")
    args = parser.parse_args()
    gallery_side, probe_side = pictures("test", args.people, args.probes_each)
    subjects, mates = [name for name, *_ in gallery_side], [name for name, *_ in probe_side]
    rows: list[dict[str, object]] = []
    for preset in args.presets:
        options = {"centering": args.centering} if args.centering and preset != "plain" else {}
        with Matcher(preset, matcher=args.matcher, faces="crop", keep_crops=False, **options) as matcher:
            template = matcher.card.contract.alignment
            probe_cost, portrait_cost = matcher.plan(1, 0, measure=False), matcher.plan(0, 1, measure=False)
            gallery = matcher.enroll(portraits(gallery_side, template))
            for size in args.sizes:
                result = matcher.match(captures(probe_side, template, size, seed=7), gallery)
                k, n = int(search(Trials.of(result.scores, mates, subjects)).hits().sum()), len(mates)
                low, high = wilson(k, n)
                rows.append({
                    "matcher": args.matcher, "preset": preset, "size": size, "k": k, "n": n, "percent": round(100 * k / n, 2),
                    "low95": round(100 * low, 2), "high95": round(100 * high, 2),
                    "super_resolutions": probe_cost.super_resolutions, "probe_templates": probe_cost.probe_templates,
                    "gallery_templates": portrait_cost.gallery_templates,
                })
                print(f"{args.matcher} {preset:<10}{size} px: {k}/{n} = {100 * k / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
                      f"({probe_cost.probe_templates} probe, {portrait_cost.gallery_templates} gallery templates)", flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
