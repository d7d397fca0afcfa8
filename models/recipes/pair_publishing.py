"""Export a network of the pair, measure it on people never trained on and write its folder."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from meetmid.models.recipes.cohort import COVERED, cohort_means
from meetmid.models.recipes.figures import verification
from meetmid.models.recipes.groups import false_matches
from meetmid.models.recipes.training import export
from meetmid.models.recipes.views import VIEW

from meetmid.faces.alignment import CLASSIC_96X112
from meetmid.networks.slimface import SlimFace
from meetmid.runtime.cards import file_sha256, read_card, write_card
from meetmid.runtime.sessions import Network

MODELS = Path(__file__).parents[1]
GMAC, SPACE = 0.289, "slimface"
LICENSE = (
    "Apache-2.0, derived from face-reidentification-retail-0095 (Intel Open Model Zoo) by further training; trained on "
    "research pictures (UTKFace: non-commercial research; LFW: public research set)"
)
SEEN_FACES = (
    "UTKFace (11,500 chips), 4,069 LFW people with one picture each and 40,000 morphs of two of these faces; no identity labels"
)
SEEN = {"scales": [], "degraded_by": "probe", "score_norm": "z", "sharp_between": [8.0, 40.0]}
PATHS = [
    ["disk", "disk"], ["shear", "disk"], ["persp", "gauss_noise"], ["speckle", "persp"], ["persp", "persp"], ["pshuf", "pshuf"],
    ["bright", "disk"], ["disk", "pshuf"],
]
PRESETS = {
    "fast": {**SEEN, "paths": PATHS[:1], "portrait_weight": 4},
    "balanced": {**SEEN, "paths": PATHS[:4], "portrait_weight": 8},
    "accurate": {**SEEN, "paths": PATHS, "portrait_weight": 12, "flip": False},
}
"""What the presets do otherwise with the pair: its probe network gains nothing from super-resolved hypotheses, and without them
the portraits keep their size. The degraded ones are seen by the probe network, which was made for such pictures; the list is
nested, best first (benchmarks/selection.py). Z-norm takes from the portraits that look like everyone what they win by it
(benchmarks/hubs.py). The gallery network helps the probe network from 24 px on (benchmarks/sharp.py, all 510 people)."""
ROLES = {
    "gallery": "Matcher of sharp portraits (1.1 M parameters, 256-d), the gallery side of the pair slimface",
    "probe": "Matcher of far, small and blurred faces (1.1 M parameters, 256-d), the probe side of the pair slimface",
}


def publish(
    model: SlimFace, role: str, normalisation: tuple[list[float], list[float]], data: Path, training: dict[str, Any]
) -> None:
    """Write ``models/slimface_ROLE``; the probe network's card names its partner and carries the pair's reference means."""
    folder = MODELS / f"slimface_{role}"
    model = model.to(memory_format=torch.contiguous_format)
    facts = export(model, torch.zeros(1, 3, VIEW, VIEW), folder / "model.onnx", {0: "batch"})
    card: dict[str, Any] = {
        "name": f"slimface-{role}", "family": "slimface", "task": "matcher", "file": "model.onnx", "sha256": facts["sha256"],
        "license": LICENSE, "space": SPACE, "gmac": GMAC, "summary": ROLES[role],
        "contract": {"channels": "bgr", "mean": normalisation[0], "std": normalisation[1], "size": [VIEW, VIEW],
                     "alignment": "arcface-96x112", "template_length": 256, "input": "input", "output": "output"},
        "training": {
            "begins_with": "face-reidentification-retail-0095 (Intel Open Model Zoo, Apache-2.0), its weights, and its "
            "templates of sharp faces and their mirror images as goals",
            "data": SEEN_FACES, "recipe": f"models/slimface_{role}/train.py", **training,
        },
        "figures": {"people": "3,000 mated and 3,000 non-mated pairs of 1,020 LFW people never trained on; Wilson 95 %"},
        "use": {
            "intended": "research and evaluation; ranking candidates for a human examiner",
            "limits": "profile faces, children and faces unlike LFW's are worse; far faces were simulated, none came from a "
            "real camera; never a sole ground for a decision",
        },
        "export": {"exporter": facts["exporter"], "bytes": facts["bytes"], "parity": f"{facts['parity']:.1e}"},
    }
    write_card(folder / "card.toml", card)
    network = Network(read_card(folder / "card.toml"), device="cpu")
    card["figures"] |= verification(data, CLASSIC_96X112, (VIEW, VIEW), network.run, reduced=(24, 16))
    card["groups"] = false_matches(data, CLASSIC_96X112, (VIEW, VIEW), network.run)
    write_card(folder / "card.toml", card)


def add_means(data: Path) -> None:
    """Name the partner in the probe network's card, learn the pair's reference means and write them beside it."""
    folder = MODELS / "slimface_probe"
    card = tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
    card |= {"partner": "../slimface_gallery", "presets": PRESETS}
    write_card(folder / "card.toml", card)
    means = cohort_means(data, folder / "card.toml")
    means.save(folder / "means.npz")
    card["means"] = {
        "file": "means.npz", "sha256": file_sha256(folder / "means.npz"),
        "cohort": f"{means.conditions['portraits']} LFW people with one picture each, seen by the simulated far camera at "
        f"16, 20 and 24 px; portraits by slimface-gallery; covered pictures of the first {COVERED}",
    }
    write_card(folder / "card.toml", card)


def add_figures(results: Path) -> None:
    """Write what benchmarks/models.py and benchmarks/economy.py measured of the presets, and of every beginning of the list of
    paths, into the probe network's card, for :meth:`meetmid.Matcher.plan`."""
    folder = MODELS / "slimface_probe"
    card = tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
    systems = {"pair": "plain", "meetmid.match, preset fast": "fast", "meetmid.match as shipped": "balanced"}
    measured = [row for row in _read(results / "models.csv") if row["what"] == "rank-1" and row["system"] in systems]
    lists = [row for row in _read(results / "economy.csv") if row["matcher"] == card["name"] and "paths" in row["system"]]
    card["rank_1"] = {
        preset: _told(row for row in measured if row["system"] == system) for system, preset in systems.items()
    } | {"accurate": _told(row for row in lists if row["system"] == f"{len(PATHS)} paths")}
    sizes = list(dict.fromkeys(row["size"] for row in lists))
    card["curve"] = {
        "measured": f"rank-1 in percent of {lists[0]['n']} probes of 130 people (two simulated cameras; "
        "benchmarks/economy.py), the undegraded portrait weighing 1.5 times as much as its paths together",
        "paths": PATHS,
        **{f"rank_1_{size}px": [round(100 * int(row["k"]) / int(row["n"]), 1) for row in lists if row["size"] == size]
           for size in sizes},
    }
    write_card(folder / "card.toml", card)


def _told(rows: Iterable[dict[str, str]]) -> str:
    """Hits of every size."""
    return ", ".join(
        f"{row['size']} px {row['k']}/{row['n']} = {100 * int(row['k']) / int(row['n']):.1f} %" for row in rows
    )


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
