"""Which gallery paths the presets take: chosen and judged on the selection part of the split, by people.

    python benchmarks/selection.py [--what pair default] [--people 130] [--cache build/selection]

pair: of the shipped pair's 132 paths of one and two steps, portraits at their own size seen by the probe network, scores
divided by the cohort's second moment. default: the same paths matched to 96 px for three matchers that are not shipped, all
together, their probes as they are and super-resolved 4x (edsr-recognition); the means of all hypotheses stand for a cohort's.
Greedy forward selection, by the expected rank-1 among half of the portraits, pooled over matchers, probe sizes, cameras and
seeds; held-out rank-1 of every beginning, gains over the list that shipped before and the stability of the choice come from
repeated folds of people. Writes benchmarks/results/selection.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from economy import card
from machine import write_csv
from people import pictures, portraits
from pools import gallery_pool, probe_pool

from meetmid import PRESETS, Matcher
from meetmid.evaluation.choices import Choice, Grower, Run
from meetmid.evaluation.held_out import HeldOut, Option, validate
from meetmid.gallery.paths import format_path, select_paths
from meetmid.templates.centering import pool_means
from meetmid.templates.pool import TemplatePool
from models import MATCHERS

PATHS = "len<=2"
NAMES = tuple(format_path(path) for path in select_paths(PATHS) if path)
BEFORE = ("disk", "gauss_noise", "persp", "motion")
SHOWN = replace(PRESETS["paper"], identity=True, centering="none", paths=PATHS, faces="crop", keep_crops=False)
LIFTED = replace(SHOWN, scales=(4,), sigmas=(0.0, 0.4), paths="none", hallucinator="edsr-recognition")


def weighted(pool: TemplatePool, scale: int, slot: int, weight: float) -> TemplatePool:
    """A pool in which one hypothesis counts so many times."""
    weights = pool.weights.copy()
    weights[:, scale, slot] *= weight
    return TemplatePool(pool.templates, weights, pool.first)


def candidates(shape: tuple[int, int], scale: int, first: int) -> np.ndarray:
    """(C, S, N) one path each, from slot ``first`` of a scale on."""
    masks = np.zeros((len(NAMES), *shape), bool)
    masks[np.arange(len(NAMES)), scale, first + np.arange(len(NAMES))] = True
    return masks


def mask(shape: tuple[int, int], *slots: tuple[int, int]) -> np.ndarray:
    """(S, N) these slots."""
    found = np.zeros(shape, bool)
    for slot in slots:
        found[slot] = True
    return found


def pair(args: argparse.Namespace) -> tuple[list[Option], list[Run], Choice, list[int]]:
    """The shipped pair, its undegraded portrait weighing as much as some of its paths."""
    gallery_side, probe_side = pictures("selection", args.people, args.probes_each)
    subjects, mates = (tuple(name for name, *_ in side) for side in (gallery_side, probe_side))
    config = replace(SHOWN, scales=(), degraded_by="probe")
    with Matcher("balanced") as shipped, Matcher(config=config, matcher="slimface-probe") as matcher:
        reference = shipped.reference
        means = (reference.of("probe", (1,)), reference.of("gallery", (1,)))
        gallery = gallery_pool(matcher, portraits(gallery_side, matcher.card.contract.alignment), args.cache)
        probes = [probe_pool(matcher, probe_side, size, seed, args.cache) for size in args.sizes for seed in args.seeds]
    options, shape = [], gallery.weights.shape[1:]
    choice = Choice("gallery", NAMES, candidates(shape, 0, 1), mask(shape, (0, 0)), mask((1, 1), (0, 0)), ("S_add", "T_add"))
    runs: list[Run] = []
    for weight in args.weights:
        own = weighted(gallery, 0, 0, weight)
        runs = [Run(pool, own, mates, subjects, means, reference.second_moment()) for pool in probes]
        options.append(Option(f"pair, portrait {weight:g} times", runs, choice, args.most))
    before = [Run(pool, weighted(gallery, 0, 0, 3), mates, subjects, means, reference.second_moment()) for pool in probes]
    return options, before, choice, [NAMES.index(name) for name in BEFORE[:2]]


def default(args: argparse.Namespace) -> tuple[list[Option], list[Run], Choice, list[int]]:
    """Three matchers at once, with one or two super-resolved hypotheses of the probe."""
    gallery_side, probe_side = pictures("selection", args.people, args.probes_each)
    subjects, mates = (tuple(name for name, *_ in side) for side in (gallery_side, probe_side))
    galleries, probes = {}, {}
    for name in MATCHERS:
        with Matcher(config=replace(SHOWN, scales=(2, 4)), matcher=card(name)) as matcher:
            galleries[name] = gallery_pool(matcher, portraits(gallery_side, matcher.card.contract.alignment), args.cache)
        with Matcher(config=LIFTED, matcher=card(name)) as matcher:
            probes[name] = [probe_pool(matcher, probe_side, size, s, args.cache) for size in args.sizes for s in args.seeds]
    four = {name: at_scales(pool, [0, 2]) for name, pool in galleries.items()}
    shape = next(iter(four.values())).weights.shape[1:]
    runs = [
        Run(pool, four[m], mates, subjects, (pool_means(pool), pool_means(four[m]))) for m in MATCHERS for pool in probes[m]
    ]
    options = []
    for name, slots in (("as it is and 4x", [(0, 0), (1, 0)]), ("as it is, 4x, 4x blurred", [(0, 0), (1, 0), (1, 1)])):
        every, kept, other = candidates(shape, 1, 0), mask(shape, (0, 0), (0, 2)), mask((2, 2), *slots)
        options.append(Option(name, runs, Choice("gallery", NAMES, every, kept, other, ("S_add", "T_add")), args.most))
    return options, runs, options[-1].choice, [NAMES.index(name) for name in BEFORE]


def at_scales(pool: TemplatePool, scales: list[int]) -> TemplatePool:
    """Some scales of a pool."""
    return TemplatePool(np.ascontiguousarray(pool.templates[:, scales]), pool.weights[:, scales], pool.first)


def rows(what: str, found: HeldOut) -> list[dict[str, object]]:
    """The table of every beginning, and the lists."""
    made: list[dict[str, object]] = []
    for b in found.beginnings:
        made.append({
            "what": what, "option": b.option, "paths": b.length, "templates": b.templates, "held_out": round(100 * b.rate, 2),
            "gain": round(100 * b.gain.value, 2), "low95": round(100 * b.gain.low, 2), "high95": round(100 * b.gain.high, 2),
            "alike": round(b.alike, 3), "list": " ".join(found.lists[b.option][: b.length]),
            "ships": int(b is found.shipped),
        })
    made.append({
        "what": what, "option": "the whole procedure", "paths": len(found.chosen), "templates": found.shipped.templates,
        "held_out": round(100 * found.hits / found.searches, 2), "gain": round(100 * found.gain.value, 2),
        "low95": round(100 * found.gain.low, 2), "high95": round(100 * found.gain.high, 2), "alike": "",
        "list": " ".join(f"{name}:{share:.2f}" for name, share in found.frequency.items()), "ships": "",
    })
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=("pair", "default"), default=["pair", "default"])
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--probes-each", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--weights", type=float, nargs="+", default=[2, 4, 8], help="of the pair's undegraded portrait")
    parser.add_argument("--most", type=int, default=12)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("build/selection"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "selection.csv")
    args = parser.parse_args()
    table: list[dict[str, object]] = []
    for what in args.what:
        options, runs, choice, order = {"pair": pair, "default": default}[what](args)
        baseline = []
        for run in runs:
            grower = Grower(run, choice)
            state = grower.start()
            for candidate in order:
                state = grower.grown(state, choice.masks[candidate])
            baseline.append(grower.scores(state))
        found = validate(options, baseline, folds=args.folds, repeats=args.repeats)
        print(f"{what}\n{found}", flush=True)
        table += rows(what, found)
        write_csv(args.csv, table)


if __name__ == "__main__":
    main()
