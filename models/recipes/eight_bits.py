"""A shipped matcher in eight bits: the same network, its layers' ranges taken from faces, near twice as fast on CPUs.

    python models/midface_s_int8/train.py [--data DATA]

Calibrated on portraits and far captures of people with a single picture, whom no benchmark ever matches, as reference means are
learned; measured on people never trained on. The full network's card then names it for the CPU, where ``reduced=True`` asks for
it. The pair's networks are left alone: in eight bits they lose most of their rank-1 (benchmarks/reduced.py).
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from meetmid.models.recipes.cohort import cohort
from meetmid.models.recipes.distillation import add_means
from meetmid.models.recipes.faces import add_data
from meetmid.models.recipes.figures import verification

from meetmid.exporting.graphs import to_int8
from meetmid.faces.alignment import TEMPLATES
from meetmid.resize import resize, to_float
from meetmid.runtime.cards import ModelCard, file_sha256, read_card, write_card
from meetmid.runtime.sessions import Network, to_planes

MODELS = Path(__file__).parents[1]
PEOPLE = 150


def quantised(card: ModelCard, data: Path, target: Path) -> float:
    """Write a matcher's network in eight bits; the mean cosine of its templates with the full network's on other people's far
    captures and portraits than it was calibrated on."""
    far, near = cohort(data, TEMPLATES[card.contract.alignment], 2 * PEOPLE)
    shown = [np.stack([resize(to_float(picture), card.contract.size) for picture in (*far[part], *near[part])])
             for part in (slice(PEOPLE), slice(PEOPLE, None))]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(card.path.read_bytes())
        to_int8(source, target, to_planes(shown[0], card))
    written = ModelCard(card.name, "matcher", target, file_sha256(target), card.license, card.contract)
    ours, full = (Network(its, device="cpu").run(shown[1]) for its in (written, card))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(full, axis=1)
    return float(((ours * full).sum(axis=1) / lengths).mean())


def main(name: str) -> None:
    """Command line of the recipe: make ``models/NAME_int8`` of ``models/NAME``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data(parser, "lfw/, utkface/ and weights/")
    data = parser.parse_args().data
    folder, whole = MODELS / f"{name}_int8", read_card(MODELS / name / "card.toml")
    cosine = quantised(whole, data, folder / "model.onnx")
    full: dict[str, Any] = tomllib.loads((MODELS / name / "card.toml").read_text(encoding="utf-8"))
    own = ("means", "presets", "variants", "groups", "rank_1", "curve")
    card = {key: value for key, value in full.items() if key not in own} | {
        "name": f"{whole.name}-int8", "sha256": file_sha256(folder / "model.onnx"),
        "summary": f"{whole.summary}, in eight bits",
        "training": {"of": whole.name, "sha256": whole.sha256, "recipe": f"models/{name}_int8/train.py",
                     "calibrated_on": f"portraits and far captures of {PEOPLE} LFW people with one picture each"},
        "export": {"exporter": "onnxruntime.quantization, 8-bit activations, 7-bit weights per channel",
                   "bytes": (folder / "model.onnx").stat().st_size, "cosine_with_full": round(cosine, 4)},
    }
    write_card(folder / "card.toml", card)
    network = Network(read_card(folder / "card.toml"), device="cpu")
    template = TEMPLATES[whole.contract.alignment]
    measured = verification(data, template, whole.contract.size, network.run, reduced=(24, 16))
    card["figures"] = full["figures"] | measured
    write_card(folder / "card.toml", card)
    add_means(folder, data)
    write_card(MODELS / name / "card.toml", full | {"variants": {**full.get("variants", {}), "cpu": f"../{name}_int8"}})
