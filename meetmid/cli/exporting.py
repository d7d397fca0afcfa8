"""``meetmid export``: a trained checkpoint to a model folder."""

from __future__ import annotations

import argparse
import ast
from typing import Any

from meetmid.cli import DONE
from meetmid.errors import ConfigError, InputError
from meetmid.images import Source, entries
from meetmid.runtime.cards import ModelCard

RESERVED = ("checkpoint", "out", "arch", "part", "precision", "pictures", "name", "license", "space", "contract", "training")
"""What is no option of a network."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("checkpoint", help="a .pth, .pt, .pkl or .safetensors file of weights; nothing in it is run")
    parser.add_argument("out", help="the model folder to write; it must not exist")
    parser.add_argument("--arch", metavar="FAMILY", help="the family, where it shall not be recognised")
    parser.add_argument("--part", help="one network of several in the file, for example genB2A")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), default="fp32", help="(default fp32)")
    parser.add_argument("--pictures", metavar="DIR", help="face crops to calibrate int8 on and to compare with PyTorch on")
    parser.add_argument("--name", help="the model's name (default the folder's)")
    parser.add_argument("--license", default="not stated", help="its terms of use (default 'not stated')")
    parser.add_argument("--training", metavar="TOML", help="how it was trained, for the card; the recipes write training.toml")
    parser.add_argument("--space", default="", help="template space that it shares with another matcher")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="what no tensor tells, such as residual_scale=0.1"
    )


def export(options: argparse.Namespace) -> int:
    """Recognise, export, compare, and say what came of it."""
    from meetmid.export import export_onnx

    card = export_onnx(
        options.checkpoint, options.out, arch=options.arch, part=options.part, precision=options.precision,
        pictures=_pictures(options.pictures), name=options.name, license=options.license, space=options.space,
        training=options.training,
        **dict(_option(text) for text in options.option),
    )
    print("\n".join(_lines(card)))
    return DONE


def _pictures(folder: str | None) -> list[Source]:
    if folder is None:
        return []
    found = [source for entry in entries(folder, what="--pictures") for source in entry.sources]
    if not found:
        raise InputError(f"--pictures expects a folder of face crops, {folder} holds none")
    return found


def _option(text: str) -> tuple[str, Any]:
    """KEY=VALUE, the value a Python number, tuple, True, False or None where it reads as one, and text otherwise."""
    key, equals, value = text.partition("=")
    if not (key.isidentifier() and equals):
        raise ConfigError(f"--option expects KEY=VALUE, got {text!r}")
    if key in RESERVED:
        raise ConfigError(f"--option expects an option of the network, got {key!r}; see meetmid export --help")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _lines(card: ModelCard) -> list[str]:
    """Family, contract and agreement."""
    contract, facts = card.contract, card.facts
    size = f"{contract.size[1]} x {contract.size[0]} px" if min(contract.size) else "any size"
    gives = {
        "matcher": f"templates of {contract.template_length} numbers",
        "hallucinator": "pictures of the same size" if contract.scale == 1 else f"pictures {contract.scale} times as large",
    }[card.task]
    figures = ", ".join(
        f"{key.replace('_', ' ')} {value:{'.3g' if 'error' in key else '.6f'}}"
        for key, value in facts["parity"].items() if key != "inputs"
    )
    rows = {
        "family": f"{card.family} ({facts['source']['options']})",
        "takes": f"{size}, {contract.channels}, (255 x - {_told(contract.mean)}) / {_told(contract.std)}"
        + (f", aligned to {contract.alignment}" if contract.alignment else ""),
        "gives": gives + (", and a heat map" if contract.heat else ""),
        "agrees": f"{figures} ({facts['parity']['inputs']})",
        "wrote": f"{card.path} ({facts['export']['bytes']} bytes, {facts['export']['precision']})",
    }
    return [f"{key:<8}{value}" for key, value in rows.items()]


def _told(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "(" + ", ".join(f"{value:g}" for value in values) + ")"
