"""``meetmid evaluate``: the tables of the papers on a dataset of the user's, or on portraits seen by a simulated far camera."""

from __future__ import annotations

import argparse
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetmid.cli import DONE, SOME_FAILED
from meetmid.cli.checks import check_output
from meetmid.cli.matching import open_matcher
from meetmid.cli.tables import print_ladder, print_measures, print_published, print_subsets, save_rows
from meetmid.errors import InputError

if TYPE_CHECKING:
    from meetmid.evaluation.protocols import PairProtocol, SearchProtocol
    from meetmid.studies import PairStudy, SearchStudy

DATASETS = {
    "scface": "read_scface", "tinyface": "read_tinyface", "survface": "read_survface", "frmdb": "read_frmdb",
    "casia": "read_casia", "buaa": "read_buaa", "oulu": "read_oulu", "arl-vtf": "read_arl_vtf",
    "speaking-faces": "read_speaking_faces", "tufts": "read_tufts", "vis-th": "read_vis_th", "table": "read_table",
    "folder": "read_portraits", "lfw": "read_lfw", "xqlfw": "read_xqlfw", "calfw": "read_calfw", "cplfw": "read_cplfw",
    "helen": "read_helen", "survface-pairs": "read_survface_pairs",
}
CENTRINGS = ("none", "vector", "set")
MUGSHOTS = ("original", "cropped", "infrared")
LADDERS = ("scface", "folder")
FOLDS = range(1, 11)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command beside those of every matching one."""
    parser.add_argument(
        "dataset", choices=list(DATASETS), help="folder: a sub-folder per person; table: a CSV with side, file, subject"
    )
    parser.add_argument("--root", required=True, help="the dataset's folder (table: the CSV)")
    parser.add_argument(
        "--simulate", type=int, metavar="PX", help="a simulated far camera catches the probes PX pixels wide (for portraits)"
    )
    parser.add_argument("--lower", type=int, metavar="PX", help="reduce the probes' crops to PX pixels a side (RIM: 28)")
    parser.add_argument(
        "--ladder", action=argparse.BooleanOptionalAction, help="the steps of the fused scheme's tables 2 to 4 (default for "
        "scface and folder; then the preset does not count)",
    )
    parser.add_argument("--paths", default="len<=1", help="gallery paths of the ladder (default len<=1; the paper's: all)")
    parser.add_argument("--centrings", nargs="+", choices=CENTRINGS, default=["none", "set"], help="of the ladder")
    parser.add_argument("--distance", type=int, default=1, choices=(1, 2, 3), help="scface: 1 = 4.2 m, 2 = 2.6 m, 3 = 1 m")
    parser.add_argument(
        "--reader", nargs="+", default=[], metavar="NAME=VALUE", help="options of the dataset's reader in "
        "meetmid.evaluation.protocols, for example cameras=6,7 (scface), light=Weak (oulu), subjects=101,102 (speaking-faces)",
    )
    parser.add_argument("--mugshots", default="original", choices=MUGSHOTS, help="scface: the gallery")
    parser.add_argument("--fold", default="1", help="casia: 1 to 10, or all (default 1)")
    parser.add_argument("--draws", type=int, default=500, help="bootstrap draws behind the intervals (default 500)")
    parser.add_argument("-o", "--output", help="save every figure as .csv")
    parser.add_argument("--report", metavar="HTML", help="write a self-contained report")


def evaluate(options: argparse.Namespace) -> int:
    """Run the protocol, print its figures beside the published ones, save and report what was asked for."""
    if options.output:
        check_output(Path(options.output), ".csv")
    if options.report:
        check_output(Path(options.report), ".html", ".htm")
    if options.draws < 1:
        raise InputError(f"--draws expects at least 1, got {options.draws}")
    if options.simulate and options.lower:
        raise InputError("give --simulate or --lower, not both")
    wanted = options.ladder if options.ladder is not None else options.dataset in LADDERS
    read = _reader(options)
    with _matcher(options, wanted) as matcher:
        if options.dataset == "casia" and options.fold == "all":
            return _folds(options, matcher)
        study = _study(options, matcher, _prepared(options, matcher, read()), wanted)
    save_rows(options.output, _told(options, study))
    if options.report:
        from meetmid.reporting import save_report

        save_report(study, options.report, settings=_settings(options))
        print(f"wrote {options.report}")
    return SOME_FAILED if study.failed else DONE


def _matcher(options: argparse.Namespace, ladder: bool) -> Any:
    if not ladder:
        return open_matcher(options, keep_crops=bool(options.report))
    from meetmid.evaluation.ladder import ladder_config

    if options.scales is not None or options.no_identity:
        raise InputError("the ladder fixes scales and identity hypotheses itself: give --no-ladder for a run of your own")
    given = {} if options.centering is None else {"centering": options.centering}
    return open_matcher(options, config=ladder_config(options.paths, keep_crops=bool(options.report), **given))


def _reader(options: argparse.Namespace) -> Callable[[], SearchProtocol | PairProtocol]:
    """What reads the dataset; the arguments that only it takes are checked here."""
    from meetmid.evaluation import protocols

    read = getattr(protocols, DATASETS[options.dataset])
    extra = _reader_options(options.reader, read)
    if options.dataset == "scface":
        extra |= {"distance": options.distance, "mugshots": options.mugshots}
    if options.dataset == "casia" and options.fold != "all":
        extra["fold"] = int(options.fold) if options.fold.isdigit() else options.fold
    return lambda: read(options.root, **extra)


def _reader_options(given: Sequence[str], read: Callable[..., Any]) -> dict[str, Any]:
    """NAME=VALUE as the reader's parameter is typed: whole numbers, words, yes or no, or several between commas."""
    known = {n: str(p.annotation) for n, p in inspect.signature(read).parameters.items() if n not in ("root", "path")}
    found: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known or not value:
            raise InputError(f"--reader expects NAME=VALUE of {', '.join(known) or 'no option here'}, got {text!r}")
        kind = known[name]
        try:
            parts = [int(part) if "int" in kind else part for part in value.split(",")]
        except ValueError:
            raise InputError(f"--reader {name} expects whole numbers, got {value!r}") from None
        if kind == "bool":
            if value not in ("yes", "no"):
                raise InputError(f"--reader {name} expects yes or no, got {value!r}")
            found[name] = value == "yes"
        else:
            found[name] = tuple(parts) if "tuple" in kind else parts[0]
    return found


