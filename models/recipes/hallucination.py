"""How RIM's hallucination sub-net FHN is trained (networks.md section 8.4).

The paper gives no weight but that of L_domain: the others are networks.md's choices. Parsing labels are synthetic regions made
from the landmarks, a substitute for Helen's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from meetmid.models.recipes import domain_losses, losses
from meetmid.models.recipes.batches import Batch
from meetmid.models.recipes.regions import PARTS, part_centres, region_labels
from meetmid.models.recipes.running import add_parts
from meetmid.models.recipes.translation import Optimisers, Recipe
from torch import Tensor, nn

from meetmid.networks.rim import FHN, DomainDiscriminator


class FHNRecipe(Recipe):
    """FHN, and the domain discriminator whose embeddings of both paths it makes alike."""

    spectrum = "low-resolution"

    def __init__(
        self, options: argparse.Namespace, match: Callable[[Tensor], Tensor], generator: FHN | None = None
    ) -> None:
        super().__init__()
        self.options, self.match = options, match
        self.grid = options.size // 4
        self.generator = generator or FHN(
            options.landmarks, PARTS, separate_priors=options.separate_priors, passes=options.passes, width=options.width
        )
        width = self.generator._coarse_sr_network.conv_mid.in_channels
        self.critic = DomainDiscriminator(self.generator.features, width, self.grid, options.embedding)
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

    def adversarial_terms(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The picture, all weighted losses of the generator, and L_domain, which the discriminator has just gone up."""
        made, coarse, features, landmarks, parsing = self.run_paths(batch)
        true_features, _, _ = self.generator.describe(batch.target)
        apart = self.distance(features.detach(), true_features.detach())
        self.optimisers.descend(-apart, "critic")
        terms = self.terms(batch, made, coarse, landmarks, parsing)
        terms["domain"] = self.options.weight_domain * self.distance(features, true_features)
        return made, terms, apart

    def distance(self, features: Tensor, true_features: Tensor) -> Tensor:
        """L_domain. Both paths pass the discriminator as one batch: normalised apart, none could differ in mean or spread."""
        low, high = self.critic(torch.cat([features, true_features])).chunk(2)
        return domain_losses.mk_mmd(low, high)

    def update(self, batch: Batch) -> dict[str, float]:
        """The discriminator raises L_domain between low and high resolution, the generator lowers it with the rest."""
        _, terms, apart = self.adversarial_terms(batch)
        self.optimisers.descend(torch.stack(list(terms.values())).sum(), "generator")
        return {"D": apart.item(), **{name: term.item() for name, term in terms.items()}}

    def validation_loss(self, batch: Batch) -> Tensor:
        """L_pixel, L_landmark and L_parsing."""
        made, coarse, _, landmarks, parsing = self.run_paths(batch)
        return torch.stack(list(self.terms(batch, made, coarse, landmarks, parsing).values())).sum()

    def translate(self, batch: Batch) -> Tensor:
        """The hallucinated picture, clipped as at match time."""
        return self.generator(batch.source)[0].clamp(-1, 1)

    def substitutes(self) -> list[str]:
        """The labels of faces' parts."""
        return ["parsing labels drawn from the landmarks instead of annotated regions"]

    def products(self) -> dict[str, nn.Module]:
        """FHN alone."""
        return {"weights": self.generator}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of FHN's losses and of its domain discriminator."""
    parser.add_argument("--embedding", type=int, default=512, help="length of the domain discriminator's embedding")
    parser.add_argument("--pixel-reduction", choices=("mean", "sum"), default="mean")
    parser.add_argument("--parsing-per-class", action="store_true", help="divide L_parsing by its classes, as printed")
    add_parts(parser)
    for name, weight in (("pixel", 5.0), ("landmark", 1.0), ("parsing", 1.0), ("domain", 1.0)):
        parser.add_argument(f"--weight-{name}", type=float, default=weight)
