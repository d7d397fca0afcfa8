"""From a trained checkpoint to a model folder that is known to compute the same (extra: export)."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ConfigError, ModelError, StoreError
from meetmid.images import Source, load
from meetmid.resize import resize
from meetmid.runtime.cards import ModelCard, file_sha256, make_contract, read_card, write_card
from meetmid.runtime.sessions import to_planes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meetmid.exporting.recognition import Recognised

Precision = Literal["fp32", "fp16", "int8"]
FREE_SIZES = ((24, 24), (29, 22))
"""Pictures (height, width) that a network of any size is checked with; one of a fixed size only with its own."""


def export_onnx(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    arch: str | None = None,
    part: str | None = None,
    precision: Precision = "fp32",
    pictures: Sequence[Source] = (),
    name: str | None = None,
    license: str = "not stated",
    space: str = "",
    contract: dict[str, Any] | None = None,
    training: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ModelCard:
    """Recognise a checkpoint, export it to ONNX, check that the graph computes the same, and write a model folder.

    ``checkpoint`` a ``.pth``, ``.pt``, ``.pkl`` or ``.safetensors`` file of weights (nothing in it is executed); ``out`` the
    folder to write (``model.onnx`` and ``card.toml``; it must not exist). ``arch`` names the family where it shall not be
    recognised, ``part`` one network of several in the file, ``options`` what no tensor tells (``residual_scale`` of EDSR).
    ``precision`` ``"fp32"``, ``"fp16"`` or ``"int8"``, the last calibrated on ``pictures`` (face crops, at least one), which
    also serve the parity check; without them it uses random pictures with a natural spectrum. ``space`` names the template
    space of a matcher that another network's templates are compared with (RIM's student and its teacher: the same name).
    ``contract`` overrides fields of the input contract (such as ``std`` of an EDSR trained on [0, 1]); ``training`` is a TOML
    file of plain values that says how the weights came about (the recipes write one) and becomes the card's ``[training]``.

    The export fails, and nothing is left behind, unless the graph agrees with PyTorch on the CPU: fp32 to 1e-4 of the
    largest value, fp16 to a cosine of 0.999; the figures of int8 are reported in the card. Returns the card. Raises
    ModelError for the checkpoint or a graph that does not agree, ConfigError for options, StoreError for ``out``.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision expects one of {', '.join(get_args(Precision))}, got {precision!r}")
    if precision == "int8" and not pictures:
        raise ConfigError("precision='int8' expects pictures=[...] to calibrate on (some tens of face crops like yours)")
    target = Path(out)
    if target.exists():
        raise StoreError(f"{target}: expected a new folder, it exists")
    name = name or target.name
    if not re.fullmatch(r"\w[\w.-]*", name) or name.endswith(".onnx"):
        raise ConfigError(f"a model name expects letters, digits, '-', '_' and '.', and no ending .onnx, got {name!r}")
    try:
        import onnxscript  # noqa: F401  (torch needs it to export)

        from meetmid.exporting import graphs  # noqa: F401  (before the work, not after it)
        from meetmid.exporting.checkpoints import load_checkpoint
        from meetmid.exporting.recognition import recognise
    except ImportError as error:
        raise ModelError(
            f"export needs torch, onnx, onnxscript and safetensors ({error}): pip install 'meetmid[export]'"
        ) from error
    history = {} if training is None else _history(Path(training))
    source = load_checkpoint(Path(checkpoint), part=part)
    found = recognise(source, arch=arch, **options)
    card = _card(found, name, license, space, contract or {})
    with _aside(target) as aside:
        facts = _write_graph(found, card, aside / "model.onnx", precision, [load(picture) for picture in pictures])
        facts["source"] |= {"file": Path(checkpoint).name, "sha256": source.sha256, "part": source.part}
        write_card(aside / "card.toml", {**_values(card, aside / "model.onnx", facts), **history})
    return read_card(target / "card.toml")


def _history(path: Path) -> dict[str, Any]:
    """The [training] table of a card from a file of plain values."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"training expects a TOML file, {path} is none ({error})") from error
    if any(isinstance(value, dict) for value in values.values()):
        raise ConfigError(f"training expects plain values, {path} has tables")
    return {"training": values}


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A folder that becomes ``target`` in the end; where anything fails nothing is left, not even the folders above it."""
    made = [folder for folder in target.parents if not folder.exists()]
    aside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        yield aside
        aside.chmod(0o755)
        aside.rename(target)
    except OSError as error:
        raise StoreError(f"{target}: the model could not be written ({error})") from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        if not target.exists():
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()


