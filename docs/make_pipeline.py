"""Draws the README's figure: a face drawn by this script, lifted and lowered by the library.

    python docs/make_pipeline.py
"""

from pathlib import Path

import cv2
import numpy as np

from meetmid import Matcher
from meetmid.demo import pipeline_figure
from meetmid.evaluation import FarCamera
from meetmid.sheets import save_png


def drawn_face(side: int = 512) -> np.ndarray:
    """A shaded drawing of a face (side, side, 3) uint8 RGB, its features where an aligned crop has them."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side * 112
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = (118, 140, 158)

    def oval(cx: float, cy: float, rx: float, ry: float, soft: float = 0.06) -> np.ndarray:
        distance = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
        return np.clip((1 - distance) / soft + 0.5, 0, 1)[..., None]

    def paint(mask: np.ndarray, colour: tuple[int, int, int], strength: float = 1.0) -> None:
        picture[:] = picture + mask * strength * (np.array(colour, np.float32) - picture)

    paint(oval(56, 118, 60, 26), (52, 60, 92))
    paint(oval(56, 54, 47, 58), (58, 40, 30))
    paint(oval(56, 96, 17, 26), (196, 146, 118))
    paint(oval(56, 62, 37, 47), (222, 172, 142))
    paint(oval(74, 70, 30, 44, 1.2), (150, 100, 80), 0.55)
    paint(oval(44, 48, 26, 26, 1.5), (246, 208, 180), 0.5)
    for cx in (38.3, 73.5):
        paint(oval(cx, 51.6, 7.2, 3.9), (240, 236, 232))
        paint(oval(cx + 0.6, 51.6, 3.4, 3.4), (70, 92, 70))
        paint(oval(cx + 0.6, 51.6, 1.6, 1.6), (12, 12, 14))
        paint(oval(cx, 47.6, 8.2, 1.5), (92, 58, 46))
        paint(oval(cx, 42.2, 10.0, 2.2), (66, 44, 34))
    paint(oval(60, 66, 3.4, 12, 1.0), (168, 116, 92), 0.7)
    paint(oval(52.6, 75.2, 2.2, 1.3), (120, 72, 60))
    paint(oval(60.4, 75.2, 2.2, 1.3), (120, 72, 60))
    paint(oval(56, 92.6, 15, 4.4), (184, 84, 82))
    paint(oval(56, 91.6, 14.4, 1.0), (112, 40, 44))
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(0, 14, picture.shape).astype(np.float32), (0, 0), 1.2)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.8) + grain, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    portrait = drawn_face()
    with Matcher("balanced", faces="crop", device="cpu") as matcher:
        figure = pipeline_figure(matcher, portrait, FarCamera().capture(portrait, 4))
    save_png(Path(__file__).parent / "pipeline.png", figure, synthetic=True)
