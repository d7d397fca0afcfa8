"""Several pictures of a face in one probe: rank-1 of groups beside that of their most detailed picture, selection part.

    python benchmarks/tracks.py [--people 130]

Tracks are frames of one photograph, as a camera takes them one after the other; meetings are three photographs of a person,
who looks otherwise in each, in every order of the sizes. ``balanced`` with the shipped pair, beside the most detailed picture
alone. How the pictures' weights were chosen: exponents of their effective resolution from 0, all count alike, to 6; 2, the
pixels that they hold, ships. Writes benchmarks/results/tracks.csv.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
from machine import write_csv
from people import captures, columns, pictures, portraits

from meetmid import Matcher
from meetmid.intake import Taken
from meetmid.probes.resolution import Detail

SEED, EXPONENTS, WEIGHED = 7, (0, 1, 2, 3, 4, 6), 2
TRACKS = (
    (16,) * 4, (24,) * 4, (12, 16, 24), (12, 12, 12, 24), (16, 16, 16, 24), (12, 12, 12, 40), (24, 24, 24, 40),
    (20, 24, 28, 32),
)
MEETINGS = (
    (16,) * 3, (24,) * 3, (16, 12, 12), (24, 16, 12), (24, 24, 12), (24, 20, 16), (32, 24, 20), (40, 16, 16), (40, 24, 16),
)
Group = tuple[int, list[np.ndarray]]


def hits(matcher: Matcher, taken: Taken, enrolled: object, own: np.ndarray) -> int:
    return int((matcher.match(taken, enrolled).scores.argmax(axis=1) == own).sum())


def weighed(matcher: Matcher, groups: list[Group], enrolled: object) -> Iterator[tuple[int, int]]:
    """Exponents and hits."""
    own = np.array([column for column, _ in groups])
    taken = matcher.lift([its for _, its in groups])
    held = np.array([[Detail.of(crop).resolution for crop in its] for _, its in groups], float)
    share = (held / held.max(axis=1, keepdims=True)).reshape(-1, 1, 1)
    sides = [(its.weights, np.array(its.weights)) for its in (taken.pool, taken.plain)]
    for exponent in EXPONENTS:
        for weights, shipped in sides:
            weights[...] = shipped * share ** (exponent - WEIGHED)
        yield exponent, hits(matcher, taken, enrolled, own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "tracks.csv")
    args = parser.parse_args()
    gallery, probes = pictures("selection", args.people, 3)
    own, rows = columns(gallery, probes), list[dict[str, object]]()
    of_person = defaultdict(list)
    for row, column in enumerate(own):
        of_person[int(column)].append(row)
    trios = [rows_of for rows_of in of_person.values() if len(rows_of) == 3]
    with Matcher("balanced", faces="crop", keep_crops=False) as matcher:
        template = matcher.card.contract.alignment
        enrolled = matcher.enroll(portraits(gallery, template))
        seen: dict[tuple[int, int], list[np.ndarray]] = {}

        def shot(size: int, number: int) -> list[np.ndarray]:
            key = size, SEED + number
            if key not in seen:
                seen[key] = captures(probes, template, *key)
            return seen[key]

        for kind, groups_of in (("track", TRACKS), ("meetings", MEETINGS)):
            for sizes in groups_of:
                shots = [shot(size, number) for number, size in enumerate(sizes)]
                if kind == "track":
                    groups = [(int(column), list(its)) for column, its in zip(own, zip(*shots, strict=True), strict=True)]
                else:
                    orders = sorted(permutations(range(3))) if len(set(sizes)) > 1 else [(0, 1, 2)]
                    groups = [
                        (int(own[trio[0]]), [shots[k][trio[which]] for k, which in enumerate(order)])
                        for order in orders for trio in trios
                    ]
                best = [its[int(np.argmax(sizes))] for _, its in groups]
                alone = hits(matcher, matcher.lift(best), enrolled, np.array([column for column, _ in groups]))
                found = {f"exponent_{k}": count for k, count in weighed(matcher, groups, enrolled)}
                rows.append({"kind": kind, "sizes": " ".join(map(str, sizes)), "n": len(groups), "best_alone": alone, **found})
                print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
