"""Where models are found: the ones shipped in ``meetmid.models``, the user's own folder, or a path."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from meetmid.errors import ModelError
from meetmid.runtime.cards import CONTRACTS, ModelCard, file_sha256, make_contract, read_card, write_card


def user_folder() -> Path:
    """``$MEETMID_MODELS``, or ``~/.cache/meetmid/models``."""
    return Path(os.environ.get("MEETMID_MODELS") or Path.home() / ".cache" / "meetmid" / "models")


def _shipped_folder() -> Path:
    return Path(str(resources.files("meetmid.models")))


def list_models() -> list[ModelCard]:
    """Every card that can be named, shipped ones first."""
    return list(_cards())


def _cards() -> Iterator[ModelCard]:
    """Shipped cards first, each read when it is asked for: a damaged one of the user's hides none before it."""
    for root in (_shipped_folder(), user_folder()):
        for path in sorted(root.glob("*/card.toml")):
            if not path.parent.name.startswith("."):
                yield read_card(path)


def get_model(name: str | os.PathLike[str]) -> ModelCard:
    """The card of a named model, of a folder with ``card.toml``, or of an .onnx file with ``card.toml`` beside it."""
    path = Path(name)
    for candidate in (path / "card.toml", path.parent / "card.toml"):
        if (path.is_dir() or path.suffix == ".onnx") and candidate.is_file():
            return read_card(candidate)
    if path.suffix == ".onnx":
        problem = "has no card.toml beside it" if path.is_file() else "does not exist"
        raise ModelError(
            f"{path} {problem}. A matcher's input contract is never guessed: register the file once with "
            f"meetmid.models.add({str(path)!r}, name='mine', like='arcface') (contracts: {', '.join(CONTRACTS)})"
        )
    known = []
    for card in _cards():
        if card.name == str(name):
            return card
        known.append(card.name)
    raise ModelError(f"unknown model {str(name)!r}; known are {', '.join(known)}, or a path")


def get_family(name: str, scales: tuple[int, ...]) -> dict[int, ModelCard]:
    """The hallucinator of each scale: ``name`` is a family, a model, or a folder of model folders."""
    root = Path(name)
    cards = [read_card(p) for p in sorted(root.glob("*/card.toml"))] if root.is_dir() else list_models()
    if (root / "card.toml").is_file():
        cards = [read_card(root / "card.toml")]
    family = name if not root.is_dir() else None
    found = {
        card.contract.scale: card
        for card in cards
        if card.task == "hallucinator" and (family is None or family in (card.family, card.name))
    }
    missing = [scale for scale in scales if scale not in found]
    if missing:
        have = sorted({f"{c.family} {c.contract.scale}x" for c in cards if c.task == "hallucinator"})
        raise ModelError(f"hallucinator {name!r} has no {missing} x model; found {', '.join(have) or 'none'}")
    return {scale: found[scale] for scale in scales}


def add_model(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    like: str = "arcface",
    task: str = "matcher",
    license: str = "not stated",
    **contract: Any,
) -> ModelCard:
    """Copy an ONNX file into the user's folder with a card, so that it can be named.

    ``like`` picks the input contract of a family (:data:`meetmid.runtime.cards.CONTRACTS`); keywords override its fields
    (``channels``, ``mean``, ``std``, ``size``, ``alignment``, ``template_length``, ``scale``). The file is run once on a
    blank picture, so that a wrong size or length is refused here and not in the middle of a run. Raises ModelError.
    """
    from meetmid.runtime.sessions import check_contract

    source = Path(path)
    if not source.is_file():
        raise ModelError(f"meetmid.models.add expects an ONNX file, {source} does not exist")
    if like not in CONTRACTS:
        raise ModelError(f"unknown contract {like!r}; known are {', '.join(CONTRACTS)}")
    name = name or source.stem
    if not re.fullmatch(r"\w[\w.-]*", name) or name.endswith(".onnx"):
        raise ModelError(f"a model name expects letters, digits, '-', '_' and '.', and no ending .onnx, got {name!r}")
    if any(read_card(path).name == name for path in _shipped_folder().glob("*/card.toml")):
        raise ModelError(f"{name!r} is the name of a model that is shipped with the library; choose another")
    values = make_contract(contract, base=CONTRACTS[like])
    root = user_folder()
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".adding-", dir=root))
    try:
        shutil.copyfile(source, aside / "model.onnx")
        digest = file_sha256(aside / "model.onnx")
        card = ModelCard(name, task, aside / "model.onnx", digest, license, values)  # type: ignore[arg-type]
        length = check_contract(card)
        table = {key: getattr(values, key) for key in values.__dataclass_fields__}
        table["template_length"] = length
        write_card(aside / "card.toml", {
            "name": name, "task": task, "file": "model.onnx", "sha256": digest, "license": license, "contract": table,
        })
        target = root / name
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return read_card(target / "card.toml")
