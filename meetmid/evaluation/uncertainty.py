"""Subject-level bootstrap: intervals that know that scores of one person are not independent.

People are drawn with replacement, each for both sides at once; a mated attempt counts as often as its person was drawn, a
non-mated one as often as its two people were drawn together (a two-way bootstrap over probe and gallery subjects: A. B. Owen,
"The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007; with shared draws, since one person is on both sides:
T. A. B. Snijders and S. P. Borgatti, "Non-parametric standard errors and tests for network statistics", Connections 22(2),
1999). People on both sides, probes without mates and gallery entries without probes are drawn among their kind. Statistics
come from weighted counts of the sorted scores (:mod:`meetmid.evaluation.weighted`), many draws at a time; no resampled matrix
is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.identification import Search
from meetmid.evaluation.intervals import wilson
from meetmid.evaluation.trials import Trials
from meetmid.evaluation.weighted import Statistic, Values, Weighted

CELLS = 2**22
"""Weights held at a time."""

SAME = 1e-9
"""Rates that differ by less differ by rounding."""


@dataclass(frozen=True, eq=False)
class Interval:
    """``value`` of a statistic on the data, its interval ``low`` to ``high``, and its ``draws`` (B,).

    Draws without any pair of a kind are NaN and left out.
    """

    value: float
    low: float
    high: float
    draws: Values = field(repr=False)


def bootstrap(
    trials: Trials, statistic: Statistic, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of a rate, a statistic of the kind of :func:`meetmid.evaluation.weighted.auc`; the cost is ``draws`` times
    the number of pairs."""
    values = drawn(trials, statistic, draws, seed)
    return rate_interval(values[0], values[1:], level, _people(trials))


