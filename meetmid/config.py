"""What a run does: frozen configuration, presets, validation, and a stable hash.

Everything that changes a score lives here; where it runs (device, threads, memory limit) does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from meetmid.errors import ConfigError

Rule = Literal["T_add", "T_concat", "S_max", "S_add"]
Pairing = Literal["all", "same_scale"]
Order = Literal["gallery_first", "probe_first"]
Select = Literal["all", "best"]
Centering = Literal["reference", "set", "vector", "none"]
Normalize = Literal["raw", "l2", "standardize"]
Portraits = Literal["pool", "max"]
Color = Literal["rgb", "bgr"]
Faces = Literal["auto", "crop", "detect"]
Crop = Literal["arcface5", "box", "square"]
Errors = Literal["record", "raise"]

SIGMAS = tuple(k / 15 for k in range(16))
"""The 16 blur levels, linear from 0 to 1 (Grm et al. 2023, section 3.2; spacing: networks.md section 2.3)."""


def _check(owner: object, name: str, allowed: Any) -> None:
    value = getattr(owner, name)
    choices = get_args(allowed)
    if value not in choices:
        raise ConfigError(f"{name} expects one of {', '.join(map(repr, choices))}, got {value!r}")


@dataclass(frozen=True)
class DegradationOptions:
    """Readings of the eleven degradations that the paper leaves open (degradations.md section 2).

    The defaults are the reference definitions. ``resize`` (the "bicubic" of every stage, probe side included) and
    ``quantize`` (round to 8 bits after every stage) hold for the whole pipeline. ``hue`` in turns, ``shear`` in
    degrees, ``persp_scale`` as a share of the side; pairs are ranges drawn from uniformly.
    """

    noise_color: Literal["rgb", "gray"] = "rgb"
    speckle_dist: Literal["gaussian", "uniform"] = "gaussian"
    hue: float = 0.05
    saturation: tuple[float, float] = (0.6, 1.4)
    brightness: tuple[float, float] = (0.7, 1.3)
    brightness_mode: Literal["multiply", "add"] = "multiply"
    contrast: tuple[float, float] = (0.7, 1.3)
    contrast_about: Literal["luma", "half"] = "luma"
    motion: Literal["fspecial", "even20"] = "fspecial"
    disk_kind: Literal["pillbox", "binary"] = "pillbox"
    persp_scale: float = 0.1
    shear: float = 10.0
    shear_axes: Literal["both", "x", "y"] = "both"
    warp_border: Literal["replicate", "zero"] = "replicate"
    downup_factors: tuple[int, ...] = (2,)
    downup_up: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    patch: int = 2
    pshuf: Literal["pixels", "positions"] = "pixels"
    border: Literal["reflect101", "zero"] = "reflect101"
    resize: Literal["bicubic", "cv2"] = "bicubic"
    quantize: bool = False
    scale_kernels: bool = False
    draws: Literal["image", "shared"] = "image"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("noise_color", Literal["rgb", "gray"]),
            ("speckle_dist", Literal["gaussian", "uniform"]),
            ("brightness_mode", Literal["multiply", "add"]),
            ("contrast_about", Literal["luma", "half"]),
            ("motion", Literal["fspecial", "even20"]),
            ("disk_kind", Literal["pillbox", "binary"]),
            ("shear_axes", Literal["both", "x", "y"]),
            ("warp_border", Literal["replicate", "zero"]),
            ("downup_up", Literal["bicubic", "bilinear", "nearest"]),
            ("pshuf", Literal["pixels", "positions"]),
            ("border", Literal["reflect101", "zero"]),
            ("resize", Literal["bicubic", "cv2"]),
            ("draws", Literal["image", "shared"]),
        ):
            _check(self, name, allowed)
        if not (0 <= self.persp_scale < 0.5):
            raise ConfigError(f"persp_scale expects a share of the side in [0, 0.5), got {self.persp_scale}")
        if not self.downup_factors or min(self.downup_factors) < 2:
            raise ConfigError(f"downup_factors expects integers of at least 2, got {self.downup_factors}")
        if self.patch < 1:
            raise ConfigError(f"patch expects a block side of at least 1, got {self.patch}")


@dataclass(frozen=True)
class MatchConfig:
    """One complete recipe for scores. Build one with :func:`preset` and ``dataclasses.replace``.

    Faces: ``faces`` where the faces are (``"crop"``, ``"detect"``, ``"auto"``), ``crop`` how a found face is cut
    (``"arcface5"`` five-point alignment; ``"box"`` the detector's box x 1.3, squashed, as in the paper; ``"square"`` the
    same box made square first), ``detector`` which finder (``"yunet:FILE"``, ``"scrfd:FILE"``, ``"insightface:PACK"``).

    Probe: ``scales`` of super-resolution, ``sigmas`` of blur, ``lr_size`` the side of the super-resolver's input
    (``None`` = native), ``blur_at`` the ``"working"`` (after the resize) or ``"native"`` picture.

    Gallery: ``paths`` (see :func:`meetmid.gallery.paths.select_paths`), ``work_size`` the longest side of a portrait
    before it is degraded (``None`` = native), ``resolution_matching``, ``draws_per_node`` independent random trees.

    ``identity`` keeps the un-hallucinated probe and the undegraded portrait as a scale of their own (1x).

    Templates: ``flip`` adds the mirrored picture's template; ``normalize`` before centring and T_add (networks.md 4.6,
    question F2); ``centering`` (networks.md section 4.5). Scores: ``probe_rule``,
    ``gallery_rule``, ``pairing``, ``order``, ``select`` (see :func:`meetmid.fuse`); ``portraits`` of one gallery subject are
    pooled, or the best one counts (``"max"``, networks.md question F5).
    """

    preset: str = "custom"
    matcher: str = "midface-s"
    hallucinator: str = "edsr-face"
    detector: str | None = None
    faces: Faces = "auto"
    color: Color = "rgb"
    crop: Crop = "arcface5"
    scales: tuple[int, ...] = (2, 4, 8)
    sigmas: tuple[float, ...] = SIGMAS
    lr_size: int | None = 24
    blur_at: Literal["working", "native"] = "working"
    identity: bool = True
    paths: str | tuple[tuple[str, ...], ...] = "len<=3"
    resolution_matching: bool = True
    work_size: int | None = 512
    draws_per_node: int = 1
    degradations: DegradationOptions = field(default_factory=DegradationOptions)
    flip: bool = False
    normalize: Normalize = "raw"
    centering: Centering = "reference"
    probe_rule: Rule = "S_add"
    gallery_rule: Rule = "S_max"
    pairing: Pairing = "all"
    order: Order = "gallery_first"
    select: Select = "all"
    portraits: Portraits = "pool"
    seed: int = 0
    errors: Errors = "record"
    keep_crops: bool = True

    def __post_init__(self) -> None:
        for name in ("scales", "sigmas", "paths"):
            value = getattr(self, name)
            if not isinstance(value, str):
                object.__setattr__(self, name, _tuples(list(value)))
        for name, allowed in (
            ("faces", Faces), ("color", Color), ("crop", Crop), ("blur_at", Literal["working", "native"]),
            ("normalize", Normalize), ("centering", Centering), ("probe_rule", Rule), ("gallery_rule", Rule),
            ("pairing", Pairing), ("order", Order), ("select", Select), ("portraits", Portraits),
            ("errors", Errors),
        ):
            _check(self, name, allowed)
        if (self.probe_rule == "T_concat") != (self.gallery_rule == "T_concat"):
            raise ConfigError(
                f"T_concat needs both sides, got probe {self.probe_rule} and gallery {self.gallery_rule}"
            )
        if not self.scales and not self.identity:
            raise ConfigError("a configuration without super-resolution scales needs identity=True")
        if any(s < 2 for s in self.scales) or len(set(self.scales)) != len(self.scales):
            raise ConfigError(f"scales expects distinct integers of at least 2 (1x is identity=True), got {self.scales}")
        if self.scales and (not self.sigmas or min(self.sigmas) < 0):
            raise ConfigError(f"sigmas expects at least one blur of 0 px or more, got {self.sigmas}")
        if self.lr_size is not None and self.lr_size < 8:
            raise ConfigError(f"lr_size expects at least 8 px, or None for native, got {self.lr_size}")
        if self.work_size is not None and self.work_size < 8:
            raise ConfigError(f"work_size expects at least 8 px, or None for native, got {self.work_size}")
        if self.draws_per_node < 1:
            raise ConfigError(f"draws_per_node expects at least 1, got {self.draws_per_node}")
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed expects an integer in [0, 2**64), got {self.seed}")

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MatchConfig:
        """The inverse of :meth:`to_dict`; unknown keys raise ConfigError."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown configuration keys {unknown}; known are {sorted(known)}")
        data = {key: _tuples(value) for key, value in values.items()}
        if isinstance(data.get("degradations"), dict):
            options = {key: _tuples(value) for key, value in data["degradations"].items()}
            unknown = sorted(set(options) - {f.name for f in fields(DegradationOptions)})
            if unknown:
                raise ConfigError(f"unknown degradation options {unknown}")
            data["degradations"] = DegradationOptions(**options)
        return cls(**data)

    def hash(self) -> str:
        """16 hex digits that change with anything that can change a score."""
        values = self.to_dict()
        for name in ("preset", "errors", "keep_crops"):
            values.pop(name)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def gallery_hash(self) -> str:
        """16 hex digits of what an enrolled gallery depends on: everything but the probe side and the fusion."""
        values = self.to_dict()
        for name in (
            "preset", "errors", "keep_crops", "hallucinator", "sigmas", "blur_at", "centering", "probe_rule",
            "gallery_rule", "pairing", "order", "select", "portraits", "faces", "color", "detector",
        ):
            values.pop(name)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