def _prepared(options: argparse.Namespace, matcher: Any, found: SearchProtocol | PairProtocol) -> SearchProtocol | PairProtocol:
    from meetmid.evaluation.protocols import SearchProtocol
    from meetmid.studies import lowered, simulated

    if options.dataset == "folder" and options.simulate is None:
        raise InputError("the dataset 'folder' expects --simulate PX: its pictures are ordinary portraits")
    if isinstance(found, SearchProtocol):
        if options.simulate is not None:
            return simulated(found, matcher, options.simulate, options.seed or 0)
        if options.lower is not None:
            name = f"{found.name}, probes of {options.lower} px"
            return replace(found, name=name, probes=lowered(found.probes, matcher, options.lower))
    elif options.simulate is not None:
        raise InputError("--simulate expects a dataset with a gallery, pairs can be reduced with --lower PX")
    elif options.lower is not None:
        name = f"{found.name}, second pictures of {options.lower} px"
        return replace(found, name=name, second=lowered(found.second, matcher, options.lower))
    return found


def _study(
    options: argparse.Namespace, matcher: Any, found: SearchProtocol | PairProtocol, ladder: bool
) -> SearchStudy | PairStudy:
    from meetmid.evaluation.protocols import PairProtocol
    from meetmid.studies import pair_study, search_study

    if isinstance(found, PairProtocol):
        return pair_study(matcher, found, draws=options.draws, seed=options.seed or 0)
    centrings = options.centrings if ladder else ()
    return search_study(matcher, found, centrings=centrings, draws=options.draws, seed=options.seed or 0)


def _folds(options: argparse.Namespace, matcher: Any) -> int:
    """CASIA's ten folds: every figure's mean over folds and both deviations."""
    from meetmid.evaluation.measures import Measure

    if options.report:
        raise InputError("--report expects a single fold, not --fold all")
    found: dict[str, list[Measure]] = {}
    failed = False
    for fold in FOLDS:
        study = _study(options, matcher, _prepared(options, matcher, _reader(_of_fold(options, fold))()), False)
        failed |= bool(study.failed)
        _print_failed(study, f"fold {fold}: ")
        for measure in study.measures:
            found.setdefault(measure.name, []).append(measure)
    means = []
    for name, measures in found.items():
        values = [m.value for m in measures]
        mean = math.fsum(values) / len(values)
        square = math.fsum((v - mean) ** 2 for v in values)
        spread = [math.sqrt(square / n) for n in (len(values) - 1, len(values)) if n]
        note = f"mean of {len(values)} folds, sd {spread[0]:.2f} (ddof 1), {spread[-1]:.2f} (ddof 0)"
        means.append(Measure(name, mean, unit=measures[0].unit, note=note))
    print(f"CASIA NIR-VIS 2.0, {len(FOLDS)} folds")
    rows = print_measures(means)
    print_published(options, means)
    save_rows(options.output, rows)
    return SOME_FAILED if failed else DONE


def _of_fold(options: argparse.Namespace, fold: int) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "fold": str(fold)})


def _print_failed(study: SearchStudy | PairStudy, before: str = "") -> None:
    for side, name, why in study.failed:
        print(f"{before}failed {side} {name}: {why}", file=sys.stderr)


def _settings(options: argparse.Namespace) -> dict[str, str]:
    """What the report keeps of the command line beside the matcher's configuration."""
    names = ["dataset", "root", "simulate", "lower", "reader", "paths", "centrings", "draws", "seed"]
    names += {"scface": ["distance", "mugshots"], "casia": ["fold"]}.get(options.dataset, [])
    values = {**vars(options), "seed": options.seed or 0}
    return {name: str(value) for name in names if (value := values[name]) not in (None, [])}


def _told(options: argparse.Namespace, study: SearchStudy | PairStudy) -> list[dict[str, Any]]:
    """Print everything; the rows of the CSV."""
    from meetmid.studies import SearchStudy

    print(study.protocol.name)
    _print_failed(study)
    warnings = study.result.warnings if isinstance(study, SearchStudy) else study.warnings
    for note in filter(None, (study.protocol.note, *warnings)):
        print(f"note: {note}", file=sys.stderr)
    rows = print_measures(study.measures)
    if isinstance(study, SearchStudy):
        if study.rungs:
            rows += print_ladder(options, study.rungs)
        if study.subsets is not None:
            rows += print_subsets(options, study.subsets)
    print_published(options, study.measures)
    return rows
