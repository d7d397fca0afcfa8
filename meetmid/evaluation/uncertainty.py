"""Subject-level bootstrap: intervals that know that scores of one person are not independent.

People are drawn with replacement, each for both sides at once; a mated attempt counts as often as its person was drawn, a
non-mated one as often as its two people were drawn together (a two-way bootstrap over probe and gallery subjects: A. B. Owen,
"The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007; with shared draws, since one person is on both sides:
T. A. B. Snijders and S. P. Borgatti, "Non-parametric standard errors and tests for network statistics", Connections 22(2),
1999). People on both sides, probes without mates and gallery entries without probes are drawn among their kind. Statistics
come from weighted counts of the sorted scores, many draws at a time; no resampled matrix is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.calibration import logistic
from meetmid.evaluation.identification import Search
from meetmid.evaluation.intervals import wilson
from meetmid.evaluation.trials import Trials

Values = NDArray[np.float64]
CELLS = 2**22
"""Weights held at a time."""


@dataclass(frozen=True, eq=False)
class Interval:
    """``value`` of a statistic on the data, its interval ``low`` to ``high``, and its ``draws`` (B,).

    Draws without any pair of a kind are NaN and left out.
    """

    value: float
    low: float
    high: float
    draws: Values = field(repr=False)


@dataclass(frozen=True, eq=False)
class Weighted:
    """Scores sorted upwards, failures first as -inf, and B times how much weight lies below each: (B, N + 1), from 0 on."""

    mated: Values
    nonmated: Values
    mated_below: Values
    nonmated_below: Values

    def tmr(self, threshold: Values) -> Values:
        """Weighted true match rate above each draw's threshold (B,)."""
        return _above(self.mated_below, np.searchsorted(self.mated, threshold, "right"))

    def fmr(self, threshold: Values) -> Values:
        """Weighted false match rate above each draw's threshold (B,)."""
        return _above(self.nonmated_below, np.searchsorted(self.nonmated, threshold, "right"))


Statistic = Callable[[Weighted], Values]


def auc(scores: Weighted) -> Values:
    """The area under the ROC, as :meth:`meetmid.evaluation.ErrorRates.auc`."""
    low, high = (np.searchsorted(scores.nonmated, scores.mated, side) for side in ("left", "right"))
    below = scores.nonmated_below[:, low] + scores.nonmated_below[:, high]
    weights = np.diff(scores.mated_below, axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights * below).sum(1) / 2 / scores.mated_below[:, -1] / scores.nonmated_below[:, -1])


def eer(scores: Weighted) -> Values:
    """The equal error rate, as the ``value`` of :meth:`meetmid.evaluation.ErrorRates.eer`."""
    steps = np.unique(scores.mated[np.isfinite(scores.mated)])[::-1]
    corners = np.concatenate([[np.inf], steps, [-np.inf]])  # at each and just below, as in ErrorRates.curve
    rates = []
    for values, below in ((scores.nonmated, scores.nonmated_below), (scores.mated, scores.mated_below)):
        at = np.stack([np.searchsorted(values, corners, "right"), np.searchsorted(values, corners, "left")], 1).ravel()
        with np.errstate(invalid="ignore"):
            rates.append(1.0 - below[:, at] / below[:, -1:])
    fmr, fnmr = rates[0], 1.0 - rates[1]
    gap = fmr - fnmr
    after = np.maximum(np.argmax(gap >= 0, axis=1), 1)
    row = np.arange(len(gap))
    before = after - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        share = -gap[row, before] / (gap[row, after] - gap[row, before])
        return np.asarray(fmr[row, before] + share * (fmr[row, after] - fmr[row, before]))


def tmr_at_fmr(target: float) -> Statistic:
    """TMR at the smallest threshold whose FMR is at most ``target`` in that very draw."""
    curve = tmr_at_fmrs([target])
    return lambda scores: curve(scores)[:, 0]


def tmr_at_fmrs(targets: ArrayLike) -> Statistic:
    """TMR at several target FMRs (K,), for a band around a ROC: (B, K)."""
    shares = np.asarray(targets, np.float64)

    def statistic(scores: Weighted) -> Values:
        padded = np.concatenate([[-np.inf], scores.nonmated])
        rates = []
        for own, other in zip(scores.mated_below, scores.nonmated_below, strict=True):
            total = other[-1]
            at = np.searchsorted(other, total * (1 - shares) - 1e-9 * total)  # below it all but the share lies
            matched = own[-1] - own[np.searchsorted(scores.mated, padded[at], "right")]
            rates.append(matched / own[-1] if own[-1] and total else np.full(len(shares), np.nan))
        return np.array(rates)

    return statistic