def compare(
    first: Trials, second: Trials, statistic: Statistic, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of ``first`` minus ``second`` on the same people (paired: the same people are drawn for both), as
    :func:`mean_interval` has it.

    An interval without 0 says that one of them is better. Raises InputError unless both show the same entries, leave out the
    same pairs and have at least two people on both sides.
    """
    one, other = (np.broadcast_to(False if its.ignore is None else its.ignore, its.scores.shape) for its in (first, second))
    same = (
        first.names == second.names and np.array_equal(first.probe_subjects, second.probe_subjects)
        and np.array_equal(first.gallery_subjects, second.gallery_subjects) and np.array_equal(one, other)
    )
    if not same:
        raise InputError("expected two matrices of the same probes and gallery entries in the same order, less the same pairs")
    values = drawn(first, statistic, draws, seed) - drawn(second, statistic, draws, seed)
    return _widened(values[0], values[1:], level, _people(first))


def bootstrap_pairs(
    scores: ArrayLike, mated: ArrayLike, first: Sequence[str], second: Sequence[str], statistic: Statistic, *,
    draws: int = 1000, level: float = 0.95, seed: int = 0,
) -> Interval:
    """:func:`bootstrap` of N single pairs, ``mated`` (N,) bool, of the people ``first`` and ``second``: a mated pair counts as
    often as its person was drawn, a non-mated one as its two people together."""
    values = np.nan_to_num(np.asarray(scores, np.float64), nan=-np.inf)
    names = sorted({*first, *second})
    number = {name: k for k, name in enumerate(names)}
    sides = [np.array([number[name] for name in side], np.int64) for side in (first, second)]
    kinds = []
    for kind in (True, False):
        at = np.flatnonzero(np.asarray(mated) == kind)
        at = at[np.argsort(values[at], kind="stable")]
        if not len(at):
            raise InputError(f"expected {'mated' if kind else 'non-mated'} pairs, got none")
        kinds.append((values[at], sides[0][at], sides[1][at]))
    found = _statistics(_drawn_people([np.arange(len(names))], len(names), draws, seed), kinds, statistic)
    return rate_interval(found[0], found[1:], level, len(names))


def share_interval(
    flags: ArrayLike, people: ArrayLike, others: ArrayLike | None = None, *, draws: int = 1000, level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of the share of ``flags`` (N,) bool over their ``people`` (N,), who are drawn; of pairs with ``others``
    (N,), which count as often as their two people together, or as their one.

    Where every draw would be the same, as where all or none are set, Wilson's of that many people (or pairs, if they are
    fewer) of whom it happened to that share. That of pairs is wider than need be where they have few people in common. NaN
    without flags. Raises InputError for less than one draw.
    """
    values = np.asarray(flags, bool)
    first, second = np.asarray(people), np.asarray(people if others is None else others)
    names, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    if draws < 1:
        raise InputError(f"expected at least one draw, got {draws}")
    if not len(values):
        return float("nan"), float("nan")
    own, other = places[: len(values)], places[len(values) :]
    drawn_each = _drawn_people([np.arange(len(names))], len(names), draws, seed)
    weights = drawn_each[:, own] * np.where(own == other, 1.0, drawn_each[:, other])
    with np.errstate(invalid="ignore"):
        shares = weights @ values / weights.sum(1)
    if np.nanmax(shares) - np.nanmin(shares) < SAME:
        from scipy.stats import norm

        count = min(len(names), len(values))
        return wilson(float(values.mean()) * count, count, float(norm.ppf((1 + level) / 2)))
    found = rate_interval(shares[0], shares[1:], level, len(names))
    return found.low, found.high


def bootstrap_search(
    search: Search, trials: Trials, statistic: Callable[[Search, Values], Values], *, draws: int = 1000, level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval of an identification rate over the people of the probes, in this very gallery.

    ``statistic`` takes the search and weights (B, P) of its probes.
    """
    weights = draw_people(trials, draws, seed)[:, trials.probe_subjects]
    values = statistic(search, weights)
    return rate_interval(values[0], values[1:], level, len(np.unique(trials.probe_subjects)))


def hit_rate(rank: int = 1) -> Callable[[Search, Values], Values]:
    """The weighted share of mated searches with their person at ``rank`` or better."""

    def statistic(search: Search, weights: Values) -> Values:
        with np.errstate(invalid="ignore"):
            return np.asarray((weights @ (search.hits(rank) & search.mated)) / (weights @ search.mated))

    return statistic


@dataclass(frozen=True)
class McNemar:
    """Cases that only one of two systems got right, and the probability of so uneven a split if both were alike."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Compare the hits (N,) of two systems on the same independent cases (Q. McNemar, Psychometrika 12(2), 1947; exact).

    Probes of one person are not independent: then prefer :func:`compare`, or take one case per person.
    """
    from scipy.stats import binomtest

    one, other = np.asarray(first, bool), np.asarray(second, bool)
    if one.shape != other.shape or one.ndim != 1:
        raise InputError(f"expected the hits of both systems on the same cases (N,), got {one.shape} and {other.shape}")
    only = int((one & ~other).sum()), int((other & ~one).sum())
    return McNemar(*only, float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0)


def draw_people(trials: Trials, draws: int, seed: int) -> Values:
    """(1 + draws, people) how often each person was drawn; the first row is the data itself."""
    if draws < 1:
        raise InputError(f"expected at least one draw, got {draws}")
    count = len(trials.names)
    probe, gallery = (np.bincount(s, minlength=count) > 0 for s in (trials.probe_subjects, trials.gallery_subjects))
    kinds = (probe & gallery, probe & ~gallery, gallery & ~probe)
    return _drawn_people([np.flatnonzero(kind) for kind in kinds], count, draws, seed)


def _drawn_people(kinds: Sequence[NDArray[np.int64]], count: int, draws: int, seed: int) -> Values:
    """(1 + draws, count) how often each person was drawn among those of their kind; the first row is the data itself."""
    rng = np.random.default_rng(seed)
    weights = np.ones((1 + draws, count))
    for members in kinds:
        if len(members):
            weights[1:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=draws)
    return weights


def drawn(trials: Trials, statistic: Statistic, draws: int, seed: int) -> Values:
    """A statistic of the data itself, then of every draw."""
    return _statistics(draw_people(trials, draws, seed), [sorted_scores(trials, mated) for mated in (True, False)], statistic)


def _statistics(
    people: Values, kinds: Sequence[tuple[Values, NDArray[np.int64], NDArray[np.int64]]], statistic: Statistic
) -> Values:
    """The statistic under every row of weights of people; ``kinds`` are the mated and the non-mated scores and their people."""
    size = sum(len(scores) for scores, _, _ in kinds)
    found = []
    for rows in _chunks(len(people), max(1, CELLS // max(1, size))):
        below = []
        for mated, (_, probe, gallery) in zip((True, False), kinds, strict=True):
            weights = people[rows][:, probe] if mated else people[rows][:, probe] * people[rows][:, gallery]
            below.append(np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1))
        found.append(statistic(Weighted(kinds[0][0], kinds[1][0], *below)))
    return np.concatenate(found)


def sorted_scores(trials: Trials, mated: bool) -> tuple[Values, NDArray[np.int64], NDArray[np.int64]]:
    """Scores of a kind upwards, failures first as -inf, and the people of their probes and gallery entries."""
    scores, rows, columns, first = [], [], [], 0
    for block, same, other in trials.blocks():
        at = np.nonzero(same if mated else other)
        scores.append(block[at])
        rows.append(at[0] + first)
        columns.append(at[1])
        first += len(block)
    values = np.nan_to_num(np.concatenate(scores).astype(np.float64), nan=-np.inf)
    if not len(values):
        raise InputError(f"expected {'mated' if mated else 'non-mated'} pairs, got none")
    order = np.argsort(values, kind="stable")
    probe = trials.probe_subjects[np.concatenate(rows)[order]]
    return values[order], probe, trials.gallery_subjects[np.concatenate(columns)[order]]


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def percentile_interval(value: float, draws: Values, level: float) -> Interval:
    """The percentile interval (B. Efron and R. Tibshirani, "An introduction to the bootstrap", 1993, section 13.3)."""
    if not 0.0 < level < 1.0:
        raise InputError(f"expected a level between 0 and 1, got {level}")
    tail = 50 * (1 - level)
    valid = draws[~np.isnan(draws)]
    low, high = np.percentile(valid, [tail, 100 - tail]) if len(valid) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high), draws)


def mean_interval(
    values: ArrayLike, people: ArrayLike, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of the mean of ``values`` (N,), such as paired differences, over their ``people`` (N,), who are drawn: plus
    and minus Student's quantile times the draws' deviation, widened as in :func:`rate_interval`; NaN where it is the same other
    than 0 in every draw. Raises InputError for fewer than two people."""
    names, place = np.unique(np.asarray(people), return_inverse=True)
    count = len(names)
    weights = _drawn_people([np.arange(count)], count, draws, seed)
    sums, sizes = np.bincount(place, np.asarray(values, np.float64)), np.bincount(place)
    means = (weights @ sums) / (weights @ sizes)
    return _widened(means[0], means[1:], level, count)


def _widened(value: float, draws: Values, level: float, people: int) -> Interval:
    """See :func:`mean_interval`."""
    from scipy.stats import t

    if people < 2:
        raise InputError(f"an interval over people expects at least 2 of them, got {people}")
    if not 0.0 < level < 1.0:
        raise InputError(f"expected a level between 0 and 1, got {level}")
    valid = draws[~np.isnan(draws)]
    deviation = valid.std(ddof=1) if len(valid) > 1 else np.nan
    if deviation < SAME and abs(value) >= SAME:  # whoever is drawn: that is no certainty
        deviation = np.nan
    reach = float(t.ppf((1 + level) / 2, people - 1) * np.sqrt(people / (people - 1)) * deviation)
    return Interval(float(value), float(value) - reach, float(value) + reach, draws)


def rate_interval(value: float, draws: Values, level: float, people: int) -> Interval:
    """The interval of a rate: its log odds plus and minus Student's quantile of ``people`` - 1 times the draws' deviation,
    which is widened by sqrt(n / (n - 1)), since a bootstrap of few people is too narrow (T. C. Hesterberg, "What teachers
    should know about the bootstrap", The American Statistician 69(4), 2015, sections 4.2 and 5.2). Percentiles where a rate of
    0 or 1 is among the data or the draws."""
    plain = percentile_interval(value, draws, level)
    valid = draws[~np.isnan(draws)]
    if people < 2 or len(valid) < 2 or not (0 < value < 1 and valid.min() > 0 and valid.max() < 1):
        return plain
    from scipy.special import expit, logit
    from scipy.stats import t

    reach = t.ppf((1 + level) / 2, people - 1) * np.sqrt(people / (people - 1)) * logit(valid).std(ddof=1)
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Interval(float(value), float(low), float(high), draws)


def _people(trials: Trials) -> int:
    """People on both sides, whose number bounds what is known of mated scores."""
    return len(np.intersect1d(trials.probe_subjects, trials.gallery_subjects))
