"""Train the pair of matchers that ships: SlimFace for sharp galleries and SlimFace for far probes, in one template space.

    python models/slimface_gallery/train.py --work WORK
    python models/slimface_probe/train.py --work WORK
    python models/slimface_probe/train.py --work WORK --student CHECKPOINT

Both start from face-reidentification-retail-0095 (Intel Open Model Zoo, Apache-2.0), whose template space they keep. What a
picture should give is the unit mean of that teacher's templates of the sharp, exactly aligned face and of its mirror image:
residual distillation as RIM means it (networks.md section 11), the degraded face is led to where its sharp original lies. The
probe network sees each face through :mod:`meetmid.models.recipes.far`; the gallery network sees it sharp or a little soft.

The loss is 5 (1 - cosine to the goal) plus the cross-entropy of the goal among those of all training faces, cosines times
20 (A. van den Oord et al., "Representation learning with contrastive predictive coding", 2018, eq. 4); goals that the teacher
finds as alike as one person's are no contrast. Morphs of two faces, their goals the teacher's of the morph, widen the data.

The probe network is trained in three stages (:class:`Stage`): each goes on with other morphs, and closer to the sizes that it
is for, since the gallery network helps with larger faces. After each its last layer is fitted to the published gallery network
(:mod:`meetmid.models.recipes.settling`) on views of the first stage's sizes, so the gallery network is trained first. ``--begin
FILE`` begins the last stage with what was exported after those before, as the one that ships was (its card has that file's
SHA-256); ``--published`` takes the published weights instead of training.

With ``--student`` nothing is published: an assistant beside that probe network, whose weights rest, learns what its templates
lack (RIM's student and assistant), and the checkpoint is there to be measured.
"""

from __future__ import annotations

import argparse
import copy
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from meetmid.models.recipes.beginnings import evened, published
from meetmid.models.recipes.distillation import TEACHER, build, canvases_of
from meetmid.models.recipes.faces import add_data
from meetmid.models.recipes.morphs import build as build_morphs
from meetmid.models.recipes.pair_publishing import SEEN_FACES, add_means, publish
from meetmid.models.recipes.settling import SEED as SETTLING
from meetmid.models.recipes.settling import STEPS, VIEWS, fitted, fold, runner
from meetmid.models.recipes.strided import quickened
from meetmid.models.recipes.training import cosine_rate, export, load_checkpoint, logger, restored, save_checkpoint
from meetmid.models.recipes.views import FIRST, SEED, VIEW, Stage, far, framed, near
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from meetmid.networks.slimface import SlimFace
from meetmid.runtime.cards import file_sha256

ROOT = Path(__file__).resolve().parents[2]
SHARPNESS, ALIKE = 20.0, 0.5


FURTHER = {
    "second": Stage(9, 12, 0.65, 10.0, 34.0, 0.05, 9_000, 1.5e-4), "third": Stage(10, 13, 0.65, 12.0, 34.0, 0.05, 14_000, 2e-4),
}
LAST, OTHERS = list(FURTHER)[-1], "; in the {} stage 40,000 morphs of other pairs"
"""The probe network's other stages, the last one, and what of a stage is told with the data. In the second, as the network that
ships had it, the rate fell to 0, not to 1 %."""


def goals(targets: NDArray[np.float32]) -> Tensor:
    """Unit means (N, length) of the teacher's templates (N, 2, length) of faces and mirror images."""
    return functional.normalize(torch.from_numpy(np.asarray(targets)).mean(1), dim=1)


def contrast(unit: Tensor, goal: Tensor, bank: Tensor, own: Tensor) -> Tensor:
    """Mean cross-entropy of ``goal`` (B, length) among the ``bank`` (N, length); ``own`` (B,) are its rows there, or -1."""
    others = SHARPNESS * unit @ bank.T
    alike = goal @ bank.T > ALIKE
    alike[torch.arange(len(own))[own >= 0], own[own >= 0]] = True
    logits = torch.cat([SHARPNESS * (unit * goal).sum(1, keepdim=True), others.masked_fill(alike, float("-inf"))], 1)
    return functional.cross_entropy(logits, torch.zeros(len(unit), dtype=torch.long))


