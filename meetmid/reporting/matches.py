"""What a report shows of a match: candidates and why, failures, and how it was made."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meetmid import __version__
from meetmid.errors import InputError
from meetmid.evaluation.verification import ErrorRates
from meetmid.reporting.page import entry, paragraph, row, table, warning
from meetmid.reporting.pictures import can_plot, face, plots

if TYPE_CHECKING:
    from meetmid.config import MatchConfig
    from meetmid.result import MatchResult
    from meetmid.scores.ranking import Candidate

PACKAGES = ("numpy", "scipy", "opencv-python", "onnxruntime-gpu", "onnxruntime", "numba", "pillow")
NO_PLOTS = 'Plots were left out: they need matplotlib (pip install "meetmid[plot]").'
SYNTHETIC = (
    "A picture marked SYNTHETIC was made by a network. It shows what was compared and is no evidence of what anyone looks like."
)


@dataclass(frozen=True, eq=False)
class Reference:
    """Scores of pairs whose truth is known, failures left out, of ``n_mated`` and ``n_nonmated`` attempts of which ``origin``.

    ``quantiles``: the scores are quantiles of those attempts, so that shares are read off them and their ends are bounds.
    """

    mated: NDArray[np.floating[Any]]
    nonmated: NDArray[np.floating[Any]]
    n_mated: int
    n_nonmated: int
    origin: str
    quantiles: bool = False

    def above(self, score: float) -> str:
        """The share of non-mated attempts above a score."""
        return self._share(float(np.count_nonzero(self.nonmated > score)), self.nonmated, self.n_nonmated)

    def not_above(self, score: float) -> str:
        """The share of mated attempts not above a score, failures among them."""
        missed = self.n_mated - len(self.mated) if not self.quantiles else 0
        return self._share(float(np.count_nonzero(self.mated <= score)) + missed, self.mated, self.n_mated)

    def _share(self, count: float, scores: NDArray[np.floating[Any]], n: int) -> str:
        if not self.quantiles:
            return f"{100 * count / n:.2f} %"
        step = 100 / (len(scores) - 1)  # the quantiles' distance in percent
        if count == 0:
            return "none"
        return f"at most {min(100.0, count * step):.1f} %"


def candidates(
    result: MatchResult, shown: Sequence[int], *, k: int, strength: float, reference: Reference | None
) -> list[str]:
    """An entry per probe position in ``shown``: the ``k`` best candidates with pictures, the hypothesis pair that the first
    one rests on, and where its score lies among the ``reference`` ones."""
    ranks = result.rank(k, strength)
    parts = []
    for p in shown:
        heading = f"Probe {result.probe_ids[p]}"
        found = ranks[p]
        if not found:
            parts.append(entry(heading, [paragraph(f"No score: {result.probe_status[p]}")]))
            continue
        portraits = [face(portrait(result, c.index), f"candidate {c.id}", f"{c.rank}. {c.id}, {c.score:.4f}") for c in found]
        parts.append(entry(heading, [
            paragraph(f"Status: {result.probe_status[p]}."), row([probe(result, p), *portraits]),
            table(f"Candidates for {result.probe_ids[p]}", *_candidate_rows(found)), *why(result, p, found[0].index),
            *_among(reference, found[0]),
        ]))
    return parts


def probe(result: MatchResult, p: int) -> str:
    """The figure of a probe as it was given."""
    name, (native, effective) = result.probe_ids[p], result.probe_size[p, :2]
    size = "size unknown" if np.isnan(native) else f"{native:.0f} px, effectively {effective:.0f} px"
    return face(_probe_picture(result, p), f"probe {name}", f"probe {name}, {size}")


def _candidate_rows(found: Sequence[Candidate]) -> tuple[list[str], list[list[str]]]:
    header, rows = ["Candidate", "Rank", "Score"], [[c.id, str(c.rank), f"{c.score:.4f}"] for c in found]
    if found[0].log10_lr is not None:
        header += ["log10 likelihood ratio", "Decision"]
        for cells, candidate in zip(rows, found, strict=True):
            cells += [f"{candidate.log10_lr:.2f}", candidate.decision]
    return header, rows


def why(result: MatchResult, p: int, g: int) -> list[str]:
    """The winning hypothesis pair side by side, or why it cannot be shown."""
    try:
        found = result.explain(p, g)
    except InputError as error:
        return [paragraph(f"The winning pair cannot be shown: {error}")]
    pair = [
        face(found.probe_picture, f"probe {found.probe_id}, {found.probe}", f"probe: {found.probe}", synthetic=found.synthetic),
        face(found.gallery_picture, f"portrait {found.gallery_id}, {found.gallery}", f"portrait: {found.gallery}"),
    ]
    told = f"The score of the first candidate rests most on this pair of hypotheses, which are {found.similarity:.4f} alike."
    return [paragraph(told), row(pair)]


def _among(reference: Reference | None, best: Candidate) -> list[str]:
    """Where a score lies among scores of known pairs."""
    if reference is None:
        return []
    parts = [paragraph(
        f"{reference.origin}: of {reference.n_nonmated} scores of different people, {reference.above(best.score)} are above "
        f"that of {best.id}; of {reference.n_mated} scores of the same person, {reference.not_above(best.score)} are not above "
        "it."
    )]
    if not len(reference.mated) or not len(reference.nonmated):
        return parts
    if not can_plot():
        return [*parts, paragraph(NO_PLOTS)]
    from meetmid.evaluation.plots import histogram

    shown = ErrorRates.of(_spread(reference.mated, reference), _spread(reference.nonmated, reference))
    ax = histogram(shown, counts=(reference.n_mated, reference.n_nonmated))
    ax.axvline(best.score, color="#000000", linestyle="--", label=f"first candidate, {best.score:.3f}")
    ax.legend()
    return parts + plots([(ax, f"The score of {best.id} among scores of known pairs")])


def _spread(scores: NDArray[np.floating[Any]], reference: Reference) -> NDArray[np.floating[Any]]:
    """Scores to draw: quantiles are joined by lines."""
    if not reference.quantiles:
        return scores
    return np.asarray(np.interp(np.linspace(0, len(scores) - 1, 2000), np.arange(len(scores)), scores))


def _probe_picture(result: MatchResult, p: int) -> NDArray[np.uint8] | None:
    if result.probe_crops is None or result.probe_first is None:
        return None
    rows = range(result.probe_first[p], result.probe_first[p + 1])
    return next((crop for crop in map(result.probe_crops.crop, rows) if crop is not None), None)


def portrait(result: MatchResult, g: int) -> NDArray[np.uint8] | None:
    """The first kept face crop of a gallery entry, None where none was kept."""
    if result.source is None or result.source[1].crops is None:
        return None
    gallery = result.source[1]
    rows = range(gallery.pool.first[g], gallery.pool.first[g + 1])
    assert gallery.crops is not None
    return next((crop for crop in map(gallery.crops.crop, rows) if crop is not None), None)


def warnings(texts: Sequence[str]) -> list[str]:
    """Every warning, and what the marks mean."""
    return [*(warning(text) for text in texts), paragraph(SYNTHETIC)]


def failures(failed: Sequence[tuple[str, str, str]]) -> list[str]:
    """Every entry that could not be used, and why."""
    if not failed:
        return [paragraph("None.")]
    rows = [[name, side, why] for side, name, why in failed]
    return [table(f"{len(failed)} entries without a score", ["Entry", "Side", "Reason"], rows)]


def provenance(config: MatchConfig, models: dict[str, str], extra: dict[str, str] | None = None) -> list[str]:
    """The exact configuration, models with hashes, and versions."""
    return [
        table("Models", ["Model", "File and device"], models.items()),
        table(f"Configuration {config.hash()}", ["Field", "Value"], _flat(config.to_dict())),
        table("Software", ["Package", "Version"], [
            ("meetmid", __version__), ("Python", platform.python_version()), ("system", platform.platform(terse=True)),
            *((name, found) for name in PACKAGES if (found := _version(name))),
        ]),
        table("Settings of the run", ["Setting", "Value"], (extra or {}).items()),
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", str(value))]
    return rows


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
