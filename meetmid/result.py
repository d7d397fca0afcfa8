"""What a match returns: the matrix, who is in it, what failed, and why a score is what it is."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, InputError, StoreError
from meetmid.evaluation.calibration import Calibration
from meetmid.faces.detection import FINDS
from meetmid.gallery.crops import CropStore
from meetmid.gallery.hypotheses import GalleryHypothesis
from meetmid.gallery.store import Gallery
from meetmid.interchange import aside, read_arrays, write_rows
from meetmid.probes.hypotheses import ProbeHypothesis
from meetmid.scores.ranking import Candidate, check_count, ranked
from meetmid.status import Failure, failures, usable
from meetmid.validation import is_whole

if TYPE_CHECKING:
    from meetmid.matcher import Matcher


UNCALIBRATED = "scores are uncalibrated similarities: they rank candidates, they are no probabilities and no decision"
CALIBRATED = (
    "likelihood ratios hold for pictures like those of the calibration; a posterior also needs the prior odds of the case"
)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one probe and one portrait got their score.

    ``probe`` and ``gallery`` name the most alike pair of hypotheses that the score rests on, ``similarity`` is that pair's
    own, ``probe_picture`` and ``gallery_picture`` (h, w, 3) uint8 RGB show it. ``synthetic`` is True where the probe's
    picture was made by a generator: it is no evidence of what the person looks like. ``probe_shares`` and
    ``gallery_shares`` give every hypothesis's share of the score, largest first; each list sums to 1, of parts of both signs
    where hypotheses disagree about a score near 0. A hypothesis is named once per picture, and once more where the pictures
    were also compared as they are (:class:`meetmid.MatchConfig`, sharp probes). ``heat`` (h, w) in [0, 1] shows what the
    generator attended to in its input, where it tells (AG-GAN).
    """

    probe_id: str
    gallery_id: str
    score: float
    similarity: float
    probe: ProbeHypothesis
    gallery: GalleryHypothesis
    probe_picture: NDArray[np.uint8] = field(repr=False)
    gallery_picture: NDArray[np.uint8] = field(repr=False)
    synthetic: bool
    probe_shares: tuple[tuple[ProbeHypothesis, float], ...] = field(repr=False)
    gallery_shares: tuple[tuple[GalleryHypothesis, float], ...] = field(repr=False)
    heat: NDArray[np.float32] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        mark = " (synthetic)" if self.synthetic else ""
        return (
            f"{self.probe_id} against {self.gallery_id}: score {self.score:.4f}; the most alike pair ({self.similarity:.4f}) "
            f"is the probe {self.probe}{mark} and the portrait {self.gallery}"
        )


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Similarities of P probes and G gallery entries; higher = more alike, comparable within one configuration only.

    ``scores`` (P, G) float32, NaN in the row or column of a failed entry; ``*_ids`` and ``*_status`` (:mod:`meetmid.status`);
    ``probe_size`` (P, 3) float32: native face size and effective resolution in pixels, noise in grey levels (NaN where failed);
    ``warnings`` about the whole result; ``config`` and ``models`` (name to sha256 and device, also of what looked for faces)
    say how it was made; ``seconds`` per stage; ``calibration`` turns scores into likelihood ratios where one was given.
    """

    scores: NDArray[np.float32] = field(repr=False)
    probe_ids: tuple[str, ...] = field(repr=False)
    gallery_ids: tuple[str, ...] = field(repr=False)
    probe_status: tuple[str, ...] = field(repr=False)
    gallery_status: tuple[str, ...] = field(repr=False)
    probe_size: NDArray[np.float32] = field(repr=False)
    warnings: tuple[str, ...]
    config: MatchConfig = field(repr=False)
    models: dict[str, str]
    seconds: dict[str, float]
    probe_crops: CropStore | None = field(default=None, repr=False)
    probe_first: NDArray[np.int64] | None = field(default=None, repr=False)
    probe_means: NDArray[np.float32] | None = field(default=None, repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    source: tuple[Matcher, Gallery] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """A pickled result is like a saved one: the matcher and the gallery stay behind."""
        return {**self.__dict__, "source": None}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.scores, dtype=dtype, copy=copy)

    @classmethod
    def merged(cls, parts: Sequence[MatchResult]) -> MatchResult:
        """One result of a job that was split: parts with the same probes and other portraits, or the other way round, in the
        order in which they shall stand. It is the result of the whole job, bit for bit, whatever the parts.

        Raises InputError for parts that are not of one job or carry different calibrations, or whose scores depend on all that
        is compared (``centering="set"``, ``select="best"``).
        """
        if not parts:
            raise InputError("merged expects at least one result, got none")
        first, columns = parts[0], len({p.probe_ids for p in parts}) == 1
        _check_parts(parts, columns)
        seconds: dict[str, float] = {}
        for part in parts:
            seconds = {stage: seconds.get(stage, 0.0) + part.seconds.get(stage, 0.0) for stage in {**seconds, **part.seconds}}
        whole = replace(
            first, scores=np.concatenate([p.scores for p in parts], axis=int(columns)), seconds=seconds, source=None,
            warnings=tuple(dict.fromkeys(warning for p in parts for warning in p.warnings)),
            models={name: told for p in parts for name, told in p.models.items()},
        )
        if columns:
            return replace(
                whole, gallery_ids=tuple(name for p in parts for name in p.gallery_ids),
                gallery_status=tuple(status for p in parts for status in p.gallery_status),
            )
        crops, pictures = _joined_crops(parts)
        return replace(
            whole, probe_ids=tuple(name for p in parts for name in p.probe_ids),
            probe_status=tuple(status for p in parts for status in p.probe_status),
            probe_size=np.concatenate([p.probe_size for p in parts]), probe_crops=crops, probe_first=pictures,
        )

    @property
    def failed(self) -> tuple[Failure, ...]:
        """(side, id, reason) of every entry without a score."""
        probes = failures("probe", self.probe_ids, self.probe_status)
        return probes + failures("gallery", self.gallery_ids, self.gallery_status)

    @property
    def made_with(self) -> dict[str, str]:
        """What the scores depend on, for :func:`meetmid.evaluation.calibrate`: configuration hash, model name to sha256. Raises
        ConfigError for scores that no calibration can be for."""
        return made_with(self.config, self.models)

    def rank(self, k: int = 10, strength: float = 100.0) -> list[list[Candidate]]:
        """The k best gallery entries of every probe: by score, ties by position; empty for a failed probe.

        With a calibration each has its likelihood ratio, and the decision that ``strength`` asks for (:meth:`decisions`).
        Raises InputError for ``k`` below 1.
        """
        return candidates(self.scores, self.gallery_ids, k, self.calibration, strength)

    def log10_lr(self) -> NDArray[np.float64]:
        """Decimal logarithms of the likelihood ratios (P, G); raises InputError without a calibration."""
        return self._calibration().log10_lr(self.scores)

    def decisions(self, strength: float = 100.0) -> NDArray[np.str_]:
        """(P, G): "same person", "different people" or "no decision", :meth:`meetmid.evaluation.Calibration.decide`."""
        return self._calibration().decide(self.scores, strength)

    def _calibration(self) -> Calibration:
        if self.calibration is None:
            raise InputError("these scores are not calibrated: give the Matcher a calibration learned from other people")
        return self.calibration

    def explain(
        self, p: int | str, g: int | str, *, matcher: Matcher | None = None, gallery: Gallery | None = None
    ) -> Explanation:
        """Why probe ``p`` and gallery entry ``g`` (positions or ids) got their score.

        The hypotheses are made anew from the kept crops; the templates of both entries are held at once, whatever
        ``memory_limit`` is. A result read from a file or a pickle needs the ``matcher`` and the enrolled ``gallery`` it was
        made with (one of native size, ``lr_size=None``, cannot be explained then). Raises InputError for a failed entry or
        where no crops were kept.
        """
        from meetmid.explain import explain

        return explain(self, _position(p, self.probe_ids), _position(g, self.gallery_ids), matcher, gallery)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``.npz`` or ``.json`` (everything; npz with the probe crops) or ``.csv`` (the matrix with ids and statuses)."""
        target = Path(path)
        kind = target.suffix.lower()
        if kind not in (".csv", ".npz", ".json"):
            raise InputError(f"{target}: a result is saved as .csv, .npz or .json, got {kind or 'no ending'!r}")
        with aside(target) as new:
            if kind == ".csv":
                write_rows(new, self._rows())
            elif kind == ".json":
                rows = [[None if np.isnan(v) else float(v) for v in row] for row in self.scores]
                sizes = [[None if np.isnan(v) else float(v) for v in row] for row in self.probe_size]
                values = {**self._header(), "scores": rows, "probe_size": sizes}
                new.write_text(json.dumps(values, indent=1), encoding="utf-8")
            else:
                arrays: dict[str, Any] = {"scores": self.scores, "probe_size": self.probe_size}
                if self.probe_crops is not None and self.probe_first is not None:
                    arrays["crops"], arrays["crop_lengths"] = self.probe_crops.pack()
                    arrays["probe_first"] = self.probe_first
                if self.probe_means is not None:
                    arrays["probe_means"] = self.probe_means
                header = np.frombuffer(json.dumps(self._header()).encode(), np.uint8)
                with new.open("wb") as file:
                    np.savez(file, header=header, **arrays)

    def _header(self) -> dict[str, Any]:
        return {
            "format": "meetmid-result-1", "probe_ids": self.probe_ids, "gallery_ids": self.gallery_ids,
            "probe_status": self.probe_status, "gallery_status": self.gallery_status, "warnings": self.warnings,
            "config": self.config.to_dict(), "models": self.models, "seconds": self.seconds,
            "calibration": None if self.calibration is None else asdict(self.calibration),
        }

    def _rows(self) -> Iterator[list[str]]:
        yield ["probe", "status", *self.gallery_ids]
        yield ["", "gallery status", *self.gallery_status]
        for name, status, row in zip(self.probe_ids, self.probe_status, self.scores, strict=True):
            yield [name, status, *("" if np.isnan(v) else repr(float(v)) for v in row)]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MatchResult:
        """Read a saved ``.npz`` or ``.json``; raises StoreError."""
        source = Path(path)
        try:
            if source.suffix.lower() == ".json":
                values = json.loads(source.read_text(encoding="utf-8"))
                arrays: dict[str, Any] = {
                    key: np.array([[np.nan if v is None else v for v in row] for row in values[key]], np.float32)
                    for key in ("scores", "probe_size")
                }
            else:
                arrays = read_arrays(source)
                values = json.loads(arrays.pop("header").tobytes())
            calibration = values.get("calibration")
            sizes = np.full((len(arrays["probe_size"]), 3), np.nan, np.float32)
            sizes[:, : arrays["probe_size"].shape[1]] = arrays["probe_size"]  # older ones have no noise
            crops = CropStore.unpack(arrays["crops"], arrays["crop_lengths"]) if "crops" in arrays else None
            result = cls(
                arrays["scores"], tuple(values["probe_ids"]), tuple(values["gallery_ids"]), tuple(values["probe_status"]),
                tuple(values["gallery_status"]), sizes, tuple(values["warnings"]),
                MatchConfig.from_dict(values["config"]), values["models"], values["seconds"], crops,
                arrays.get("probe_first"), arrays.get("probe_means"),
                None if calibration is None else Calibration.of(calibration),
            )
            _check_sizes(result)
            return result
        except (
            OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, ConfigError
        ) as error:
            raise StoreError(
                f"{source}: expected a result saved as .npz or .json (a .csv holds the matrix only), got "
                f"{type(error).__name__}: {error}"
            ) from error


