"""What the recipes of the translating families share: batches, the loop, its checkpoints, figures and command line.

Without folders of real pictures the recipes train on simulated spectra (:mod:`meetmid.models.recipes.spectra`). What they
reach there is a functional proof that the losses teach the networks, not the papers' result.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from meetmid.models.recipes.pairs import Pairs
from meetmid.models.recipes.training import load_checkpoint, logger, save_checkpoint
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from meetmid.sheets import contact_sheet

MIRRORED = (1, 0, 2, 4, 3)
"""Where each of the five landmarks goes in a mirrored picture."""
PROOF = "simulated spectra: a functional proof, not the papers' result"


@dataclass(frozen=True)
class Batch:
    """Pictures (N, 3, size, size) in [-1, 1] of both spectra, and their landmarks (N, K, 2) in pixels."""

    source: Tensor
    target: Tensor
    source_points: Tensor
    target_points: Tensor


class Optimisers(dict[str, torch.optim.Optimizer]):
    """Several optimisers whose states are saved as one."""

    def state_dict(self) -> dict[str, Any]:
        """Name to state."""
        return {name: optimiser.state_dict() for name, optimiser in self.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all of them."""
        for name, optimiser in self.items():
            optimiser.load_state_dict(state[name])

    def descend(self, name: str, loss: Tensor) -> None:
        """One step of one optimiser down ``loss``; other parameters keep their gradients out of it."""
        self[name].zero_grad()
        loss.backward()
        self[name].step()


class Recipe(nn.Module):
    """The networks of a family, how one batch trains them, and what they make of a source picture.

    ``decays``: the rates fall linearly to zero in the second half of the steps; else they stay.
    """

    spectrum = "thermal"
    decays = True
    optimisers: Optimisers
    match: Callable[[Tensor], Tensor]

    def update(self, batch: Batch) -> dict[str, float]:
        """Train on one batch and return the terms of the loss."""
        raise NotImplementedError

    def validation_loss(self, batch: Batch) -> Tensor:
        """The weighted terms that need no adversary."""
        raise NotImplementedError

    def translate(self, batch: Batch) -> Tensor:
        """The source pictures as the target spectrum, (N, 3, size, size) in [-1, 1]."""
        raise NotImplementedError

    def templates(self, batch: Batch, match: Callable[[Tensor], Tensor]) -> Tensor:
        """Templates of the translated sources."""
        return match(self.translate(batch))


def make_batch(pairs: Pairs, index: NDArray[np.int64], device: str) -> Batch:
    """The pairs of ``index``."""
    first, second = pairs.source.take(index), pairs.target.take(index)
    pictures = [
        torch.from_numpy(p.pictures.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1).to(device) for p in (first, second)
    ]
    points = [torch.from_numpy(p.points).to(device) for p in (first, second)]
    return Batch(*pictures, *points)


def augmented(batch: Batch, rng: np.random.Generator, enlarge: float) -> Batch:
    """The batch enlarged by ``enlarge``, cropped at one random place and, with five landmarks, half of the time mirrored."""
    size = batch.source.shape[-1]
    big = round(size * enlarge)
    x, y = (int(v) for v in rng.integers(0, big - size + 1, 2))
    shift = torch.tensor([x, y], dtype=torch.float32, device=batch.source.device)
    pictures = [
        functional.interpolate(p, size=(big, big), mode="bicubic", align_corners=False)[..., y : y + size, x : x + size]
        for p in (batch.source, batch.target)
    ] if big > size else [batch.source, batch.target]
    points = [(p + 0.5) * (big / size) - 0.5 - shift for p in (batch.source_points, batch.target_points)]
    if rng.random() < 0.5 and points[0].shape[1] == len(MIRRORED):
        pictures = [p.flip(3) for p in pictures]
        points = [p[:, list(MIRRORED)] * p.new_tensor([-1, 1]) + p.new_tensor([size - 1, 0]) for p in points]
    return Batch(*(p.clamp(-1, 1) for p in pictures), *points)


