"""Train MidFace: distil an Apache-2.0 matcher from unlabelled faces.

    python models/midface_s/train.py --data DATA --work WORK

The teacher sees each sharp face and its mirror once, aligned its own way; the student sees it with small framing, tone and
(for a part of each batch) resolution changes and learns the teacher's template (cosine) and the teacher's similarities
within the batch (W. Park et al., "Relational knowledge distillation", CVPR 2019, section 3.2, on cosines).
"""

from __future__ import annotations

import argparse
import time
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from meetmid.models.recipes.cohort import COVERED, cohort_means
from meetmid.models.recipes.faces import faces
from meetmid.models.recipes.figures import verification
from meetmid.models.recipes.training import LICENSE, cosine_rate, export, load_checkpoint, logger, save_checkpoint
from numpy.typing import NDArray

from meetmid.faces.alignment import ARCFACE_112, CLASSIC_96X112, align, similarity
from meetmid.networks.midface import MidFace
from meetmid.runtime.cards import file_sha256, read_card, write_card
from meetmid.runtime.sessions import Network

SIDE, CANVAS, DEGRADED, GMAC = 112, 128, 0.25, 0.45
TEACHER = "face-reidentification-retail-0095.onnx"
PLACES = ARCFACE_112.scaled(SIDE, SIDE) + (CANVAS - SIDE) // 2
"""The points (5, 2) of a face in its canvas."""


def build(data: Path, work: Path, threads: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Canvases (N, 128, 128, 3) and the teacher's unit templates (N, 2, 256) of each face and its mirror; cached."""
    target = work / "distil_targets.npy"
    if not target.exists():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        teacher = onnxruntime.InferenceSession(
            str(data / "weights" / TEACHER), options, providers=["CPUExecutionProvider"]
        )
        canvases, views, targets = [], [], []
        for part in ("utkface", "lfw-single"):
            for _, picture, points in faces(data, part):
                canvases.append(canvas_of(picture, points))
                view = align(picture, points, CLASSIC_96X112, size=(128, 128))
                views += [view, view[:, ::-1]]
                if len(views) >= 64:
                    targets.append(templates(teacher, views))
                    views = []
        if views:
            targets.append(templates(teacher, views))
        np.save(work / "distil_canvases.npy", np.stack(canvases))
        np.save(target, np.concatenate(targets).reshape(-1, 2, 256))
    return np.load(work / "distil_canvases.npy", mmap_mode="r"), np.load(target)


def canvas_of(picture: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The ArcFace crop with a margin of 8 px on every side."""
    return cv2.warpAffine(picture, similarity(points, PLACES), (CANVAS, CANVAS), flags=cv2.INTER_LINEAR).astype(np.uint8)


def canvases_of(data: Path, *parts: str) -> NDArray[np.uint8]:
    """The canvases (N, 128, 128, 3) of the faces of some parts (:func:`meetmid.models.recipes.faces.faces`)."""
    return np.stack([canvas_of(picture, points) for part in parts for _, picture, points in faces(data, part)])


def templates(teacher: onnxruntime.InferenceSession, views: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Unit templates (N, length) of the teacher's views (N of (128, 128, 3) uint8 RGB)."""
    blob = np.stack(views)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    raw = teacher.run(None, {teacher.get_inputs()[0].name: blob})[0].reshape(len(views), -1)
    unit: NDArray[np.float32] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


def view(canvas: NDArray[np.uint8], mirror: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    """One randomly framed, toned and sometimes reduced (3, 112, 112) view in [-1, 1]."""
    matrix = cv2.getRotationMatrix2D((63.5, 63.5), rng.uniform(-4, 4), float(np.exp(rng.uniform(-0.05, 0.05))))
    matrix[:, 2] += rng.uniform(-2.5, 2.5, 2) - 8.0
    crop = cv2.warpAffine(canvas, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    if rng.random() < DEGRADED:
        small = int(rng.integers(20, 80))
        crop = cv2.resize(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), (SIDE, SIDE),
                          interpolation=cv2.INTER_CUBIC)
    picture = crop.astype(np.float32) / 127.5 - 1.0
    picture = (picture - picture.mean()) * rng.uniform(0.8, 1.2) + picture.mean() + rng.uniform(-0.15, 0.15)
    if mirror:
        picture = picture[:, ::-1]
    return np.clip(picture, -1, 1).transpose(2, 0, 1)


def train(data: Path, work: Path, steps: int, batch: int, threads: int) -> MidFace:
    """Train (or go on training) and return the network; checkpoint and log lie in ``work``."""
    torch.manual_seed(5)
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    folder = work / "midface_s"
    log = logger(folder)
    canvases, targets = build(data, work, threads)
    model = MidFace().to(memory_format=torch.channels_last)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}])
    first = load_checkpoint(folder / "checkpoint.pt", model, optimiser)
    begun, running = time.monotonic(), 0.0
    for step in range(first, steps):
        rng = np.random.default_rng((5, step))
        index = np.sort(rng.choice(len(canvases), batch, replace=False))
        mirror = rng.random(batch) < 0.5
        x = torch.from_numpy(np.stack([view(canvases[i], bool(m), rng) for i, m in zip(index, mirror, strict=True)]))
        wanted = torch.from_numpy(targets[index, mirror.astype(int)])
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, steps, 3e-3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x.to(memory_format=torch.channels_last))
        unit = F.normalize(out.float(), dim=1)
        cosine = (unit * wanted).sum(1)
        relation = ((unit @ unit.T - wanted @ wanted.T) ** 2).mean()
        loss = (1 - cosine).mean() + 5.0 * relation
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        running += cosine.mean().item()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            log.info("step %d cosine %.4f relation %.5f (%.0f s)", step + 1, running / 100, relation.item(),
                     time.monotonic() - begun)
            running = 0.0
            save_checkpoint(folder / "checkpoint.pt", step + 1, model, optimiser)
    return model


