"""What the recipes of the translating families share: batches, the loop, its checkpoints, figures and command line.

Without folders of real pictures the recipes train on simulated spectra (:mod:`meetmid.models.recipes.spectra`). What they
reach there is a functional proof that the losses teach the networks, not the papers' result.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from meetmid.models.recipes.batches import Augmentation, Batch, make_batch
from meetmid.models.recipes.pairs import Pairs
from meetmid.models.recipes.training import load_checkpoint, logger, save_checkpoint
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from meetmid.evaluation.trials import Trials
from meetmid.evaluation.uncertainty import compare
from meetmid.evaluation.verification import ErrorRates
from meetmid.evaluation.weighted import auc
from meetmid.runtime.cards import read_card, write_card
from meetmid.sheets import contact_sheet

_PLACES = {
    "out", "data", "source", "target", "validation_source", "validation_target", "validation_names", "matcher", "witness",
    "device", "threads", "every", "recipe", "teacher", "fhn", "hrn", "perceptual", "attributes",
}
PROOF = "simulated spectra: a functional proof, not the papers' result"


class Optimisers(dict[str, torch.optim.Optimizer]):
    """Several optimisers whose states are saved as one."""

    def state_dict(self) -> dict[str, Any]:
        """Name to state."""
        return {name: optimiser.state_dict() for name, optimiser in self.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all of them."""
        for name, optimiser in self.items():
            optimiser.load_state_dict(state[name])

    def descend(self, loss: Tensor, *names: str) -> None:
        """One step of the named optimisers down ``loss``; other parameters keep their gradients out of it."""
        for name in names:
            self[name].zero_grad()
        loss.backward()
        for name in names:
            self[name].step()