def area_under_curve(scores: NDArray[np.float64], mated: NDArray[np.bool_]) -> float:
    """The share of (mated, non-mated) pairs of scores that are in order, ties counting half."""
    other = np.sort(scores[~mated])
    below, not_above = (np.searchsorted(other, scores[mated], side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(other))


def matching_auc(probes: NDArray[np.float64], gallery: NDArray[np.float64], people: list[str]) -> float:
    """AUC over all probe x gallery cosines but those of a picture with its own pair."""
    unit = [t / np.linalg.norm(t, axis=1, keepdims=True) for t in (probes, gallery)]
    names = np.array(people)
    pairs = ~np.eye(len(names), dtype=bool)
    mated = names[:, None] == names[None]
    return area_under_curve((unit[0] @ unit[1].T)[pairs], mated[pairs])


@torch.no_grad()
def evaluate(
    recipe: Recipe, pairs: Pairs, matchers: dict[str, Callable[[Tensor], Tensor]], device: str, batch: int = 16
) -> dict[str, float]:
    """Validation loss, and per matcher the AUC of untranslated and of translated sources against the targets' templates."""
    recipe.eval()
    losses, templates = [], {name: ([], [], []) for name in matchers}  # type: ignore[var-annotated]
    for start in range(0, len(pairs), batch):
        index = np.arange(start, min(start + batch, len(pairs)))
        if len(index) < 2:
            index = np.array([start - 1, start])
        part = make_batch(pairs, index, device)
        kept = slice(int(index[0] < start), None)
        losses.append(float(recipe.validation_loss(part)))
        for name, match in matchers.items():
            rows = (match(part.target), match(part.source), recipe.templates(part, match))
            for kind, row in zip(templates[name], rows, strict=True):
                kind.append(row[kept].double().cpu().numpy())
    recipe.train()
    figures = {"loss": float(np.mean(losses))}
    for name, kinds in templates.items():
        gallery, plain, translated = (np.concatenate(kind) for kind in kinds)
        figures[f"{name}_untranslated"] = matching_auc(plain, gallery, pairs.source.people)
        figures[f"{name}_translated"] = matching_auc(translated, gallery, pairs.source.people)
    return figures


def sample_sheet(recipe: Recipe, pairs: Pairs, path: Path, device: str) -> None:
    """Source, translation and target of up to six validation pairs."""
    recipe.eval()
    part = make_batch(pairs, np.arange(min(6, len(pairs))), device)
    with torch.no_grad():
        made = recipe.translate(part).clamp(-1, 1)
    recipe.train()
    shown, labels = [], []
    for k, person in enumerate(pairs.source.people[: len(made)]):
        for name, picture in (("source", part.source[k]), ("translated", made[k]), ("target", part.target[k])):
            shown.append((picture.permute(1, 2, 0).cpu().numpy() * 127.5 + 127.5).round().astype(np.uint8))
            labels.append(f"{name} {person}")
    sheet = contact_sheet(shown, labels, title=PROOF, columns=6, synthetic=[label.startswith("tr") for label in labels])
    cv2.imwrite(str(path), sheet[..., ::-1])


def fit(
    recipe: Recipe, training: Pairs, validation: Pairs, matchers: dict[str, Callable[[Tensor], Tensor]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Train (or go on training) for ``options.steps``; log, checkpoint, sheet and figures lie in ``options.out``.

    Batches and noise depend on the seed and the step alone, so an interrupted run ends at the same bits.
    """
    log = logger(options.out)
    recipe.to(options.device).train()
    path, kept = options.out / "checkpoint.pt", options.out / "figures.json"
    step = load_checkpoint(path, recipe, recipe.optimisers)
    if step and kept.exists():
        figures = json.loads(kept.read_text(encoding="utf-8"))
    else:
        figures = {"before": evaluate(recipe, validation, matchers, options.device), "seconds": 0.0}
        kept.write_text(json.dumps(figures), encoding="utf-8")
    log.info("%s; before: %s", PROOF, figures["before"])
    begun = time.monotonic()
    peaks = {name: optimiser.defaults["lr"] for name, optimiser in recipe.optimisers.items()}
    for at in range(step, options.steps):
        rng = np.random.default_rng((options.seed, at))
        torch.manual_seed(options.seed * 1_000_003 + at)
        index = rng.choice(len(training), min(options.batch, len(training)), replace=False)
        batch = augmented(make_batch(training, index, options.device), rng, options.enlarge)
        share = min(1.0, 2 * (1 - at / options.steps)) if recipe.decays else 1.0
        for name, optimiser in recipe.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = peaks[name] * share
        terms = recipe.update(batch)
        if not all(np.isfinite(value) for value in terms.values()):
            raise RuntimeError(f"step {at + 1}: a loss is not finite: {terms}")
        if (at + 1) % options.every == 0 or at + 1 == options.steps:
            log.info("step %d %s (%.0f s)", at + 1, " ".join(f"{k} {v:.4g}" for k, v in terms.items()),
                     figures["seconds"] + time.monotonic() - begun)
            save_checkpoint(path, at + 1, recipe, recipe.optimisers)
            figures["seconds"] += time.monotonic() - begun
            begun = time.monotonic()
            kept.write_text(json.dumps(figures), encoding="utf-8")
            sample_sheet(recipe, validation, options.out / "samples.png", options.device)
    figures |= {
        "after": evaluate(recipe, validation, matchers, options.device), "steps": options.steps,
        "size": options.size, "seed": options.seed, "n_pairs": len(validation) ** 2 - len(validation),
    }
    kept.write_text(json.dumps(figures), encoding="utf-8")
    log.info("after: %s", figures["after"])
    return figures
