"""Each recipe moves what it should, in the direction it should, from the published weights."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import torch
from meetmid.models.recipes import pairs, residual, running, spectra
from meetmid.models.recipes.batches import Batch, make_batch
from meetmid.models.recipes.translation import Optimisers, Recipe
from torch import nn

from meetmid.networks.evolve import EvolveIR

MODELS = Path(pairs.__file__).parents[1]
TINY = {
    "anyres": ("anyres", 64, ["--widths", "8", "8", "8", "--critic-width", "4"]),
    "aggan": ("aggan", 64, ["--width", "4", "--critic-width", "4", "--blocks", "1", "--layers", "5", "4"]),
    "aggan-se": (
        "aggan", 64, ["--attention", "se", "--width", "4", "--critic-width", "16", "--blocks", "1", "--layers", "5", "4"]
    ),
    "pcfh": ("pcfh", 144, ["--width", "4", "--critic-width", "4", "--blocks", "1"]),
    "pcfh-lsgan": ("pcfh", 144, ["--width", "4", "--critic-width", "4", "--blocks", "1", "--adversary", "lsgan"]),
    "rim_fhn": ("rim_fhn", 64, ["--width", "4", "--embedding", "8"]),
    "rim_hrn": ("rim_hrn", 64, ["--blocks", "1", "1", "1", "1", "--widths", "32", "64", "128", "256", "--length", "256"]),
}


def parsed(
    family: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[..., Recipe], argparse.Namespace]:
    """What a train.py would hand to :func:`running.run`."""
    caught: list[tuple[Callable[..., Recipe], argparse.Namespace]] = []
    monkeypatch.setattr(running, "run", lambda build, options: caught.append((build, options)))
    monkeypatch.setattr(sys, "argv", ["train.py", "--out", "unused", *arguments])
    runpy.run_path(str(MODELS / family / "train.py"), run_name="__main__")
    return caught[0]


@pytest.fixture
def build(tiny, face, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Recipe, Batch]]:
    """A tiny recipe and a fixed batch of four people for it."""

    def make(name: str, *more: str) -> tuple[Recipe, Batch]:
        torch.set_num_threads(1)  # as every recipe does
        torch.manual_seed(3)
        family, size, options = TINY[name]
        if family != "rim_hrn":
            options = [*options, "--matcher", str(tiny.path.parent)]
        constructor, parsed_options = parsed(family, [*options, "--size", str(size), *more], monkeypatch)
        matcher = running.load_matcher(parsed_options.matcher)
        recipe = constructor(parsed_options, matcher.forward)
        crops = np.stack([face(person, size) for person in range(4)])
        at = pairs.template_points(size)
        kind = {"rim_fhn": "low-resolution", "rim_hrn": "low-resolution", "pcfh": "near-infrared"}.get(family, "thermal")
        made = [spectra.SPECTRA[kind](crop, at.astype(np.float64), (1, k)) for k, crop in enumerate(crops)]
        people = [f"P{k}" for k in range(4)]
        sources = pairs.Pictures(people, np.stack([m[0] for m in made]), np.stack([m[1] for m in made]).astype(np.float32))
        both = pairs.Pairs(sources, pairs.Pictures(people, crops, np.repeat(at[None], 4, 0)))
        return recipe.train(), make_batch(both, np.arange(4), "cpu")

    return make


@pytest.mark.parametrize("name", TINY)
def test_every_step_goes_down_its_loss_and_moves_its_own_networks_only(
    name: str, build, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, batch = build(name)
    inner = Optimisers.descend
    seen: list[str] = []

    def watched(self: Optimisers, loss: torch.Tensor, *names: str) -> None:
        before = {key: value.detach().clone() for key, value in recipe.named_parameters()}
        inner(self, loss, *names)
        own = {id(p) for n in names for group in self[n].param_groups for p in group["params"]}
        slope = 0.0
        for key, value in recipe.named_parameters():
            if id(value) in own:
                if value.grad is not None:
                    slope += float(((value.detach() - before[key]) * value.grad).sum())
            else:
                assert torch.equal(value, before[key]), f"{key} moved with {names}"
        assert slope < 0, f"{names} went up their loss"
        seen.extend(names)

    monkeypatch.setattr(Optimisers, "descend", watched)
    recipe.update(batch)
    assert sorted(seen) == sorted(recipe.optimisers)


@pytest.mark.parametrize("name", TINY)
def test_steps_on_one_batch_lower_the_loss_that_validates(name: str, build) -> None:
    recipe, batch = build(name, "--rate", "1e-3")

    def loss() -> float:
        with torch.no_grad():
            return float(recipe.eval().validation_loss(batch))

    torch.manual_seed(4)
    before = loss()
    recipe.train()
    for _ in range(30):
        recipe.update(batch)
    assert loss() < 0.97 * before


@pytest.mark.parametrize("name", ["anyres", "aggan", "aggan-se", "pcfh", "pcfh-lsgan"])
def test_discriminators_learn_to_tell_generated_pictures(name: str, build) -> None:
    recipe, batch = build(name, "--rate", "1e-3")
    for key, optimiser in recipe.optimisers.items():
        if key.startswith("generator"):
            for group in optimiser.param_groups:
                group["lr"] = 0.0
    for _ in range(40):
        recipe.update(batch)
    with torch.no_grad():
        made = recipe.translate(batch)
        if name == "anyres":
            real, fake = recipe.scores(batch.target, batch.target_points), recipe.scores(made, batch.target_points)
        elif name.startswith("aggan"):
            real, fake = recipe.scores(batch.source, batch.target), recipe.scores(batch.source, made)
        else:
            real, fake = [recipe.critic(batch.target)], [recipe.critic(made)]
    gap = [float(r.mean() - f.mean()) for r, f in zip(real, fake, strict=True)]
    assert np.mean(gap) > 0.1, gap


def test_rho_stays_between_its_bounds(build) -> None:
    recipe, batch = build("aggan")
    rhos = [p for key, p in recipe.generator.named_parameters() if "rho" in key]
    assert rhos
    with torch.no_grad():
        for k, rho in enumerate(rhos):
            rho.fill_(1.5 if k % 2 else -0.5)
    recipe.update(batch)
    assert all(rho.min().item() >= 0.0 and rho.max().item() <= 1.0 for rho in rhos)


def test_the_domain_discriminator_learns_a_shift_of_its_features(build) -> None:
    generator = torch.Generator().manual_seed(0)

    def reached(shift: float) -> float:
        recipe, _ = build("rim_fhn")
        width, grid = recipe.generator.features, recipe.grid
        for _ in range(25):
            low, high = (torch.randn(6, width, grid, grid, generator=generator) for _ in range(2))
            recipe.optimisers.descend(-recipe.distance(low, high + shift), "critic")
        low, high = (torch.randn(6, width, grid, grid, generator=generator) for _ in range(2))
        return recipe.distance(low, high + shift).item()

    assert reached(2.0) > 2 * reached(0.0)


WEIGHTS = {  # networks.md sections 5.3, 6.5, 7.3 and 8.4
    "aggan": {"gan": 1, "l1": 100, "identity": 1, "cam": 1000, "perceptual": 0},
    "pcfh": {"gan": 1, "rec": 2.5e-5, "identity": 0.002, "luminance": 0.1, "warping": 2.5e-5, "information": 0.1},
    "rim_fhn": {"pixel": 5, "landmark": 1, "parsing": 1, "domain": 1},
    "rim_hrn": {"student": 1, "assistant": 1},
    "rim_joint": {"pixel": 5, "landmark": 1, "parsing": 1, "domain": 1, "student": 1, "assistant": 1},
}
SETTINGS = {
    "anyres": (128, 2e-4, 100), "aggan": (256, 1e-4, 200), "pcfh": (256, 2e-4, 200), "rim_fhn": (224, 1e-3, 200),
    "rim_hrn": (224, 1e-4, 100), "rim_joint": (224, 1e-4, 20),
}


@pytest.mark.parametrize("family", SETTINGS)
def test_defaults_are_the_published_ones(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["--fhn", "a", "--hrn", "b"] if family == "rim_joint" else []
    options = parsed(family, needed, monkeypatch)[1]
    assert (options.size, options.rate, options.epochs) == SETTINGS[family]
    assert options.steps is None
    for name, weight in WEIGHTS.get(family, {}).items():
        assert getattr(options, f"weight_{name}") == weight, name
    if family == "aggan":
        assert (options.batch, options.snapshots, options.enlarge) == (1, [90], 286 / 256)


class SmallIR(EvolveIR):
    """IR-50's teacher, narrow."""

    def __init__(self) -> None:
        super().__init__((1, 1, 1, 1), size=112)


def test_hrn_learns_from_a_teacher_of_its_own(build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    teacher = SmallIR()
    torch.save(teacher.state_dict(), tmp_path / "ir.pth")
    monkeypatch.setattr(residual, "evolve", lambda depth: SmallIR())
    with pytest.raises(ValueError, match=r"must make what the teacher makes.*choose --widths"):
        build("rim_hrn", "--teacher", str(tmp_path / "ir.pth"))
    recipe, batch = build(
        "rim_hrn", "--teacher", str(tmp_path / "ir.pth"), "--widths", "64", "128", "256", "512", "--length", "512"
    )
    with torch.no_grad():
        gallery, plain, made = recipe.eval().sides(batch, recipe.match)
        wanted = teacher.eval()(nn.functional.interpolate(batch.target, (112, 112), mode="bicubic"))
    assert gallery.shape == plain.shape == made.shape == (4, 512)
    assert torch.allclose(nn.functional.normalize(gallery), nn.functional.normalize(wanted), atol=1e-4)
    assert not recipe.substitutes()