def candidates(
    scores: NDArray[np.float32], ids: tuple[str, ...], k: int, calibration: Calibration | None, strength: float
) -> list[list[Candidate]]:
    """The ``k`` best of every row, with likelihood ratios and decisions where there is a calibration."""
    check_count(k)
    found = [ranked(row, ids, k) for row in scores]
    if calibration is None:
        return found
    return [
        [
            replace(c, log10_lr=float(calibration.log10_lr(c.score)), decision=str(calibration.decide(c.score, strength)))
            for c in row
        ]
        for row in found
    ]


def made_with(config: MatchConfig, models: dict[str, str]) -> dict[str, str]:
    """What scores depend on; raises ConfigError where they also depend on the other pictures of a run."""
    if config.centering == "set":
        raise ConfigError(
            "centering='set' makes every score depend on all pictures of its run, so no calibration holds for another run: "
            "use 'reference', 'vector' or 'none'"
        )
    return {"config": config.hash(), **{name: text.split()[1] for name, text in models.items() if not text.endswith(FINDS)}}


def _check_sizes(result: MatchResult) -> None:
    """Raise ValueError where ids, statuses, sizes or crops are not those of the scores."""
    sides = (result.probe_ids, result.probe_status), (result.gallery_ids, result.gallery_status)
    probes, portraits = ({len(texts) for texts in side} for side in sides)
    fits = result.scores.ndim == 2 and (probes, portraits) == tuple({n} for n in result.scores.shape)
    if not fits or len(result.probe_size) != len(result.scores):
        raise ValueError(f"ids, statuses or sizes that are not those of scores {result.scores.shape}")
    if not all(isinstance(text, str) for side in sides for texts in side for text in texts):
        raise ValueError("ids or statuses that are no texts")
    if result.scores.dtype != np.float32 or not isinstance(result.models, dict):
        raise ValueError(f"scores of {result.scores.dtype} or models of {type(result.models).__name__}")
    first, crops = result.probe_first, result.probe_crops
    if first is None:
        return
    whole = first.shape == (len(result.scores) + 1,) and first.dtype.kind == "i" and crops is not None
    if not (whole and first[0] == 0 and first[-1] == len(crops or ()) and (np.diff(first) >= 0).all()):
        raise ValueError("crops that are not those of the probes")


