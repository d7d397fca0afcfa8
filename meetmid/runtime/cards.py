"""Model cards: what a network is, what it expects and where it comes from. A model is a folder of model.onnx + card.toml."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from meetmid.errors import ModelError

Task = Literal["matcher", "hallucinator", "detector", "pointer", "reader"]
ALIGNMENTS = ("arcface-112", "arcface-128", "arcface-96x112", "lightcnn-128")


@dataclass(frozen=True)
class Contract:
    """What goes in and what comes out.

    The network receives (N, 3, H, W) float32 planes in ``channels`` order, or for ``"gray"`` (N, 1, H, W) of the luma 0.299 R
    + 0.587 G + 0.114 B: ``(255 * x - mean) / std`` for a picture x in [0, 1] (gray: the first mean and std). ``size`` =
    (H, W), or (0, 0) for any size. ``alignment`` names the five-point template of a matcher, ``template_length`` its output;
    ``scale`` is a hallucinator's enlargement, whose output is undone the same way; 1 marks one that translates. ``input``
    and ``output`` name the graph's tensors (empty: the first), ``heat`` a map of what a generator attends to (empty: none).
    With ``stretch`` every picture is first stretched to its own smallest and largest value (thermal cameras without a fixed
    range; networks.md section 5, option minmax).
    """

    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    size: tuple[int, int] = (112, 112)
    alignment: str = "arcface-112"
    template_length: int = 0
    scale: int = 1
    input: str = ""
    output: str = ""
    heat: str = ""
    stretch: bool = False


CONTRACTS: dict[str, Contract] = {
    "arcface": Contract(),
    "arcface-bgr": Contract(channels="bgr"),
    "arcface-raw": Contract(mean=(0.0,) * 3, std=(1.0,) * 3),
    "sface": Contract(channels="bgr", mean=(0.0,) * 3, std=(1.0,) * 3, template_length=128),
    "openvino-0095": Contract(
        channels="bgr", mean=(0.0,) * 3, std=(1.0,) * 3, size=(128, 128), alignment="arcface-96x112", template_length=256
    ),
    "lightcnn": Contract(
        channels="gray", mean=(0.0,) * 3, std=(255.0,) * 3, size=(128, 128), alignment="lightcnn-128", template_length=256
    ),
    "edsr": Contract(mean=(0.0,) * 3, std=(1.0,) * 3, size=(0, 0), alignment=""),
}
"""Input contracts of well-known families, for ``meetmid.models.add(..., like=NAME)``."""


_REQUIRED: dict[str, tuple[type, ...]] = {
    "name": (str,), "task": (str,), "file": (str,), "sha256": (str,), "license": (str,), "contract": (dict,),
}
_OPTIONAL: dict[str, tuple[type, ...]] = {
    "family": (str,), "space": (str,), "partner": (str,), "summary": (str,), "gmac": (int, float), "means": (dict,),
    "data": (dict,), "presets": (dict,), "variants": (dict,),
}


@dataclass(frozen=True)
class ModelCard:
    """Everything the library knows about one model. ``gmac`` is 1e9 multiply-adds per picture (0 = unknown; for a
    hallucinator at 24 x 24), ``space`` names what matchers share whose templates can be compared (empty: nothing),
    ``partner`` is the folder of the matcher that sees the portraits where this one sees the probes, or of the pointer that
    finds the points of a detector's small faces, ``presets`` what a preset of that name does otherwise with this matcher
    (fields of :class:`meetmid.MatchConfig`), ``variants`` the folder of the same network in fewer bits for each kind of device
    where it was seen to be as accurate, ``facts`` the card's other sections as they stand (training data, figures,
    exporter...)."""

    name: str
    task: Task
    path: Path
    sha256: str
    license: str
    contract: Contract
    family: str = ""
    space: str = ""
    partner: Path | None = None
    summary: str = ""
    gmac: float = 0.0
    means: Path | None = None
    presets: dict[str, dict[str, Any]] = field(default_factory=dict, hash=False)
    variants: dict[str, Path] = field(default_factory=dict, hash=False)
    facts: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ModelError(f"model {self.name!r}: task expects one of {get_args(Task)}, got {self.task!r}")
        if self.task == "matcher" and (min(self.contract.size) < 1 or not self.contract.alignment):
            raise ModelError(
                f"matcher {self.name!r}: its contract needs a size (height, width) and an alignment ({', '.join(ALIGNMENTS)}), "
                f"got {self.contract.size} and {self.contract.alignment!r}"
            )

    def verify(self) -> None:
        """Raise ModelError unless the file is there and its SHA-256 is the card's."""
        if not self.path.is_file():
            raise ModelError(f"model {self.name!r}: expected the file {self.path}, found none")
        data = self.facts.get("data", {})
        weights = [(self.path.with_name(str(data.get("file"))), str(data.get("sha256")))] if data else []
        for path, expected in [(self.path, self.sha256), *weights]:
            got = file_sha256(path) if path.is_file() else "no file"
            if got != expected:
                raise ModelError(
                    f"model {self.name!r}: {path} is not the file its card describes "
                    f"(expected sha256 {expected}, got {got}); restore the file or add it anew with meetmid.models.add"
                )

    def reference_means(self) -> Path | None:
        """The verified file of reference means beside the model, if the card names one."""
        if self.means is None:
            return None
        expected = str(self.facts.get("means", {}).get("sha256", ""))
        if not self.means.is_file() or file_sha256(self.means) != expected:
            raise ModelError(f"model {self.name!r}: expected reference means {self.means} with sha256 {expected}")
        return self.means


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(path: Path) -> ModelCard:
    """Read ``card.toml``; raises ModelError naming the key that is missing or wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read the model card {path}: {error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ModelError(f"{path} is not valid TOML: {error}") from error
    for key, kinds in (_REQUIRED | _OPTIONAL).items():
        if (key in _REQUIRED or key in data) and not isinstance(data.get(key), kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ModelError(f"{path}: expected a {expected} under {key!r}, got {data.get(key)!r}")
    means = data.get("means", {}).get("file")
    if not isinstance(means, str | None):
        raise ModelError(f"{path}: expected a file name under 'means', got {means!r}")
    wrong = [name for name, values in data.get("presets", {}).items() if not isinstance(values, dict)]
    if wrong:
        raise ModelError(f"{path}: expected fields of a configuration under each of 'presets', got {wrong} without")
    wrong = [kind for kind, folder in data.get("variants", {}).items() if not isinstance(folder, str)]
    if wrong:
        raise ModelError(f"{path}: expected a folder under each of 'variants', got {wrong} without")
    if not 0 <= data.get("gmac", 0) < 1e9:
        raise ModelError(f"{path}: expected 1e9 multiply-adds under 'gmac', got {data['gmac']!r}")
    known = {*_REQUIRED, *_OPTIONAL} - {"means", "data"}
    return ModelCard(
        name=data["name"], task=data["task"], path=path.parent / data["file"], sha256=data["sha256"].lower(),
        license=data["license"], contract=make_contract(data["contract"], source=str(path)),
        family=data.get("family", data["name"]), space=data.get("space", ""),
        partner=path.parent / data["partner"] if data.get("partner") else None, summary=data.get("summary", ""),
        gmac=float(data.get("gmac", 0.0)),
        means=path.parent / means if means else None, presets=data.get("presets", {}),
        variants={kind: path.parent / folder for kind, folder in data.get("variants", {}).items()},
        facts={k: v for k, v in data.items() if k not in known},
    )


def make_contract(values: dict[str, Any], *, base: Contract | None = None, source: str = "contract") -> Contract:
    """A validated contract from plain values over ``base``."""
    base = base or Contract()
    unknown = sorted(set(values) - set(Contract.__dataclass_fields__))
    if unknown:
        raise ModelError(f"{source}: unknown contract keys {unknown}; known are {sorted(Contract.__dataclass_fields__)}")
    changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    for key, value in changes.items():
        if not _alike(value, getattr(base, key)):
            raise ModelError(f"{source}: {key} expects a value such as {getattr(base, key)!r}, got {value!r}")
    contract = replace(base, **changes)
    if contract.channels not in ("rgb", "bgr", "gray"):
        raise ModelError(f"{source}: channels expects 'rgb', 'bgr' or 'gray', got {contract.channels!r}")
    if not min(contract.std) > 0:
        raise ModelError(f"{source}: mean and std expect three numbers (std > 0), got {contract.mean}, {contract.std}")
    if contract.size != (0, 0) and min(contract.size) < 1:
        raise ModelError(f"{source}: size expects (height, width), or (0, 0) for any, got {contract.size}")
    if contract.scale < 1 or contract.template_length < 0:
        raise ModelError(
            f"{source}: scale expects at least 1 and template_length at least 0, got {contract.scale} and "
            f"{contract.template_length}"
        )
    if contract.alignment and contract.alignment not in ALIGNMENTS:
        raise ModelError(f"{source}: alignment expects one of {ALIGNMENTS}, got {contract.alignment!r}")
    return contract


def _alike(value: Any, example: Any) -> bool:
    """Whether ``value`` has the kind of ``example``: a string, an integer, or as many numbers (floats take integers)."""
    if not isinstance(example, tuple):
        return type(value) is type(example)
    kinds = (int, float) if isinstance(example[0], float) else (int,)
    return isinstance(value, tuple) and len(value) == len(example) and all(type(v) in kinds for v in value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the escapes of JSON are those of TOML
    if isinstance(value, int | float):
        return repr(float(value) if isinstance(value, float) else value)  # numpy's floats show their type
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    raise ModelError(f"a card holds strings, numbers, booleans, lists and tables, got {type(value).__name__}")


def write_card(path: Path, values: dict[str, Any]) -> None:
    """Write ``values`` (plain keys first, then one table per dictionary) as TOML."""
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for key, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{key}]", *(f"{_key(name)} = {_toml(value)}" for name, value in table.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _toml(name)
