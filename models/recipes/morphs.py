"""Morphs of two training faces with the teacher's templates: faces of no one, so that a network sees more than there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from meetmid.models.recipes.distillation import CANVAS, TEACHER, canvas_of, templates
from meetmid.models.recipes.faces import faces
from numpy.typing import NDArray

from meetmid.faces.alignment import CLASSIC_96X112, align

COUNT, SEED = 40_000, 11


def build(data: Path, work: Path, threads: int, seed: int = SEED) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Canvases (N, 128, 128, 3) and the teacher's unit templates (N, 2, 256) of each morph and its mirror image; cached."""
    target, kept = (work / f"morph_{what}{'' if seed == SEED else seed}.npy" for what in ("targets", "canvases"))
    if not target.exists():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        teacher = onnxruntime.InferenceSession(str(data / "weights" / TEACHER), options, providers=["CPUExecutionProvider"])
        canvases, views = _aligned(data)
        mixed = np.lib.format.open_memmap(kept, "w+", np.uint8, (COUNT, CANVAS, CANVAS, 3))
        found = np.empty((COUNT, 2, 256), np.float32)
        rng = np.random.default_rng(seed)
        for start in range(0, COUNT, 32):
            shown = []
            for k in range(start, min(start + 32, COUNT)):
                first, second = rng.choice(len(canvases), 2, replace=False)
                share, gain, shift = rng.uniform(0.25, 0.75), np.exp(rng.normal(0, 0.06, 3)), rng.normal(0, 8, 3)
                mixed[k] = mix(canvases[first], canvases[second], share, gain, shift)
                view = mix(views[first], views[second], share, gain, shift)
                shown += [view, view[:, ::-1]]
            found[start : start + len(shown) // 2] = templates(teacher, shown).reshape(-1, 2, 256)
        mixed.flush()
        np.save(target, found)
    return np.load(kept, mmap_mode="r"), np.load(target)


def _aligned(data: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    canvases, views = [], []
    for part in ("utkface", "lfw-single"):
        for _, picture, points in faces(data, part):
            canvases.append(canvas_of(picture, points))
            views.append(align(picture, points, CLASSIC_96X112, size=(128, 128)))
    return np.stack(canvases), np.stack(views)


def mix(
    a: NDArray[np.uint8], b: NDArray[np.uint8], share: float, gain: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """``share`` of one aligned face and the rest of another, with a change of contrast and colour."""
    both = a.astype(np.float32) * share + b.astype(np.float32) * (1 - share)
    return np.clip((both - 128) * gain * 1.08 + 128 + shift, 0, 255).round().astype(np.uint8)
