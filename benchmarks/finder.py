"""A face finder of the library's recipe beside YuNet: faces found at one false box per picture, errors of points, time.

    python benchmarks/finder.py --model OUT/model [--scenes N]

People never trained on (benchmarks/splits/test.txt): scenes composed of their pictures (the generator and its seed are
models/recipes/scenes.py and finding_figures.SEED) and the pictures as they are. The truth is what YuNet agrees on with itself
over 16 views of each face (models/recipes/agreement.py), so YuNet's own errors are small on the plain pictures. Wilson 95 %
intervals over faces. Times: median of interleaved runs on one thread on pictures of three sizes with one face: what each
network's graphs take in the same onnxruntime (the finder's: every pass and the close views), and each whole call (YuNet's:
OpenCV's FaceDetectorYN). Writes benchmarks/results/finder.csv.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import write_csv
from meetmid.models.recipes.finding import labelled
from meetmid.models.recipes.finding_figures import BANDS, composed, look
from meetmid.models.recipes.scenes import Scene

from meetmid.faces.detection import Detector, YuNet
from meetmid.faces.finder import Finder
from meetmid.runtime.registry import get_model
from meetmid.runtime.sessions import make_session

ROOT = Path(__file__).parents[1]
LEAST = 0.02


SIZES = ((320, 320), (640, 480), (1280, 960))


class Counted:
    """A session that adds up the time its graph takes."""

    def __init__(self, session: Any) -> None:
        self.session, self.seconds = session, 0.0

    def get_inputs(self) -> Any:
        return self.session.get_inputs()

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> Any:
        begun = time.perf_counter()
        out = self.session.run(outputs, feeds)
        self.seconds += time.perf_counter() - begun
        return out


def times(finder: Finder, yunet: YuNet, weights: Path, picture: np.ndarray, repeats: int) -> dict[str, float]:
    """Median milliseconds per picture of each finder's graphs and of each whole call."""
    session = make_session(weights, "yunet", device="cpu", threads=1)
    blob = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)[None], np.float32)
    name = session.get_inputs()[0].name
    graphs = Counted(finder._network.open())
    finder._network._session = graphs
    found: dict[str, list[float]] = {"finder graphs": [], "yunet graph": [], "finder whole": [], "yunet whole": []}
    for _ in range(repeats):
        graphs.seconds = 0.0
        begun = time.perf_counter()
        finder.detect(picture)
        found["finder whole"].append(time.perf_counter() - begun)
        found["finder graphs"].append(graphs.seconds)
        begun = time.perf_counter()
        session.run(None, {name: blob})
        found["yunet graph"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        yunet.detect(picture)
        found["yunet whole"].append(time.perf_counter() - begun)
    return {what: 1e3 * statistics.median(values) for what, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MEETMID_DATA") or ROOT.parent / "shared" / "data"))
    parser.add_argument("--model", required=True, help="a folder that models/finder/train.py made")
    parser.add_argument("--labels", type=Path, default=ROOT / "work" / "finder-test-labels.csv", help="made once and kept")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "finder.csv")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    args.labels.parent.mkdir(parents=True, exist_ok=True)
    names = frozenset((Path(__file__).parent / "splits" / "test.txt").read_text().split())
    faces = labelled(args.data, args.labels, names)
    weights = args.data / "weights" / "yunet-n-dynamic.onnx"
    finder = Finder(get_model(args.model), device="cpu", threads=1)
    detectors: dict[str, Detector] = {"finder": finder.at(LEAST), "yunet": YuNet(weights, threshold=LEAST)}
    plain = [Scene(face.picture, np.array([face.box]), face.points[None]) for face in faces]
    rows: list[dict[str, object]] = []
    for pictures, scenes in (("composed", list(composed(faces, args.scenes))), ("plain LFW", plain)):
        for who, detector in detectors.items():
            seen = look(detector, scenes)
            threshold = seen.threshold()
            errors = seen.point_errors(40, threshold)
            for band in BANDS:
                found, count, low, high = seen.recall(band, threshold)
                if not count:
                    continue
                rows.append({
                    "pictures": pictures, "n_pictures": seen.pictures, "finder": who, "threshold": round(threshold, 4),
                    "faces_px": f"{band[0]:.0f}-{band[1]:.0f}", "found": found, "faces": count,
                    "recall": round(found / count, 4),
                    "low": round(low, 4), "high": round(high, 4), "point_error_40px_mean": round(float(errors.mean()), 4),
                    "point_error_40px_median": round(float(np.median(errors)), 4), "n_points": len(errors), "ms": "",
                })
                print({k: v for k, v in rows[-1].items() if v != ""}, flush=True)
    for width, height in SIZES:
        picture = np.full((height, width, 3), 100, np.uint8)
        picture[20:270, 30:280] = cv2.resize(faces[0].picture, (250, 250))
        plain_finder = Finder(finder.card, device="cpu", threads=1)
        for what, ms in times(plain_finder, YuNet(weights), weights, picture, args.repeats).items():
            shown = f"{width} x {height} px, one face"
            rows.append({**dict.fromkeys(rows[0], ""), "pictures": shown, "finder": what, "ms": round(ms, 3)})
            print(shown, what, f"{ms:.2f} ms")
    write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
