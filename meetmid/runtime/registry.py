"""Where models are found: the ones shipped in ``meetmid.models``, the user's own folder, or a path."""

from __future__ import annotations

import logging
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
from meetmid.runtime.downloads import PUBLISHED, PublishedModel, fetch
from meetmid.runtime.progress import ProgressCallback

_log = logging.getLogger("meetmid")


def user_folder() -> Path:
    """``$MEETMID_MODELS``, or ``~/.cache/meetmid/models``."""
    return Path(os.environ.get("MEETMID_MODELS") or Path.home() / ".cache" / "meetmid" / "models")


def _shipped_folder() -> Path:
    return Path(str(resources.files("meetmid.models")))


def list_models() -> list[ModelCard]:
    """Every card that can be named, shipped ones first; a damaged one of the user's is skipped with a warning."""
    return list(_cards())


def _cards(likely: str = "") -> Iterator[ModelCard]:
    """Shipped cards first, of either kind that in the ``likely`` folder first, each read when it is asked for. A damaged
    shipped one raises, one of the user's is skipped."""
    shipped = _shipped_folder()
    for root in (shipped, user_folder()):
        for path in sorted(root.glob("*/card.toml"), key=lambda path: (path.parent.name != likely, path)):
            if path.parent.name.startswith("."):
                continue
            try:
                card = read_card(path)
            except ModelError as error:
                if root == shipped:
                    raise
                _log.warning("skipped a damaged model card, mend or delete its folder: %s", error)
            else:
                yield card


def _raise_if_damaged(name: str) -> None:
    """Raise what is wrong with the user's card in the folder ``name``, which :func:`_cards` has skipped."""
    path = user_folder() / name / "card.toml"
    if path.exists():
        read_card(path)


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
    for card in _cards(likely=str(name).replace("-", "_")):
        if card.name == str(name):
            return card
        known.append(card.name)
    _raise_if_damaged(str(name))
    published = PUBLISHED.get(str(name))
    if published is not None and published.task == "matcher":
        return fetch_model(published)
    named = [*known, *(f"{p.name} (fetched when named)" for p in PUBLISHED.values() if p.task == "matcher")]
    raise ModelError(f"unknown model {str(name)!r}; known are {', '.join(named)}, or a path")


def reduced_model(card: ModelCard, kind: str) -> ModelCard:
    """The same network in fewer bits that its card names for a kind of device (``"cpu"``, ``"cuda"``); raises ModelError where
    it names none."""
    if kind not in card.variants:
        others = f", only for {', '.join(card.variants)}" if card.variants else ""
        raise ModelError(
            f"model {card.name!r}: its card names no variant of reduced precision for {kind}{others}: leave reduced out"
        )
    found = read_card(card.variants[kind] / "card.toml")
    if (found.task, found.contract, found.space) != (card.task, card.contract, card.space):
        raise ModelError(
            f"model {card.name!r}: {found.name!r} expects another input or gives other templates, so it is no variant of it"
        )
    return found


def fetch_model(model: PublishedModel, callback: ProgressCallback | None = None) -> ModelCard:
    """A published matcher with its card in the user's folder, downloaded unless it is there; raises ModelError."""
    path = fetch(model, downloads_folder(), callback)
    return add_model(path, name=model.name, like=model.like, license=model.license)


def downloads_folder() -> Path:
    """Where published files are kept."""
    return user_folder() / ".downloads"


def get_family(name: str, scales: tuple[int, ...]) -> dict[int, ModelCard]:
    """The hallucinator of each scale: ``name`` is a family, a model, or a folder of model folders.

    Of a family's models of one scale the first counts, shipped ones before the user's. No more cards are read than needed.
    """
    root = Path(name)
    seen, found = [], {}
    if root.is_dir():
        own = root / "card.toml"
        cards = [read_card(path) for path in ([own] if own.is_file() else sorted(root.glob("*/card.toml")))]
        seen = [card for card in cards if card.task == "hallucinator"]
        found = {card.contract.scale: card for card in seen}
    else:
        for card in _cards():
            if card.task == "hallucinator":
                seen.append(card)
                if name in (card.family, card.name):
                    _keep_first(found, card)
            if found.keys() >= set(scales):
                break
    missing = [scale for scale in scales if scale not in found]
    if missing:
        _raise_if_damaged(name)
        have = sorted({f"{card.family} {card.contract.scale}x" for card in seen})
        raise ModelError(f"hallucinator {name!r} has no {missing} x model; found {', '.join(have) or 'none'}")
    return {scale: found[scale] for scale in scales}


def _keep_first(found: dict[int, ModelCard], card: ModelCard) -> None:
    first = found.setdefault(card.contract.scale, card)
    if first is not card:
        _log.warning("%s is ignored: %s is the %dx model of this family", card.path.parent, first.name, card.contract.scale)


def add_model(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    like: str = "arcface",
    task: str = "matcher",
    family: str | None = None,
    license: str = "not stated",
    **contract: Any,
) -> ModelCard:
    """Copy an ONNX file into the user's folder with a card, so that it can be named.

    ``like`` picks a well-known input contract (:data:`meetmid.runtime.cards.CONTRACTS`); keywords override its fields
    (``channels``, ``mean``, ``std``, ``size``, ``alignment``, ``template_length``, ``scale``). Hallucinators of one
    ``family`` (default: the name) and several scales are asked for by the family's name. The file is run once on a
    blank picture, so that a wrong size or length is refused here and not in the middle of a run. Raises ModelError.
    """
    from meetmid.runtime.sessions import check_contract

    source = Path(path)
    if not source.is_file():
        raise ModelError(f"meetmid.models.add expects an ONNX file, {source} does not exist")
    if like not in CONTRACTS:
        raise ModelError(f"unknown contract {like!r}; known are {', '.join(CONTRACTS)}")
    name = name or source.stem
    family = name if family is None else family
    for what, text in (("name", name), ("family", family)):
        if not isinstance(text, str) or not re.fullmatch(r"\w[\w.-]*", text) or text.endswith(".onnx"):
            raise ModelError(f"a model {what} expects letters, digits, '-', '_' and '.', and no ending .onnx, got {text!r}")
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
            "name": name, "family": family, "task": task, "file": "model.onnx", "sha256": digest, "license": license,
            "contract": table,
        })
        read_card(aside / "card.toml")  # what it refuses must not replace a model that works
        target = root / name
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return read_card(target / "card.toml")
