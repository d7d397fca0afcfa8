"""The ladder of the paper's Table 2 (and the rule pairs of Table 3) on the development people.

    python benchmarks/ladder.py --matcher NAME [--matcher NAME] [--sizes 24 16] [--paths "len<=1"]

One gallery portrait per person of the test part; their other pictures are the probes, caught by two simulated cameras. Prints
closed-set rank-1 as k/n with Wilson 95 % intervals (probes of one person are not independent, so these are a little narrow)
for three centrings and writes benchmarks/results/ladder.csv. Templates are cached in --cache.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import write_csv
from people import captures, pictures, portraits

from meetmid import MatchConfig, Matcher
from meetmid.evaluation import rank1_hits, wilson
from meetmid.gallery.paths import select_paths
from meetmid.scores.fusion import fuse_sides
from meetmid.scores.side import Side
from meetmid.templates.centering import MeanAccumulator
from meetmid.templates.pool import TemplatePool

CENTRINGS = ("none", "vector", "set")
SCALES = (2, 4, 8)


def pools(
    matcher: str,
    sizes: list[int],
    paths: str,
    part: str,
    people: int,
    probes_each: int,
    cache: Path,
    scales: tuple[int, ...] = SCALES,
) -> tuple[list[str], list[str], TemplatePool, dict[int, TemplatePool]]:
    """Subjects of the gallery and of the probes, gallery templates, probe templates by size."""
    gallery_side, probe_side = pictures(part, people, probes_each)
    chosen = ((), *(p for p in select_paths(paths) if p))
    config = MatchConfig(faces="crop", paths=chosen, identity=True, scales=scales, keep_crops=False)
    with Matcher(config=config, matcher=matcher) as lifted:
        template = lifted.card.contract.alignment
        key = f"{lifted.card.sha256} {[n.card.sha256 for n in lifted.hallucinator.networks.values()]} {part} {people}"
        gallery = cached(
            cache, f"{key} {config.gallery_hash()} gallery", lambda: lifted.enroll(portraits(gallery_side, template)).pool
        )
        probes = {
            size: cached(
                cache, f"{key} {config.hash()} {probes_each} {size}",
                lambda size=size: lifted.lift(captures(probe_side, template, size, seed=7)),
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


def side(pool: TemplatePool, centring: str, keep: np.ndarray) -> Side:
    """A side with only the slots that ``keep`` (S, N) marks."""
    weights = pool.weights * keep[None]
    plain = Side(pool.templates, weights, pool.first)
    if centring == "vector":
        return replace(plain, per_vector=True)
    if centring == "set":
        total = MeanAccumulator(pool.templates.shape[1], pool.templates.shape[3])
        for templates, own in zip(pool.templates, weights, strict=True):
            total.add(templates, own)
        return replace(plain, means=total.means())
    return plain


def steps(shape_p: tuple[int, int], shape_g: tuple[int, int]) -> list[tuple[str, np.ndarray, np.ndarray, str, str]]:
    """(step, probe slots, gallery slots, probe rule, gallery rule) of every row; scale 0 is the identity scale."""

    def mask(shape: tuple[int, int], scales: list[int], slots: slice) -> np.ndarray:
        keep = np.zeros(shape)
        for scale in scales:
            keep[scale, slots] = 1.0
        return keep

    every, first, degraded = slice(None), slice(0, 1), slice(1, None)
    native = mask(shape_g, [0], first)
    all_scales = [1, 2, 3]
    rows = [("baseline", mask(shape_p, [0], first), native, "S_max", "S_max")]
    for index, scale in enumerate(SCALES, 1):
        single = mask(shape_p, [index], first)
        rows.append((f"+SR, single hypothesis, {scale}x", single, native, "S_max", "S_max"))
    for index, scale in enumerate(SCALES, 1):
        rows.append((f"+multi-hypothesis SR, {scale}x", mask(shape_p, [index], every), native, "S_max", "S_max"))
    for index, scale in enumerate(SCALES, 1):
        matched = mask(shape_g, [index], first)
        rows.append((f"+resolution matching, {scale}x", mask(shape_p, [index], every), matched, "S_max", "S_max"))
    for index, scale in enumerate(SCALES, 1):
        lowered = mask(shape_g, [index], degraded)
        rows.append((f"+gallery degradations, {scale}x", mask(shape_p, [index], every), lowered, "S_max", "S_max"))
    probe, lowered = mask(shape_p, all_scales, every), mask(shape_g, all_scales, degraded)
    for p in ("T_add", "S_add", "S_max"):
        for g in ("T_add", "S_add", "S_max"):
            rows.append((f"+multi-scale, probe {p}, gallery {g}", probe, lowered, p, g))
    rows.append(("+multi-scale, T_concat", probe, lowered, "T_concat", "T_concat"))
    probe = mask(shape_p, [0, *all_scales], every)
    whole = mask(shape_g, [0], first) + mask(shape_g, all_scales, every)
    for p, g in (("S_add", "S_max"), ("S_add", "T_add"), ("T_add", "T_add"), ("S_max", "S_max")):
        rows.append((f"+identity hypotheses, probe {p}, gallery {g}", probe, whole, p, g))
    unlifted = mask(shape_p, [0], every)
    rows.append(("identity probe alone, whole gallery, T_add", unlifted, whole, "S_max", "T_add"))
    return rows


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
            for name, keep_p, keep_g, rule_p, rule_g in steps(pool.weights.shape[1:], gallery.weights.shape[1:]):
                cells = []
                for centring in CENTRINGS:
                    p, g = side(pool, centring, keep_p), side(gallery, centring, keep_g)
                    scores = fuse_sides(p, g, [(rule_p, rule_g)], add="mean")[0]
                    k, n = int(rank1_hits(scores, mates, subjects).sum()), len(mates)
                    low, high = wilson(k, n)
                    cells.append(f"{k}/{n} = {100 * k / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
                    rows.append({
                        "matcher": matcher, "size": size, "part": args.part, "paths": args.paths, "step": name,
                        "centring": centring, "k": k, "n": n, "percent": round(100 * k / n, 2),
                        "low95": round(100 * low, 2), "high95": round(100 * high, 2),
                    })
                print(f"{name:<56}" + "".join(f"{c:>28}" for c in cells), flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
