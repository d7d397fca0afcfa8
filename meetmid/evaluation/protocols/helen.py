"""Helen: sharp faces against themselves seen small, as RIM pairs them (networks.md sections 13.2 and 13.3)."""

from __future__ import annotations

import os

import numpy as np

from meetmid.errors import InputError
from meetmid.evaluation.protocols.layout import Folder, PairProtocol, Sample

HELEN = "https://pages.cs.wisc.edu/~lizhang/projects/face-parsing/ (B. Smith et al., CVPR 2013)"
LISTS = {"testing": "testing.txt", "tuning": "tuning.txt", "exemplars": "exemplars.txt"}


def read_helen(root: str | os.PathLike[str], *, part: str = "testing", pairs: int = 500, seed: int = 0) -> PairProtocol:
    """``pairs`` pictures with themselves and as many with another one, of a list of ``SmithCVPR2013_dataset_*``.

    Helen names nobody: every picture is taken for another person. The second picture of a pair is meant to be lowered, say to
    28 px. The published pairs are not printed, so these are drawn with ``seed``; where the list is shorter than ``pairs``
    all its pictures are taken. Raises InputError.
    """
    if part not in LISTS:
        raise InputError(f"Helen: expected part {', '.join(LISTS)}, got {part!r}")
    folder = Folder("Helen", root, HELEN)
    names = [line.split(",")[-1].strip() for line in folder.lines(LISTS[part])]
    found = [(name, folder.find(f"images/{name}.jpg", f"images/{name}.png")) for name in names]
    folder.check()
    samples = [Sample(name, name, path) for name, path in found if path is not None]
    if len(samples) < 2:
        raise InputError(f"Helen: expected at least two pictures in {LISTS[part]}, got {len(samples)}")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(samples))[:pairs]
    other = (chosen + rng.integers(1, len(samples), len(chosen))) % len(samples)
    first = tuple(samples[k] for k in (*chosen, *chosen))
    second = tuple(samples[k] for k in (*chosen, *other))
    fold = np.tile(np.arange(len(chosen)) * 10 // len(chosen), 2)
    return PairProtocol(
        f"Helen {part}", first, second, np.arange(len(first)) < len(chosen), fold.astype(np.int64), HELEN,
        "the published 500 + 500 pairs are not printed: these are drawn",
    )
