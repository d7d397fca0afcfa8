"""How RIM's recognition sub-net HRN is trained: residual distillation from a frozen teacher (networks.md section 8.4).

The teacher is face.evoLVe's IR-50 or, without its weights, a matcher whose four stages the widths must match: a substitute for
the proof. Where the paper says f^K, the last map and the embedding are both matched, since the sum at match time is of
embeddings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from meetmid.models.recipes import domain_losses, losses
from meetmid.models.recipes.batches import Batch
from meetmid.models.recipes.identity import load_matcher
from meetmid.models.recipes.translation import Optimisers, Recipe
from torch import Tensor, nn

from meetmid.exporting.checkpoints import load_checkpoint
from meetmid.exporting.recognition import recognise
from meetmid.networks.evolve import evolve
from meetmid.networks.rim import FHN
from meetmid.networks.rim_recognition import HRN, ResNet34

Maps = Callable[[Tensor], list[Tensor]]
SIDE = (112, 112)


def teacher_maps(weights: Path | None, matcher: Path, device: str) -> Maps:
    """A function of pictures in [-1, 1] to the teacher's four stages and its embedding."""
    if weights is not None:
        network = evolve(50)
        network.load_state_dict(torch.load(weights, weights_only=True))
        losses.frozen(network).to(device)
        return lambda x: [*(maps := network.stages(losses.resized(x, SIDE))), network.output_layer(maps[-1])]
    substitute = load_matcher(matcher).to(device)
    inner = substitute.network
    names = [*inner.stages(substitute.contract.size)[:4], inner.output]
    return lambda x: inner.maps(substitute.prepare(x), names)


def check_stages(teacher: Maps, hrn: HRN) -> None:
    """Raise ValueError unless student and assistant make maps and embeddings of the teacher's shapes."""
    blank = torch.zeros(1, 3, *SIDE)
    parameters = next(hrn.parameters())
    with torch.no_grad():
        was = hrn.training
        wanted = [tuple(m.shape[1:]) for m in teacher(blank)]
        maps = hrn.student.eval().stages(blank.to(parameters))
        got = [tuple(m.shape[1:]) for m in (*maps, hrn.student.head(maps[-1]))]
        hrn.train(was)
    if wanted != got:
        raise ValueError(
            f"student and assistant must make what the teacher makes: its stages and embedding are {wanted}, theirs {got}; "
            f"choose --widths and --length accordingly"
        )


def load_fhn(path: Path) -> FHN:
    """The network of FHN's weights, whatever its options."""
    network: FHN = recognise(load_checkpoint(path), arch="rim-fhn").network.get_submodule("network")
    return network


def load_hrn(path: Path, sum_at: str) -> HRN:
    """The network of HRN's weights, whatever its options."""
    network: HRN = recognise(load_checkpoint(path), arch="rim-hrn", sum_at=sum_at).network
    return network


class HRNRecipe(Recipe):
    """Student and assistant; teacher and FHN are frozen and stay out of the checkpoint."""

    spectrum = "low-resolution"
    embeds = True

    def __init__(
        self, options: argparse.Namespace, match: Callable[[Tensor], Tensor], hrn: HRN | None = None
    ) -> None:
        super().__init__()
        self.options, self.match = options, match
        if hrn is None:
            shape = (tuple(options.blocks), tuple(options.widths), options.length)
            hrn = HRN(ResNet34(*shape), ResNet34(*shape), options.sum_at)
        self.hrn = hrn
        self.teacher = teacher_maps(options.teacher, options.matcher, options.device)
        check_stages(self.teacher, self.hrn)
        self.frozen_fhn = (losses.frozen(load_fhn(options.fhn)).to(options.device) if options.fhn else None,)
        self.optimisers = Optimisers({
            name: torch.optim.RMSprop(part.parameters(), options.rate, 0.99, weight_decay=1e-5)
            for name, part in (("student", self.hrn.student), ("assistant", self.hrn.assistant))
        })

    def translate(self, batch: Batch) -> Tensor:
        """What student and assistant see, in the source's size."""
        fhn = self.frozen_fhn[0]
        with torch.no_grad():
            return batch.source if fhn is None else fhn(batch.source)[0].clamp(-1, 1)

    def terms(self, pictures: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The weighted L_thetaS and L_thetaA of what student and assistant see."""
        with torch.no_grad():
            teacher = self.teacher(target)
        pictures = losses.resized(pictures, SIDE)
        student, assistant = (
            [*(maps := network.stages(pictures)), network.head(maps[-1])] for network in (self.hrn.student, self.hrn.assistant)
        )
        of_student = sum(domain_losses.student_loss(t, s) for t, s in zip(teacher[-2:], student[-2:], strict=True))
        return {
            "S": self.options.weight_student * of_student,
            "A": self.options.weight_assistant * domain_losses.assistant_loss(
                teacher, student, assistant, student_learns=self.options.student_learns_residual
            ),
        }

    def update(self, batch: Batch) -> dict[str, float]:
        """Student and assistant."""
        terms = self.terms(self.translate(batch), batch.target)
        self.optimisers.descend(torch.stack(list(terms.values())).sum(), "student", "assistant")
        return {name: term.item() for name, term in terms.items()}

    def validation_loss(self, batch: Batch) -> Tensor:
        """L_thetaS and L_thetaA."""
        return torch.stack(list(self.terms(self.translate(batch), batch.target).values())).sum()

    def sides(self, batch: Batch, match: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's templates of targets and of sources, and f_S + f_A, which live in its space."""
        return self.teacher(batch.target)[-1], self.teacher(batch.source)[-1], self.recognised(self.translate(batch))

    def recognised(self, pictures: Tensor) -> Tensor:
        """HRN's templates of pictures in [-1, 1] of any size."""
        out: Tensor = self.hrn(losses.resized(pictures, SIDE))
        return out

    def substitutes(self) -> list[str]:
        """The teacher, where it was not given."""
        return [] if self.options.teacher else ["the matcher of losses as teacher instead of IR-50"]

    def products(self) -> dict[str, nn.Module]:
        """HRN; the teacher is exported from its own weights."""
        return {"weights": self.hrn}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of HRN's teacher and losses."""
    parser.add_argument("--teacher", type=Path, help="face.evoLVe IR-50 state dict")
    parser.add_argument(
        "--student-learns-residual", action="store_true", help="L_thetaA also reaches the student (the paper does not say)"
    )
    for name, weight in (("student", 1.0), ("assistant", 1.0)):
        parser.add_argument(f"--weight-{name}", type=float, default=weight)
