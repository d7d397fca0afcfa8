"""The demonstration: six real faces, a simulated far camera, and the match back."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import DeviceError
from meetmid.evaluation.camera import FarCamera
from meetmid.faces.alignment import TEMPLATES, align
from meetmid.images import load
from meetmid.matcher import Matcher
from meetmid.result import MatchResult
from meetmid.sheets import contact_sheet, explanation_sheet, save_png

POINTS = (
    ((86.6, 321.1), (137.5, 311.2), (117.7, 340.1), (100.9, 363.6), (146.3, 355.4)),
    ((282.8, 207.0), (322.4, 193.5), (299.5, 230.4), (306.9, 252.7), (338.2, 241.4)),
    ((488.3, 323.0), (540.1, 329.7), (507.2, 354.8), (484.0, 372.3), (529.0, 378.7)),
    ((766.6, 401.4), (809.3, 403.6), (776.5, 428.0), (768.6, 446.2), (805.7, 447.1)),
    ((921.0, 121.2), (946.4, 116.9), (920.6, 150.4), (934.7, 172.0), (959.2, 166.8)),
    ((1142.9, 321.2), (1190.3, 320.0), (1160.8, 340.4), (1149.0, 363.3), (1190.0, 362.3)),
)
"""The five points of the six faces of insightface's group photo (1280 x 886), from left to right."""


@dataclass(frozen=True)
class Demonstration:
    """The result, how many probes found their own face first, and the files that were written."""

    result: MatchResult
    right: int
    files: tuple[Path, ...]


def group_photo() -> Path:
    """The group photo inside the installed insightface package, which is not imported for it; raises DeviceError without."""
    found = importlib.util.find_spec("insightface")
    for root in (found.submodule_search_locations or []) if found is not None else []:
        path = Path(root) / "data" / "images" / "t1.jpg"
        if path.is_file():
            return path
    raise DeviceError(
        "the demo uses the group photo inside the insightface package, which is not installed: "
        "pip install 'meetmid[insightface]' && meetmid doctor --repair"
    )


def run_demo(folder: Path, *, preset: str = "balanced", device: str = "auto", size: int = 24) -> Demonstration:
    """Cut six faces, let the simulated far camera see each at ``size`` px, match them back and write what was found.

    Writes ``scores.csv``, ``result.npz``, ``pipeline.png`` (the two sides meeting) and ``explained.png`` into ``folder``.
    Probe and portrait come from one photograph, so this shows that the pipeline works, not how well it does on people.
    """
    photo = load(group_photo())
    with Matcher(preset, device=device, faces="crop") as matcher:
        template = TEMPLATES[matcher.card.contract.alignment]
        portraits = [align(photo, np.array(points), template) for points in POINTS]
        camera = FarCamera(size=size)
        probes = [camera.capture(portrait, seed) for seed, portrait in enumerate(portraits)]
        gallery = matcher.enroll(portraits, ids=[f"face {k + 1}" for k in range(len(portraits))])
        result = matcher.match(probes, gallery)
        explained = [result.explain(k, candidates[0].index) for k, candidates in enumerate(result.rank(1))]
        right = sum(candidates[0].index == k for k, candidates in enumerate(result.rank(1)))
        figure = pipeline_figure(matcher, portraits[2], probes[2])
    files = tuple(folder / name for name in ("scores.csv", "result.npz", "pipeline.png", "explained.png"))
    folder.mkdir(parents=True, exist_ok=True)
    result.save(files[0])
    result.save(files[1])
    save_png(files[2], figure, synthetic=bool(result.config.scales))
    sheet = explanation_sheet(explained, f"Best match of each {size} px probe")
    save_png(files[3], sheet, synthetic=any(e.synthetic for e in explained))
    return Demonstration(result, right, files)


def pipeline_figure(matcher: Matcher, portrait: NDArray[np.uint8], probe: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One picture of the idea: the probe lifted on the left of the sheet's rows, the portrait lowered below it."""
    lifted = [(picture, f"probe {what}", what.synthetic) for what, picture in matcher.show_probe(probe)][:8]
    lowered = [(picture, f"portrait {what}", False) for what, picture in matcher.show_gallery(portrait)][:16]
    rows = lifted + [(np.full((4, 4, 3), 250, np.uint8), "", False)] * (8 - len(lifted)) + lowered
    pictures, labels, marks = zip(*rows, strict=True)
    title = "meetmid: the probe is lifted (first row), the portrait is lowered (rows below)"
    return contact_sheet(pictures, labels, title=title, columns=8, synthetic=marks)