def _check_parts(parts: Sequence[MatchResult], columns: bool) -> None:
    config = parts[0].config
    if config.centering == "set" or (config.select == "best" and columns and len(parts) > 1):
        raise InputError("with centering='set' or select='best' a score depends on all that is compared: such jobs stay whole")
    own = [sorted(its for its in p.models.items() if not its[1].endswith(FINDS)) for p in parts]
    if any(p.config.hash() != config.hash() or its != own[0] for p, its in zip(parts, own, strict=True)):
        raise InputError("the parts were made with different configurations or models")
    if any(p.calibration != parts[0].calibration for p in parts):
        raise InputError("the parts carry different calibrations, or only some carry one: match all parts with the same one")
    if not columns and len({p.gallery_ids for p in parts}) > 1:
        raise InputError("the parts have neither the same probes nor the same portraits")
    first = parts[0]
    there = [usable(status) for status in first.probe_status]
    same = all(
        [usable(status) for status in p.probe_status] == there
        and np.array_equal(p.probe_size, first.probe_size, equal_nan=True) for p in parts
    )
    if columns and not same:
        raise InputError("the parts have probes of the same ids, but not the same probes")
    names = [name for p in parts for name in (p.gallery_ids if columns else p.probe_ids)]
    if len(set(names)) < len(names):
        raise InputError(f"some {'portraits' if columns else 'probes'} are in several parts")


def _joined_crops(parts: Sequence[MatchResult]) -> tuple[CropStore | None, NDArray[np.int64] | None]:
    kept = [(p.probe_crops, p.probe_first) for p in parts if p.probe_crops is not None and p.probe_first is not None]
    if len(kept) < len(parts):
        return None, None
    counts = np.concatenate([np.diff(first) for _, first in kept])
    crops = CropStore.joined([CropStore.unpack(*store.pack()) for store, _ in kept])
    return crops, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _position(key: int | str, ids: tuple[str, ...]) -> int:
    if isinstance(key, str):
        if key not in ids:
            raise InputError(f"no entry {key!r}; the ids are {', '.join(ids[:5])}{' ...' if len(ids) > 5 else ''}")
        return ids.index(key)
    if not is_whole(key, -len(ids)) or key >= len(ids):
        raise InputError(f"expected an id or a position below {len(ids)}, got {key!r}")
    return key % len(ids)
