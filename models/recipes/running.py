"""The command line of the translating recipes: where pictures and the matcher come from, and what is written."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from meetmid.models.recipes.batches import Augmentation
from meetmid.models.recipes.faces import add_data
from meetmid.models.recipes.identity import FrozenMatcher, converted, load_matcher
from meetmid.models.recipes.pairs import Pairs, read_pairs, read_unpaired, simulated, split_people
from meetmid.models.recipes.regions import FIVE_POINTS
from meetmid.models.recipes.translation import PROOF, Recipe, fit
from torch import Tensor

from meetmid.errors import MeetmidError
from meetmid.runtime.cards import CONTRACTS, ModelCard, file_sha256

SHIPPED = Path(__file__).parents[1] / "midface_s"


def numbers(text: str) -> list[int]:
    """An option of whole numbers between commas."""
    return [int(number) for number in text.split(",") if number]


def command_line(
    description: str, *, size: int, batch: int, rate: float, epochs: int, augmentation: Augmentation | None = None,
    snapshots: tuple[int, ...] = (),
) -> argparse.ArgumentParser:
    """The options that every translating recipe has; defaults are the family's published or chosen ones."""
    changes = augmentation or Augmentation()
    parser = argparse.ArgumentParser(
        description=f"{description}\n\nWithout --source and --target it trains on {PROOF}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint, log, samples and figures")
    add_data(parser, "lfw/ and utkface/, for simulated spectra (default: $MEETMID_DATA or ../shared/data)")
    parser.add_argument("--source", type=Path, help="folder of source pictures, instead of --data")
    parser.add_argument("--target", type=Path, help="folder of target pictures under the same relative paths")
    parser.add_argument("--unpaired", action="store_true", help="pair --source and --target by person, not by path")
    parser.add_argument("--validation-share", type=float, default=0.1, help="share of the folders' people that validate")
    parser.add_argument("--validation-source", type=Path, help="folder of source pictures that validate, instead of a share")
    parser.add_argument("--validation-target", type=Path, help="their target pictures")
    parser.add_argument(
        "--person", type=re.compile, help="what in a picture's path names the person, as a regular expression with one group "
        "(default: the first folder, or the file name up to its last underscore); SpeakingFaces: '^([0-9]+)_'"
    )
    parser.add_argument("--people", type=int, default=4000, help="people to train on (simulated)")
    parser.add_argument("--validation-people", type=int, default=100, help="people to validate with (simulated)")
    parser.add_argument("--validation-names", type=Path, help="file with the names that may validate (simulated)")
    parser.add_argument("--matcher", type=Path, default=SHIPPED, help="matcher folder for identity losses and figures")
    parser.add_argument(
        "--witness", type=Path, help="ONNX matcher (raw RGB, 112 px) that no loss sees and that figures are repeated with"
    )
    parser.add_argument("--size", type=int, default=size)
    parser.add_argument("--epochs", type=int, default=epochs, help="passes over the training pairs")
    parser.add_argument("--steps", type=int, help="batches, in place of --epochs")
    parser.add_argument("--snapshots", type=int, nargs="*", default=list(snapshots), help="epochs whose weights are kept too")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate, help="learning rate of the optimisers")
    parser.add_argument("--enlarge", type=float, default=changes.enlarge, help="enlargement before the crop")
    parser.add_argument("--crop", choices=("random", "centre"), default="centre" if changes.centred else "random")
    parser.add_argument("--rotation", type=float, default=changes.rotation, help="degrees of random rotation either way")
    parser.add_argument("--contrast", type=float, default=changes.contrast, help="random contrast and brightness, a share")
    parser.add_argument("--sharpness", type=float, default=changes.sharpness, help="random sharpness of the sources, a share")
    parser.add_argument(
        "--mirror", type=numbers, default=list(changes.mirror),
        help="numbers of the landmarks in a mirrored picture (default those of five points), '' for no mirroring",
    )
    parser.add_argument("--every", type=int, default=100, help="steps between log lines and checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser


def add_parts(parser: argparse.ArgumentParser) -> None:
    """The option of recipes that look at parts of the face."""
    parser.add_argument(
        "--parts", type=lambda text: [numbers(part) for part in text.split(";")], default=FIVE_POINTS,
        help="landmark numbers of left eye; right eye; nose; mouth (default: of five points, 0;1;2;3,4)",
    )


def load_parts(options: argparse.Namespace, spectrum: str) -> tuple[Pairs, Pairs]:
    """Training and validation pairs, without a person in common."""
    if (options.source is None) != (options.target is None):
        raise SystemExit("--source and --target go together")
    if (options.validation_source is None) != (options.validation_target is None):
        raise SystemExit("--validation-source and --validation-target go together")
    if options.source is not None:
        pairs = _folders(options, options.source, options.target)
        if options.validation_source is None:
            return split_people(pairs, options.validation_share, options.seed)
        held = _folders(options, options.validation_source, options.validation_target)
        both = sorted(set(pairs.source.people) & set(held.source.people))
        if both:
            raise ValueError(f"people must not train and validate, but {', '.join(both[:5])} do (--person tells who is who)")
        return pairs, held
    names = set(options.validation_names.read_text(encoding="utf-8").split()) if options.validation_names else None
    training = simulated(options.data, "lfw-single", spectrum, options.size, options.people, options.seed)
    validation = simulated(
        options.data, "lfw-multiple", spectrum, options.size, options.validation_people, options.seed + 1, each=2, people=names
    )
    return training, validation


def _folders(options: argparse.Namespace, source: Path, target: Path) -> Pairs:
    if options.unpaired:
        return read_unpaired(source, target, options.size, options.seed, options.person)
    return read_pairs(source, target, options.size, options.person)


def witness(path: Path) -> FrozenMatcher:
    """A second matcher, to see whether a translation pleases only the matcher it was trained with."""
    contract = CONTRACTS["arcface-raw"]
    network = converted(path, (3, *contract.size), 255.0)
    return FrozenMatcher(network, ModelCard(path.stem, "matcher", path, file_sha256(path), "", contract))


def run(build: Callable[[argparse.Namespace, Callable[[Tensor], Tensor]], Recipe], options: argparse.Namespace) -> None:
    """Build the recipe of ``options`` and train it."""
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        matchers = {"auc": load_matcher(options.matcher).to(options.device)}
        options.recipe = Path(sys.argv[0]).resolve().parent.name
        recipe = build(options, matchers["auc"].forward)
        training, validation = load_parts(options, recipe.spectrum)
        if options.witness is not None and recipe.embeds:
            raise ValueError("--witness judges translated pictures; this recipe's result is templates of its teacher's space")
        if options.witness is not None:
            matchers["witness"] = witness(options.witness).to(options.device)
        if len(set(validation.source.people)) == len(validation):
            raise ValueError("nobody who validates has two pictures: there is nothing to match")
        fit(recipe, training, validation, dict(matchers), options)
    except (ValueError, OSError, MeetmidError) as error:
        raise SystemExit(str(error)) from error
