"""The commands that enrol and compare."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetmid.cli import CANCELLED, DONE, SOME_FAILED
from meetmid.cli.checks import check_output
from meetmid.cli.matching import open_matcher
from meetmid.errors import InputError
from meetmid.interchange import aside, write_rows
from meetmid.status import Failure, failures

if TYPE_CHECKING:
    from meetmid.matcher import Matcher
    from meetmid.result import MatchResult
    from meetmid.scores.ranking import Candidate

STRENGTH = 100.0
"""Likelihood ratio that a decision needs where none is asked for."""


def _gallery(path: str, key: str | None = None) -> Any:
    from meetmid.gallery.manifest import is_store
    from meetmid.gallery.store import Gallery

    if is_store(Path(path)):
        return Gallery.open(path, key=key)
    if key is not None:
        raise InputError(f"--key expects an enrolled gallery, {path} is none")
    return path


def _report_failures(failed: Sequence[Failure]) -> int:
    for side, name, why in failed:
        print(f"failed {side} {name}: {why}", file=sys.stderr)
    return SOME_FAILED if failed else DONE


def _print_notes(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"note: {warning}", file=sys.stderr)


def _print_ranks(names: Sequence[str], ranks: Sequence[Sequence[Candidate]]) -> None:
    for name, candidates in zip(names, ranks, strict=True):
        print(f"{name}: " + (", ".join(map(_candidate, candidates)) or "no score"))


def _candidate(found: Candidate) -> str:
    ratio = "" if found.log10_lr is None else f" (LR 10^{found.log10_lr:.2f}, {found.decision})"
    return f"{found.id} {found.score:.4f}{ratio}"


def _check_request(options: argparse.Namespace, *endings: str) -> None:
    """Refuse before the work what could only fail after it; the strength of decisions that was not given gets its default."""
    if options.k < 1:
        raise InputError(f"-k expects at least 1, got {options.k}")
    if options.strength is None:
        options.strength = STRENGTH
    elif options.calibration is None:
        raise InputError("--strength expects --calibration: a decision needs likelihood ratios")
    elif not options.strength > 1.0:
        raise InputError(f"--strength expects a likelihood ratio above 1, got {options.strength}")
    if options.output:
        check_output(Path(options.output), *endings)


def match(options: argparse.Namespace) -> int:
    """``meetmid match``."""
    _check_request(options, ".csv", ".npz", ".json")
    if options.explain:
        check_output(Path(options.explain), ".png", makes_folders=True)
    if options.report:
        check_output(Path(options.report), ".html", ".htm")
    with open_matcher(options) as matcher:
        result = matcher.match(options.probes, _gallery(options.gallery, options.key))
        if options.output:
            result.save(options.output)
        _print_ranks(result.probe_ids, result.rank(options.k, options.strength))
        _print_notes(result.warnings)
        code = _report_failures(result.failed)
        if options.explain and not _explain_best(result, options.explain):
            code = SOME_FAILED
        if options.report:
            from meetmid.reporting import save_report

            save_report(result, options.report, k=options.k, strength=options.strength)
            print(f"wrote {options.report}")
    return code


def _explain_best(result: MatchResult, path: str) -> bool:
    """Write the sheet; where nothing can be explained, say why and return False."""
    from meetmid.sheets import explanation_sheet, save_png

    try:
        explained = [result.explain(p, ranks[0].index) for p, ranks in enumerate(result.rank(1)) if ranks]
        if not explained:
            raise InputError("no probe has a score")
    except InputError as error:
        print(f"note: {path} was not written, there is nothing to explain: {error}", file=sys.stderr)
        return False
    save_png(path, explanation_sheet(explained, "Best match of every probe"), synthetic=any(e.synthetic for e in explained))
    return True


def enroll(options: argparse.Namespace) -> int:
    """``meetmid enroll``."""
    from meetmid.gallery.manifest import is_store
    from meetmid.notes import picture_notes

    store = Path(options.store)
    if store.exists() and not is_store(store):
        raise InputError(f"{store}: expected a new path or an enrolled gallery, it holds something else")
    with open_matcher(options) as matcher:
        try:
            gallery = matcher.enroll(
                options.images, path=store, add=options.add, stored=options.stored, key=options.key, part=options.part
            )
        except KeyboardInterrupt:
            print(f"meetmid: cancelled; the same command continues the enrolment in {store}", file=sys.stderr)
            return CANCELLED
    failed = failures("gallery", gallery.ids, gallery.status)
    print(f"enrolled {len(gallery) - len(failed)} of {len(gallery)} entries in {options.store}")
    _print_notes(picture_notes("portraits", gallery.status))
    return _report_failures(failed)


def identify(options: argparse.Namespace) -> int:
    """``meetmid identify``."""
    _check_request(options, ".csv", ".json")
    with open_matcher(options) as matcher:
        gallery = _gallery(options.gallery, options.key)
        if options.miss:
            names, status, ranks, told, failed = _identify_by(matcher, gallery, options)
        else:
            result = matcher.match(options.probes, gallery)
            names, status, told, failed = result.probe_ids, result.probe_status, result.warnings, result.failed
            ranks = result.rank(options.k, options.strength)
    if options.output:
        _save_ranks(Path(options.output), names, status, ranks)
    _print_ranks(names, ranks)
    _print_notes(told)
    return _report_failures(failed)


Found = tuple[tuple[str, ...], tuple[str, ...], list[list["Candidate"]], tuple[str, ...], tuple[Failure, ...]]


def _identify_by(matcher: Matcher, gallery: Any, options: argparse.Namespace) -> Found:
    """The probes' names, statuses and candidates where few are compared in full, notes, and what has failed."""
    from meetmid.gallery.store import Gallery
    from meetmid.notes import notes

    if not 0 < options.miss < 1:
        raise InputError(f"--miss expects a chance in [0, 1), got {options.miss}")
    if not isinstance(gallery, Gallery):
        raise InputError(f"--miss expects an enrolled gallery, {gallery} is none: enroll it first")
    probes = matcher.lift(options.probes)
    ranks = matcher.identify(probes, gallery, options.k, miss=options.miss, strength=options.strength)
    failed = failures("probe", probes.ids, probes.status) + failures("gallery", gallery.ids, gallery.status)
    return probes.ids, probes.status, ranks, notes(matcher, probes, gallery.dropped, gallery.stored), failed