def batch_of(
    sources: list[tuple[NDArray[np.uint8], Tensor]], count: int, seed: tuple[int, ...], role: str, stage: Stage = FIRST
) -> tuple[NDArray[np.uint8], Tensor, Tensor]:
    """Pictures (count, 128, 128, 3), their goals, and their rows in the bank (-1: a morph)."""
    rng = np.random.default_rng(seed)
    pictures, wanted, own = [], [], []
    for _ in range(count):
        is_morph = rng.random() < stage.morphs
        canvases, goal = sources[int(is_morph)]
        index = int(rng.integers(len(canvases)))
        seen = canvases[index], bool(rng.random() < 0.5), rng
        pictures.append(far(*seen, stage) if role == "probe" else near(*seen))
        wanted.append(goal[index])
        own.append(-1 if is_morph else index)
    return np.stack(pictures), torch.stack(wanted), torch.tensor(own)


class Assisted(nn.Module):
    """The sum of a resting student's templates and an assistant's (RIM's residual distillation), which begins as a
    copy of the student."""

    def __init__(self, student: SlimFace) -> None:
        super().__init__()
        self.student, self.assistant = student.requires_grad_(False), copy.deepcopy(student).requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        out: Tensor = self.student(x) + self.assistant(x)
        return out


Normalisation = tuple[list[float], list[float]]
"""Mean and standard deviation of the input's channels (B, G, R)."""


def shower(normalisation: Normalisation) -> Callable[[NDArray[np.uint8]], Tensor]:
    """Makes pictures (N, H, W, 3) RGB what the network takes, (N, 3, H, W) normalised."""
    shift, scale = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in normalisation)

    def shown(pictures: NDArray[np.uint8]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1].transpose(0, 3, 1, 2))).float()
        return ((x - shift) / scale).contiguous(memory_format=torch.channels_last)

    return shown


