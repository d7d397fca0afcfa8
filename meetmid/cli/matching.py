"""The arguments that every command which matches shares, and the Matcher they ask for."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any, get_args

from meetmid.cli.bar import Bar
from meetmid.config import Cover, Faces
from meetmid.errors import ConfigError
from meetmid.presets import PRESETS

if TYPE_CHECKING:
    from meetmid.matcher import Matcher


def open_matcher(options: argparse.Namespace, preset: str | None = None, **extra: Any) -> Matcher:
    """The Matcher that the arguments ask for; ``preset`` overrides theirs, ``extra`` keywords are passed on."""
    from meetmid.matcher import Matcher

    models: dict[str, str] = {}
    if options.config is not None:
        from meetmid.tuning.result import read_config

        if preset is not None or "config" in extra:
            raise ConfigError("--config is one configuration: it goes neither with --all nor with the ladder (--no-ladder)")
        extra["config"], models = read_config(options.config)
    fusion = getattr(options, "fusion", None)
    if fusion is not None:
        fusion = tuple(fusion.split(","))
        if len(fusion) != 2:
            raise ConfigError(f"--fusion expects PROBE_RULE,GALLERY_RULE, got {options.fusion!r}")
    if options.centering is not None:
        extra["centering"] = options.centering
    if options.scales is not None:
        extra["scales"] = tuple(options.scales)
    if options.lr_size is not None:
        extra["lr_size"] = options.lr_size if len(options.lr_size) > 1 else options.lr_size[0] or None
    if options.no_identity:
        extra["identity"] = False
    for name in ("faces", "pixel_aspect", "covered_by", "seed", "errors"):
        if getattr(options, name) is not None:
            extra[name] = getattr(options, name)
    matcher = Matcher(
        preset or options.preset or "balanced", matcher=options.matcher, gallery_matcher=options.gallery_matcher,
        hallucinator=options.hallucinator, detector=options.detector, reference=options.reference,
        device=options.device, threads=options.threads, memory_limit=int(options.memory_limit * 2**30),
        fusion=fusion, reduced=options.reduced, calibration=getattr(options, "calibration", None),
        progress=Bar(quiet=options.quiet), **extra,
    )
    if models:
        from meetmid.tuning.result import check_models

        check_models(matcher, models)
    return matcher


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to compute, with which models, and where."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--preset", choices=list(PRESETS), help="default balanced")
    what.add_argument("--config", metavar="JSON", help="a configuration that meetmid tune (or MatchConfig.to_dict) wrote")
    add_models(parser)
    parser.add_argument(
        "--pixel-aspect", type=_aspect, metavar="W[:H]",
        help="width by height of the probes' pixels, where they are not square, such as 12:11 or 0.545 (default 1)",
    )
    parser.add_argument(
        "--covered-by", choices=get_args(Cover),
        help="what hides a part of the probes' faces, which is then covered on both sides, too",
    )
    parser.add_argument("--reduced", action="store_true", help="the matcher's variant in fewer bits, where its card names one")
    parser.add_argument("--hallucinator", help="a family or folder of generators (default: the preset's)")
    parser.add_argument("--scales", type=int, nargs="*", help="the generator's; 1 = it translates (default: the preset's)")
    parser.add_argument(
        "--lr-size", type=_sides, metavar="PX[,PX...]",
        help="side of the generator's input; 0 = native; of several, the nearest to a probe's detail (default: the preset's)",
    )
    parser.add_argument("--no-identity", action="store_true", help="leave the probe without generator out")
    parser.add_argument("--centering", choices=("reference", "set", "vector", "none"))
    parser.add_argument("--seed", type=int, help="default 0")
    parser.add_argument("--errors", choices=("record", "raise"), help="default record")
    add_place(parser)


def add_models(parser: argparse.ArgumentParser) -> None:
    """Which matcher, its means, and how faces are found."""
    parser.add_argument("--matcher", help="a model's name, folder or ONNX file (default slimface-probe with its partner)")
    parser.add_argument("--gallery-matcher", help="another network for the portraits, in the same template space")
    parser.add_argument(
        "--detector",
        help="yunet (fetched once), yunet:FILE, scrfd:FILE, insightface:PACK or finder:MODEL (default: the finder that ships)",
    )
    parser.add_argument("--reference", metavar="NPZ", help="reference means learned with Matcher.learn_means")
    parser.add_argument("--faces", choices=get_args(Faces), help="default auto")


def add_place(parser: argparse.ArgumentParser) -> None:
    """Where it runs."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, tensorrt, openvino, coreml")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--memory-limit", type=_gib, default=1.0, metavar="GIB", help="beyond the models (default 1)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected pixels such as 24 or 16,24,48, got {text!r}") from None


def _aspect(text: str) -> float:
    width, _, height = text.partition(":")
    try:
        return float(width) / float(height or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"expected a number or two such as 12:11, got {text!r}") from None


def _gib(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number of GiB, got {text!r}")
    return value
