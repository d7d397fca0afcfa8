"""How the pointer is trained: close views of faces caught from afar, moved as a face finder's boxes are, and their five points.

Labels are the points that YuNet finds in the sharp pictures; nothing that a far camera adds moves them. The loss is the mean
distance along each axis (L1), in pixels of the view.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from meetmid.models.recipes.faces import add_data, faces
from meetmid.models.recipes.far import caught
from meetmid.models.recipes.finding import test_faces
from meetmid.models.recipes.finding_figures import recalls
from meetmid.models.recipes.reopening import continued, reopen
from meetmid.models.recipes.training import LICENSE, cosine_rate, export, load_checkpoint, logger, save_checkpoint
from meetmid.models.recipes.worn import wear
from numpy.typing import NDArray
from torch import Tensor

from meetmid.faces import finder as finders
from meetmid.faces.alignment import mirrored, similarity
from meetmid.faces.pointer import PLACES
from meetmid.networks.pointer import SIDE, Pointer
from meetmid.runtime.cards import read_card, write_card

ROOT = Path(__file__).resolve().parents[2]
SEED, CANVAS, FINE = 5, 176, 128
"""Of the draws; side of the kept pictures; side of a view before it is caught, its face about as large as there."""

SHARE = 0.75
"""Of a canvas's side that a view covers."""

SMALLEST, LARGEST, SHARP, PLAIN, CHIPS = 11.0, 96.0, 0.1, 0.15, 0.3
"""Sides of the caught views in pixels, spread evenly in octaves; the shares that stay sharp, that no camera made small, and
that are chips."""

GMAC = 0.018


