"""How often a matcher takes two people of one group for one: UTKFace's labels of sex, origin and age."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from meetmid.models.recipes.faces import faces, read_points
from meetmid.models.recipes.figures import Extract, templates_of
from numpy.typing import NDArray

from meetmid.faces.alignment import AlignmentTemplate, align

ORIGINS = ("white", "black", "asian", "indian", "other")
SEXES = ("male", "female")
AGES = ((0, 12), (13, 25), (26, 45), (46, 65), (66, 120))
EACH, TARGET = 400, 1e-3


def labels(name: str) -> list[str]:
    """The groups of a chip named age_sex_origin_date, without those its name does not state."""
    parts = name.rsplit("/", maxsplit=1)[-1].split("_")
    if len(parts) < 4 or not all(p.isdigit() for p in parts[:3]):
        return []
    age, sex, origin = (int(p) for p in parts[:3])
    if sex >= len(SEXES) or origin >= len(ORIGINS):
        return []
    return [f"{ORIGINS[origin]} {SEXES[sex]}", *(f"age {low} to {high}" for low, high in AGES if low <= age <= high)]


def false_matches(
    data: Path, template: AlignmentTemplate, size: tuple[int, int], extract: Extract
) -> dict[str, str]:
    """FMR between different chips of each group, up to 400 of each, at the threshold where it is 0.001 between any two.

    UTKFace states no identities: a person who is there twice counts as a false match. Its pictures were trained on, its labels
    never.
    """
    crops: list[NDArray[np.uint8]] = []
    members: dict[str, list[int]] = defaultdict(list)
    drawn = _drawn(data)
    for name, picture, points in faces(data, "utkface"):
        if name in drawn:
            for group in drawn[name]:
                members[group].append(len(crops))
            crops.append(align(picture, points, template, size=(size[1], size[0])))
    rows = templates_of(crops, extract)
    scores = rows @ rows.T
    everyone = scores[np.triu_indices(len(rows), 1)]
    threshold = float(np.quantile(everyone, 1 - TARGET))
    told = {
        "measured": f"FMR between different UTKFace chips of one group at cosine {threshold:.3f}, where it is {TARGET} between "
        f"any two of {len(rows)}; the chips were trained on (their labels were not), a person who is there twice counts as a "
        "false match",
    }
    for group in sorted(members):
        told[group.replace(" ", "_")] = _rate(scores, np.array(members[group]), threshold)
    return told


def _drawn(data: Path) -> dict[str, list[str]]:
    """Chips and the groups each is counted in; they are drawn, since their names sort them by age."""
    count: Counter[str] = Counter()
    found: dict[str, list[str]] = {}
    names = sorted(read_points(data / "utkface" / "points.csv"))
    for index in np.random.default_rng(0).permutation(len(names)):
        own = [group for group in labels(names[index]) if count[group] < EACH]
        if own:
            count.update(own)
            found[names[index]] = own
    return found


def _rate(scores: NDArray[np.float64], rows: NDArray[np.int64], threshold: float) -> str:
    """FMR among ``rows`` and the 95 % interval that draws the chips."""
    high = (scores[np.ix_(rows, rows)] > threshold).astype(float)
    np.fill_diagonal(high, 0)
    count = len(rows)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), 500).astype(float)
    trials = drawn.sum(1) ** 2 - (drawn**2).sum(1)
    rates = np.einsum("bi,ij,bj->b", drawn, high, drawn, optimize=True)[trials > 0] / trials[trials > 0]
    low, top = np.quantile(rates, (0.025, 0.975))
    return f"{high.sum() / count / (count - 1):.5f} [{low:.5f}, {top:.5f}] of {count} chips"
