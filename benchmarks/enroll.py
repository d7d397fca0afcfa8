"""What enrolment costs beyond its network.

    python benchmarks/enroll.py [--parts tree pipeline plan] [--repeats 7]

tree: one portrait's whole degradation tree (1,463 nodes), one core, by side, beside the same tree in NumPy and OpenCV
(benchmarks/naive_tree.py), interleaved; and the seconds of every function. pipeline: ``Matcher.enroll`` of coded pictures
with given points beside the bare network on as many full batches, interleaved. plan: the seconds that ``Matcher.plan``
expects beside what the match then takes. Medians. Writes benchmarks/results/enroll.csv.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from machine import write_csv
from naive_tree import naive
from people import pictures

from meetmid import DegradationOptions, Matcher
from meetmid.gallery import degradations, tree
from meetmid.gallery.paths import select_paths
from meetmid.runtime.sessions import BATCH, to_planes

PARTS = ("tree", "pipeline", "plan")
PLANS = (
    ("plain", None, 200), ("fast", None, 200), ("balanced", None, 200), ("fast", "midface-s", 60),
    ("balanced", "midface-s", 40), ("paper", "midface-s", 1),
)


def interleaved(repeats: int, *calls: Callable[[], object]) -> list[list[float]]:
    """Seconds of every call, in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(repeats):
        for its, call in zip(times, calls, strict=True):
            begun = time.perf_counter()
            call()
            its.append(time.perf_counter() - begun)
    return times


def tree_part(repeats: int) -> list[dict[str, object]]:
    """The whole tree of one picture."""
    cv2.setNumThreads(1)
    paths, rows = select_paths("len<=3"), []
    for side in (128, 192, 256, 512):
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        image = cv2.GaussianBlur(noise, (9, 9), 3)

        def ours(image: np.ndarray = image) -> None:
            for _ in tree.walk(image, paths, seed=0, options=DegradationOptions()):
                pass

        def slow(image: np.ndarray = image) -> None:
            with naive():
                ours(image)

        new, old = interleaved(repeats, ours, slow)
        ratio = statistics.median(o / n for n, o in zip(new, old, strict=True))
        rows.append(row("tree", f"{side} px", statistics.median(new), statistics.median(old), ratio))
    spent: Counter[str] = Counter()
    functions = dict(degradations._FUNCTIONS)
    for name, function in functions.items():
        degradations._FUNCTIONS[name] = clocked(function, name, spent)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    for _ in tree.walk(noise, paths, seed=0, options=DegradationOptions()):
        pass
    degradations._FUNCTIONS.update(functions)
    rows += [row("function in the tree of 256 px", name, seconds) for name, seconds in spent.most_common()]
    cv2.setNumThreads(-1)
    return rows


def clocked(function: Callable, name: str, spent: Counter[str]) -> Callable:
    """A function whose seconds are added up."""

    def call(*arguments: object) -> np.ndarray:
        begun = time.perf_counter()
        made = function(*arguments)
        spent[name] += time.perf_counter() - begun
        return made

    return call


def pipeline_part(repeats: int) -> list[dict[str, object]]:
    """Enrolment beside the bare network."""
    side, _ = pictures("selection", 200, 1)
    codes = [cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes() for _, picture, _ in side]
    points = [its for *_, its in side]
    rows = []
    for preset, matcher in (("balanced", None), ("balanced", "midface-s")):
        with Matcher(preset, matcher=matcher, centering="none") as ours:
            network = ours.gallery_network.network
            session, contract = network.open(), network.card.contract
            blank = np.random.default_rng(0).random((BATCH, *contract.size, 3), np.float32)
            planes, name = to_planes(blank, network.card), session.get_inputs()[0].name
            runs = len(side) * ours.comparison.layouts().networks_runs()

            def bare(session: object = session, name: str = name, planes: np.ndarray = planes, runs: int = runs) -> None:
                for _ in range(-(-runs // BATCH)):
                    session.run(None, {name: planes})

            def enroll(ours: Matcher = ours) -> None:
                ours.enroll(codes, faces=points)

            alone, whole = interleaved(repeats, bare, enroll)
        ratio = statistics.median(w / a for a, w in zip(alone, whole, strict=True))
        what = f"{preset}, {matcher or 'the pair'}, {len(side)} portraits, {runs} templates"
        rows.append(row("enrolment, bare network", what, statistics.median(whole), statistics.median(alone), ratio))
    return rows


def plan_part() -> list[dict[str, object]]:
    """Expected and real seconds."""
    side, _ = pictures("selection", 200, 1)
    codes = [cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes() for _, picture, _ in side]
    small = [cv2.resize(picture[60:190, 60:190], (24, 24), interpolation=cv2.INTER_AREA) for _, picture, _ in side]
    rows = []
    for preset, matcher, count in PLANS:
        with Matcher(preset, matcher=matcher) as ours:
            begun = time.perf_counter()
            plan = ours.plan(small[:count], codes[:count])
            spent = time.perf_counter() - begun
            real = sum(ours.match(small[:count], codes[:count]).seconds.values())
        what = f"{preset}, {matcher or 'the pair'}, {count} x {count}, calibrated in {spent:.1f} s"
        rows.append(row("plan: expected, real", what, plan.seconds or 0.0, real, (plan.seconds or 0.0) / real))
    return rows


def row(part: str, what: str, seconds: float, beside: float | None = None, ratio: float | None = None) -> dict[str, object]:
    """One line, printed."""
    made = {
        "part": part, "what": what, "seconds": round(seconds, 5), "beside": "" if beside is None else round(beside, 5),
        "ratio": "" if ratio is None else round(ratio, 3),
    }
    print("  ".join(f"{value}" for value in made.values()), flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "enroll.csv")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    if "tree" in args.parts:
        rows += tree_part(args.repeats)
    if "pipeline" in args.parts:
        rows += pipeline_part(args.repeats)
    if "plan" in args.parts:
        rows += plan_part()
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
