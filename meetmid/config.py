"""What a run does: frozen configuration, validation, and a stable hash.

Everything that changes a score lives here; where it runs (device, threads, memory limit) does not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, Literal

from meetmid.errors import ConfigError
from meetmid.validation import Expected, check, known_fields, refused

Rule = Literal["T_add", "T_concat", "S_max", "S_add"]
Pairing = Literal["all", "same_scale"]
Order = Literal["gallery_first", "probe_first"]
Select = Literal["all", "best"]
Centering = Literal["reference", "set", "vector", "none"]
Normalize = Literal["raw", "l2", "standardize"]
Portraits = Literal["pool", "max"]
ScoreNorm = Literal["none", "z"]
Color = Literal["rgb", "bgr"]
Faces = Literal["auto", "crop", "detect", "landmarks"]
Crop = Literal["arcface5", "box", "square"]
Errors = Literal["record", "raise"]
Cover = Literal["nothing", "mask", "glasses", "hat"]

SIGMAS = tuple(k / 15 for k in range(16))
"""The 16 blur levels, linear from 0 to 1 (Grm et al. 2023, section 3.2; spacing: networks.md section 2.3)."""


_RANGE = Expected("two finite numbers (low, high) with 0 <= low <= high", 0)
_EXPECTED = {  # every field whose annotation does not say it all; a field of numbers must be here
    "faces": Expected("'auto', 'crop', 'detect' or 'landmarks' (boxes or points go to the faces of match or enroll)"),
    "detector": Expected("a string such as 'yunet:FILE', or None"),
    "gallery_matcher": Expected("the name of a matcher, or None for the one of the probes"),
    "pixel_aspect": Expected("a width by height, a finite number of 0.2 to 5", 0.2, 5 + 2**-20),
    "scales": Expected("distinct integers of at least 1 (1 = a translation; the picture itself is identity=True)", 1),
    "identity_weight": Expected("a finite number above 0", 2**-20),
    "sharp_between": Expected("two effective resolutions (low, high) with 1 <= low <= high px, or None for no probe", 1),
    "sigmas": Expected("at least one blur of 0 px or more, all finite numbers", 0),
    "work_size": Expected("an integer of at least 8 px, or None for native", 8),
    "degrade_size": Expected("an integer of at least 8 px, or None for as large as they are", 8),
    "lr_size": Expected("an integer of at least 8 px, two or more of them in rising order, or None for native", 8),
    "paths": Expected("a string such as 'len<=2', or a sequence of paths, each a string or a sequence of names"),
    "draws_per_node": Expected("an integer of at least 1", 1),
    "portrait_weight": Expected("an integer of at least 1", 1),
    "degradations": Expected("a DegradationOptions"),
    "seed": Expected("an integer in [0, 2**64)", 0, 2**64),
    "hue": Expected("a finite number of turns, at least 0", 0),
    "saturation": _RANGE, "brightness": _RANGE, "contrast": _RANGE,
    "persp_scale": Expected("a share of the side in [0, 0.5)", 0, 0.5),
    "shear": Expected("degrees in [0, 90)", 0, 90),
    "downup_factors": Expected("at least one factor, all integers of at least 2", 2),
    "patch": Expected("a block side, an integer of at least 1", 1),
}


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
        check(self, _EXPECTED)
        for name in ("saturation", "brightness", "contrast"):
            low, high = getattr(self, name)
            if low > high:
                raise refused(self, _EXPECTED, name)
        if not self.downup_factors:
            raise refused(self, _EXPECTED, "downup_factors")


@dataclass(frozen=True)
class MatchConfig:
    """One complete recipe for scores. Take one of :data:`meetmid.PRESETS` and ``dataclasses.replace`` its fields.

    Faces: ``faces`` where the faces are (``"crop"`` a picture is one, ``"detect"`` find the most prominent one, ``"auto"`` the
    first for pictures of up to 192 px that show hardly more than a face (aligned, with ``crop="arcface5"`` and square pixels,
    where the finder that ships is sure that it is not, :mod:`meetmid.faces.lying`), else the second, ``"landmarks"`` a picture
    is a crop whose five points are found), ``crop`` how a found face is cut (``"arcface5"`` five-point alignment, a probe's
    small face twice as fine as its pixels; ``"box"`` the detector's box x 1.3, squashed, as in the paper; ``"square"`` the same
    box made square first), ``detector`` which finder (None or ``"finder"``: the one that ships; ``"yunet"``, ``"yunet:FILE"``,
    ``"scrfd:FILE"``, ``"insightface:PACK"``, ``"finder:MODEL"``). ``pixel_aspect``, the width of a probe's pixel by its height,
    where they are not square: the picture as it is shown has square ones, so that of a recorder that shows 704 x 288 of them at
    4:3 is 4/3 * 288/704 = 0.545. Such a probe is enlarged along one side before its face is found or cut, by boxes and points
    in its own pixels; its native size counts these. What ``"crop"`` or ``"auto"`` takes for a crop stays as it is, so do
    portraits. Where it is 1, the status of a probe of a size that hardly anything but a recorder has says so.

    Probe: ``scales`` of the ``hallucinator`` (1 = one that keeps the size and translates, say, thermal to visible),
    ``sigmas`` of blur, ``lr_size`` the side of its input (``None`` = native; of several an entry has the one nearest to the
    effective resolution of its most detailed picture, :meth:`nearest`), ``blur_at`` the ``"working"`` (after the resize) or
    ``"native"`` picture.

    Gallery: ``paths`` (see :func:`meetmid.gallery.paths.select_paths`), ``work_size`` the longest side of a portrait
    before anything is made of it (``None`` = native), ``degrade_size`` the one that it is reduced or enlarged to before it is
    degraded (``None`` = as large as it is; the undegraded one always is): blurs are so many pixels wide, hardly anything of a
    large picture and all of a small one. ``resolution_matching`` to the probe's enlarged sizes (of several ``lr_size`` to
    those of each, so that one enrolment serves all probes), ``draws_per_node`` independent random trees.

    ``identity`` keeps the un-hallucinated probe and the undegraded portrait as a scale of their own (1x), the probe counted
    ``identity_weight`` times and the portrait ``portrait_weight`` times. Without ``scales`` the degraded portraits join it at
    their own size.

    Sharp probes: one whose effective resolution (:mod:`meetmid.probes.resolution`) reaches the higher of ``sharp_between`` is a
    picture like the portraits: it is seen as it is by their network and meets the undegraded portraits alone, centred by the
    mean of their side. Up to the lower one it is far and meets them all. Between, its score is the mean of both, weighted in
    proportion (:meth:`share_as_it_is`). An entry of several pictures has the largest of their weights, and each takes part as
    it is by its own, where the rule weighs; where that is 1 and some take no part, the status says so. Where it weighs, each
    also counts by the pixels that it holds, the square of its effective resolution, in both comparisons (not with
    ``centering="set"``, in whose mean each counts once). Before that the pixels that a digital zoom repeated are joined
    (:mod:`meetmid.faces.repeats`), which the status says too.

    Light: ``even_light`` brings probes whose face is lit as networks seldom saw - dark, pale, from above or the side, by a
    coloured lamp - back to what is usual (:mod:`meetmid.probes.light`) before a hypothesis is made of them; the status says
    which. Their detail is measured, and their crop kept, as they came.

    Hidden parts: ``covered_by`` says what hides a part of the probes' faces: a ``"mask"`` (or scarf), dark ``"glasses"`` or a
    ``"hat"``. Each probe and each portrait, degraded or not, is then seen at its own size with these rows covered too
    (:mod:`meetmid.faces.covers`), as a scale of its own that ``identity_weight`` and ``portrait_weight`` weigh alike. It needs
    faces aligned like ArcFace's, and a gallery that was enrolled for it. Where something seems to hide a part of a face
    and it was not said, the status tells (:mod:`meetmid.faces.worn`); that changes no score.

    Matchers: ``matcher``, and ``gallery_matcher`` where another network makes the gallery's templates in the same space;
    ``degraded_by`` says which of the two sees the degraded portraits: the ``"gallery"`` network, or the ``"probe"`` network,
    which was made for such pictures.

    Templates: ``flip`` adds the mirrored picture's template; ``normalize`` before centring and T_add (networks.md 4.6,
    question F2); ``centering`` (networks.md section 4.5). Scores: ``probe_rule``, ``gallery_rule``, ``pairing``, ``order``,
    ``select`` (see :func:`meetmid.fuse`); ``portraits`` of one gallery subject are pooled, or the best one counts
    (``"max"``, networks.md question F5); ``score_norm`` ``"z"`` divides the scores of every portrait by their root mean square
    over the cohort of the reference means (Z-norm), so that a portrait that looks like everyone does not win by it.

    Every field is checked: ConfigError says what was expected and got. Numpy's numbers and lists become plain ones.
    """

    preset: str = "custom"
    matcher: str = "slimface-probe"
    gallery_matcher: str | None = None
    hallucinator: str = "edsr-face"
    detector: str | None = None
    faces: Faces = "auto"
    color: Color = "rgb"
    crop: Crop = "arcface5"
    pixel_aspect: float = 1.0
    scales: tuple[int, ...] = (2, 4, 8)
    sigmas: tuple[float, ...] = SIGMAS
    lr_size: int | tuple[int, ...] | None = 24
    blur_at: Literal["working", "native"] = "working"
    identity: bool = True
    identity_weight: float = 1.0
    sharp_between: tuple[float, float] | None = None
    even_light: bool = False
    covered_by: Cover = "nothing"
    portrait_weight: int = 1
    degraded_by: Literal["gallery", "probe"] = "gallery"
    paths: str | tuple[str | tuple[str, ...], ...] = "len<=3"
    resolution_matching: bool = True
    work_size: int | None = 512
    degrade_size: int | None = None
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
    score_norm: ScoreNorm = "none"
    seed: int = 0
    errors: Errors = "record"
    keep_crops: bool = True

    def __post_init__(self) -> None:
        check(self, _EXPECTED)
        if (self.probe_rule == "T_concat") != (self.gallery_rule == "T_concat"):
            raise ConfigError(f"T_concat needs both sides, got probe {self.probe_rule} and gallery {self.gallery_rule}")
        if not self.scales and not self.identity:
            raise ConfigError("a configuration without super-resolution scales needs identity=True")
        if len(set(self.scales)) != len(self.scales):
            raise refused(self, _EXPECTED, "scales")
        if isinstance(self.lr_size, tuple) and (len(self.lr_size) < 2 or list(self.lr_size) != sorted(set(self.lr_size))):
            raise refused(self, _EXPECTED, "lr_size")
        if self.sizes and not (self.scales and self.resolution_matching):
            raise ConfigError(
                f"lr_size={self.lr_size} expects scales and resolution_matching=True, got scales={self.scales} and "
                f"resolution_matching={self.resolution_matching}: where nothing is enlarged or matched, no size matters"
            )
        if self.sharp_between is not None and self.sharp_between[0] > self.sharp_between[1]:
            raise refused(self, _EXPECTED, "sharp_between")
        if self.sharp_between is not None and not self.comparable:
            raise ConfigError(
                "sharp_between expects identity=True and no scale 1: sharp probes meet undegraded portraits as they are, which "
                f"pictures that need a translation cannot; got identity={self.identity}, scales={self.scales}"
            )
        if self.even_light and 1 in self.scales:
            raise ConfigError(f"even_light=True expects no scale 1: what is translated need not show light; got {self.scales}")
        if self.covers and not (self.comparable and self.crop == "arcface5"):
            raise ConfigError(
                f"covered_by={self.covered_by!r} expects identity=True, no scale 1 and crop='arcface5', got {self.identity}, "
                f"{self.scales} and {self.crop!r}"
            )
        if self.scales and not self.sigmas:
            raise refused(self, _EXPECTED, "sigmas")
        if self.score_norm == "z" and not self.additive:
            raise ConfigError(
                "score_norm='z' expects centering='reference', identity=True, a gallery_rule of T_add or S_add, pairing='all' "
                f"and portraits='pool', got {self.centering!r}, {self.identity}, {self.gallery_rule}, {self.pairing!r} and "
                f"{self.portraits!r}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The several ``lr_size`` of which every probe has one; () where there is one, or the probe's own."""
        return self.lr_size if isinstance(self.lr_size, tuple) else ()

    @property
    def lr_side(self) -> int | None:
        """The ``lr_size`` of a configuration that has one."""
        assert not isinstance(self.lr_size, tuple)
        return self.lr_size

    def nearest(self, resolution: float) -> int:
        """Which of the ``sizes`` is nearest in octaves to an effective resolution; the larger of two, the first for NaN."""
        beyond = (low * high <= resolution**2 for low, high in pairwise(self.sizes))
        return sum(beyond)

    def at_resolution(self, resolution: float) -> MatchConfig:
        """The configuration as a picture of this effective resolution has it: that of one ``lr_size``."""
        return replace(self, lr_size=self.sizes[self.nearest(resolution)]) if self.sizes else self

    def share_as_it_is(self, resolution: float) -> float:
        """What part of a score the comparison of a probe of this effective resolution as it is makes up, in [0, 1]."""
        if self.sharp_between is None:
            return 0.0
        low, high = self.sharp_between
        if resolution >= high:
            return 1.0
        return (resolution - low) / (high - low) if resolution > low else 0.0

    @property
    def covers(self) -> bool:
        """Whether there is a scale of covered pictures."""
        return self.covered_by != "nothing"

    @property
    def own_scales(self) -> int:
        """How many scales, the first ones, hold pictures at their own size: as they are, and covered."""
        return self.identity + self.covers

    @property
    def comparable(self) -> bool:
        """Whether probes can be compared as they are."""
        return self.identity and 1 not in self.scales

    @property
    def additive(self) -> bool:
        """Whether a score is a product with one vector per portrait, and the cohort's probes are known."""
        adds = self.gallery_rule in ("T_add", "S_add") and self.pairing == "all" and self.portraits == "pool"
        return adds and self.identity and self.centering == "reference"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MatchConfig:
        """The inverse of :meth:`to_dict`; raises ConfigError for unknown keys, and for missing ones but those that earlier
        versions did not have."""
        data = known_fields(values, cls, "configuration keys")
        options = data.get("degradations")
        if not isinstance(options, DegradationOptions | None):
            data["degradations"] = DegradationOptions(**known_fields(options, DegradationOptions, "degradation options"))
        made, missing = cls(**data), {own.name for own in fields(cls)} - {*data, *_LATER}
        if isinstance(options, dict):
            missing |= {own.name for own in fields(DegradationOptions)} - options.keys()
        if missing:
            told = ", ".join(sorted(missing))
            raise ConfigError(f"a configuration expects every key that to_dict() gives, got none of {told}")
        return made

    def hash(self) -> str:
        """16 hex digits that change with anything that can change a score."""
        return _digest({key: value for key, value in self.to_dict().items() if key not in ("preset", "errors", "keep_crops")})

    def gallery_hash(self) -> str:
        """16 hex digits of what an enrolled gallery depends on: everything but the probe side and the fusion."""
        return _digest(self.gallery_values())

    def gallery_values(self) -> dict[str, Any]:
        """:meth:`to_dict` without the keys that an enrolled gallery does not depend on."""
        values = {key: value for key, value in self.to_dict().items() if key not in _NOT_GALLERY}
        portraits = self.gallery_matcher or self.matcher
        both = self.degraded_by == "probe" and portraits != self.matcher
        return values | {"matcher": f"{portraits}+{self.matcher}" if both else portraits}


_NOT_GALLERY = frozenset((
    "preset", "errors", "keep_crops", "hallucinator", "sigmas", "blur_at", "centering", "probe_rule", "gallery_rule",
    "pairing", "order", "select", "portraits", "faces", "color", "detector", "gallery_matcher", "identity_weight",
    "score_norm", "sharp_between", "even_light", "pixel_aspect",
))


_LATER = {
    "portrait_weight": 1, "degraded_by": "gallery", "score_norm": "none", "sharp_between": None, "even_light": False,
    "pixel_aspect": 1.0, "degrade_size": None, "covered_by": "nothing",
}
"""Fields that hashes leave out at these values, since there were hashes before there were the fields."""


def _digest(values: dict[str, Any]) -> str:
    told = {key: value for key, value in values.items() if key not in _LATER or value != _LATER[key]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
