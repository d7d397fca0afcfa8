"""What `meetmid tune` finds for a matcher, and how long it takes, on the selection part of the split.

    python benchmarks/tune.py [--matcher mobilefacenet-qengineering] [--people 100] [--minutes 15]

Everyone's first picture is the portrait, two simulated cameras see the others at 24 and 16 px. Writes
benchmarks/results/tune.csv.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from machine import write_csv
from people import pictures, portraits

import meetmid
from models import MATCHERS, teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matcher", default="mobilefacenet-qengineering", help="a teacher's or a shipped matcher's name")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--probes-each", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "tune.csv")
    args = parser.parse_args()
    card = teacher(args.matcher) if args.matcher in MATCHERS else meetmid.models.get(args.matcher)
    sides = pictures("selection", args.people, args.probes_each)
    people: dict[str, list] = {}
    for side in sides:
        for (name, *_), crop in zip(side, portraits(side, card.contract.alignment), strict=True):
            people.setdefault(name, []).append(crop)
    told = {"stage": "", "begun": time.monotonic()}

    def progress(done: int, total: int, stage: str) -> None:
        if done == total or stage != told["stage"]:
            told["stage"] = stage
            print(f"{time.monotonic() - told['begun']:6.0f} s  {stage} {done}/{total}", flush=True)

    found = meetmid.tune(list(people.values()), matcher=card, faces="crop", minutes=args.minutes, progress=progress)
    seconds = time.monotonic() - told["begun"]
    print(found, f"\n{seconds:.0f} s", flush=True)
    print(found.held_out)
    if args.save:
        found.save(args.save)
    held = found.held_out
    write_csv(args.csv, [{
        "matcher": card.name, "people": held.people, "probes": held.probes, "gallery": held.gallery, "n": held.searches,
        "preset": found.preset, "preset_k": held.baseline_hits, "k": held.hits, "gain": round(100 * held.gain.value, 2),
        "low95": round(100 * held.gain.low, 2), "high95": round(100 * held.gain.high, 2), "option": held.option,
        "paths": " ".join(held.chosen), "alike": round(held.shipped.alike, 2), "tried_paths": found.tried["paths"],
        "options": found.tried["options"], "minutes": args.minutes, "seconds": round(seconds),
    }])


if __name__ == "__main__":
    main()
