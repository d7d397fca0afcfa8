"""Train PCFH, near-infrared to visible keeping the pose, with the losses of networks.md section 7.3.

    python models/pcfh/train.py --out WORK/pcfh [--source NIR --target VISIBLE --unpaired]

Weights and reductions are the paper's and networks.md's: L_rec, L_ID and L_AWM are sums, L_Y a mean. The paper leaves open the
critic's loss (--adversary), what keeps the information critic bounded (a weight clip here) and the weight of the local pixel
loss. The warp takes any number of landmarks: 68 in the paper, 5 here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from meetmid.models.recipes import domain_losses, losses
from meetmid.models.recipes.batches import Batch
from meetmid.models.recipes.pool import Pool
from meetmid.models.recipes.regions import part_centres
from meetmid.models.recipes.running import add_parts, command_line, run
from meetmid.models.recipes.translation import Optimisers, Recipe
from torch import Tensor, nn

from meetmid.networks.cyclegan import PatchDiscriminator, ResNetGenerator
from meetmid.networks.pcfh import PCFHGenerator, crop
from meetmid.networks.pcfh_training import AttentionMap, InformationCritic, warp
from meetmid.runtime.cards import read_card


class PCFHRecipe(Recipe):
    """G_A, G_B, D_A, the attention map and the information critic."""

    spectrum = "near-infrared"

    def __init__(self, options: argparse.Namespace, match: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.options, self.match = options, match
        self.generator = PCFHGenerator(options.size, options.fuse, width=options.width, blocks=options.blocks)
        self.back = ResNetGenerator(options.blocks, width=options.width)
        self.critic = PatchDiscriminator(width=options.critic_width)
        self.pool = Pool(options.pool if options.adversary == "lsgan" else 0, (3, options.size, options.size))
        self.attention = AttentionMap(6 if options.attend_both else 3, options.critic_width)
        self.information = InformationCritic(width=options.critic_width)
        both = [*self.generator.parameters(), *self.back.parameters()]
        self.optimisers = Optimisers({
            name: torch.optim.Adam(parameters, options.rate, (0.5, 0.999))
            for name, parameters in (
                ("generators", both), ("critic", self.critic.parameters()), ("attention", self.attention.parameters()),
                ("information", self.information.parameters()),
            )
        })

    def generate(self, batch: Batch) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, Tensor]]]:
        """The picture, the local pictures and their boxes."""
        boxes = self.generator.boxes(part_centres(batch.source_points, self.options.parts))
        return *self.generator.translate(batch.source, boxes), boxes

    def attend(self, warped: Tensor, made: Tensor) -> Tensor:
        """The attention map of a warped visible picture, optionally seeing the generated one too."""
        return self.attention(torch.cat([warped, made.detach()], 1) if self.options.attend_both else warped)

    def terms(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The weighted losses without an adversary, the generated and the warped visible pictures."""
        options = self.options
        made, pictures, boxes = self.generate(batch)
        warped = warp(batch.target, batch.source_points, batch.target_points)
        with torch.no_grad():
            wanted = self.match(batch.target)
        local = [losses.l1(p, crop(warped, *box)) for p, box in zip(pictures, boxes, strict=True)]
        return {
            "rec": options.weight_rec * losses.l1(self.back(made), batch.source, "sum"),
            "ID": options.weight_identity * losses.template_distance(self.match(made), wanted),
            "Y": options.weight_luminance * losses.luminance_loss(made, batch.source, options.luminance_reduction),
            "AWM": options.weight_warping * domain_losses.attention_warping(self.attend(warped, made), made, warped),
            "local": options.weight_local * torch.stack(local).mean(),
        }, made, warped

    def update(self, batch: Batch) -> dict[str, float]:
        """The critics and the attention map on what the generator made, then both generators."""
        options = self.options
        terms, made, warped = self.terms(batch)
        fake = made.detach()
        real, scores = self.critic(batch.target), self.critic(self.pool(fake))
        if options.adversary == "wgan":
            mix = torch.rand(len(fake), 1, 1, 1, device=fake.device)
            critic = losses.wgan_critic(real, scores) + 10 * losses.gradient_penalty(self.critic, batch.target, fake, mix)
        else:
            critic = losses.lsgan(real, True) + losses.lsgan(scores, False)
        self.optimisers.descend(critic, "critic")
        attended = domain_losses.attention_loss(self.attend(warped, fake), fake, warped)
        self.optimisers.descend(attended, "attention")
        known = [domain_losses.information(self.information, fake, other) for other in (batch.source, batch.target)]
        self.optimisers.descend(-torch.stack(known).sum(), "information")
        with torch.no_grad():
            for parameter in self.information.parameters():
                parameter.clamp_(-options.clip, options.clip)
        scores = self.critic(made)
        terms["ad"] = losses.wgan_generator(scores) if options.adversary == "wgan" else losses.lsgan(scores, True)
        terms["MIC"] = options.weight_information * domain_losses.information_loss(
            self.information, made, batch.source, batch.target, options.information_sign
        )
        terms["ad"] = options.weight_gan * terms["ad"]
        self.optimisers.descend(torch.stack(list(terms.values())).sum(), "generators")
        return {"D": critic.item(), "A": attended.item(), **{name: term.item() for name, term in terms.items()}}

    def validation_loss(self, batch: Batch) -> Tensor:
        """L_rec, L_ID, L_Y, L_AWM and the local pixel loss."""
        return torch.stack(list(self.terms(batch)[0].values())).sum()

    def translate(self, batch: Batch) -> Tensor:
        """The generated picture."""
        return self.generate(batch)[0]

    def substitutes(self) -> list[str]:
        """The identity loss's matcher, unless it is cut as LightCNN's pictures are."""
        card = read_card(self.options.matcher / "card.toml")
        return [] if card.contract.alignment == "lightcnn-128" else [f"L_ID with {card.name} where the paper has LightCNN"]

    def products(self) -> dict[str, nn.Module]:
        """The generator."""
        return {"weights": self.generator}


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(__doc__, size=256, batch=2, rate=2e-4, epochs=200)
    parser.add_argument("--fuse", choices=("max", "concat"), default="max")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--critic-width", type=int, default=64)
    parser.add_argument("--adversary", choices=("wgan", "lsgan"), default="wgan")
    parser.add_argument("--pool", type=int, default=50, help="earlier pictures kept for the critic of --adversary lsgan")
    parser.add_argument("--attend-both", action="store_true", help="the attention map also sees the generated picture")
    parser.add_argument("--clip", type=float, default=0.01, help="bound of the information critic's weights")
    parser.add_argument("--information-sign", choices=("intended", "printed"), default="intended")
    parser.add_argument("--luminance-reduction", choices=("mean", "sum"), default="mean")
    add_parts(parser)
    for name, weight in (
        ("gan", 1.0), ("rec", 2.5e-5), ("identity", 0.002), ("luminance", 0.1), ("warping", 2.5e-5), ("information", 0.1),
        ("local", 1.0),
    ):
        parser.add_argument(f"--weight-{name}", type=float, default=weight)
    run(PCFHRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
