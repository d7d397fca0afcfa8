"""Train RIM's hallucination sub-net FHN, low resolution to 224 pixels, with the losses of networks.md section 8.4.

    python models/rim_fhn/train.py --out WORK/rim_fhn [--source LOW --target HIGH]

Source pictures are already enlarged to the target's size (28 pixels to 224 in the paper). Landmarks are any K (194 for Helen, 5
here); parsing maps are synthetic regions made from them, a substitute for Helen's labels. The paper gives no weight but that of
L_domain: the others are networks.md's choices. RMSprop at 1e-3 as published;
the rate falls linearly in the second half, where the public code lowers it by 1 % per epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from meetmid.models.recipes import domain_losses, losses
from meetmid.models.recipes.regions import PARTS, part_centres, region_labels
from meetmid.models.recipes.running import command_line, run
from meetmid.models.recipes.translation import Batch, Optimisers, Recipe
from torch import Tensor

from meetmid.networks.rim import FHN, DomainDiscriminator


class FHNRecipe(Recipe):
    """FHN, and the domain discriminator whose embeddings of both paths it makes alike."""

    spectrum = "low-resolution"

    def __init__(self, options: argparse.Namespace, match: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.options, self.match = options, match
        self.grid = options.size // 4
        self.generator = FHN(
            options.landmarks, PARTS, separate_priors=options.separate_priors, passes=options.passes, width=options.width
        )
        self.critic = DomainDiscriminator(self.generator.features, options.width, self.grid, options.embedding)
        settings = {"lr": options.rate, "alpha": 0.99, "weight_decay": 1e-5}
        self.optimisers = Optimisers(
            generator=torch.optim.RMSprop(self.generator.parameters(), **settings),
            critic=torch.optim.RMSprop(self.critic.parameters(), **settings),
        )

    def run_paths(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The picture, the coarse picture, features of the coarse picture, landmark and parsing maps."""
        coarse = self.generator._coarse_sr_network(batch.source)
        features, landmarks, parsing = self.generator.describe(coarse)
        return self.generator._fine_sr_decoder(features), coarse, features, landmarks, parsing

    def terms(self, batch: Batch, made: Tensor, coarse: Tensor, landmarks: Tensor, parsing: Tensor) -> dict[str, Tensor]:
        """The weighted L_pixel (of both pictures), L_landmark and L_parsing."""
        options, size = self.options, batch.target.shape[-1]
        pixel = sum(losses.l2(picture, batch.target, options.pixel_reduction) for picture in (made, coarse))
        maps = domain_losses.heat_maps(batch.target_points, size, self.grid)
        labels = region_labels(part_centres(batch.target_points, options.parts), size, self.grid)
        return {
            "pixel": options.weight_pixel * pixel,
            "landmark": options.weight_landmark * domain_losses.landmark_loss(landmarks, maps),
            "parsing": options.weight_parsing
            * domain_losses.parsing_loss(parsing, labels, per_class=options.parsing_per_class),
        }

    def update(self, batch: Batch) -> dict[str, float]:
        """The discriminator raises L_domain between low and high resolution, the generator lowers it with the rest."""
        made, coarse, features, landmarks, parsing = self.run_paths(batch)
        true_features, _, _ = self.generator.describe(batch.target)
        apart = domain_losses.mk_mmd(self.critic(features.detach()), self.critic(true_features.detach()))
        self.optimisers.descend("critic", -apart)
        terms = self.terms(batch, made, coarse, landmarks, parsing)
        terms["domain"] = self.options.weight_domain * domain_losses.mk_mmd(self.critic(features), self.critic(true_features))
        self.optimisers.descend("generator", torch.stack(list(terms.values())).sum())
        return {"D": apart.item(), **{name: term.item() for name, term in terms.items()}}

    def validation_loss(self, batch: Batch) -> Tensor:
        """L_pixel, L_landmark and L_parsing."""
        made, coarse, _, landmarks, parsing = self.run_paths(batch)
        return torch.stack(list(self.terms(batch, made, coarse, landmarks, parsing).values())).sum()

    def translate(self, batch: Batch) -> Tensor:
        """The hallucinated picture, clipped as at match time."""
        return self.generator(batch.source)[0].clamp(-1, 1)


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(__doc__, size=224, batch=6, rate=1e-3, enlarge=1.0)
    parser.add_argument("--landmarks", type=int, default=5)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--separate-priors", action="store_true", help="a path each for landmarks and parsing")
    parser.add_argument("--embedding", type=int, default=512, help="length of the domain discriminator's embedding")
    parser.add_argument("--pixel-reduction", choices=("mean", "sum"), default="mean")
    parser.add_argument("--parsing-per-class", action="store_true", help="divide L_parsing by its classes, as printed")
    parser.add_argument(
        "--parts", type=lambda text: [[int(i) for i in part.split(",")] for part in text.split(";")], default="0;1;2;3,4",
        help="landmark numbers of left eye; right eye; nose; mouth",
    )
    for name, weight in (("pixel", 5.0), ("landmark", 1.0), ("parsing", 1.0), ("domain", 1.0)):
        parser.add_argument(f"--weight-{name}", type=float, default=weight)
    run(FHNRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
