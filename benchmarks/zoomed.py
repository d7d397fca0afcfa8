"""Far probes after a digital zoom: rank-1 on the selection part with and without joining repeated pixels.

    python benchmarks/zoomed.py [--people 130]

Probes of 24 px by one simulated camera, as they come, and after every pixel was repeated 2 x 2 or 4 x 4 times and the picture
coded as JPEG; ``balanced`` with the shipped pair. Writes benchmarks/results/zoomed.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from machine import write_csv
from people import captures, columns, pictures, portraits

from meetmid import Matcher

SIZE, SEED, TIMES, QUALITIES = 24, 7, (2, 4), (95, 80, 50)


def zoomed(crop: np.ndarray, times: int, quality: int) -> np.ndarray:
    """Every pixel repeated, then coded."""
    large = np.repeat(np.repeat(crop, times, axis=0), times, axis=1)
    code = cv2.imencode(".jpg", large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1].copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=130)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "zoomed.csv")
    args = parser.parse_args()
    gallery, probes = pictures("selection", args.people, 3)
    own = columns(gallery, probes)
    rows: list[dict[str, object]] = []
    with Matcher("balanced", faces="crop", keep_crops=False) as matcher:
        alignment = matcher.card.contract.alignment
        enrolled = matcher.enroll(portraits(gallery, alignment))
        seen = captures(probes, alignment, SIZE, SEED)
        settings = [(1, 0), *((times, quality) for times in TIMES for quality in QUALITIES)]
        for times, quality in settings:
            shown = seen if times == 1 else [zoomed(crop, times, quality) for crop in seen]
            found = [(matcher.match(shown, enrolled).scores.argmax(axis=1) == own).sum()]
            with patch("meetmid.faces.repeats._run", lambda steps: (1, 0)):
                found.append((matcher.match(shown, enrolled).scores.argmax(axis=1) == own).sum())
            told = {"repeated": times, "jpeg_quality": quality or "", "n": len(own)}
            rows.append({**told, "joined": int(found[0]), "not_joined": int(found[1])})
            print(rows[-1], flush=True)
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
