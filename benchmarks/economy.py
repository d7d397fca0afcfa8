"""What the presets give and cost beside the full paper configuration, on people that no choice was made on.

    python benchmarks/economy.py [--parts paper sharp curve] [--people 50] [--more-people 130] [--cache build/economy]

paper: closed-set rank-1 of the presets and of the full tree (1,463 paths, three scales, 48 super-resolved probe hypotheses;
vector and set centring) for the shipped pair and three other matchers, two simulated cameras and several seeds pooled;
differences are paired, their 95 % intervals draw people. The full tree's templates take hours and are cached. sharp: probes
of 48, 64 and 112 px beside the plain matcher, and all together as size 0. curve: rank-1 by the number of gallery paths, every
prefix of the shipped list. Matchers that bring no means have theirs learned from people with a single picture, who are in no
part of the split. Writes benchmarks/results/economy.csv and, of the first part, economy.png.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from machine import write_csv
from people import captures, data_folder, pictures, portraits
from pools import gallery_pool, probe_pool

from meetmid import PRESETS, MatchConfig, Matcher
from meetmid.evaluation import Trials, search, wilson
from meetmid.evaluation.ladder import masked_side
from meetmid.faces.alignment import TEMPLATES
from meetmid.presets import advised
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.registry import get_model
from meetmid.scores.scoring import fuse_sides
from meetmid.templates.centering import ReferenceMeans
from models import MATCHERS, mean, teacher

NAMES = ("slimface-probe", *MATCHERS)
PRESET_NAMES = ("plain", "fast", "balanced", "accurate")
WHOLE = replace(PRESETS["paper"], identity=True, centering="none", faces="crop", keep_crops=False)
"""All that the paper's configuration needs; its own readings leave the identity hypotheses out."""
SHARP = (48, 64, 112)
COHORT = 400


def card(name: str) -> ModelCard:
    """The card of a shipped matcher, or of one that lies beside the pictures."""
    return teacher(name) if name in MATCHERS else get_model(name)


