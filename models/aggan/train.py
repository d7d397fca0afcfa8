"""Train AG-GAN (--attention cam) or AG-GAN+ (--attention se), thermal to visible, with the losses of networks.md section 6.5.

    python models/aggan/train.py --out WORK/aggan [--attention se] [--source THERMAL --target VISIBLE]

Defaults are the paper's where it gives them: 256 pixels out of 286, batch 1, L_1 100, L_ID 1, L_CAM 1000, two conditional
discriminators, 200 epochs of which it reports the 90th (weights-epoch-90.pt). The rate is U-GAT-IT's. L_P is off as in the
paper's ARL-VTF runs (--weight-perceptual 10 for SpeakingFaces).
--id-target source compares with the thermal picture, as eq. 11 prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from meetmid.models.recipes import losses
from meetmid.models.recipes.batches import Augmentation, Batch
from meetmid.models.recipes.perceptual import perceptual_loss
from meetmid.models.recipes.running import command_line, run
from meetmid.models.recipes.translation import Optimisers, Recipe
from torch import Tensor, nn

from meetmid.networks.adalin import clamp_rho
from meetmid.networks.aggan import AGGAN
from meetmid.networks.aggan_discriminator import AGGANDiscriminator


class AGGANRecipe(Recipe):
    """Generator and conditional discriminators, all with the same kind of attention."""

    def __init__(self, options: argparse.Namespace, match: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.options, self.match = options, match
        full = options.size if options.full else None
        self.generator = AGGAN(options.attention, options.blocks, full, width=options.width)
        self.critics = nn.ModuleList(
            AGGANDiscriminator(layers, options.attention, width=options.critic_width) for layers in options.layers
        )
        self.perceptual = perceptual_loss(options.perceptual, options.matcher) if options.weight_perceptual else None
        settings = {"lr": options.rate, "betas": (0.5, 0.999), "weight_decay": 1e-4}
        self.optimisers = Optimisers(
            generator=torch.optim.Adam(self.generator.parameters(), **settings),
            critics=torch.optim.Adam(self.critics.parameters(), **settings),
        )

    def scores(self, source: Tensor, picture: Tensor) -> list[Tensor]:
        """Maps of all discriminators and, with class activation, their logits: L_GAN and L_CAM^D have the same targets."""
        return [score for critic in self.critics for score in critic(source, picture)]

    def terms(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The weighted L_1, L_ID and L_P."""
        options = self.options
        with torch.no_grad():
            wanted = self.match(batch.source if options.id_target == "source" else batch.target)
        terms = {
            "1": options.weight_l1 * losses.l1(made, batch.target),
            "ID": options.weight_identity * losses.cosine_distance(self.match(made), wanted),
        }
        if self.perceptual is not None:
            terms["P"] = options.weight_perceptual * self.perceptual(made, batch.target)
        return terms

    def update(self, batch: Batch) -> dict[str, float]:
        """Discriminators, then the generator, then rho back into [0, 1]."""
        made, _, *logits = self.generator(batch.source)
        real, fake = self.scores(batch.source, batch.target), self.scores(batch.source, made.detach())
        critic = losses.lsgan(real, True) + losses.lsgan(fake, False)
        self.optimisers.descend(critic, "critics")
        terms = self.terms(made, batch)
        terms["GAN"] = self.options.weight_gan * losses.lsgan(self.scores(batch.source, made), True)
        if logits:
            _, negatives = self.generator.attend(batch.target)
            terms["CAM"] = self.options.weight_cam * losses.cam_generator(logits[0], negatives)
        self.optimisers.descend(torch.stack(list(terms.values())).sum(), "generator")
        clamp_rho(self.generator)
        return {"D": critic.item(), **{name: term.item() for name, term in terms.items()}}

    def validation_loss(self, batch: Batch) -> Tensor:
        """L_1, L_ID and L_P."""
        return torch.stack(list(self.terms(self.translate(batch), batch).values())).sum()

    def translate(self, batch: Batch) -> Tensor:
        """The picture, without its heat map."""
        return self.generator(batch.source)[0]

    def maps(self, batch: Batch) -> dict[str, Tensor]:
        """The generator's heat map and where each discriminator looks in the translated picture."""
        made, heat, *_ = self.generator(batch.source)
        seen = {f"D{k + 1} attends": critic.heat(batch.source, made) for k, critic in enumerate(self.critics)}
        return {"G attends": heat, **seen}

    def substitutes(self) -> list[str]:
        """VGG-19, where it was not given."""
        used = self.perceptual is not None and self.options.perceptual is None
        return ["L_P on early layers of the matcher instead of VGG-19"] if used else []

    def products(self) -> dict[str, nn.Module]:
        """The generator."""
        return {"weights": self.generator}


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(
        __doc__, size=256, batch=1, rate=1e-4, epochs=200, augmentation=Augmentation(enlarge=286 / 256), snapshots=(90,)
    )
    parser.add_argument("--attention", choices=("cam", "se"), default="cam")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--full", action="store_true", help="gamma and beta from all attended features, for one size only")
    parser.add_argument("--critic-width", type=int, default=64)
    parser.add_argument("--layers", type=int, nargs="+", default=[7, 5], help="layers of each discriminator")
    parser.add_argument("--id-target", choices=("target", "source"), default="target")
    parser.add_argument("--perceptual", type=Path, help="VGG-19 state dict (features.N.weight, .bias)")
    for name, weight in (("gan", 1.0), ("l1", 100.0), ("identity", 1.0), ("cam", 1000.0), ("perceptual", 0.0)):
        parser.add_argument(f"--weight-{name}", type=float, default=weight)
    run(AGGANRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
