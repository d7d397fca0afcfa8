"""From scores to likelihood ratios: calibrations learned on one set of people and applied to another."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import ConfigError, InputError, StoreError
from meetmid.evaluation.likelihood import pav
from meetmid.evaluation.trials import Trials
from meetmid.interchange import write_text

Values = NDArray[np.float64]
FORMAT = "meetmid-calibration-1"
RIDGE = 0.1
"""Of the slope of standardised scores, times the attempts of the rarer kind. Of 0.02 to 0.5 the one that seldom overstates the
evidence and hardly costs Cllr: 10 to 389 mated and 10 to 50,000 non-mated normal scores, 2 to 6 deviations apart."""

MATCH, NON_MATCH, NO_DECISION = "same person", "different people", "no decision"


@dataclass(frozen=True)
class Calibration:
    """A monotone map of scores to natural-log likelihood ratios (LLR), and what it was learned from.

    ``kind`` "logistic" is llr = slope * score + offset; "isotonic" joins the knots ``scores``, ``llrs`` by lines. No LLR
    beyond what ``n_mated`` and ``n_nonmated`` attempts can show is given: at most log(n_nonmated + 1), at least
    -log(n_mated + 1). ``made_with`` (configuration hash, model hashes) says which scores it is for; {} for any.
    ``mated`` and ``nonmated`` are quantiles of the scores it was learned from (0, 1, ... 100 %), for a reader to compare with.
    """

    kind: Literal["logistic", "isotonic"]
    n_mated: int
    n_nonmated: int
    slope: float = 0.0
    offset: float = 0.0
    scores: tuple[float, ...] = field(default=(), repr=False)
    llrs: tuple[float, ...] = field(default=(), repr=False)
    made_with: dict[str, str] = field(default_factory=dict)
    mated: tuple[float, ...] = field(default=(), repr=False)
    nonmated: tuple[float, ...] = field(default=(), repr=False)

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and largest LLR that is given."""
        return -math.log(self.n_mated + 1), math.log(self.n_nonmated + 1)

    def llr(self, scores: ArrayLike) -> Values:
        """Natural-log likelihood ratios of scores of any shape, float64; NaN stays NaN."""
        values = np.asarray(scores, np.float64)
        raw = self.slope * values + self.offset if self.kind == "logistic" else np.interp(values, self.scores, self.llrs)
        return np.asarray(np.clip(np.where(np.isnan(values), np.nan, raw), *self.limits))

    def log10_lr(self, scores: ArrayLike) -> Values:
        """Decimal logarithms of the likelihood ratios of scores of any shape."""
        return self.llr(scores) / math.log(10)

    def decide(self, scores: ArrayLike, strength: float = 100.0) -> NDArray[np.str_]:
        """"same person" where the likelihood ratio is at least ``strength``, "different people" where it is at most
        1 / ``strength``, else (and for failures) "no decision". Raises InputError for a strength of at most 1."""
        if not strength > 1.0:
            raise InputError(f"expected a strength of evidence above 1, got {strength}")
        llr, needed = self.llr(scores), math.log(strength)
        return np.select([llr >= needed, llr <= -needed], [MATCH, NON_MATCH], NO_DECISION)

    def check(self, made_with: dict[str, str]) -> None:
        """Raise ConfigError where it was learned from scores of another configuration or other models."""
        if self.made_with and self.made_with != made_with:
            differing = sorted(k for k in {*self.made_with, *made_with} if self.made_with.get(k) != made_with.get(k))
            raise ConfigError(
                f"the calibration is for other scores: {', '.join(differing)} differ; learn it anew with this configuration"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, whole or not at all; raises OSError."""
        write_text(path, json.dumps({"format": FORMAT, **asdict(self)}, indent=1))

    @classmethod
    def of(cls, values: dict[str, Any]) -> Calibration:
        """That of its fields as JSON keeps them; raises ValueError, KeyError or TypeError."""
        lists = ("scores", "llrs", "mated", "nonmated")
        found = cls(**{**values, **{name: tuple(map(float, values[name])) for name in lists}})
        if found.kind not in ("logistic", "isotonic"):
            raise ValueError(f"another kind, {found.kind!r}")
        if not isinstance(found.made_with, dict):
            raise ValueError(f"made with {found.made_with!r}")
        if len(found.scores) != len(found.llrs) or (found.kind == "isotonic" and not found.scores):
            raise ValueError("knots are missing")
        if not (np.diff(found.scores) > 0).all() or not (np.diff(found.llrs) >= 0).all() or not found.slope >= 0:
            raise ValueError("the map falls somewhere")
        if not all(isinstance(n, int) and n > 0 for n in (found.n_mated, found.n_nonmated)):
            raise ValueError("counts are missing")
        if not np.isfinite([found.slope, found.offset, *(v for name in lists for v in getattr(found, name))]).all():
            raise ValueError("a number is not finite")
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what :meth:`save` wrote; raises StoreError."""
        try:
            values: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            return cls.of(values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path}: expected a saved calibration ({FORMAT}), got {type(error).__name__}: {error}") from error


def calibrate(
    mated: ArrayLike | Trials, nonmated: ArrayLike | None = None, *, kind: Literal["logistic", "isotonic"] = "logistic",
    made_with: dict[str, str] | None = None,
) -> Calibration:
    """Learn a calibration from the trials (or mated and non-mated scores) of people who are not matched later.

    "logistic": the affine map with the least prior-free cross-entropy, both kinds weighing the same (N. Bruemmer and J. du
    Preez 2006, section 8), its slope shrunk by a fifth of what an attempt of the rarer kind weighs, which keeps it finite where
    the kinds do not overlap and understates rather than overstates the evidence of few attempts (in the spirit of G. S.
    Morrison and N. Poh, Science & Justice 58(3), 2018). "isotonic": pool-adjacent-violators with one attempt of either kind
    added at the end where it never occurs (Laplace's rule). Failures are left out. Raises InputError for empty kinds, infinite
    scores and where scores do not rise with mates.
    """
    if kind not in ("logistic", "isotonic"):
        raise InputError(f"expected kind 'logistic' or 'isotonic', got {kind!r}")
    if isinstance(mated, Trials):
        mated, nonmated = mated.split()
    sides = [np.asarray([] if side is None else side, np.float64) for side in (mated, nonmated)]
    own, other = (s[~np.isnan(s)] for s in sides)
    if not len(own) or not len(other):
        raise InputError(f"expected mated and non-mated scores to learn from, got {len(own)} and {len(other)}")
    if not all(np.isfinite(s).all() for s in (own, other)):
        raise InputError("expected finite scores to calibrate, or NaN for failures, got infinite ones")
    known: dict[str, Any] = {
        "made_with": dict(made_with or {}),
        **{name: tuple(np.percentile(s, range(101)).tolist()) for name, s in (("mated", own), ("nonmated", other))},
    }
    if kind == "logistic":
        return Calibration(kind, len(own), len(other), *logistic(own, other), **known)
    low, high = min(own.min(), other.min()), max(own.max(), other.max())
    _check_rise(float(own.mean()), float(other.mean()), high - low)
    levels, llrs = pav(np.append(own, low), np.append(other, high))
    return Calibration(kind, len(own), len(other), scores=tuple(levels.tolist()), llrs=tuple(llrs.tolist()), **known)


def logistic(
    own: Values, other: Values, own_weights: Values | None = None, other_weights: Values | None = None
) -> tuple[float, float]:
    """Slope and offset by Newton's method on standardised scores; the weights of scores default to 1. Raises InputError where
    mated scores are not above non-mated ones."""
    counts = [np.ones(len(s)) if w is None else w for s, w in ((own, own_weights), (other, other_weights))]
    if not all(w.sum() > 0 for w in counts):
        raise InputError("expected scores of both kinds with a weight above 0")
    centre, spread = np.concatenate([own, other]).mean(), np.concatenate([own, other]).std()
    means = [float(np.average(s, weights=w)) for s, w in zip((own, other), counts, strict=True)]
    _check_rise(means[0], means[1], float(spread))
    x = (np.concatenate([own, other]) - centre) / spread
    sign = np.repeat([1.0, -1.0], [len(own), len(other)])
    weight = np.concatenate([0.5 * w / w.sum() for w in counts])
    ridge = RIDGE / min(len(own), len(other))
    rows = np.stack([x, np.ones_like(x)])
    solution = np.zeros(2)

    def loss(at: Values) -> float:
        return float(weight @ np.logaddexp(0.0, -sign * (at @ rows)) + ridge * at[0] ** 2 / 2)

    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(np.clip(sign * (solution @ rows), -700, 700)))
        gradient = -(rows @ (weight * sign * p)) + ridge * solution * (1.0, 0.0)
        hessian = (rows * (weight * p * (1 - p))) @ rows.T + np.diag([ridge, 1e-12])
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while loss(solution - length * step) > loss(solution) and length > 1e-8:
            length /= 2
        solution = solution - length * step
        if np.abs(step).max() * length < 1e-10:
            break
    slope = solution[0] / spread
    return float(slope), float(solution[1] - slope * centre)


def _check_rise(mated: float, nonmated: float, spread: float) -> None:
    if not spread > 0 or not mated > nonmated:
        raise InputError(f"expected mated scores above non-mated ones to calibrate, got means {mated:.4g} and {nonmated:.4g}")
