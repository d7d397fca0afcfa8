"""What an enrolled gallery costs on disk: writing, opening, changing and scoring it, beside arrays that NumPy keeps.

    python benchmarks/store.py [--entries 50000] [--repeats 5]

Entries are of one picture with 4 templates of 256 components, random, no crops. Every row interleaved with the plain
array's, medians: seconds, megabytes of templates per second, ratio to NumPy. "score" is one probe of one hypothesis
against all, S_max. A writer that syncs its files is compared with ``np.save`` and ``os.fsync``. Writes
benchmarks/results/store.csv.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import write_csv

from meetmid.gallery.store import Gallery
from meetmid.presets import preset
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side
from meetmid.templates.pool import TemplatePool

HYPOTHESES, LENGTH = 4, 256


def gallery(count: int, first: int = 0) -> Gallery:
    """Random entries."""
    templates = np.random.default_rng(first).standard_normal((count, 1, HYPOTHESES, LENGTH), np.float32)
    pool = TemplatePool(templates, np.ones(templates.shape[:3], np.float32), np.arange(count + 1))
    ids = tuple(str(k) for k in range(first, first + count))
    return Gallery(ids, ("ok",) * count, preset("plain"), "0" * 64, (24, 24), pool, None)


def score(templates: object, weights: np.ndarray, first: np.ndarray) -> np.ndarray:
    """One probe against all."""
    probe = Side(np.ones((1, 1, 1, LENGTH), np.float32), np.ones((1, 1, 1), np.float32), np.arange(2))
    return fuse_sides(probe, Side(templates, weights, first), [("S_max", "S_max")], threads=os.cpu_count())[0]


class Bench:
    """Rows of the table."""

    def __init__(self, entries: int, repeats: int, folder: Path) -> None:
        self.whole, self.repeats, self.folder = gallery(entries), repeats, folder
        self.megabytes = self.whole.pool.templates.nbytes / 1e6
        self.rows: list[dict[str, object]] = []

    def row(self, what: str, call: Callable[[], object], beside: Callable[[], object] | None = None) -> None:
        """Time a call, in turn with the plain array's."""
        times: list[float] = []
        others: list[float] = []
        for _ in range(self.repeats):
            for its, one in ((times, call), (others, beside)):
                if one is not None:
                    begun = time.perf_counter()
                    one()
                    its.append(time.perf_counter() - begun)
        seconds = statistics.median(times)
        ratio = round(statistics.median(a / b for a, b in zip(times, others, strict=True)), 2) if others else ""
        made = {"what": what, "entries": len(self.whole), "seconds": round(seconds, 4),
                "MB of templates/s": round(self.megabytes / seconds), "times NumPy's": ratio}
        self.rows.append(made)
        print("  ".join(str(value) for value in made.values()), flush=True)

    def run(self) -> None:
        """Everything."""
        whole, folder = self.whole, self.folder
        array, key = folder / "plain.npy", folder / "key"
        key.write_text("ab" * 32)

        def plain() -> None:
            with array.open("wb") as file:
                np.save(file, whole.pool.templates)
                file.flush()
                os.fsync(file.fileno())

        for stored in ("float32", "float16", "int8"):
            path = folder / stored
            self.row(f"write {stored}", lambda path=path, stored=stored: whole.save(path, stored=stored), plain)
        self.row("write float32, encrypted", lambda: whole.save(folder / "sealed", key=key), plain)
        self.row("open, compare every sha256", lambda: Gallery.open(folder / "float32"), lambda: np.load(array))
        self.row("open, compare sizes", lambda: Gallery.open(folder / "float32", verify=False), lambda: np.load(array, "r"))
        self.row("open, encrypted", lambda: Gallery.open(folder / "sealed", key=key), lambda: np.load(array))
        ones, first = whole.pool.weights, whole.pool.first
        for stored in ("float32", "float16", "int8"):
            found = Gallery.open(folder / stored, verify=False)
            self.row(
                f"score from {stored} shards", lambda found=found: score(found.pool.templates, ones, first),
                lambda: score(whole.pool.templates, ones, first),
            )
        with Gallery.open(folder / "float32", "a") as writer:
            number = iter(range(10**6, 10**9, 1000))
            self.row("append 100 entries", lambda: writer.append(gallery(100, next(number))))
            some = iter(range(0, len(whole), 100))
            self.row("remove 10 entries", lambda: writer.remove([str(next(some) + k) for k in range(10)]))
            begun = time.perf_counter()
            writer.compact()
            seconds = time.perf_counter() - begun
        self.rows.append({**self.rows[-1], "what": "compact", "seconds": round(seconds, 4),
                          "MB of templates/s": round(self.megabytes / seconds), "times NumPy's": ""})
        print(self.rows[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "store.csv")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="meetmid-bench-"))
    try:
        bench = Bench(args.entries, args.repeats, folder)
        bench.run()
    finally:
        shutil.rmtree(folder)
    write_csv(args.csv, bench.rows)


if __name__ == "__main__":
    main()