def settle(model: SlimFace, normalisation: Normalisation, data: Path, work: Path, threads: int) -> SlimFace:
    """Fit the last layer of a probe network to the published gallery network, in place."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    canvases = canvases_of(data, "lfw-single")
    shown = shower(normalisation)
    export(model, torch.zeros(1, 3, VIEW, VIEW), work / "unsettled.onnx", {0: "batch"})

    def templates(path: Path, view: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.float32]:
        run, parts = runner(path, threads), np.array_split(np.arange(len(canvases)), -(-len(canvases) // 32))
        return np.concatenate([run(shown(np.stack([view(int(k)) for k in part]))) for part in parts])

    def sharp(k: int) -> NDArray[np.uint8]:
        return framed(canvases[k], False, 0.0, np.random.default_rng(0))

    caught_by = [lambda k, v=v: far(canvases[k], False, np.random.default_rng((SETTLING, v, k))) for v in range(VIEWS)]
    seen = np.stack([templates(work / "unsettled.onnx", view) for view in caught_by])
    near_ones = templates(ROOT / "models" / "slimface_gallery" / "model.onnx", sharp)
    return fold(model, *fitted(seen, near_ones, steps=STEPS, sharpness=SHARPNESS, alike=ALIKE))


def train(
    data: Path, work: Path, role: str, stage: Stage, batch: int, threads: int, student: Path | None = None,
    begin: SlimFace | None = None, begun_with: str = "",
) -> tuple[nn.Module, Normalisation]:
    """Train (or go on training) one network of the pair in a stage, which is to ``begin`` with another network than the
    published one where given (that of a file whose hash is ``begun_with``), or an assistant of the ``student`` whose checkpoint
    is given; what is trained, its checkpoint and its log lie in ``work``."""
    torch.manual_seed(stage.seed)
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    name = role if student is None else "assisted"
    folder = work / "_".join(["slimface", name, *([] if begin is None else [f"seed{stage.seed}", begun_with[:8] or "own"])])
    log = logger(folder)
    made = build(data, work, threads), build_morphs(data, work, threads, stage.of_morphs)
    sources = [(canvases, goals(targets)) for canvases, targets in made]
    bank = sources[0][1]
    model: nn.Module
    model, (mean, std) = published(data / "weights" / TEACHER)
    shown = shower((mean, std))
    if begin is not None:
        model.load_state_dict(begin.state_dict())
    evened(model, shown(batch_of(sources, 64, (stage.seed,), role, stage)[0]))
    if student is not None:
        model.load_state_dict(torch.load(student, weights_only=True)["model"])
        model = Assisted(model)
    model = model.to(memory_format=torch.channels_last)
    pupil = quickened(copy.deepcopy(model))
    learned = [parameter for parameter in pupil.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, stage.rate, weight_decay=1e-4)
    first = load_checkpoint(folder / "checkpoint.pt", pupil, optimiser)
    started, running = time.monotonic(), np.zeros(2)
    for step in range(first, stage.steps):
        pictures, goal, own = batch_of(sources, batch, (stage.seed, step), role, stage)
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, stage.steps, stage.rate)
        with torch.autocast("cpu", torch.bfloat16):
            templates = pupil(shown(pictures))
        unit = functional.normalize(templates.float(), dim=1)
        cosine, entropy = (unit * goal).sum(1).mean(), contrast(unit, goal, bank, own)
        optimiser.zero_grad()
        (5 * (1 - cosine) + entropy).backward()
        torch.nn.utils.clip_grad_norm_(learned, 5.0)
        optimiser.step()
        running += cosine.item(), entropy.item()
        if (step + 1) % 50 == 0 or step + 1 == stage.steps:
            told = step + 1, *(running / (step % 50 + 1)), time.monotonic() - started
            log.info("step %d cosine %.4f entropy %.3f (%.0f s)", *told)
            running[:] = 0
            save_checkpoint(folder / "checkpoint.pt", step + 1, pupil, optimiser)
    model.load_state_dict(pupil.state_dict())
    return model, (mean, std)


def told(network: Path, folder: Path) -> dict[str, Any]:
    """What the card in a folder says about the training of an exported network: of the one it is about, or of the one that its
    last stage began with; nothing of another one."""
    card = tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
    facts, sha256 = dict(card["training"]), file_sha256(network)
    if card["sha256"] == sha256:
        return facts
    if facts.get(f"{LAST}_stage_began_with") != sha256:
        return {}
    facts["data"] = facts["data"].removesuffix(OTHERS.format(LAST))
    return {key: value for key, value in facts.items() if not key.startswith(f"{LAST}_stage_")}


def main(role: str, steps: int = FIRST.steps) -> None:
    """Command line of the recipe of one role."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data(parser, "lfw/, utkface/ and weights/")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches, checkpoints and logs")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=FIRST.rate)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--further", type=int, help="steps of each further stage of the probe network (default: its own)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--student", type=Path, help="a probe network's checkpoint, to train an assistant beside it")
    instead.add_argument("--begin", type=Path, help="an exported probe network, to begin the last stage with")
    instead.add_argument("--published", action="store_true", help="take the published weights instead of training")
    args = parser.parse_args()
    if role != "probe" and (args.begin or args.student):
        parser.error("--begin and --student are for the probe network")
    args.work.mkdir(parents=True, exist_ok=True)
    folder = ROOT / "models" / f"slimface_{role}"
    begin = args.begin or (folder / "model.onnx" if args.published else None)
    if begin is not None:
        facts = told(begin, folder)
        if args.published and not facts:
            parser.error(f"the card beside {begin} is about another network")
        if args.begin and f"{LAST}_stage_steps" in facts:
            parser.error(f"--begin expects a network before its {LAST} stage, {begin} has had it")
        start, normalisation = published(args.data / "weights" / TEACHER)
        model: nn.Module = restored(start, begin)
    else:
        first = replace(FIRST, steps=args.steps, rate=args.rate)
        model, normalisation = train(args.data, args.work, role, first, args.batch, args.threads, args.student)
        facts = {"steps": args.steps, "batch": args.batch, "seed": SEED, "data": SEEN_FACES}
    if not isinstance(model, SlimFace):
        return
    if role == "probe" and not args.published:
        sha256 = file_sha256(begin) if begin else ""
        for name, stage in list(FURTHER.items())[-1 if begin else 0 :]:
            if not begin:
                settle(model, normalisation, args.data, args.work, args.threads)
            own = stage if args.further is None else replace(stage, steps=args.further)
            trained, _ = train(args.data, args.work, role, own, args.batch, args.threads, None, model, sha256)
            assert isinstance(trained, SlimFace)
            model = trained
            its = {"steps": own.steps, "batch": args.batch, "rate": own.rate, "seed": own.seed}
            facts |= {f"{name}_stage_{key}": value for key, value in its.items()}
            facts |= {f"{name}_stage_began_with": sha256} if begin else {}
            facts["data"] = facts.get("data", "unknown") + OTHERS.format(name)
        facts["last_layer_steps"] = STEPS
    if role == "probe":
        settle(model, normalisation, args.data, args.work, args.threads)
    publish(model, role, normalisation, args.data, facts)
    if role == "probe":
        add_means(args.data)
