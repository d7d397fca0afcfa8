"""Makes the README's plot and its screenshot of a report: an experiment on people drawn by this script.

    python docs/make_report.py [--browser chromium]

Everyone is the drawn face of make_pipeline.py bent and coloured by a seed; their pictures differ by a little more bending and
by light. The figures say nothing about real people: they show what the library draws.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
from make_pipeline import drawn_face
from PIL import Image

from meetmid import Matcher
from meetmid.evaluation import ErrorRates, plots, search
from meetmid.evaluation.bands import cmc_band, roc_band
from meetmid.evaluation.protocols import read_portraits
from meetmid.reporting import save_report
from meetmid.sheets import save_png
from meetmid.studies import search_study, simulated

HERE = Path(__file__).parent
PEOPLE, PICTURES, SIZE = 40, 4, 24


def bent(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Moved by a smooth random field of ``strength`` pixels."""
    side = picture.shape[0]
    field = [cv2.resize(rng.normal(0, strength, (6, 6)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
             for _ in range(2)]
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    return cv2.remap(picture, x + field[0], y + field[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def draw_people(folder: Path) -> None:
    """A sub-folder per person, as `meetmid evaluate folder` reads them."""
    face = drawn_face(192)
    for person in range(PEOPLE):
        rng = np.random.default_rng(person)
        look = bent(face, rng, 5.0).astype(np.float32)
        look = np.clip((look - 110) * rng.uniform(0.7, 1.3) + 110 + rng.normal(0, 22, 3), 0, 255)
        for number in range(PICTURES):
            picture = bent(look, rng, 1.5) * rng.uniform(0.85, 1.1) + rng.normal(0, 4, look.shape)
            save_png(folder / f"person {person:02d}" / f"{number}.png", np.clip(picture, 0, 255).astype(np.uint8))


def main() -> None:
    """Draw, run and save both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default=shutil.which("chromium") or "chromium")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Matcher("balanced", faces="crop", device="cpu") as matcher:
        folder = Path(name)
        draw_people(folder / "drawn people")
        study = search_study(matcher, simulated(read_portraits(folder / "drawn people"), matcher, SIZE, 0))
        found, rates = search(study.trials), ErrorRates.of(study.trials)
        from matplotlib.figure import Figure

        left, right = Figure(figsize=(9.0, 3.6), layout="constrained").subplots(1, 2)
        plots.cmc(found, left, band=cmc_band(found, study.trials, 20))
        plots.roc(rates, right, band=roc_band(study.trials, [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]))
        left.figure.savefig(HERE / "curves.png", dpi=110, metadata={"Software": None})
        save_report(study, folder / "report.html", most=4)
        subprocess.run(
            [args.browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,2600",
             f"--screenshot={folder / 'seen.png'}", (folder / "report.html").as_uri()],
            check=True, capture_output=True, timeout=240,
        )
        seen = Image.open(folder / "seen.png").convert("RGB")
        small = seen.resize((seen.width * 2 // 3, seen.height * 2 // 3), Image.Resampling.LANCZOS)
        small.quantize(192).save(HERE / "report.png")


if __name__ == "__main__":
    main()
