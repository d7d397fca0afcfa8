"""How many candidates progressive identification misses, and how many comparisons it spares.

    python benchmarks/identify.py [--cache build/selection]

Probes (as they are, and 4x super-resolved) against portraits along all paths of one and two steps, S_max over these, S_add over
those, vector centring, for three matchers, two sizes and seeds, and for the shipped pair (510 people, probes as they are). The
cheap score is that of summed templates, which an enrolled gallery has, or of the undegraded portraits, which need no degrading.
Counts the searches whose best one or ten best are not all found. Writes benchmarks/results/identify.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from economy import card
from machine import write_csv
from people import pictures, portraits
from pools import gallery_pool, probe_pool
from selection import LIFTED, SHOWN, at_scales

from meetmid import Matcher
from meetmid.evaluation.ladder import masked_side
from meetmid.scores.progressive import Wanted, progressive
from meetmid.scores.scoring import fuse_sides
from meetmid.templates.pool import TemplatePool
from models import MATCHERS

PAIR = "slimface-probe"


def templates(name: str, args: argparse.Namespace) -> tuple[TemplatePool, list[TemplatePool], list[tuple[int, int]]]:
    """Of the portraits and the probes, and where the undegraded portraits lie."""
    many, config = name == PAIR, replace(SHOWN, scales=(2, 4))
    if many:
        config = replace(SHOWN, scales=(), degraded_by="probe")
    gallery_side, probe_side = pictures("selection", 510 if many else 130, 2 if many else 3)
    with Matcher(config=config, matcher=card(name)) as matcher:
        gallery = gallery_pool(matcher, portraits(gallery_side, matcher.card.contract.alignment), args.cache)
    with Matcher(config=replace(config, paths="none") if many else LIFTED, matcher=card(name)) as matcher:
        probes = [probe_pool(matcher, probe_side, size, seed, args.cache) for size in args.sizes for seed in args.seeds]
    return (gallery, probes, [(0, 0)]) if many else (at_scales(gallery, [0, 2]), probes, [(0, 0), (0, 1), (0, 2)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--misses", type=float, nargs="+", default=[1e-3, 1e-6])
    parser.add_argument("--cache", type=Path, default=Path("build/selection"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "identify.csv")
    args = parser.parse_args()
    rows = []
    for name in (PAIR, *MATCHERS):
        gallery, probes, undegraded = templates(name, args)
        every = np.ones(gallery.weights.shape[1:])
        clean = np.zeros_like(every)
        clean[tuple(zip(*undegraded, strict=True))] = 1
        sides = [masked_side(pool, "vector", np.ones(pool.weights.shape[1:])) for pool in probes]
        full = np.concatenate([fuse_sides(p, masked_side(gallery, "vector", every), [("S_add", "S_max")], add="mean")[0]
                               for p in sides])
        for cheap_name, keep in (("summed templates", every), ("undegraded portraits", clean)):
            g = masked_side(gallery, "vector", keep)
            cheap = np.concatenate([fuse_sides(p, g, [("S_add", "S_add")], add="mean")[0] for p in sides])
            for k in (1, 10):
                best = np.argsort(-full, axis=1, kind="stable")[:, :k]
                for miss in args.misses:
                    found = progressive(cheap, k, miss, exactly(full))
                    there = np.isfinite(np.take_along_axis(found, best, axis=1)).all(axis=1)
                    rows.append({
                        "matcher": name, "cheap": cheap_name, "portraits": full.shape[1], "k": k, "nominal": miss,
                        "missed": int((~there).sum()), "searches": len(full), "compared": round(np.isfinite(found).mean(), 4),
                    })
                    print(rows[-1], flush=True)
    write_csv(args.csv, rows)


def exactly(full: np.ndarray):
    """Full scores that are known already."""

    def exact(wanted: Wanted) -> Iterator[tuple[int, list[int], np.ndarray]]:
        for entry, its in wanted.items():
            yield entry, its, full[its, entry]

    return exact


if __name__ == "__main__":
    main()
