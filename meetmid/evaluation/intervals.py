"""Confidence intervals of proportions."""

from __future__ import annotations

import math

from meetmid.errors import InputError

Z95 = 1.959963984540054


def wilson(k: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of k successes in n trials (E. B. Wilson, JASA 22(158), 1927), default 95 %."""
    _check(k, n)
    if n == 0:
        return 0.0, 1.0
    centre = (k + z * z / 2) / (n + z * z)
    half = z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return max(0.0, centre - half), min(1.0, centre + half)


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of k successes in n trials (C. J. Clopper and E. S. Pearson, Biometrika 26(4), 1934).

    Quantiles of beta(k, n - k + 1) and beta(k + 1, n - k); it covers at least ``level``, for one-sided zero counts too.
    """
    from scipy.stats import beta

    _check(k, n)
    if not 0.0 < level < 1.0:
        raise InputError(f"expected a level between 0 and 1, got {level}")
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def _check(k: float, n: int) -> None:
    if not 0 <= k <= n:
        raise InputError(f"expected k successes in n trials with 0 <= k <= n, got k = {k}, n = {n}")
