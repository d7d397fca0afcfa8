"""Train RIM's recognition sub-net HRN: a student and its assistant learn a frozen teacher (networks.md section 8.4).

    python models/rim_hrn/train.py --out WORK/rim_hrn --teacher IR50.pth [--fhn CHECKPOINT]

The probe passes FHN (--fhn, a checkpoint of models/rim_fhn/train.py; without it the enlarged picture is used as it is), then
student and assistant; the gallery passes the teacher. The teacher is face.evoLVe's IR-50 (--teacher), or without it the
matcher of --matcher, whose four stages the widths must match: a substitute for the proof. Where the paper says f^K, the last
map and the embedding are both matched, since the sum at match time is of embeddings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from meetmid.models.recipes import domain_losses, losses
from meetmid.models.recipes.identity import load_matcher
from meetmid.models.recipes.running import command_line, run
from meetmid.models.recipes.translation import Batch, Optimisers, Recipe
from torch import Tensor

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


def load_fhn(path: Path | None, options: argparse.Namespace) -> FHN | None:
    """FHN of a checkpoint, frozen."""
    if path is None:
        return None
    state = torch.load(path, weights_only=True)["model"]
    network = FHN(options.landmarks, passes=options.passes, width=options.fhn_width)
    network.load_state_dict({k.removeprefix("generator."): v for k, v in state.items() if k.startswith("generator.")})
    network = losses.frozen(network).to(options.device)
    assert isinstance(network, FHN)
    return network


class HRNRecipe(Recipe):
    """Student and assistant; teacher and FHN are frozen and stay out of the checkpoint."""

    spectrum = "low-resolution"

    def __init__(self, options: argparse.Namespace, match: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.options, self.match = options, match
        shape = (tuple(options.blocks), tuple(options.widths), options.length)
        self.hrn = HRN(ResNet34(*shape), ResNet34(*shape), options.sum_at)
        self.teacher = teacher_maps(options.teacher, options.matcher, options.device)
        self.frozen_fhn = (load_fhn(options.fhn, options),)
        self.optimisers = Optimisers({
            name: torch.optim.RMSprop(part.parameters(), options.rate, 0.99, weight_decay=1e-5)
            for name, part in (("student", self.hrn.student), ("assistant", self.hrn.assistant))
        })

    def translate(self, batch: Batch) -> Tensor:
        """What student and assistant see, in the source's size."""
        fhn = self.frozen_fhn[0]
        with torch.no_grad():
            return batch.source if fhn is None else fhn(batch.source)[0].clamp(-1, 1)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted L_thetaS and L_thetaA."""
        with torch.no_grad():
            teacher = self.teacher(batch.target)
        pictures = losses.resized(self.translate(batch), SIDE)
        student, assistant = (
            [*(maps := network.stages(pictures)), network.head(maps[-1])] for network in (self.hrn.student, self.hrn.assistant)
        )
        of_student = sum(domain_losses.student_loss(t, s) for t, s in zip(teacher[-2:], student[-2:], strict=True))
        return {
            "S": self.options.weight_student * of_student,
            "A": self.options.weight_assistant * domain_losses.assistant_loss(teacher, student, assistant),
        }

    def update(self, batch: Batch) -> dict[str, float]:
        """Student and assistant; the residual of both carries no gradient to the student."""
        terms = self.terms(batch)
        self.optimisers.descend("student", terms["S"])
        self.optimisers.descend("assistant", terms["A"])
        return {name: term.item() for name, term in terms.items()}

    def validation_loss(self, batch: Batch) -> Tensor:
        """L_thetaS and L_thetaA."""
        return torch.stack(list(self.terms(batch).values())).sum()

    def templates(self, batch: Batch, match: Callable[[Tensor], Tensor]) -> Tensor:
        """f_S + f_A, to be compared with the teacher's templates of the gallery."""
        return self.hrn(losses.resized(self.translate(batch), SIDE))


def main() -> None:
    """Command line of the recipe."""
    parser = command_line(__doc__, size=224, batch=32, rate=1e-4, enlarge=1.0)
    parser.add_argument("--teacher", type=Path, help="face.evoLVe IR-50 state dict")
    parser.add_argument("--fhn", type=Path, help="checkpoint.pt of models/rim_fhn/train.py")
    parser.add_argument("--fhn-width", type=int, default=64)
    parser.add_argument("--landmarks", type=int, default=5, help="landmarks of --fhn")
    parser.add_argument("--passes", type=int, default=1, help="passes of --fhn")
    parser.add_argument("--blocks", type=int, nargs=4, default=[3, 4, 6, 3])
    parser.add_argument("--widths", type=int, nargs=4, default=[64, 128, 256, 512])
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--sum-at", choices=("embedding", "map"), default="embedding")
    for name, weight in (("student", 1.0), ("assistant", 1.0)):
        parser.add_argument(f"--weight-{name}", type=float, default=weight)
    run(HRNRecipe, parser.parse_args())


if __name__ == "__main__":
    main()
