"""Train one EDSR-face: blind degradations, mean L1 on 0..255 RGB (networks.md section 2.2, with a smaller network).

    python models/edsr_face_x2/train.py --data DATA --work WORK

Training faces are aligned crops at 192 px; the network sees them reduced to 24 px, blurred, noisy and JPEG-compressed. The
x4 model starts from the x2 checkpoint and the x8 model from the x4 one where WORK holds them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from meetmid.models.recipes.faces import faces
from meetmid.models.recipes.training import (
    LICENSE,
    cosine_rate,
    export,
    load_checkpoint,
    logger,
    restored,
    save_checkpoint,
)
from numpy.typing import NDArray
from torch import nn

from meetmid.faces.alignment import align
from meetmid.networks.edsr import EDSR
from meetmid.resize import resize, to_float, to_uint8
from meetmid.runtime.cards import write_card

BLOCKS, WIDTH, LR, CROP = 8, 32, 24, 208
STEPS = {2: 5000, 4: 5000, 8: 1600}


def build_crops(root: Path, target: Path, parts: tuple[str, ...], limit: int | None = None) -> NDArray[np.uint8]:
    """Aligned 208 px crops (192 plus room for jitter), cached as ``target``."""
    if not target.exists():
        crops = []
        for part in parts:
            for _, picture, points in faces(root, part):
                crops.append(align(picture, points, size=(CROP, CROP)))
                if limit and len(crops) == limit:
                    break
        np.save(target, np.stack(crops))
    stored: NDArray[np.uint8] = np.load(target, mmap_mode="r")
    return stored


def all_crops(data: Path, work: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Crops of the training people, and 300 of people never trained on."""
    training = build_crops(data, work / "sr_train.npy", ("utkface", "lfw-single"))
    return training, build_crops(data, work / "sr_held_out.npy", ("lfw-multiple",), limit=300)