@cache
def singles(alignment: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Far probes and portraits of people with a single picture."""
    from meetmid.models.recipes.cohort import cohort

    return cohort(data_folder(), TEMPLATES[alignment], COHORT)


def balanced(model: ModelCard, **changes: object) -> MatchConfig:
    """``balanced`` as it ships with a matcher, for face crops, but for these fields."""
    return replace(advised("balanced", model.presets), faces="crop", keep_crops=False, **changes)


def means(model: ModelCard, config: MatchConfig) -> ReferenceMeans | None:
    """Learned means where the model's card has none and the configuration asks for them."""
    if config.centering != "reference" or model.reference_means() is not None:
        return None
    with Matcher(config=config, matcher=model, faces="crop", keep_crops=False) as matcher:
        return matcher.learn_means(*singles(model.contract.alignment))


def difference(hits: np.ndarray, other: np.ndarray, people: np.ndarray) -> tuple[float, float, float]:
    """Points of rank-1 that one system has more than another, and their 95 % percentile interval over people drawn."""
    points, low, high = (100 * value for value in mean(hits.astype(float) - other, people))
    return points, low, high


class Bench:
    """Rows of the table, and the hits of every system."""

    def __init__(self, people: int, probes_each: int, seeds: list[int], cache: Path) -> None:
        self.portraits, self.probes = pictures("test", people, probes_each)
        self.subjects, self.mates = ([name for name, *_ in side] for side in (self.portraits, self.probes))
        self.seeds, self.cache = seeds, cache
        self.people = np.array(self.mates * len(seeds))
        self.rows: list[dict[str, object]] = []
        self.hits: dict[tuple[str, str, int], np.ndarray] = {}

    def found(self, scores: np.ndarray) -> np.ndarray:
        """Which probes have their person first."""
        return search(Trials.of(scores, self.mates, self.subjects)).hits()

    def tell(self, matcher: str, system: str, size: int, hits: np.ndarray, cost: tuple[int, int], against: str = "") -> None:
        """A row, with the paired difference to another system."""
        self.hits[matcher, system, size] = hits
        k, n = int(hits.sum()), len(hits)
        low, high = wilson(k, n)
        row: dict[str, object] = {
            "matcher": matcher, "system": system, "size": size, "k": k, "n": n, "percent": round(100 * k / n, 2),
            "low95": round(100 * low, 2), "high95": round(100 * high, 2), "probe_evaluations": cost[0],
            "gallery_templates": cost[1], "against": against, "points": "", "points_low95": "", "points_high95": "",
        }
        if against:
            people = np.tile(self.people, len(hits) // len(self.people))
            found = difference(hits, self.hits[matcher, against, size], people)
            row |= dict(zip(("points", "points_low95", "points_high95"), (round(v, 2) for v in found), strict=True))
        self.rows.append(row)
        told = f", {row['points']:+} [{row['points_low95']}, {row['points_high95']}] to {against}" if against else ""
        print(f"{matcher:<34}{system:<12}{size:>4} px {k}/{n} = {100 * k / n:.1f}, {cost[0]} + {cost[1]}{told}", flush=True)

    def run(self, name: str, system: str, config: MatchConfig, sizes: tuple[int, ...], against: str = "") -> None:
        """One configuration as it ships."""
        model = card(name)
        options = {"faces": "crop", "keep_crops": False, "reference": means(model, config)}
        with Matcher(config=config, matcher=model, **options) as matcher:
            alignment = model.contract.alignment
            probe, portrait = matcher.plan(1, 0, measure=False), matcher.plan(0, 1, measure=False)
            gallery = matcher.enroll(portraits(self.portraits, alignment))
            for size in sizes:
                scores = [matcher.match(captures(self.probes, alignment, size, seed), gallery).scores for seed in self.seeds]
                hits = np.concatenate([self.found(each) for each in scores])
                cost = (probe.super_resolutions + probe.probe_templates, portrait.gallery_templates)
                self.tell(name, system, size, hits, cost, against)

    def pool(self, name: str, system: str, sizes: tuple[int, ...], against: str) -> None:
        """All sizes together, as size 0."""
        cost = self.rows[-1]["probe_evaluations"], self.rows[-1]["gallery_templates"]
        self.tell(name, system, 0, np.concatenate([self.hits[name, system, size] for size in sizes]), cost, against)

    def paper(self, name: str, sizes: tuple[int, ...]) -> None:
        """The full tree in its two readings, from cached templates."""
        with Matcher(config=WHOLE, matcher=card(name)) as matcher:
            gallery = gallery_pool(matcher, portraits(self.portraits, matcher.card.contract.alignment), self.cache)
            keep_p, keep_g = (np.ones(pool) for pool in ((4, 16), gallery.weights.shape[1:]))
            keep_p[0], keep_g[0] = 0, 0
            for size in sizes:
                pools = [probe_pool(matcher, self.probes, size, seed, self.cache) for seed in self.seeds]
                for system, centring in (("paper", "vector"), ("paper-set", "set")):
                    g = masked_side(gallery, centring, keep_g)
                    sides = [masked_side(pool, centring, keep_p) for pool in pools]
                    scores = [fuse_sides(p, g, [("S_add", "S_max")], add="mean")[0] for p in sides]
                    self.tell(name, system, size, np.concatenate([self.found(each) for each in scores]), (96, 4389))


def preset_config(name: str, preset: str) -> MatchConfig:
    """A preset as a matcher's card has it."""
    return advised(preset, card(name).presets)


def curve(bench: Bench, name: str, sizes: tuple[int, ...]) -> None:
    """Every prefix of the longest list of paths."""
    config = preset_config(name, "accurate")
    for count in range(len(config.paths) + 1):
        paths = config.paths[:count] or "none"
        weight = max(1, round(config.portrait_weight * count / len(config.paths)))
        bench.run(name, f"{count} paths", replace(config, paths=paths, portrait_weight=weight), sizes)


def figure(rows: list[dict[str, object]], path: Path, sizes: tuple[int, ...]) -> None:
    """Accuracy against cost: the presets of every matcher, each with its interval."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.5 * len(sizes), 4), layout="constrained")
    for axes, size in zip(np.atleast_1d(drawn.subplots(1, len(sizes), sharey=True)), sizes, strict=True):
        for name in dict.fromkeys(row["matcher"] for row in rows):
            its = [row for row in rows if (row["matcher"], int(row["size"])) == (name, size)]
            own = [row for row in its if row["system"] in (*PRESET_NAMES, "paper")]
            own.sort(key=lambda row: int(row["gallery_templates"]))
            x, y, low, high = (np.array([float(row[key]) for row in own])
                               for key in ("gallery_templates", "percent", "low95", "high95"))
            axes.errorbar(x, y, (y - low, high - y), marker="o", capsize=2, label=str(name))
        axes.set(xscale="log", xlabel="templates per portrait", title=f"{size} px, plain to paper")
    drawn.axes[0].set_ylabel("rank-1 in percent, Wilson 95 %")
    drawn.axes[-1].legend(fontsize="x-small")
    drawn.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("paper", "sharp", "curve"), default=["paper", "sharp", "curve"])
    parser.add_argument("--matchers", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--people", type=int, default=50, help="whose full trees are grown")
    parser.add_argument("--more-people", type=int, default=130, help="of the other parts")
    parser.add_argument("--probes-each", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--cache", type=Path, default=Path("build/economy"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "economy.csv")
    args = parser.parse_args()
    sizes = tuple(args.sizes)
    bench, more = (Bench(n, args.probes_each, args.seeds, args.cache) for n in (args.people, args.more_people))
    for name in args.matchers:
        if "paper" in args.parts:
            bench.paper(name, sizes)
            for preset in PRESET_NAMES:
                bench.run(name, preset, preset_config(name, preset), sizes, "paper")
        if "sharp" in args.parts:
            for preset in PRESET_NAMES:
                more.run(name, preset, preset_config(name, preset), SHARP, "" if preset == "plain" else "plain")
                more.pool(name, preset, SHARP, "" if preset == "plain" else "plain")
        if "curve" in args.parts:
            curve(more, name, (*sizes, 12))
        write_csv(args.csv, bench.rows + more.rows)
    if "paper" in args.parts:
        figure(bench.rows, args.csv.with_suffix(".png"), sizes)


if __name__ == "__main__":
    main()