class Recipe(nn.Module):
    """The networks of a family, how one batch trains them, and what they make of a source picture.

    ``decays``: the rates fall linearly to zero in the second half of the steps; else they stay. ``embeds``: it ends in
    templates of its teacher's space, not in pictures that any matcher could judge.
    """

    spectrum = "thermal"
    decays = True
    embeds = False
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

    def products(self) -> dict[str, nn.Module]:
        """The networks that are exported in the end, by the names of their files."""
        raise NotImplementedError

    def substitutes(self) -> list[str]:
        """What stands in for something that the paper has and this run had not, for the card."""
        return []

    def maps(self, batch: Batch) -> dict[str, Tensor]:
        """Attention maps (N, 1, h, w) for the sample sheet, by what is written under them."""
        return {}

    def sides(self, batch: Batch, match: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Templates of the targets, which are the gallery, and of the sources untranslated and translated."""
        return match(batch.target), match(batch.source), match(self.translate(batch))

    def views(self, batch: Batch) -> dict[str, Batch]:
        """What the figures are taken on, by what is added to their names; "" is the batch itself."""
        return {"": batch}


def cosines(probes: NDArray[np.float64], gallery: NDArray[np.float64]) -> NDArray[np.float64]:
    """Templates (P, D) and (G, D) to their cosines (P, G)."""
    unit = [t / np.linalg.norm(t, axis=1, keepdims=True) for t in (probes, gallery)]
    scores: NDArray[np.float64] = unit[0] @ unit[1].T
    return scores


def matching_figures(
    plain: NDArray[np.float64], translated: NDArray[np.float64], people: list[str]
) -> dict[str, float]:
    """AUC of both and of their mean over all probe x gallery scores (P, P) but those of a picture with its own pair, and the
    gain by translation with its 95 % interval, people drawn."""
    own = np.eye(len(people), dtype=bool)
    trials = {
        kind: Trials.of(scores, people, people, own)
        for kind, scores in (("untranslated", plain), ("translated", translated), ("fused", (plain + translated) / 2))
    }
    gain = compare(trials["translated"], trials["untranslated"], auc, draws=200)
    return {
        **{kind: ErrorRates.of(found).auc() for kind, found in trials.items()},
        "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high,
    }


@torch.no_grad()
def evaluate(
    recipe: Recipe, pairs: Pairs, matchers: dict[str, Callable[[Tensor], Tensor]], device: str, batch: int = 16
) -> dict[str, float]:
    """Validation loss, and per view and matcher the figures of :func:`matching_figures`; the mean of both cosines is how PCFH
    matches (networks.md section 7.4)."""
    recipe.eval()
    losses, weights = [], []
    templates: dict[tuple[str, str], tuple[list[NDArray[np.float64]], ...]] = {}
    for start in range(0, len(pairs), batch):
        index = np.arange(start, min(start + batch, len(pairs)))
        if len(index) < 2:
            index = np.array([start - 1, start])
        whole = make_batch(pairs, index, device)
        kept = slice(int(index[0] < start), None)
        losses.append(float(recipe.validation_loss(whole)))
        weights.append(len(index))
        for view, part in recipe.views(whole).items():
            for name, match in matchers.items():
                kinds = templates.setdefault((name, view), ([], [], []))
                for kind, row in zip(kinds, recipe.sides(part, match), strict=True):
                    kind.append(row[kept].double().cpu().numpy())
    recipe.train()
    figures = {"loss": float(np.average(losses, weights=weights))}
    for (name, view), kinds in templates.items():
        gallery, plain, translated = (np.concatenate(kind) for kind in kinds)
        found = matching_figures(cosines(plain, gallery), cosines(translated, gallery), pairs.source.people)
        figures |= {f"{name}_{kind}{view}": value for kind, value in found.items()}
    return figures


def sample_sheet(recipe: Recipe, pairs: Pairs, path: Path, device: str, title: str = "") -> None:
    """Source, translation, attention maps and target of up to six validation pairs, a row each."""
    recipe.eval()
    part = make_batch(pairs, np.arange(min(6, len(pairs))), device)
    with torch.no_grad():
        made = recipe.translate(part).clamp(-1, 1)
        maps = {name: _displayed(values, part.source.shape[-1]) for name, values in recipe.maps(part).items()}
    recipe.train()
    columns = {"source": part.source, "translated": made, **maps, "target": part.target}
    rows = [
        ((picture[k].permute(1, 2, 0).cpu().numpy() * 127.5 + 127.5).round().astype(np.uint8), name, person)
        for k, person in enumerate(pairs.source.people[: len(made)]) for name, picture in columns.items()
    ]
    sheet = contact_sheet(
        [picture for picture, _, _ in rows], [f"{name} {person}" for _, name, person in rows], title=title,
        columns=len(columns), synthetic=[name == "translated" for _, name, _ in rows],
    )
    cv2.imwrite(str(path), sheet[..., ::-1])


def _displayed(maps: Tensor, size: int) -> Tensor:
    """Maps (N, 1, h, w) from their smallest to their largest value, as grey pictures in [-1, 1] (networks.md section 6.2)."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    unit = (maps - low) / (high - low).clamp(min=1e-12)
    large = functional.interpolate(unit, size=(size, size), mode="bilinear", align_corners=False)
    return (2 * large - 1).expand(-1, 3, -1, -1)


def history(recipe: Recipe, training: Pairs, options: argparse.Namespace) -> dict[str, Any]:
    """What the card of the exported network says about its training."""
    simulated = options.source is None
    spectrum = f"simulated {recipe.spectrum}" if simulated else recipe.spectrum
    return {
        "recipe": f"models/{options.recipe}/train.py", "pairs": len(training), "people": len(set(training.source.people)),
        "spectra": f"{spectrum} to visible" + (f"; {PROOF}" if simulated else ""),
        "landmarks": int(training.source.points.shape[1]), "matcher_of_losses": read_card(options.matcher / "card.toml").name,
        "size": options.size, "steps": options.steps, "batch": options.batch, "seed": options.seed,
        "substitutes": "; ".join(recipe.substitutes()) or "none", "options": told_options(options),
    }


def told_options(options: argparse.Namespace) -> str:
    """Every option that shapes the network, but where files lie and how often something is written."""
    return "; ".join(f"{name} {value}" for name, value in sorted(vars(options).items()) if name not in _PLACES)


def steps_of(epochs: int, count: int, batch: int) -> int:
    """Steps of so many passes over ``count`` pairs."""
    return -(-epochs * count // min(batch, count))


def save_products(recipe: Recipe, folder: Path, ending: str = "") -> None:
    """The state dicts that ``meetmid export`` takes."""
    for name, network in recipe.products().items():
        torch.save(network.state_dict(), folder / f"{name}{ending}.pt")


def fit(
    recipe: Recipe, training: Pairs, validation: Pairs, matchers: dict[str, Callable[[Tensor], Tensor]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Train (or go on training) for ``options.steps`` (None: ``options.epochs`` passes).

    Log, checkpoint, sheet and figures lie in ``options.out``, in the end also the weights that ``meetmid export`` takes.
    Batches and noise depend on the seed and the step alone, so an interrupted run ends at the same bits.
    """
    log = logger(options.out)
    if options.steps is None:
        options.steps = steps_of(options.epochs, len(training), options.batch)
    recipe.to(options.device).train()
    path, kept = options.out / "checkpoint.pt", options.out / "figures.json"
    step = load_checkpoint(path, recipe, recipe.optimisers)
    if step and kept.exists():
        figures = json.loads(kept.read_text(encoding="utf-8"))
    else:
        figures = {"before": evaluate(recipe, validation, matchers, options.device), "seconds": 0.0}
        kept.write_text(json.dumps(figures), encoding="utf-8")
    data = PROOF if options.source is None else f"{len(training)} pairs of folders"
    log.info("%s; before: %s", data, figures["before"])
    begun = time.monotonic()
    augmentation = Augmentation.of(options)
    snapshots = {steps_of(epoch, len(training), options.batch): epoch for epoch in options.snapshots}
    peaks = {name: optimiser.defaults["lr"] for name, optimiser in recipe.optimisers.items()}
    for at in range(step, options.steps):
        rng = np.random.default_rng((options.seed, at))
        torch.manual_seed(options.seed * 1_000_003 + at)
        index = rng.choice(len(training), min(options.batch, len(training)), replace=False)
        batch = augmentation(make_batch(training, index, options.device), rng)
        share = min(1.0, 2 * (1 - at / options.steps)) if recipe.decays else 1.0
        for name, optimiser in recipe.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = peaks[name] * share
        terms = recipe.update(batch)
        if not all(np.isfinite(value) for value in terms.values()):
            raise RuntimeError(f"step {at + 1}: a loss is not finite: {terms}")
        if at + 1 in snapshots:
            save_products(recipe, options.out, f"-epoch-{snapshots[at + 1]}")
        if (at + 1) % options.every == 0 or at + 1 == options.steps:
            log.info("step %d %s (%.0f s)", at + 1, " ".join(f"{k} {v:.4g}" for k, v in terms.items()),
                     figures["seconds"] + time.monotonic() - begun)
            save_checkpoint(path, at + 1, recipe, recipe.optimisers)
            figures["seconds"] += time.monotonic() - begun
            begun = time.monotonic()
            kept.write_text(json.dumps(figures), encoding="utf-8")
            sample_sheet(recipe, validation, options.out / "samples.png", options.device, data)
    write_card(options.out / "training.toml", history(recipe, training, options))
    save_products(recipe, options.out)
    names = np.array(validation.source.people)
    figures |= {
        "after": evaluate(recipe, validation, matchers, options.device), "steps": options.steps,
        "size": options.size, "seed": options.seed, "simulated": options.source is None, "people": len(set(names)),
        "n_pairs": len(names) ** 2 - len(names), "n_mated": int((names[:, None] == names).sum()) - len(names),
    }
    kept.write_text(json.dumps(figures), encoding="utf-8")
    log.info("after: %s", figures["after"])
    return figures