def _save_ranks(path: Path, names: Sequence[str], status: Sequence[str], ranks: Sequence[Sequence[Candidate]]) -> None:
    with aside(path) as new:
        if path.suffix.lower() == ".json":
            lists = {name: [asdict(c) for c in candidates] for name, candidates in zip(names, ranks, strict=True)}
            new.write_text(json.dumps(lists, indent=1), encoding="utf-8")
        else:
            write_rows(new, _rank_rows(names, status, ranks))


def _rank_rows(names: Sequence[str], status: Sequence[str], ranks: Sequence[Sequence[Candidate]]) -> Iterator[list[Any]]:
    """A row per candidate, and one without for a probe that has none."""
    yield ["probe", "status", "rank", "id", "score", "log10_lr", "decision"]
    for name, what, candidates in zip(names, status, ranks, strict=True):
        for c in candidates:
            yield [name, what, c.rank, c.id, c.score, c.log10_lr, c.decision]
        if not candidates:
            yield [name, what, *[""] * 5]


def plan(options: argparse.Namespace) -> int:
    """``meetmid plan``."""
    from meetmid.plan import curve
    from meetmid.presets import PRESETS

    if options.curve:
        with open_matcher(options) as matcher:
            print(curve(matcher.card))
        return DONE
    if options.gallery is None:
        raise InputError("meetmid plan expects probes and a gallery (their numbers, or the pictures themselves), or --curve")
    named = ((options.probes, None), (options.gallery, options.key))
    sides = [int(side) if side.lstrip("-").isdecimal() else _gallery(side, key) for side, key in named]
    for name in PRESETS if options.all else [None]:
        with open_matcher(options, preset=name) as matcher:
            print(matcher.plan(*sides), end="\n\n" if options.all else "\n")
    return DONE
