"""Train one EDSR-recognition, EDSR-face with a second stage: enlarged faces that matchers recognise.

    python models/edsr_recognition_x4/train.py --data DATA --work WORK

The loss is the mean L1 on 0..255 RGB of the first stage plus ``WEIGHT`` times one minus the cosine between a matcher's
templates of the enlarged and of the sharp face (an identity loss as in K. Zhang et al., "Super-identity convolutional neural
network for face hallucination", ECCV 2018, section 3.2, with cosines). Two matchers of different training, both permissively
licensed, take turns and keep the network from serving the quirks of one. Blur, noise and JPEG are as bad as those of the worse
simulated camera, and half of them smaller than the 24 px that the network reads.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import torch
from meetmid.models.recipes.identity import FrozenMatcher, converted
from meetmid.models.recipes.super_resolution import LR, arguments, first_stage, publish, published_stage
from meetmid.models.recipes.training import cosine_rate, load_checkpoint, logger, save_checkpoint
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from meetmid.networks.edsr import EDSR
from meetmid.resize import resize, to_float, to_uint8
from meetmid.runtime.cards import CONTRACTS, ModelCard, file_sha256

WEIGHT, RATE, BATCH, SMALLEST = 20.0, 3e-4, 16, 12.0
MATCHERS = {"face-reidentification-retail-0095": "openvino-0095", "mobilefacenet-qengineering": "arcface-raw"}


def frozen_matchers(data: Path) -> list[FrozenMatcher]:
    """The permissive matchers of the development data, differentiable."""
    found = []
    for name, contract in MATCHERS.items():
        path = data / "weights" / f"{name}.onnx"
        card = ModelCard(name, "matcher", path, file_sha256(path), "see the development data", CONTRACTS[contract])
        scale = max((255.0 - m) / s for m, s in zip(card.contract.mean, card.contract.std, strict=True))
        found.append(FrozenMatcher(converted(path, (3, *card.contract.size), scale), card))
    return found


def caught(sharp: NDArray[np.float32], side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(192, 192, 3) in [0, 1] to the (side, side, 3) that a bad camera makes of it, half of the time by way of fewer pixels."""
    own = side if rng.random() < 0.5 else round(float(np.exp(rng.uniform(np.log(SMALLEST), np.log(side)))))
    sigma = rng.uniform(0.0, 1.1) * sharp.shape[0] / own
    if sigma > 0.5:
        sharp = np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)
    area = rng.random() >= 0.5
    small = cv2.resize(sharp, (own, own), interpolation=cv2.INTER_AREA) if area else resize(sharp, (own, own))
    small = np.clip(small + rng.normal(0.0, rng.uniform(0.0, 0.04), small.shape), 0.0, 1.0).astype(np.float32)
    levels = to_uint8(small)
    if rng.random() < 0.7:
        _, code = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 101))])
        levels = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return np.asarray(resize(to_float(levels), (side, side)), np.float32)


def identity_loss(matcher: FrozenMatcher, made: Tensor, sharp: Tensor) -> Tensor:
    """Mean of 1 - cosine over pictures; (N, 3, H, W) and (N, 3, 192, 192), RGB 0..255."""
    with torch.no_grad():
        goal = matcher(sharp / 127.5 - 1)
    return (1 - functional.cosine_similarity(matcher(made / 127.5 - 1), goal)).mean()


def tune(
    model: EDSR, crops: NDArray[np.uint8], side: int, data: Path, folder: Path, steps: int
) -> EDSR:
    """Train (or go on training) a network of the first stage; checkpoint and log lie in ``folder``."""
    torch.manual_seed(model.scale)
    log, matchers = logger(folder), frozen_matchers(data)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=RATE)
    model = model.to(memory_format=torch.channels_last)
    first = load_checkpoint(folder / "checkpoint.pt", model, optimiser)
    begun, running, large = time.monotonic(), np.zeros(2), 8 * side
    for step in range(first, steps):
        rng = np.random.default_rng((model.scale, 2, step))
        lows, sharps = [], []
        for index in np.sort(rng.integers(0, len(crops), BATCH)):
            y, x = rng.integers(0, crops.shape[1] - large + 1, 2)
            crop = crops[index, y : y + large, x : x + large][:, :: rng.choice([-1, 1])]
            sharps.append(to_float(np.ascontiguousarray(crop)))
            lows.append(caught(sharps[-1], side, rng))
        highs = [resize(sharp, (side * model.scale,) * 2) for sharp in sharps]
        low, high, sharp = (
            torch.from_numpy(np.stack(x).transpose(0, 3, 1, 2) * np.float32(255)).contiguous(memory_format=torch.channels_last)
            for x in (lows, highs, sharps)
        )
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, steps, RATE)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(low)
        alike = identity_loss(matchers[step % len(matchers)], out.float(), sharp)
        error = (out.float() - high).abs().mean()
        optimiser.zero_grad()
        (error + WEIGHT * alike).backward()
        nn.utils.clip_grad_norm_(trainable, 100.0)
        optimiser.step()
        running += error.item(), alike.item()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            log.info("step %d L1 %.3f identity %.4f (%.0f s)", step + 1, *(running / 100), time.monotonic() - begun)
            running[:] = 0
            save_checkpoint(folder / "checkpoint.pt", step + 1, model, optimiser)
    return model


def main(scale: int, steps: int) -> None:
    """Command line of the recipe; the first stage is that of EDSR-face, taken from WORK where it is there."""
    parser = arguments(scale)
    parser.add_argument("--second-steps", type=int, default=steps, help="with the identity loss")
    parser.add_argument("--published", action="store_true", help="take the published EDSR-face for the first stage")
    args = parser.parse_args()
    model = published_stage(scale, args) if args.published else first_stage(scale, args)
    crops = np.load(args.work / "sr_train.npy", mmap_mode="r")
    model = tune(model, crops, LR, args.data, args.work / f"edsr_recognition_x{scale}", args.second_steps)
    publish(model, args.work, args.steps, "edsr-recognition", "trained for matchers", {
        "second_steps": args.second_steps, "second_batch": BATCH, "second_teachers": sorted(MATCHERS),
        "second_loss": f"mean L1 on 0..255 RGB + {WEIGHT:g} (1 - cosine of a teacher's templates), the teachers in turn",
        "second_degradation": "as before, with blur to 1.1 px, noise to 0.04, JPEG 35..100, half of the faces from 12..24 px",
    })
