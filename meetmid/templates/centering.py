"""Centring: the bars of eq. 3 of Grm et al. 2023, in the four readings of networks.md section 4.5."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ConfigError, ModelError, StoreError
from meetmid.interchange import aside, read_arrays
from meetmid.templates.pool import TemplatePool

FIXED_POINT = 2.0**28
ROWS = 256
"""Templates converted at a time."""


class MeanAccumulator:
    """Weighted means per scale in fixed point, so that the order of the pictures cannot change a bit."""

    def __init__(self, scales: int, length: int) -> None:
        self._total = np.zeros((scales, length), np.int64)
        self._mass = np.zeros(scales, np.int64)
        self._largest = 0.0

    def add(self, templates: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
        """Add one picture's templates (S, N, D) with weights (S, N); raises ModelError where the sum would overflow."""
        counts = weights.astype(np.int64)
        for scale, start in product(range(len(templates)), range(0, templates.shape[1], ROWS)):
            rows, own = templates[scale, start : start + ROWS].astype(np.float64), counts[scale, start : start + ROWS]
            self._largest += float(np.abs(rows).max(initial=0.0)) * float(own.sum())
            if self._largest * FIXED_POINT >= 2.0**62:
                raise ModelError(
                    "the matcher's templates are too large to average (components that sum to more than 1.7e10); use "
                    "normalize='l2'"
                )
            self._total[scale] += (np.rint(rows * FIXED_POINT).astype(np.int64) * own[:, None]).sum(axis=0)
        self._mass += counts.sum(axis=1)

    def means(self) -> NDArray[np.float32]:
        """(S, D) float32; zero for a scale that nothing was added to."""
        mass = np.maximum(self._mass, 1)[:, None]
        return (self._total / (mass * FIXED_POINT)).astype(np.float32)


def pool_means(pool: TemplatePool) -> NDArray[np.float32]:
    """Mean template (S, D) of every scale over a whole pool."""
    total = MeanAccumulator(pool.templates.shape[1], pool.templates.shape[3])
    for templates, weights in zip(pool.templates, pool.weights, strict=True):
        total.add(templates, weights)
    return total.means()


def pool_moment(pool: TemplatePool, means: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Mean outer product (D, D) of the templates of a pool's first slot, centred by the first of ``means`` (S, D) and at unit
    length; the mean square of any vector's products with them is that vector's quadratic form in it. None for fewer than two
    pictures, which centring leaves nothing of."""
    there = (pool.weights[:, 0, 0] > 0).nonzero()[0]
    if len(there) < 2:
        return None
    total = np.zeros((pool.templates.shape[3],) * 2)
    for start in range(0, len(there), ROWS):
        rows = np.stack([pool.templates[k][0, 0] for k in there[start : start + ROWS].tolist()]).astype(np.float64) - means[0]
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        total += rows.T @ rows
    moment: NDArray[np.float32] = (total / len(there)).astype(np.float32)
    return moment


@dataclass(frozen=True, eq=False)
class ReferenceMeans:
    """Mean templates of a cohort per side and scale, learned once and used for any number of probes.

    ``scales`` (S,) labels (1 = identity, below 0 = covered), ``probe`` and ``gallery`` (S, D) float32, ``matcher`` the
    network's sha256, ``conditions`` what they were learned under (normalisation, flip, crop, cohort size ...). ``moment`` (D,
    D) float32 of the probes as they are (:func:`pool_moment`), which ``score_norm="z"`` needs.
    """

    matcher: str
    scales: tuple[int, ...]
    probe: NDArray[np.float32]
    gallery: NDArray[np.float32]
    conditions: dict[str, Any]
    moment: NDArray[np.float32] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the means and what they are for."""
        parts = [self.matcher.encode(), np.array(self.scales).tobytes(), self.probe.tobytes(), self.gallery.tobytes()]
        parts += [] if self.moment is None else [self.moment.tobytes()]
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    def check(self, matcher: str, normalize: str, flip: bool) -> None:
        """Raise ConfigError unless the means were learned with this matcher (its sha256), normalisation and flip option."""
        wanted, got = (matcher, normalize, flip), (self.matcher, self.conditions.get("normalize"), self.conditions.get("flip"))
        if wanted != got:
            raise ConfigError(
                f"reference means were learned for (matcher, normalize, flip) = {got}, this configuration has {wanted}; "
                f"learn them with Matcher.learn_means"
            )

    def of(self, side: Literal["probe", "gallery"], scales: tuple[int, ...]) -> NDArray[np.float32]:
        """The means (S, D) of the wanted scales; raises ConfigError when one was not learned."""
        missing = [s for s in scales if s not in self.scales]
        if missing:
            raise ConfigError(
                f"reference means were learned for scales {self.scales}, not for {missing} (1: pictures as they are; below 0: "
                f"covered_by); learn them with Matcher.learn_means or choose another centering"
            )
        rows = self.probe if side == "probe" else self.gallery
        return np.ascontiguousarray(rows[[self.scales.index(s) for s in scales]])

    def second_moment(self) -> NDArray[np.float32]:
        """``moment``; raises ConfigError where it was not learned."""
        if self.moment is None:
            raise ConfigError(
                "score_norm='z' needs the second moment of the cohort's probes, which these reference means lack: learn them "
                "with Matcher.learn_means from at least two probes, identity=True"
            )
        return self.moment

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz without pickled objects, byte for byte reproducible, whole or not at all; raises OSError."""
        header = json.dumps({"matcher": self.matcher, "conditions": self.conditions}, sort_keys=True)
        arrays: dict[str, Any] = {"scales": np.array(self.scales), "probe": self.probe, "gallery": self.gallery}
        arrays["header"] = np.frombuffer(header.encode(), np.uint8)
        if self.moment is not None:
            arrays["moment"] = self.moment
        with aside(Path(path)) as new, new.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ReferenceMeans:
        """Read what :meth:`save` wrote; raises StoreError."""
        try:
            data = read_arrays(Path(path))
            header = json.loads(data["header"].tobytes())
            return cls(
                header["matcher"], tuple(int(s) for s in data["scales"]), data["probe"], data["gallery"],
                header["conditions"], data.get("moment"),
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise StoreError(f"{os.fspath(path)}: expected reference means written by meetmid, got {error}") from error
