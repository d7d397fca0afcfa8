"""RIM end to end: FHN and HRN trained together with every loss of both (networks.md section 8.4)."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from meetmid.models.recipes.batches import Batch
from meetmid.models.recipes.hallucination import FHNRecipe
from meetmid.models.recipes.residual import HRNRecipe, load_fhn, load_hrn
from meetmid.models.recipes.translation import Optimisers, Recipe
from torch import Tensor, nn


class JointRecipe(Recipe):
    """Both recipes on one batch; the gradients of student and assistant go on into FHN through its picture."""

    spectrum = "low-resolution"
    embeds = True

    def __init__(self, options: argparse.Namespace, match: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        fhn, hrn = load_fhn(options.fhn), load_hrn(options.hrn, options.sum_at)
        options.fhn = None  # the pictures come from the network in training
        self.fhn = FHNRecipe(options, match, fhn.requires_grad_(True))
        self.hrn = HRNRecipe(options, match, hrn.requires_grad_(True))
        self.optimisers = Optimisers({**self.fhn.optimisers, **self.hrn.optimisers})

    def update(self, batch: Batch) -> dict[str, float]:
        """FHN's discriminator, then all other networks."""
        made, terms, apart = self.fhn.adversarial_terms(batch)
        terms |= self.hrn.terms(made.clamp(-1, 1), batch.target)
        self.optimisers.descend(torch.stack(list(terms.values())).sum(), "generator", "student", "assistant")
        return {"D": apart.item(), **{name: term.item() for name, term in terms.items()}}

    def validation_loss(self, batch: Batch) -> Tensor:
        """Those of both."""
        own = torch.stack(list(self.hrn.terms(self.translate(batch), batch.target).values())).sum()
        return self.fhn.validation_loss(batch) + own

    def translate(self, batch: Batch) -> Tensor:
        """FHN's picture."""
        return self.fhn.translate(batch)

    def sides(self, batch: Batch, match: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's templates of targets and of sources, and HRN's of FHN's pictures."""
        gallery, plain, _ = self.hrn.sides(batch, match)
        return gallery, plain, self.hrn.recognised(self.translate(batch))

    def substitutes(self) -> list[str]:
        """Those of both."""
        return self.fhn.substitutes() + self.hrn.substitutes()

    def products(self) -> dict[str, nn.Module]:
        """Both networks."""
        return {"fhn": self.fhn.generator, "hrn": self.hrn.hrn}