@dataclass(frozen=True)
class Known:
    """Pictures (N, 176, 176, 3) of upright faces and their points (N, 5, 2); the first ``chips`` are cut so close that they
    show hardly more than the face."""

    canvases: NDArray[np.uint8]
    points: NDArray[np.float64]
    chips: int

    def drawn(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Which ones, chips less often: where a chip ends tells too much of where its face is."""
        chip = rng.random(count) < CHIPS
        return np.where(chip, rng.integers(0, self.chips, count), rng.integers(self.chips, len(self.points), count))


def build(data: Path, work: Path) -> Known:
    """The training faces, turned upright and brought to one size; cached in ``work``."""
    kept = work / "pointer_canvases.npy", work / "pointer_points.npz"
    if not kept[1].exists():
        canvases: list[NDArray[np.uint8]] = []
        points: list[NDArray[np.float64]] = []
        for part in ("utkface", "lfw-single"):
            chips = len(points)
            for _, picture, its in faces(data, part):
                canvas, moved = upright(picture, its)
                canvases.append(canvas)
                points.append(moved)
        np.save(kept[0], np.stack(canvases))
        np.savez(kept[1], points=np.stack(points), chips=chips)
    with np.load(kept[1]) as known:
        return Known(np.load(kept[0], mmap_mode="r"), known["points"], int(known["chips"]))


def upright(picture: NDArray[np.uint8], points: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The canvas of a picture, and its points there."""
    middle = (CANVAS - 1) / 2
    places = (PLACES - (SIDE - 1) / 2) * SHARE * CANVAS / SIDE + middle
    matrix = similarity(points, places)
    canvas = cv2.warpAffine(picture, matrix, (CANVAS, CANVAS), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(canvas, np.uint8), points @ matrix[:, :2].T + matrix[:, 2]


def view(
    canvas: NDArray[np.uint8], points: NDArray[np.float64], mirror: bool, rng: np.random.Generator, worn: float = 0.0
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A close view (80, 80, 3) of a face, of which a share ``worn`` wear a mask, glasses or a hat, as a camera caught it, and
    where its points (5, 2) are in it."""
    if mirror:
        canvas, points = canvas[:, ::-1], mirrored(points, CANVAS)
    if worn > 0 and rng.random() < worn:
        canvas = np.array(canvas)
        wear(canvas, points, rng)
    careless = 1.0 if rng.random() < 0.6 else 0.4
    scale = FINE / (SHARE * CANVAS) * np.exp(rng.normal(0, 0.13 * careless))
    turn = np.deg2rad(rng.normal(0, 8 * careless))
    moved = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = (FINE - 1) / 2 + rng.normal(0, 0.045 * careless * FINE, 2) - moved @ np.full(2, (CANVAS - 1) / 2)
    matrix = np.column_stack([moved, shift])
    fine = np.asarray(
        cv2.warpAffine(canvas, matrix, (FINE, FINE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    places = (points @ moved.T + shift + 0.5) * SIDE / FINE - 0.5
    if rng.random() >= SHARP:
        side = round(float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))))
        plain = rng.random() < PLAIN
        fine = np.asarray(
            cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA) if plain else caught(fine, (side, side), rng), np.uint8
        )
    how = cv2.INTER_AREA if len(fine) > SIDE else cv2.INTER_CUBIC if rng.random() < 0.3 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(fine, (SIDE, SIDE), interpolation=how), np.uint8), places


def given(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (5, 2) of a view as the network gives them (10,)."""
    return ((places - (SIDE - 1) / 2) / SIDE).ravel()


def batch_of(known: Known, count: int, seed: tuple[int, ...], worn: float) -> tuple[Tensor, Tensor]:
    """Views as the network takes them, and their points (count, 10) as it gives them."""
    rng = np.random.default_rng(seed)
    pictures, wanted = [], []
    for index in known.drawn(count, rng):
        picture, places = view(known.canvases[index], known.points[index], bool(rng.random() < 0.5), rng, worn)
        pictures.append(picture)
        wanted.append(given(places))
    planes = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return torch.from_numpy(planes).contiguous(memory_format=torch.channels_last), torch.from_numpy(np.stack(wanted)).float()


def train(
    data: Path, work: Path, steps: int, batch: int, rate: float, threads: int, worn: float, begin: Path | None
) -> Pointer:
    """Train (or go on training); the checkpoint and its log lie in ``work``."""
    torch.manual_seed(SEED)
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    folder = work / "pointer"
    log, known = logger(folder), build(data, work)
    network = Pointer().to(memory_format=torch.channels_last)
    network.head[3].bias.data = torch.from_numpy(given(PLACES)).float()
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-2)
    if begin is not None:
        reopen(network, begin, (batch_of(known, batch, (SEED, step), worn)[0] for step in range(20)))
    first = load_checkpoint(folder / "checkpoint.pt", network, optimiser)
    begun, running = time.monotonic(), 0.0
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, steps, rate)
        pictures, wanted = batch_of(known, batch, (SEED, step), worn)
        loss = SIDE * (network.train()(pictures) - wanted).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        running += loss.item()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            log.info("step %d px %.4f (%.0f s)", step + 1, running / (step % 100 + 1), time.monotonic() - begun)
            running = 0.0
            save_checkpoint(folder / "checkpoint.pt", step + 1, network, optimiser)
    return network.eval()


def publish(network: Pointer, data: Path, work: Path, training: dict[str, Any]) -> None:
    """Write ``models/pointer``, name it in the card of ``models/finder`` and measure both on people never trained on."""
    folder = ROOT / "models" / "pointer"
    weights = sum(p.numel() for p in network.parameters())
    facts = export(
        network.to(memory_format=torch.contiguous_format), torch.zeros(1, 3, SIDE, SIDE), folder / "model.onnx", {0: "batch"},
        half=True,
    )
    card: dict[str, Any] = {
        "name": "pointer", "family": "pointer", "task": "pointer", "file": "model.onnx", "sha256": facts["sha256"],
        "license": LICENSE, "gmac": GMAC,
        "summary": f"Five points of a small face in a close view ({weights} parameters)",
        "contract": {"channels": "rgb", "mean": [127.5] * 3, "std": [127.5] * 3, "size": [SIDE, SIDE], "alignment": "",
                     "input": "input", "output": "output"},
        "training": {
            "data": "UTKFace (11,500 chips) and 4,069 LFW people with one picture each, through a simulated far camera",
            "labels": "YuNet's points in the sharp pictures (S. Wu et al. 2023; MIT)",
            "recipe": "models/pointer/train.py", **training,
        },
        "figures": {},
        "use": {
            "intended": "aligning small faces that are to be matched",
            "limits": "faces turned to profile or upside down, and unlike LFW's and UTKFace's; far faces were simulated; its "
            "points follow YuNet's; accuracy by skin tone, age or sex was not measured",
        },
        "export": {"exporter": facts["exporter"], "bytes": facts["bytes"], "parity": f"{facts['parity']:.1e}"},
    }
    write_card(folder / "card.toml", card)
    beside = ROOT / "models" / "finder" / "card.toml"
    told = tomllib.loads(beside.read_text(encoding="utf-8")) | {"partner": "../pointer"}
    write_card(beside, told)
    found = recalls(finders.Finder(read_card(beside), device="cpu"), test_faces(data, work))
    told["figures"] |= found | {"points": f"of faces of less than {finders.SMALL:.0f} px by the pointer (its partner)"}
    card["figures"] = {
        "people": "LFW people of benchmarks/splits/test.txt, never trained on, in composed scenes, their boxes by the finder",
        **{key: value for key, value in found.items() if key in ("point_error_12_to_20_px", "point_error_20_to_40_px")},
    }
    write_card(beside, told)
    write_card(folder / "card.toml", card)


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data(parser, "lfw/ and utkface/")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoints and logs")
    parser.add_argument("--steps", type=int, default=9_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worn", type=float, default=0.3, help="the share of faces that wear a mask, glasses or a hat")
    parser.add_argument("--begin", type=Path, help="a published pointer's model.onnx to go on from")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    network = train(args.data, args.work, args.steps, args.batch, args.rate, args.threads, args.worn, args.begin)
    training = {"steps": args.steps, "batch": args.batch, "rate": args.rate, "seed": SEED, "worn": args.worn}
    publish(network, args.data, args.work, continued(args.begin, training))