def publish(model: MidFace, data: Path, steps: int, batch: int) -> None:
    """Export, measure on people never trained on and write ``models/midface_s``; then learn its reference means."""
    torch.set_num_threads(2)
    folder = Path(__file__).parents[1] / "midface_s"
    facts = export(model, torch.zeros(1, 3, SIDE, SIDE), folder / "model.onnx", {0: "batch"})
    card: dict[str, Any] = {
        "name": "midface-s", "family": "midface", "task": "matcher", "file": "model.onnx", "sha256": facts["sha256"],
        "license": LICENSE, "gmac": GMAC,
        "summary": "Compact matcher (2.7 M parameters, 256-d), distilled from an Apache-2.0 matcher",
        "contract": {"channels": "rgb", "mean": [127.5] * 3, "std": [127.5] * 3, "size": [SIDE, SIDE],
                     "alignment": "arcface-112", "template_length": 256, "input": "input", "output": "output"},
        "training": {
            "data": "UTKFace (11,500 chips) and 4,069 LFW people with one picture each; no identity labels",
            "teacher": "face-reidentification-retail-0095 (Intel Open Model Zoo, Apache-2.0)",
            "recipe": "models/midface_s/train.py", "steps": steps, "batch": batch, "seed": 5,
        },
        "figures": {"people": "3,000 mated and 3,000 non-mated pairs of 1,020 LFW people never trained on; Wilson 95 %"},
        "use": {
            "intended": "research and evaluation; ranking candidates for a human examiner",
            "limits": "far weaker than a matcher trained on millions of pictures; profile faces, children and faces unlike "
            "LFW's are worse; accuracy by skin tone, age or sex was not measured; never a sole ground for a decision",
        },
        "export": {"exporter": facts["exporter"], "bytes": facts["bytes"], "parity": f"{facts['parity']:.1e}"},
    }
    write_card(folder / "card.toml", card)
    network = Network(read_card(folder / "card.toml"), device="cpu")
    card["figures"] |= verification(data, ARCFACE_112, (SIDE, SIDE), network.run, reduced=(24, 16))
    write_card(folder / "card.toml", card)
    add_means(folder, data)


def add_means(folder: Path, data: Path) -> None:
    """Learn the reference means of the matcher in ``folder`` and write them beside it; they are not learned for mirror images,
    which the preset that would add them therefore leaves out."""
    card: dict[str, Any] = tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
    card["presets"] = {"accurate": {"flip": False}}
    write_card(folder / "card.toml", card)
    means = cohort_means(data, folder / "card.toml")
    means.save(folder / "means.npz")
    card["means"] = {
        "file": "means.npz", "sha256": file_sha256(folder / "means.npz"),
        "cohort": f"{means.conditions['portraits']} LFW people with one picture each, seen by the simulated far camera at "
        f"16, 20 and 24 px; covered pictures of the first {COVERED}",
    }
    write_card(folder / "card.toml", card)


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with lfw/, utkface/ and weights/")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoints and logs")
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    publish(train(args.data, args.work, args.steps, args.batch, args.threads), args.data, args.steps, args.batch)