def _card(found: Recognised, name: str, license: str, space: str, changes: dict[str, Any]) -> ModelCard:
    """The card before its file exists."""
    heat = "heat" if "heat" in found.outputs else ""
    contract = make_contract({"input": "input", "output": found.outputs[0], "heat": heat, **changes}, base=found.contract)
    return ModelCard(name, found.family.task, Path("model.onnx"), "", license, contract, found.family.name, space)


def _write_graph(
    found: Recognised, card: ModelCard, path: Path, precision: Precision, pictures: list[NDArray[np.uint8]]
) -> dict[str, Any]:
    """Export, convert, compare; the sections of the card that say how."""
    import onnxruntime
    import torch

    from meetmid.exporting.graphs import OPSET, export_graph, to_half, to_int8
    from meetmid.exporting.parity import measure

    sizes = _sizes(card.contract.size, found.any_size)
    inputs = [batch for size in sizes for batch in _inputs(card, size, pictures)]
    full = path.with_name("full.onnx") if precision != "fp32" else path
    example = torch.from_numpy(np.concatenate([inputs[0], inputs[0]]))
    export_graph(found.network, example, full, found.outputs, any_size=found.any_size)
    parity = measure(found.network, full, inputs)
    parity.check("fp32", card.name)
    figures: dict[str, Any] = {"fp32_relative_error": parity.error}
    if precision != "fp32":
        if precision == "fp16":
            to_half(full, path)
        else:
            to_int8(full, path, np.concatenate([_planes(card, sizes[0], pictures[k : k + 1]) for k in range(len(pictures))]))
        full.unlink()
        full.with_name(f"{full.name}.data").unlink(missing_ok=True)
        parity = measure(found.network, path, inputs)
        parity.check(precision, card.name)
        figures |= {f"{precision}_cosine": parity.cosine, f"{precision}_relative_error": parity.error}
    told = f"{len(pictures)} given pictures" if pictures else "random pictures of a natural spectrum"
    length = measure_length(found, inputs[0]) if card.task == "matcher" else 0
    return {
        "length": length,
        "parity": {**figures, "inputs": f"uniform noise and {told}, batches of 1 and 3, CPU"},
        "export": {
            "precision": precision, "opset": OPSET, "bytes": path.stat().st_size,
            "versions": ", ".join(f"{package} {version(package)}" for package in ("torch", "onnx", "onnxscript"))
            + f", onnxruntime {onnxruntime.__version__}",
        },
        "source": {"options": ", ".join(f"{key}={value}" for key, value in found.options.items())},
    }


def _sizes(size: tuple[int, int], any_size: bool) -> tuple[tuple[int, int], ...]:
    """Heights and widths to check a graph with: more than one where they are free."""
    if min(size) == 0:
        return FREE_SIZES
    return (size, (size[0] // 2, size[1])) if any_size else (size,)


def measure_length(found: Recognised, batch: NDArray[np.float32]) -> int:
    """Template length of a matcher."""
    import torch

    with torch.no_grad():
        return int(found.network(torch.from_numpy(batch[:1])).shape[-1])


def _inputs(card: ModelCard, size: tuple[int, int], pictures: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """Batches of 1 and 3 in the network's own range: uniform noise, and natural pictures."""
    from meetmid.exporting.parity import natural_pictures

    noise = np.random.default_rng(0).random((4, *size, 3), dtype=np.float32)
    natural = _planes(card, size, pictures[:4]) if pictures else to_planes(natural_pictures(4, size), card)
    return [to_planes(noise[:1], card), to_planes(noise[1:], card), natural[:1], natural[1:]][: 4 if len(natural) > 1 else 3]


def _planes(card: ModelCard, size: tuple[int, int], pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return to_planes(np.stack([resize(picture, size) for picture in pictures]), card)


def _values(card: ModelCard, path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The content of ``card.toml``."""
    table = {**asdict(card.contract), "template_length": facts.pop("length")}
    data = path.with_name(f"{path.name}.data")
    external = {"data": {"file": data.name, "sha256": file_sha256(data)}} if data.is_file() else {}
    return {
        "name": card.name, "family": card.family, "task": card.task, "file": path.name, "sha256": file_sha256(path),
        "license": card.license, "space": card.space, "contract": table, **external, **facts,
    }