def degrade(sharp: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(192, 192, 3) in [0, 1] to the (24, 24, 3) that a bad camera makes of it."""
    sigma = rng.uniform(0.0, 1.0) * sharp.shape[0] / LR
    if sigma > 0.5:
        sharp = cv2.GaussianBlur(sharp, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    area = rng.random() >= 0.5
    small = cv2.resize(sharp, (LR, LR), interpolation=cv2.INTER_AREA) if area else resize(sharp, (LR, LR))
    small = np.clip(small + rng.normal(0.0, rng.uniform(0.0, 0.02), small.shape), 0.0, 1.0).astype(np.float32)
    if rng.random() < 0.7:
        quality = int(rng.integers(60, 101))
        _, code = cv2.imencode(".jpg", to_uint8(small), [cv2.IMWRITE_JPEG_QUALITY, quality])
        return to_float(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR)))
    return to_float(to_uint8(small))


def pair(crop: NDArray[np.uint8], scale: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(input (24, 24, 3), reference (24 * scale, ...)) of one crop with random framing and mirror, both in [0, 1]."""
    margin = CROP - 8 * LR
    x, y = rng.integers(0, margin + 1, 2)
    sharp = to_float(np.ascontiguousarray(crop[y : y + 8 * LR, x : x + 8 * LR][:, :: rng.choice([-1, 1])]))
    return degrade(sharp, rng), resize(sharp, (LR * scale, LR * scale))


def batch(
    crops: NDArray[np.uint8], index: NDArray[np.int64], scale: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """NCHW tensors in 0..255."""
    pairs = [pair(crops[i], scale, rng) for i in index]
    low, high = (torch.from_numpy(np.stack([p[k] for p in pairs]).transpose(0, 3, 1, 2) * 255.0) for k in (0, 1))
    return low.contiguous(), high.contiguous()


def psnr_figures(
    model: nn.Module, crops: NDArray[np.uint8], scale: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PSNR in dB (RGB, 8 bit) of every held-out crop: (network, bicubic enlargement)."""
    rng = np.random.default_rng(2026)
    ours: list[float] = []
    bicubic: list[float] = []
    model.eval()
    for crop in crops:
        low, high = pair(crop, scale, rng)
        with torch.no_grad():
            out = model(torch.from_numpy(low.transpose(2, 0, 1)[None] * 255.0))[0].numpy().transpose(1, 2, 0)
        reference = to_uint8(high).astype(np.float64)
        for figures, picture in ((ours, np.clip(out / 255.0, 0, 1)), (bicubic, resize(low, high.shape[:2]))):
            error = ((to_uint8(picture.astype(np.float32)) - reference) ** 2).mean()
            figures.append(10 * np.log10(255.0**2 / error))
    model.train()
    return np.array(ours), np.array(bicubic)


def train(scale: int, data: Path, work: Path, steps: int, start: Path | None, threads: int) -> EDSR:
    """Train (or go on training) and return the network; checkpoint and log lie in ``work``."""
    torch.manual_seed(scale)
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    folder = work / f"edsr_face_x{scale}"
    log = logger(folder)
    crops, held_out = all_crops(data, work)
    model = EDSR(scale, BLOCKS, WIDTH)
    if start is not None:
        source = torch.load(start, weights_only=True)["model"]
        own = model.state_dict()
        model.load_state_dict({**own, **{k: v for k, v in source.items() if k in own and v.shape == own[k].shape}})
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    model = model.to(memory_format=torch.channels_last)
    first = load_checkpoint(folder / "checkpoint.pt", model, optimiser)
    begun = time.monotonic()
    for step in range(first, steps):
        rng = np.random.default_rng((scale, step))
        low, high = batch(crops, np.sort(rng.integers(0, len(crops), 16)), scale, rng)
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, steps, 1e-3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(low.to(memory_format=torch.channels_last))
        loss = (out.float() - high).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trainable, 100.0)
        optimiser.step()
        if (step + 1) % 500 == 0 or step + 1 == steps:
            ours, bicubic = (figures.mean() for figures in psnr_figures(model, held_out[:100], scale))
            log.info("step %d loss %.3f psnr %.2f bicubic %.2f (%.0f s)", step + 1, loss.item(), ours, bicubic,
                     time.monotonic() - begun)
            save_checkpoint(folder / "checkpoint.pt", step + 1, model, optimiser)
    return model


def publish(
    model: EDSR, work: Path, steps: int, family: str = "edsr-face", summary: str = "blind degradations",
    second: dict[str, Any] | None = None,
) -> None:
    """Export, measure on held-out people and write ``models/FAMILY_xN/{model.onnx,card.toml}``; ``second`` is what a second
    stage adds to the card's training."""
    torch.set_num_threads(2)
    scale = model.scale
    folder = Path(__file__).parents[1] / f"{family.replace('-', '_')}_x{scale}"
    axes = {0: "batch", 2: "height", 3: "width"}
    facts = export(model, torch.full((1, 3, LR, LR), 128.0), folder / "model.onnx", axes)
    held_out = np.load(work / "sr_held_out.npy", mmap_mode="r")
    ours, bicubic = psnr_figures(model, held_out, scale)
    gain = ours - bicubic
    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
    macs = LR * LR * WIDTH * (27 + 9 * WIDTH * (2 * BLOCKS + 1))
    macs += sum(LR * LR * 4**k * 36 * WIDTH * WIDTH for k in range(int(np.log2(scale)))) + (LR * scale) ** 2 * 27 * WIDTH
    write_card(folder / "card.toml", {
        "name": f"{family}-x{scale}", "family": family, "task": "hallucinator", "file": "model.onnx",
        "sha256": facts["sha256"], "license": LICENSE, "gmac": round(macs / 1e9, 3),
        "summary": f"Face super-resolution {scale}x: EDSR, {BLOCKS} blocks of {WIDTH} channels, {summary}",
        "contract": {"channels": "rgb", "mean": [0.0] * 3, "std": [1.0] * 3, "size": [0, 0], "alignment": "",
                     "scale": scale, "input": "input", "output": "output"},
        "training": {
            "data": "UTKFace (11,500 chips) and 4,069 LFW people with one picture each",
            "recipe": f"models/{folder.name}/train.py", "steps": steps, "batch": 16, "seed": scale,
            "loss": "mean L1 on 0..255 RGB", "degradation": "blur sigma 0..1 px, area or antialiased bicubic to 24 px, "
            "noise sigma 0..0.02, JPEG 60..100 on 70 %", **(second or {}),
        },
        "figures": {
            "people": "300 pictures of LFW people never trained on, degraded as in the first stage with another seed",
            "psnr_db": round(float(ours.mean()), 2), "psnr_bicubic_db": round(float(bicubic.mean()), 2),
            "gain_db_95": [round(float(gain.mean() - half), 2), round(float(gain.mean() + half), 2)],
            "parity": f"{facts['parity']:.1e} of the largest value against PyTorch",
        },
        "use": {
            "intended": "hypotheses for face matching; an enlarged face is synthetic and no evidence of appearance",
            "limits": "aligned, roughly frontal faces of 24 px; references of 192 px are partly enlarged (LFW, UTKFace), so "
            "it adds little detail beyond 112 px; accuracy by skin tone or age was not measured",
        },
        "export": {"exporter": facts["exporter"], "bytes": facts["bytes"]},
    })


def arguments(scale: int) -> argparse.ArgumentParser:
    """The options of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with lfw/ and utkface/")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoints and logs")
    parser.add_argument("--steps", type=int, default=STEPS[scale])
    parser.add_argument("--threads", type=int, default=1)
    return parser


def first_stage(scale: int, args: argparse.Namespace) -> EDSR:
    """The network trained with L1 alone."""
    args.work.mkdir(parents=True, exist_ok=True)
    smaller = args.work / f"edsr_face_x{scale // 2}" / "checkpoint.pt"
    start = smaller if scale > 2 and smaller.exists() else None
    return train(scale, args.data, args.work, args.steps, start, args.threads)


def published_stage(scale: int, args: argparse.Namespace) -> EDSR:
    """The network trained with L1 alone, as it is published."""
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    all_crops(args.data, args.work)
    model = EDSR(scale, BLOCKS, WIDTH)
    restored(model, Path(__file__).parents[1] / f"edsr_face_x{scale}" / "model.onnx")
    return model


def main(scale: int) -> None:
    """Command line of the recipe."""
    args = arguments(scale).parse_args()
    publish(first_stage(scale, args), args.work, args.steps)