_PAPER = MatchConfig(preset="paper", crop="box", identity=False, paths="len<=3", centering="vector")

BALANCED_PATHS = (("disk",), ("gauss_noise",), ("persp",), ("motion",))
"""Best first, by the quick measurement of benchmarks/balanced.py on the selection part of the development people."""

PRESETS: dict[str, MatchConfig] = {
    "plain": MatchConfig(preset="plain", scales=(), paths="none", centering="none"),
    "fast": MatchConfig(
        preset="fast", scales=(2,), sigmas=(0.0, 0.4, 0.8), paths=BALANCED_PATHS[:2],
        probe_rule="T_add", gallery_rule="T_add",
    ),
    "balanced": MatchConfig(
        preset="balanced", scales=(2, 4), sigmas=(0.0, 0.4, 0.8), paths=BALANCED_PATHS,
        probe_rule="S_add", gallery_rule="T_add",
    ),
    "paper": _PAPER,
    "paper-set": replace(_PAPER, preset="paper-set", centering="set"),
}


def preset(name: str) -> MatchConfig:
    """The named preset; raises ConfigError with the known names."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def configured(
    config: MatchConfig, matcher: str, hallucinator: Any, detector: Any, fusion: Any, options: dict[str, Any]
) -> MatchConfig:
    """A configuration with the keywords of a Matcher applied; raises ConfigError for unknown options."""
    unknown = sorted(set(options) - {f.name for f in fields(MatchConfig)})
    if unknown:
        raise ConfigError(f"unknown options {unknown}; see MatchConfig for the known ones")
    changes: dict[str, Any] = {"matcher": matcher, **options}
    if hallucinator is not None:
        changes["hallucinator"] = os.fspath(hallucinator)
    if isinstance(detector, str):
        changes["detector"] = detector
    if fusion is not None:
        changes["probe_rule"], changes["gallery_rule"] = fusion
    return replace(config, **changes)