def tmr_at(threshold: float) -> Statistic:
    """TMR = 1 - FNMR at a threshold that was fixed beforehand."""
    return lambda scores: scores.tmr(np.full(len(scores.mated_below), threshold))


def fmr_at(threshold: float) -> Statistic:
    """FMR at a threshold that was fixed beforehand."""
    return lambda scores: scores.fmr(np.full(len(scores.mated_below), threshold))


def bootstrap(
    trials: Trials, statistic: Statistic, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of a rate, a statistic of :func:`auc`'s kind; the cost is ``draws`` times the number of pairs."""
    values = _draw(trials, statistic, draws, seed)
    return rate_interval(values[0], values[1:], level, _people(trials))


def compare(
    first: Trials, second: Trials, statistic: Statistic, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The interval of ``first`` minus ``second`` on the same people (paired: the same people are drawn for both).

    An interval without 0 says that one of them is better. Raises InputError unless both show the same entries.
    """
    same = (
        first.names == second.names and np.array_equal(first.probe_subjects, second.probe_subjects)
        and np.array_equal(first.gallery_subjects, second.gallery_subjects)
    )
    if not same:
        raise InputError("expected two matrices of the same probes and gallery entries in the same order")
    values = _draw(first, statistic, draws, seed) - _draw(second, statistic, draws, seed)
    return _interval(values[0], values[1:], level)


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
    flags: ArrayLike, people: ArrayLike, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The interval of the share of ``flags`` (N,) bool over their ``people`` (N,), who are drawn.

    Where all or none are set every draw would be the same: then Wilson's of that many people, all or none of whom it happened
    to. NaN without flags.
    """
    values = np.asarray(flags, bool)
    names, place = np.unique(np.asarray(people), return_inverse=True)
    if not len(values):
        return float("nan"), float("nan")
    if values.all() or not values.any():
        return wilson(len(names) if values.all() else 0, len(names))
    weights = _drawn_people([np.arange(len(names))], len(names), draws, seed)[:, place]
    shares = weights @ values / weights.sum(1)
    found = rate_interval(shares[0], shares[1:], level, len(names))
    return found.low, found.high


@dataclass(frozen=True, eq=False)
class Band:
    """A curve ``value`` (K,) over ``x`` (K,) with the percentiles ``low`` and ``high`` (K,) of its draws at each x."""

    x: Values
    value: Values
    low: Values
    high: Values


def roc_band(trials: Trials, fmr: ArrayLike, *, draws: int = 300, level: float = 0.95, seed: int = 0) -> Band:
    """TMR over target FMRs (K,), each at the threshold that its own draw gives."""
    x = np.asarray(fmr, np.float64)
    return _band(x, _draw(trials, tmr_at_fmrs(x), draws, seed), level)


def cmc_band(
    search: Search, trials: Trials, ranks: int, *, draws: int = 300, level: float = 0.95, seed: int = 0
) -> Band:
    """Identification rates at ranks 1 to ``ranks``, people of the probes drawn."""
    x = np.arange(1, ranks + 1)
    weights = draw_people(trials, draws, seed)[:, trials.probe_subjects] * search.mated
    with np.errstate(invalid="ignore"):
        values = weights @ (search.rank[:, None] <= x) / weights.sum(1, keepdims=True)
    return _band(x.astype(np.float64), values, level)


def open_set_band(
    search: Search, trials: Trials, fpir: ArrayLike, *, draws: int = 300, level: float = 0.95, seed: int = 0
) -> Band:
    """FNIR over target FPIRs (K,), each at the threshold that its own draw gives; people of the probes drawn."""
    x = np.asarray(fpir, np.float64)
    weights = draw_people(trials, draws, seed)[:, trials.probe_subjects]
    tops = np.nan_to_num(search.other[~search.mated].astype(np.float64), nan=-np.inf)
    mates = np.nan_to_num(search.mate[search.mated].astype(np.float64), nan=-np.inf)
    order = np.argsort(tops)
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, ~search.mated][:, order], axis=1)], axis=1)
    padded = np.concatenate([[-np.inf], tops[order]])
    own = weights[:, search.mated]
    values = []
    for row, mated in zip(below, own, strict=True):
        thresholds = padded[np.searchsorted(row, row[-1] * (1 - x) - 1e-9 * row[-1])]
        missed = (mated @ (mates[:, None] <= thresholds)) / mated.sum() if mated.sum() and row[-1] else np.full(len(x), np.nan)
        values.append(missed)
    return _band(x, np.array(values), level)


