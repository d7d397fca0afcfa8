"""The reports: one page per match, search experiment or pair experiment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from meetmid.errors import InputError
from meetmid.evaluation.identification import search
from meetmid.evaluation.protocols import PairProtocol, SearchProtocol
from meetmid.evaluation.verification import ErrorRates
from meetmid.interchange import write_text
from meetmid.reporting.experiments import figures, hardest, pair_plots, search_plots, steps, worst
from meetmid.reporting.matches import Reference, candidates, failures, provenance, warnings
from meetmid.reporting.page import document, paragraph
from meetmid.result import MatchResult
from meetmid.studies import PairStudy, SearchStudy

FIRST = 5
"""Probes of an experiment whose whole candidate lists are shown."""

Subject = MatchResult | SearchStudy | PairStudy


def save_report(
    subject: Subject, path: str | os.PathLike[str], *, k: int = 5, most: int = 20, strength: float = 100.0,
    when: datetime | None = None, settings: Mapping[str, str] | None = None,
) -> None:
    """Write :func:`report_html` to a file, readable by its owner only: it holds faces."""
    text = report_html(subject, k=k, most=most, strength=strength, when=when, settings=settings)
    write_text(path, text, private=True)


def report_html(
    subject: Subject, *, k: int = 5, most: int = 20, strength: float = 100.0, when: datetime | None = None,
    settings: Mapping[str, str] | None = None,
) -> str:
    """One self-contained HTML page about a :class:`meetmid.MatchResult`, a :class:`meetmid.studies.SearchStudy` or a
    :class:`meetmid.studies.PairStudy`: it asks for nothing from a network and holds no script.

    A match shows the ``k`` best candidates of the first ``most`` probes; an experiment its figures, plots, the ``most``
    probes that went worst and a few in their order. ``strength`` is the likelihood ratio that a decision needs, ``when`` the
    time it states (default now), ``settings`` what else to keep of how it was run. Pictures need kept crops, the winning
    pairs also the matcher and the gallery of a result that was not read from a file; what is missing is said. Raises
    InputError for counts below 1.
    """
    if k < 1 or most < 1:
        raise InputError(f"expected k and most of at least 1, got {k} and {most}")
    stamp = paragraph(f"Written {(when or datetime.now(UTC)).isoformat(timespec='seconds')}.")
    told = dict(settings or {})
    if isinstance(subject, MatchResult):
        return _match(subject, stamp, k, most, strength, told)
    if isinstance(subject, SearchStudy):
        return _search(subject, stamp, k, most, strength, told)
    return _pairs(subject, stamp, told)


def _match(result: MatchResult, stamp: str, k: int, most: int, strength: float, settings: dict[str, str]) -> str:
    probes, portraits = len(result.probe_ids), len(result.gallery_ids)
    shown = range(min(most, probes))
    told = f"{probes} probes compared with {portraits} gallery entries."
    if probes > most:
        told += f" Candidates of the first {most} probes are shown."
    return document("Candidates of a face comparison", [stamp, paragraph(told)], [
        ("Warnings", warnings(result.warnings)),
        ("Candidates", candidates(result, shown, k=k, strength=strength, reference=_reference(result))),
        ("Failures", failures(result.failed)),
        ("How it was made", provenance(result.config, result.models, settings)),
    ])


def _reference(result: MatchResult) -> Reference | None:
    known = result.calibration
    if known is None or not known.mated or not known.nonmated:
        return None
    origin = "The people of the calibration"
    return Reference(np.array(known.mated), np.array(known.nonmated), known.n_mated, known.n_nonmated, origin, True)


def _search(study: SearchStudy, stamp: str, k: int, most: int, strength: float, settings: dict[str, str]) -> str:
    result, found = study.result, search(study.trials)
    probes, portraits = len(result.probe_ids), len(result.gallery_ids)
    told = f"{probes} probes of {len(set(study.protocol.probe_subjects))} people searched in {portraits} gallery entries."
    settings |= _protocol(study.protocol)
    return document(f"Experiment: {study.protocol.name}", [stamp, paragraph(told)], [
        ("Warnings", warnings(_noted(result.warnings, study.protocol))),
        ("Figures", figures(study.measures)),
        ("Steps of the fused scheme", steps(study.rungs, None if study.subsets is None else study.subsets.tolist())),
        ("Plots", search_plots(study.trials, found, result.probe_size[:, 0].tolist())),
        ("Probes that went worst", worst(result, study.trials, found, most)),
        ("Candidates", candidates(result, range(min(FIRST, probes)), k=k, strength=strength, reference=_known(study))),
        ("Failures", failures(result.failed)),
        ("How it was made", provenance(result.config, result.models, settings)),
    ])


def _noted(texts: Sequence[str], protocol: SearchProtocol | PairProtocol) -> list[str]:
    return [*filter(None, [protocol.note]), *texts]


def _protocol(protocol: SearchProtocol | PairProtocol) -> dict[str, str]:
    return {"handed out at": protocol.source} if protocol.source else {}


def _known(study: SearchStudy) -> Reference | None:
    try:
        rates = ErrorRates.of(study.trials)
    except InputError:  # no probe has a mate
        return None
    return Reference(rates.mated, rates.nonmated, rates.n_mated, rates.n_nonmated, "This experiment")


def _pairs(study: PairStudy, stamp: str, settings: dict[str, str]) -> str:
    mated = study.protocol.mated
    folds = len(np.unique(study.protocol.fold))
    told = f"{int(mated.sum())} pairs of one person and {int((~mated).sum())} of two, in {folds} folds."
    settings |= _protocol(study.protocol)
    return document(f"Experiment: {study.protocol.name}", [stamp, paragraph(told)], [
        ("Warnings", warnings(_noted(study.warnings, study.protocol))),
        ("Figures", figures(study.measures)),
        ("Plots", pair_plots(study.scores, mated)),
        ("Hardest pairs", hardest(study)),
        ("Failures", failures(study.failed)),
        ("How it was made", provenance(study.config, study.models, settings)),
    ])
