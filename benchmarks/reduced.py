"""What matchers lose and win in eight bits, on people that no choice was made on.

    python benchmarks/reduced.py [--people 130] [--seeds 7 8] [--sizes 24 16]

Rank-1 by plain cosines of probes that two simulated cameras caught, beside the full network's, paired, the differences' 95 %
intervals drawing people; and milliseconds per batch of eight on one thread, interleaved. midface-s as it ships; the pair, which
ships in full only, quantised likewise on the spot. Writes benchmarks/results/reduced.csv.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from economy import difference
from machine import write_csv
from meetmid.models.recipes.eight_bits import quantised
from people import captures, data_folder, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation import Trials, search
from meetmid.runtime.cards import ModelCard, file_sha256
from meetmid.runtime.registry import get_model, reduced_model
from models import milliseconds


def in_eight_bits(card: ModelCard, folder: Path) -> ModelCard:
    """The variant that ships, or one made now."""
    if "cpu" in card.variants:
        return reduced_model(card, "cpu")
    path = folder / f"{card.name}.onnx"
    quantised(card, data_folder(), path)
    return replace(card, name=f"{card.name}-int8", path=path, sha256=file_sha256(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 16])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "reduced.csv")
    args = parser.parse_args()
    gallery_side, probe_side = pictures("test", args.people, 3)
    subjects, mates = ([name for name, *_ in side] for side in (gallery_side, probe_side))

    def hits(probe: ModelCard, portrait: ModelCard) -> Iterator[np.ndarray]:
        """Which searches find their person first, by size."""
        with Matcher("plain", matcher=probe, gallery_matcher=portrait, faces="crop", keep_crops=False) as matcher:
            alignment = probe.contract.alignment
            gallery = matcher.enroll(portraits(gallery_side, alignment))
            for size in args.sizes:
                results = [matcher.match(captures(probe_side, alignment, size, seed), gallery) for seed in args.seeds]
                yield np.concatenate([search(Trials.of(found.scores, mates, subjects)).hits() for found in results])

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for names in (("midface-s", "midface-s"), ("slimface-probe", "slimface-gallery")):
            full = [get_model(name) for name in dict.fromkeys(names)]
            less = [in_eight_bits(card, Path(folder)) for card in full]
            times = milliseconds([full[0], less[0]], args.repeats)
            bytes_ = [cards[0].path.stat().st_size for cards in (full, less)]
            for size, before, after in zip(args.sizes, hits(full[0], full[-1]), hits(less[0], less[-1]), strict=True):
                points, low, high = difference(after, before, np.array(mates * len(args.seeds)))
                rows.append({
                    "matcher": names[0], "size": size, "n": len(before),
                    "k_full": int(before.sum()), "k_int8": int(after.sum()),
                    "points": round(points, 2), "low95": round(low, 2), "high95": round(high, 2),
                    "ms_full": round(times[0], 2), "ms_int8": round(times[1], 2),
                    "bytes_full": bytes_[0], "bytes_int8": bytes_[1],
                })
                print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
