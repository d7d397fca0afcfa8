"""Z-norm within a match: the scores of every portrait on one scale, from a cohort's second moment.

A portrait that looks like everyone is the best match of many probes (a hub); at a few pixels such portraits take most of the
wrong first places. R. Auckenthaler et al., "Score normalization for text-independent speaker verification systems", Digital
Signal Processing 10, 2000, section 3.1, divide by the deviation of the cohort's scores. Where a score is a product with one
vector g per portrait, and the cohort's probes u are centred, that deviation is sqrt(g' M g) with M the mean of u u': it needs
the matrix M, and no one's template. :mod:`meetmid.evaluation.normalisation` is for scores of any kind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meetmid.scores.panels import multiplied, stacks
from meetmid.scores.side import Side

ROWS = 256
"""Portraits at a time. The products are taken in this thread: NumPy's threads wait in a loop afterwards and take the cores from
the networks."""
SMALLEST = 1e-6


def root_mean_squares(portraits: Side, moment: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square (G,) of the scores that the cohort's probes, of second moment ``moment`` (D, D), have with every
    portrait, one template each (:meth:`Side.added`); at least 1e-6, and 1 for a portrait without templates."""
    found = np.ones(len(portraits), np.float32)
    index, _ = portraits.present(0, len(portraits))
    columns = list(stacks(np.ascontiguousarray(moment, np.float32)))
    for start in range(0, len(index), ROWS):
        these = portraits.rows(index[start : start + ROWS])
        turned = np.concatenate([multiplied(these, stack)[:, : len(stack)] for stack in columns], axis=1)
        squares = (turned.astype(np.float64) * these).sum(axis=1)
        found[index[start : start + ROWS]] = np.sqrt(np.maximum(squares, SMALLEST**2))
    return found
