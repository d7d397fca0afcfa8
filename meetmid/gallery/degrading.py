"""The public door to one degradation path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Color, DegradationOptions
from meetmid.errors import InputError
from meetmid.gallery import tree
from meetmid.images import Source, load


def degrade(
    image: Source,
    path: str | Sequence[str],
    *,
    seed: int = 0,
    work_size: int | None = 512,
    options: DegradationOptions | None = None,
    color: Color = "rgb",
) -> NDArray[np.uint8]:
    """One picture after one degradation path: rho3(down2 rho2(down2 rho1(G))) (Grm et al. 2023, eq. 1).

    ``image`` as in :func:`meetmid.match`; ``path`` one to three of the eleven names, as a sequence or joined by "+"
    (:func:`meetmid.degradation_paths` lists all). Pictures longer than ``work_size`` are reduced to it first (None = native).
    Same picture, path and ``seed``: same bits. Returns (h, w, 3) uint8 RGB, halved once per further function. Raises
    InputError or ConfigError.
    """
    ordered = isinstance(path, Iterable) and not isinstance(path, Set | Mapping)
    names = path if isinstance(path, str) else tuple(path) if ordered else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise InputError(f"path expects names of degradations, one after the other or joined by '+', got {path!r}")
    return tree.degrade(load(image, color=color), names, seed=seed, work_size=work_size, options=options)
