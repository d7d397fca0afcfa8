"""Train ANYRES, thermal to visible at any resolution, with the losses of networks.md section 5.3.

    python models/anyres/train.py --out WORK/anyres [--source THERMAL --target VISIBLE]

Each step sees the same faces at four resolutions. The paper gives no weights, no layers and no crops: the defaults are the
choices of networks.md. --perceptual takes VGG-19's weights (a torchvision state dict); without it early layers of the matcher
stand in. --attributes takes scorers: folders with a card, or ONNX files of raw RGB (112 px where their graphs leave the size
free); without them L_A is 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from meetmid.models.recipes import losses
from meetmid.models.recipes.batches import Augmentation, Batch
from meetmid.models.recipes.identity import OnnxNetwork, converted, load_matcher
from meetmid.models.recipes.perceptual import perceptual_loss
from meetmid.models.recipes.regions import part_centres, patches
from meetmid.models.recipes.running import add_parts, command_line, run
from meetmid.models.recipes.translation import Optimisers, Recipe
from torch import Tensor, nn
from torch.nn import functional

from meetmid.networks.anyres import AnyRes
from meetmid.networks.cyclegan import PatchDiscriminator

DIVISORS = (1, 2, 4, 8)
CHANGES = Augmentation(enlarge=286 / 256, centred=True, sharpness=1.0)
"""The paper names a centre crop without its size: pix2pix's 256 of 286 is taken."""


def local_discriminator(width: int) -> nn.Sequential:
    """(N, 3, h, w) crop to a map of scores; the paper gives no layers."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 3, padding=1),
    )


def attribute_scorer(path: Path) -> Callable[[Tensor], Tensor]:
    """The scorer as a frozen function of pictures in [-1, 1]: a folder with ``card.toml``, whose contract says what it is fed,
    or an ONNX file of raw RGB."""
    if path.is_dir():
        scorer = load_matcher(path)
        return lambda pictures: scorer.to(pictures.device)(pictures)
    height, width = OnnxNetwork(path).sides or (0, 0)
    size = (height or 112, width or 112)
    network = losses.frozen(converted(path, (3, *size), 255.0))
    return lambda pictures: network.to(pictures.device)((losses.resized(pictures, size) + 1) * 127.5)


class AnyResRecipe(Recipe):
    """Generator, two global discriminators (whole and half size) and four local ones."""

    decays = False

    def __init__(self, options: argparse.Namespace, match: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.options, self.match = options, match
        self.generator = AnyRes(widths=tuple(options.widths))
        self.whole = nn.ModuleList(PatchDiscriminator(width=options.critic_width) for _ in range(2))
        self.local = nn.ModuleList(local_discriminator(options.critic_width) for _ in range(4))
        self.perceptual = perceptual_loss(options.perceptual, options.matcher)
        self.scorers = {path.stem: attribute_scorer(path) for path in options.attributes}
        critics = [*self.whole.parameters(), *self.local.parameters()]
        self.optimisers = Optimisers(
            generator=torch.optim.Adam(self.generator.parameters(), options.rate, (0.5, 0.999)),
            critics=torch.optim.Adam(critics, options.rate, (0.5, 0.999)),
        )

    def scores(self, pictures: Tensor, points: Tensor) -> list[Tensor]:
        """The maps of all discriminators."""
        scales = (pictures, functional.avg_pool2d(pictures, 2))
        crops = patches(pictures, part_centres(points, self.options.parts))
        return [d(p) for d, p in zip((*self.whole, *self.local), (*scales, *crops), strict=True)]

    def resolutions(self, sources: Tensor) -> Tensor:
        """The sources at each resolution in turn, enlarged back to their size (networks.md section 5, by bicubic)."""
        size = sources.shape[-1]
        reduced = [losses.resized(losses.resized(sources, (size // d,) * 2), (size, size)) for d in DIVISORS]
        return torch.cat(reduced).clamp(-1, 1)

    def terms(self, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The weighted losses without an adversary, L_cond, L_P, L_I and L_A; ``made`` may be several batches of ``target``."""
        options, times = self.options, len(made) // len(target)
        with torch.no_grad():
            wanted = self.match(target).repeat(times, 1)
        repeated = target.repeat(times, 1, 1, 1)
        return {
            "cond": options.weight_cond * losses.l1(made, repeated),
            "P": options.weight_perceptual * self.perceptual(made, target),
            "I": options.weight_identity * losses.cosine_distance(self.match(made), wanted),
            "A": options.weight_attributes * losses.attributes(self.scorers, made, repeated),
        }

    def update(self, batch: Batch) -> dict[str, float]:
        """Discriminators, then the generator."""
        made = self.generator(self.resolutions(batch.source))
        points = batch.target_points.repeat(len(DIVISORS), 1, 1)
        real, fake = self.scores(batch.target, batch.target_points), self.scores(made.detach(), points)
        critic = losses.lsgan(real, True) + losses.lsgan(fake, False)
        self.optimisers.descend(critic, "critics")
        terms = self.terms(made, batch.target)
        terms["GAN"] = self.options.weight_gan * losses.lsgan(self.scores(made, points), True)
        self.optimisers.descend(torch.stack(list(terms.values())).sum(), "generator")
        return {"D": critic.item(), **{name: term.item() for name, term in terms.items()}}

    def views(self, batch: Batch) -> dict[str, Batch]:
        """The batch at every resolution."""
        parts = self.resolutions(batch.source).chunk(len(DIVISORS))
        return {f"@1/{d}" if d > 1 else "": replace(batch, source=part) for d, part in zip(DIVISORS, parts, strict=True)}

    def validation_loss(self, batch: Batch) -> Tensor:
        """L_cond, L_P, L_I and L_A at full resolution."""
        return torch.stack(list(self.terms(self.generator(batch.source), batch.target).values())).sum()

    def translate(self, batch: Batch) -> Tensor:
        """Full resolution."""
        return self.generator(batch.source)

    def substitutes(self) -> list[str]:
        """VGG-19 and the attribute scorers, where they were not given."""
        perceptual = [] if self.options.perceptual else ["L_P on early layers of the matcher instead of VGG-19"]
        return [*perceptual, f"L_A by {', '.join(self.scorers)}" if self.scorers else "L_A without attribute scorers: 0"]

    def products(self) -> dict[str, nn.Module]:
        """The generator."""
        return {"weights": self.generator}


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(__doc__, size=128, batch=4, rate=2e-4, epochs=100, augmentation=CHANGES)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--critic-width", type=int, default=64)
    parser.add_argument("--perceptual", type=Path, help="VGG-19 state dict (features.N.weight, .bias)")
    parser.add_argument("--attributes", type=Path, nargs="*", default=[], help="attribute scorers")
    add_parts(parser)
    for name, weight in (("gan", 1.0), ("cond", 100.0), ("perceptual", 10.0), ("identity", 10.0), ("attributes", 1.0)):
        parser.add_argument(f"--weight-{name}", type=float, default=weight)
    run(AnyResRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
