"""The choice behind the presets of the shipped pair's card, on the selection part of the split.

    python benchmarks/paths.py [--matcher NAME]

What a super-resolved hypothesis adds to the probe, then greedy forward selection of gallery paths (template addition, portraits
at their own size, the probe alone), scored by rank-1 pooled over probe sizes. One split, one seed: the test part says what the
choice is worth (benchmarks/models.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import write_csv
from people import captures, pictures, portraits

from meetmid import MatchConfig, Matcher
from meetmid.evaluation import Trials, search
from meetmid.evaluation.ladder import masked_side
from meetmid.gallery.paths import format_path, select_paths
from meetmid.scores.fusion import fuse_sides
from meetmid.templates.pool import TemplatePool

SIZES = (24, 16)


def templates(config: MatchConfig, matcher: str, people: int) -> tuple[TemplatePool, dict[int, TemplatePool]]:
    """Gallery templates, and probe templates by size."""
    gallery_side, probe_side = pictures("selection", people, 3)
    with Matcher(config=config, matcher=matcher) as lifted:
        template = lifted.card.contract.alignment
        gallery = lifted.enroll(portraits(gallery_side, template)).pool
        probes = {s: lifted.lift(captures(probe_side, template, s, seed=7)).pool for s in SIZES}
    return gallery, probes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matcher", default="slimface-probe")
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "paths.csv")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    subjects, mates = ([name for name, *_ in side] for side in pictures("selection", args.people, 3))
    n = len(SIZES) * len(mates)

    def hits(gallery: TemplatePool, probes: dict[int, TemplatePool], slots: list[int], scales: list[int]) -> int:
        keep_g = np.zeros(gallery.weights.shape[1:])
        keep_g[0, slots] = 1.0
        found = 0
        for pool in probes.values():
            keep_p = np.zeros(pool.weights.shape[1:])
            keep_p[scales, 0] = 1.0
            sides = masked_side(pool, "set", keep_p), masked_side(gallery, "set", keep_g)
            scores = fuse_sides(*sides, [("T_add", "T_add")], add="mean")[0]
            found += int(search(Trials.of(scores, mates, subjects)).hits().sum())
        return found

    def tell(what: str, k: int) -> None:
        rows.append({"matcher": args.matcher, "what": what, "k": k, "n": n, "percent": round(100 * k / n, 2)})
        print(f"{what:<46}{k}/{n} = {100 * k / n:.1f} %", flush=True)

    for family, scale in (("edsr-recognition", 4), ("edsr-face", 2)):
        lifted = MatchConfig(hallucinator=family, centering="set", faces="crop", keep_crops=False, scales=(scale,),
                             sigmas=(0.0,), paths="none")
        gallery, probes = templates(lifted, args.matcher, args.people)
        tell(f"the probe and {family} {scale}x", hits(gallery, probes, [0], [0, 1]))
    tell("the probe alone", hits(gallery, probes, [0], [0]))
    paths = tuple(path for path in select_paths("len<=1") if path)
    config = MatchConfig(centering="set", faces="crop", keep_crops=False, scales=(), paths=paths)
    gallery, probes = templates(config, args.matcher, args.people)
    chosen: list[int] = [0]
    for _ in range(args.count):
        found = {k: hits(gallery, probes, [*chosen, k], [0]) for k in range(1, len(paths) + 1) if k not in chosen}
        best = max(found, key=lambda k: (found[k], -k))
        chosen.append(best)
        tell(f"the probe alone, portraits + {format_path(paths[best - 1])}", found[best])
    tell("the probe alone, all paths of one step", hits(gallery, probes, list(range(len(paths) + 1)), [0]))
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
