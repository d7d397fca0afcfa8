"""The models that ship, on people never trained on (benchmarks/splits/test.txt).

    python benchmarks/models.py [--parts gallery pair enlarged pipeline] [--sizes 24 16] [--people 510] [--seeds 7 8 9]

gallery: LFW-style pairs, and the time per batch beside the Apache-2.0 teacher's, interleaved, one thread, the same
onnxruntime. pair: closed-set rank-1 of probes that two simulated cameras caught, all seeds pooled, by plain cosines of
bicubically enlarged pictures: the pair, its gallery network on both sides, each permissive teacher on both sides. enlarged:
PSNR of the shipped super-resolvers, CARN-M and the bicubic filter on degraded portraits, and rank-1 of every matcher beside
the pictures with and without a super-resolved hypothesis. pipeline: ``meetmid.match`` as shipped on the same probes. "Fewer
errors" is one minus the ratio of the rank-1 errors, with a 95 % interval that draws people, both systems' probes together.
Writes benchmarks/results/models.csv.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import write_csv
from people import captures, data_folder, pictures, portraits

from meetmid import MatchConfig, Matcher
from meetmid.evaluation import Trials, search
from meetmid.faces.alignment import TEMPLATES
from meetmid.runtime.cards import CONTRACTS, ModelCard, file_sha256
from meetmid.runtime.registry import get_model
from meetmid.runtime.sessions import Network

PROBE, GALLERY = "slimface-probe", "slimface-gallery"
TEACHERS = {
    "face-reidentification-retail-0095": "openvino-0095", "mobilefacenet-qengineering": "arcface-raw",
}
MATCHERS = {**TEACHERS, "edgeface-xs": "arcface"}
LIFTED = MatchConfig(hallucinator="edsr-recognition", scales=(4,), sigmas=(0.0,), paths="none", centering="none")
"""The plain preset and one super-resolved hypothesis beside the bicubic one; 4x was chosen on the selection part."""
DRAWS = 2000
PARTS = ("gallery", "pair", "enlarged", "pipeline")


def teacher(name: str) -> ModelCard:
    """The card of a matcher whose weights lie beside the pictures."""
    path = data_folder() / "weights" / f"{name}.onnx"
    return ModelCard(name, "matcher", path, file_sha256(path), "see shared data", CONTRACTS[MATCHERS[name]])


def milliseconds(cards: list[ModelCard], repeats: int) -> list[float]:
    """Median time of each network per batch (one face, padded to 8), interleaved."""
    networks = [Network(card, device="cpu", threads=1) for card in cards]
    found: list[list[float]] = [[] for _ in cards]
    pictures = [np.random.default_rng(0).random((1, *card.contract.size, 3), np.float32) for card in cards]
    for _ in range(repeats):
        for times, network, picture in zip(found, networks, pictures, strict=True):
            begun = time.perf_counter()
            network.run(picture)
            times.append(time.perf_counter() - begun)
    return [1e3 * statistics.median(times) for times in found]


def drawn_people(count: int) -> np.ndarray:
    """How often each of ``count`` people is drawn, with replacement, in every draw: (DRAWS, count)."""
    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)


def fewer(hits: np.ndarray, other: np.ndarray, people: list[str]) -> tuple[float, float, float]:
    """1 - errors / the other's errors, and its 95 % percentile interval over people drawn with replacement."""
    names, place = np.unique(people, return_inverse=True)
    errors = np.stack([np.bincount(place, ~h, len(names)) for h in (hits, other)])
    drawn = drawn_people(len(names)) @ errors.T
    low, high = np.quantile(1 - drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return float(1 - errors[0].sum() / errors[1].sum()), float(low), float(high)


def mean(values: np.ndarray, people: Sequence[str]) -> tuple[float, float, float]:
    """The mean of the searches' values, and its 95 % percentile interval over people drawn with replacement."""
    names, place = np.unique(people, return_inverse=True)
    sums, many = np.bincount(place, values, len(names)), np.bincount(place, minlength=len(names))
    drawn = drawn_people(len(names))
    low, high = np.quantile((drawn @ sums) / (drawn @ many), (0.025, 0.975))
    return float(sums.sum() / many.sum()), float(low), float(high)


class Bench:
    """Rows of the table; systems are run once per size, the seeds of the cameras pooled."""

    def __init__(self, people: int, probes_each: int, sizes: list[int], seeds: list[int]) -> None:
        self.gallery_side, self.probe_side = pictures("test", people, probes_each)
        self.subjects, self.mates = ([name for name, *_ in side] for side in (self.gallery_side, self.probe_side))
        self.sizes, self.seeds, self.rows = sizes, seeds, []
        self.people = self.mates * len(seeds)
        self.hits: dict[tuple[str, int], np.ndarray] = {}
        self.caught: dict[tuple[str, int], list[list[np.ndarray]]] = {}

    def run(self, name: str, **options: object) -> None:
        """Rank-1 of one system, once."""
        if (name, self.sizes[0]) in self.hits:
            return
        with Matcher(**{"faces": "crop", "keep_crops": False, **options}) as matcher:
            template = matcher.card.contract.alignment
            gallery = matcher.enroll(portraits(self.gallery_side, template))
            for size in self.sizes:
                begun = time.monotonic()
                if (template, size) not in self.caught:
                    self.caught[template, size] = [captures(self.probe_side, template, size, seed) for seed in self.seeds]
                results = [matcher.match(caught, gallery) for caught in self.caught[template, size]]
                found = [search(Trials.of(result.scores, self.mates, self.subjects)).hits() for result in results]
                self.hits[name, size] = hits = np.concatenate(found)
                self.row("rank-1", name, size, hits.sum(), len(hits), mean(hits, self.people)[1:])
                print(f"    {time.monotonic() - begun:.0f} s", flush=True)

    def compare(self, name: str, other: str) -> None:
        """How many fewer errors one system makes than another."""
        for size in self.sizes:
            value, low, high = fewer(self.hits[name, size], self.hits[other, size], self.people)
            self.tell({"what": f"fewer rank-1 errors than {other}", "system": name, "size": size,
                       "percent": round(100 * value, 2), "low95": round(100 * low, 2), "high95": round(100 * high, 2)})

    def row(self, what: str, name: str, size: int, k: int, n: int, interval: tuple[float, float]) -> None:
        """A share."""
        self.tell({"what": what, "system": name, "size": size, "k": int(k), "n": n, "percent": round(float(100 * k / n), 2),
                   "low95": round(100 * interval[0], 2), "high95": round(100 * interval[1], 2)})

    def tell(self, row: dict[str, object]) -> None:
        """Keep and print."""
        self.rows.append(dict.fromkeys(("what", "system", "size", "k", "n", "percent", "low95", "high95"), "") | row)
        print({key: value for key, value in self.rows[-1].items() if value != ""}, flush=True)


def gallery_part(bench: Bench, repeats: int) -> None:
    """Pairs and time of the gallery network."""
    from meetmid.models.recipes.figures import pair_accuracy

    cards = [get_model(GALLERY), *(teacher(name) for name in TEACHERS)]
    for card in cards:
        network = Network(card, device="cpu")
        found = pair_accuracy(data_folder(), TEMPLATES[card.contract.alignment], card.contract.size, network.run)[0]
        bench.row("LFW pairs", card.name, 0, found.right, found.n, found.interval)
    for card, time_ in zip(cards, milliseconds(cards, repeats), strict=True):
        bench.tell({"what": "milliseconds per batch of 8, one thread", "system": card.name, "k": round(time_, 3), "n": repeats})


def enlarged_part(bench: Bench) -> None:
    """PSNR, and what super-resolved hypotheses are worth to each matcher; edsr-recognition's loss saw the teachers alone."""
    from enlarging import gains

    for scale in (2, 4):
        for name, mean, gain, interval in gains(bench.gallery_side, scale):
            bench.tell({"what": f"PSNR {scale}x, dB; more than bicubic", "system": name, "k": round(mean, 2),
                        "percent": round(gain, 2), "low95": round(interval[0], 2), "high95": round(interval[1], 2)})
    for name in MATCHERS:
        bench.run(name, preset="plain", matcher=teacher(name))
        for scale in (4, 2, 8):
            lifted = f"{name} + edsr-recognition-x{scale}"
            bench.run(lifted, config=replace(LIFTED, scales=(scale,)), matcher=teacher(name))
            bench.compare(lifted, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--people", type=int, default=510)
    parser.add_argument("--probes-each", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "models.csv")
    args = parser.parse_args()
    bench = Bench(args.people, args.probes_each, args.sizes, args.seeds)
    if "gallery" in args.parts:
        gallery_part(bench, args.repeats)
    if {"pair", "pipeline"} & set(args.parts):
        bench.run("gallery network alone", preset="plain", matcher=GALLERY)
        for name in TEACHERS:
            bench.run(name, preset="plain", matcher=teacher(name))
    if "pair" in args.parts:
        bench.run("pair", preset="plain", matcher=PROBE)
        for other in ("gallery network alone", *TEACHERS):
            bench.compare("pair", other)
    if "enlarged" in args.parts:
        enlarged_part(bench)
    if "pipeline" in args.parts:
        bench.run("meetmid.match, preset fast", preset="fast")
        bench.run("meetmid.match as shipped")
        for other in ("gallery network alone", "face-reidentification-retail-0095"):
            bench.compare("meetmid.match as shipped", other)
    write_csv(args.csv, bench.rows)


if __name__ == "__main__":
    main()