def discard_band(
    trials: Trials, quality: ArrayLike, threshold: float, shares: ArrayLike, *, draws: int = 300, level: float = 0.95,
    seed: int = 0,
) -> Band:
    """FNMR at a fixed threshold when given shares (K,) of the mated attempts of lowest quality are refused, people drawn."""
    x = np.asarray(shares, np.float64)
    people = draw_people(trials, draws, seed)
    level_of, missed, who, first = [], [], [], 0
    values = np.asarray(quality, np.float64)
    for scores, mated, _ in trials.blocks():
        rows, columns = np.nonzero(mated)
        missed.append(~(scores[rows, columns] > threshold))
        level_of.append(values[first + rows])
        who.append(trials.probe_subjects[first + rows])
        first += len(scores)
    order = np.argsort(np.concatenate(level_of), kind="stable")
    weights = people[:, np.concatenate(who)[order]]
    wrong = weights * np.concatenate(missed)[order]
    left, errors = weights[:, ::-1].cumsum(1)[:, ::-1], wrong[:, ::-1].cumsum(1)[:, ::-1]
    at = np.minimum((x * weights.shape[1]).astype(int), weights.shape[1] - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _band(x, errors[:, at] / left[:, at], level)


def calibration_band(
    trials: Trials, scores: ArrayLike, *, draws: int = 100, level: float = 0.95, seed: int = 0
) -> Band:
    """Decimal log likelihood ratios at ``scores`` (K,) of logistic calibrations learned from draws of the people."""
    x = np.asarray(scores, np.float64)
    people = draw_people(trials, draws, seed)
    kinds = [_sorted(trials, mated) for mated in (True, False)]
    kept = [np.isfinite(values) for values, _, _ in kinds]
    own, other = (values[keep] for (values, _, _), keep in zip(kinds, kept, strict=True))
    found = []
    for row in people:
        weights = [row[probe[keep]] for (_, probe, _), keep in zip(kinds, kept, strict=True)]
        weights[1] = weights[1] * row[kinds[1][2][kept[1]]]
        try:
            slope, offset = logistic(own, other, weights[0], weights[1])
        except InputError:  # nobody was drawn for one of the kinds
            slope = offset = np.nan
        found.append((slope * x + offset) / np.log(10))
    return _band(x, np.array(found), level)


def _band(x: Values, values: Values, level: float) -> Band:
    intervals = [_interval(column[0], column[1:], level) for column in values.T]
    return Band(x, *(np.array([getattr(i, name) for i in intervals]) for name in ("value", "low", "high")))


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


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Compare the hits (N,) of two systems on the same independent cases (Q. McNemar, Psychometrika 12(2), 1947; exact).

    Probes of one person are not independent: then prefer :func:`compare`, or take one case per person.
    """
    from scipy.stats import binomtest

    if first.shape != second.shape or first.ndim != 1:
        raise InputError(f"expected the hits of both systems on the same cases (N,), got {first.shape} and {second.shape}")
    only = int((first & ~second).sum()), int((second & ~first).sum())
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


def _draw(trials: Trials, statistic: Statistic, draws: int, seed: int) -> Values:
    return _statistics(draw_people(trials, draws, seed), [_sorted(trials, mated) for mated in (True, False)], statistic)


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


def _sorted(trials: Trials, mated: bool) -> tuple[Values, NDArray[np.int64], NDArray[np.int64]]:
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


def _above(below: Values, at: NDArray[np.int64]) -> Values:
    with np.errstate(invalid="ignore"):
        return np.asarray(1.0 - below[np.arange(len(below)), at] / below[:, -1])


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _interval(value: float, draws: Values, level: float) -> Interval:
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
    and minus Student's quantile times the draws' deviation, widened as in :func:`rate_interval`. Raises InputError for fewer
    than two people."""
    from scipy.stats import t

    names, place = np.unique(np.asarray(people), return_inverse=True)
    count = len(names)
    if count < 2:
        raise InputError(f"an interval over people expects at least 2 of them, got {count}")
    weights = _drawn_people([np.arange(count)], count, draws, seed)
    sums, sizes = np.bincount(place, np.asarray(values, np.float64)), np.bincount(place)
    means = (weights @ sums) / (weights @ sizes)
    reach = float(t.ppf((1 + level) / 2, count - 1) * np.sqrt(count / (count - 1)) * means[1:].std(ddof=1))
    return Interval(float(means[0]), float(means[0]) - reach, float(means[0]) + reach, means[1:])


def rate_interval(value: float, draws: Values, level: float, people: int) -> Interval:
    """The interval of a rate: its log odds plus and minus Student's quantile of ``people`` - 1 times the draws' deviation,
    which is widened by sqrt(n / (n - 1)), since a bootstrap of few people is too narrow (T. C. Hesterberg, "What teachers
    should know about the bootstrap", The American Statistician 69(4), 2015, sections 4.2 and 5.2). Percentiles where a rate of
    0 or 1 is among the data or the draws."""
    plain = _interval(value, draws, level)
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
