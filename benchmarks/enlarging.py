"""PSNR of super-resolvers on degraded portraits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from carn import CarnM
from people import Picture, data_folder

from meetmid.faces.alignment import align
from meetmid.probes.hallucination import Hallucinator
from meetmid.resize import resize, to_uint8

FAMILIES = {scale: ("edsr-face", "edsr-recognition") for scale in (2, 4)}
Enlarge = Callable[[np.ndarray], np.ndarray]


def enlargers(scale: int) -> dict[str, Enlarge]:
    """Each from (24, 24, 3) RGB float32 in [0, 1] to the same, ``scale`` times larger."""
    carn = CarnM(data_folder() / "weights" / "carn_m.pth", scale)
    shipped = {name: Hallucinator(name, (scale,), device="cpu", threads=1) for name in FAMILIES[scale]}
    torch.set_num_threads(1)
    return {
        "bicubic": lambda low: resize(low, (scale * low.shape[0], scale * low.shape[1])),
        "CARN-M": lambda low: carn(torch.from_numpy(low.transpose(2, 0, 1)[None].copy()))[0].numpy().transpose(1, 2, 0),
        **{f"{name}-x{scale}": (lambda low, own=own: own(low[None], scale)[0]) for name, own in shipped.items()},
    }


def gains(side: list[Picture], scale: int) -> list[tuple[str, float, float, tuple[float, float]]]:
    """(name, mean PSNR in dB of 8-bit RGB, gain over bicubic, its 95 % interval over pictures) on portraits degraded as the
    recipe's validation does it."""
    from meetmid.models.recipes.super_resolution import CROP, pair

    rng = np.random.default_rng(2026)
    pairs = [pair(align(picture, points, size=(CROP, CROP)), scale, rng) for _, picture, points in side]
    found = {}
    for name, enlarge in enlargers(scale).items():
        made = [to_uint8(np.clip(enlarge(low), 0, 1).astype(np.float32)).astype(float) for low, _ in pairs]
        errors = [((m - to_uint8(high)) ** 2).mean() for m, (_, high) in zip(made, pairs, strict=True)]
        found[name] = 10 * np.log10(255.0**2 / np.array(errors))
    rows = []
    for name, values in found.items():
        gain = values - found["bicubic"]
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        rows.append((name, float(values.mean()), float(gain.mean()), (float(gain.mean() - half), float(gain.mean() + half))))
    return rows
