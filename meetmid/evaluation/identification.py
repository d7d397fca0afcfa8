"""One-to-many search: ranks, CMC, and open-set error rates.

Every metric is read off one pass over the matrix (:func:`search`). A person is found when the best of their gallery entries is,
so several mates per probe never count twice. Failures to acquire (NaN) return no candidates: a miss in a mated search, no false
positive in a non-mated one, and counted in either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.intervals import wilson
from meetmid.evaluation.trials import Scores, Trials, listed
from meetmid.evaluation.verification import within

Ties = Literal["against", "for", "half"]
Unit = Literal["subject", "entry"]


@dataclass(frozen=True, eq=False)
class Cmc:
    """Cumulative match characteristic: ``hits[r - 1]`` of ``n`` mated searches have their person at rank r or better."""

    hits: NDArray[np.float64]
    n: int

    @property
    def rates(self) -> NDArray[np.float64]:
        """Identification rates at ranks 1, 2, ..."""
        return self.hits / self.n

    def interval(self, rank: int = 1) -> tuple[float, float]:
        """Wilson 95 % of the rate at a rank, as if searches were independent; :mod:`meetmid.evaluation.uncertainty` need not.
        Raises InputError for a rank that there is not."""
        if not 1 <= rank <= len(self.hits):
            raise InputError(f"expected a rank from 1 to {len(self.hits)}, got {rank}")
        return wilson(round(self.hits[rank - 1]), self.n)


@dataclass(frozen=True, eq=False)
class Search:
    """What P searches of a gallery of ``size`` candidates returned.

    ``mated`` (P,) whether the person is enrolled, ``mate`` (P,) the score of their best entry and ``rank`` (P,) its place from
    1 (float: half ranks where ties count half), NaN where there is none; ``other`` (P,) the best score of anyone else,
    ``subjects`` (P,) who is searched.
    """

    mated: NDArray[np.bool_] = field(repr=False)
    mate: Scores = field(repr=False)
    rank: NDArray[np.float64] = field(repr=False)
    other: Scores = field(repr=False)
    size: int
    subjects: tuple[str, ...] = field(repr=False)

    def hits(self, rank: int = 1) -> NDArray[np.bool_]:
        """(P,) True where the person is among the ``rank`` first candidates."""
        return self.rank <= rank

    def cmc(self, ranks: int | None = None) -> Cmc:
        """Hits at ranks 1 to ``ranks`` (default all) in a closed set; raises InputError naming probes without a mate."""
        if ranks is not None and ranks < 1:
            raise InputError(f"expected at least one rank, got {ranks}")
        alone = np.flatnonzero(~self.mated)
        if len(alone):
            told = listed([f"{k} ({self.subjects[k]})" for k in alone])
            raise InputError(f"expected every probe of a CMC to have a mate in the gallery, got none for the probes {told}")
        n = self._count(True)
        found = np.sort(self.rank[self.mated & ~np.isnan(self.rank)])
        at = np.arange(1, (self.size if ranks is None else ranks) + 1)
        return Cmc(np.searchsorted(found, at, "right").astype(np.float64), n)

    def fnir(self, threshold: ArrayLike, rank: int | None = None) -> Any:
        """False negative identification rate: the share of mated searches without their person above ``threshold`` and, if
        given, among the ``rank`` first candidates (NIST FRTE 1:N, NISTIR 8271, 3.2: N(R, T) / M)."""
        mate = self._mates(rank)
        n = self._count(True)
        return (n - (len(mate) - np.searchsorted(mate, np.asarray(threshold, np.float64), "right"))) / n

    def fpir(self, threshold: ArrayLike) -> Any:
        """False positive identification rate: the share of non-mated searches with any candidate above ``threshold``."""
        tops = self._tops()
        n = self._count(False)
        return (len(tops) - np.searchsorted(tops, np.asarray(threshold, np.float64), "right")) / n

    def threshold_at_fpir(self, target: float) -> float:
        """The smallest threshold whose FPIR is at most ``target``; raises InputError for targets below 1 / n."""
        n, tops = self._count(False), self._tops()
        allowed = within(target, n) if 0.0 < target <= 1.0 else 0
        if allowed == 0:
            raise InputError(
                f"{n} non-mated searches cannot show an FPIR of {target:g}: expected a target from {1 / n:.3g} to 1"
            )
        return float(tops[-1 - allowed]) if allowed < len(tops) else float("-inf")

    def identification(self, target: float) -> tuple[float, float]:
        """FNIR at an FPIR of at most ``target`` whatever the rank (NIST's identification mode), and its threshold."""
        threshold = self.threshold_at_fpir(target)
        return float(self.fnir(threshold)), threshold

    def investigation(self, rank: int = 1) -> float:
        """FNIR of a candidate list of ``rank`` entries without threshold (NIST's investigation mode)."""
        return float(self.fnir(-np.inf, rank))

    def detection_and_identification(self, target: float, rank: int = 1) -> tuple[float, float]:
        """The rate of mated searches whose person is at ``rank`` or better above the threshold of an FPIR of at most
        ``target``, and that threshold (P. J. Phillips et al., "Evaluation methods in face recognition", 2011, section 14.2)."""
        threshold = self.threshold_at_fpir(target)
        return 1.0 - float(self.fnir(threshold, rank)), threshold

    def _count(self, mated: bool) -> int:
        n = int((self.mated == mated).sum())
        if not n:
            raise InputError(f"expected {'mated' if mated else 'non-mated'} searches, got none among {len(self.mated)} probes")
        return n

    def _mates(self, rank: int | None) -> NDArray[np.float64]:
        kept = self.mated & ~np.isnan(self.mate)
        if rank is not None:
            kept &= self.rank <= rank
        return np.sort(self.mate[kept].astype(np.float64))

    def _tops(self) -> NDArray[np.float64]:
        return np.sort(self.other[~self.mated & ~np.isnan(self.other)].astype(np.float64))


def search(trials: Trials, *, ties: Ties = "against", unit: Unit = "subject") -> Search:
    """Search the gallery with every probe.

    ``ties`` with other candidates count "against" the person (networks.md section 12), "for" them or "half". ``unit`` says
    what takes a place in the list: each other "subject" once, by its best entry, or each other "entry".
    """
    if ties not in ("against", "for", "half") or unit not in ("subject", "entry"):
        raise InputError(f"expected ties 'against', 'for' or 'half' and unit 'subject' or 'entry', got {ties!r} and {unit!r}")
    order = np.argsort(trials.gallery_subjects, kind="stable")
    subjects, starts = np.unique(trials.gallery_subjects[order], return_index=True)
    size = len(subjects) if unit == "subject" else len(order)
    probes = trials.scores.shape[0]
    mate, other = (np.full(probes, np.nan, trials.scores.dtype) for _ in range(2))
    rank = np.full(probes, np.nan)
    first = 0
    for scores, mated, nonmated in trials.blocks():
        rows = slice(first, first := first + len(scores))
        mate[rows] = _best(scores, mated)
        competing = np.where(nonmated, scores, np.nan)
        if unit == "subject" and size < len(order):
            competing = np.fmax.reduceat(competing[:, order], starts, axis=1)
        other[rows] = _best(competing)
        above = np.count_nonzero(competing > mate[rows, None], axis=1)
        level = np.count_nonzero(competing == mate[rows, None], axis=1)
        share = {"against": 1.0, "for": 0.0, "half": 0.5}[ties]
        rank[rows] = np.where(np.isnan(mate[rows]), np.nan, 1 + above + share * level)
    return Search(trials.has_mate, mate, rank, other, size, tuple(trials.names[k] for k in trials.probe_subjects))


def _best(scores: Scores, where: NDArray[np.bool_] | None = None) -> Scores:
    """Largest score of each row, NaN where there is none."""
    values = np.where(np.isnan(scores) if where is None else np.isnan(scores) | ~where, -np.inf, scores)
    best = values.max(axis=1, initial=-np.inf)
    out: Scores = np.where(np.isneginf(best), np.nan, best).astype(scores.dtype)
    return out
