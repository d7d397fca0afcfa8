"""The arguments of every command."""

from __future__ import annotations

import argparse

from meetmid import __version__
from meetmid.cli import commands, evaluation, exporting, gallery, installed, matching, pictures, tuning
from meetmid.presets import PRESETS


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="meetmid", description="Match faces across resolutions.",
        epilog="exit codes: 0 done, 1 some images failed (listed), 2 bad usage or input, 3 a model, device or package that is "
        "missing or does not work, 130 cancelled",
    )
    parser.add_argument("--version", action="version", version=f"meetmid {__version__}")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    match = _verb(verbs, "match", commands.match, "similarities of every probe with every gallery entry")
    match.add_argument("probes", help="a picture or a directory (sub-directory = one subject)")
    match.add_argument("gallery", help="a picture, a directory, or an enrolled gallery")
    match.add_argument("-o", "--output", help="save the result as .csv, .npz or .json")
    gallery.add_key(match)
    match.add_argument("-k", type=int, default=5, help="candidates to print per probe (default 5)")
    match.add_argument("--fusion", help="probe and gallery rule, for example S_add,S_max")
    _calibrated(match)
    match.add_argument("--report", metavar="HTML", help="write a self-contained report of candidates, reasons and settings")
    match.add_argument("--explain", metavar="PNG", help="write a sheet that explains every probe's best match")
    matching.add_arguments(match)

    enroll = _verb(verbs, "enroll", commands.enroll, "make the templates of a gallery once")
    enroll.add_argument("images", help="a directory of portraits (sub-directory = one subject)")
    enroll.add_argument("store", help="the directory to write; a run that was stopped is continued by the same command")
    gallery.add_enroll_arguments(enroll)
    matching.add_arguments(enroll)

    identify = _verb(verbs, "identify", commands.identify, "ranked candidates of every probe")
    identify.add_argument("probes")
    identify.add_argument("gallery")
    gallery.add_key(identify)
    identify.add_argument("-k", type=int, default=10, help="candidates per probe (default 10)")
    identify.add_argument("-o", "--output", help="save the candidates as .csv or .json")
    identify.add_argument("--fusion", help="probe and gallery rule, for example S_add,S_max")
    identify.add_argument(
        "--miss", type=float, default=0.0,
        help="nominal chance per probe to lack one of its best candidates, for S_max against an enrolled gallery (0: exact)",
    )
    _calibrated(identify)
    matching.add_arguments(identify)

    store = _verb(verbs, "gallery", gallery.gallery, "look at, change, export or import an enrolled gallery")
    gallery.add_arguments(store)

    degrade = _verb(verbs, "degrade", pictures.degrade, "degrade a portrait along one or many paths")
    degrade.add_argument("image")
    degrade.add_argument(
        "--paths", default="len<=1", help="len<=2, random:16, all, ..., or single ones: gblur+downup,disk (default len<=1)"
    )
    degrade.add_argument("--work-size", type=int, default=512, help="longest side before degrading; 0 = native")
    degrade.add_argument("--seed", type=int, default=0)
    _pictures_out(degrade)

    hallucinate = _verb(verbs, "hallucinate", pictures.hallucinate, "super-resolution hypotheses of a face crop")
    hallucinate.add_argument("image")
    hallucinate.add_argument("--scale", type=int, nargs="+", default=[2, 4, 8])
    hallucinate.add_argument("--levels", type=int, default=16, help="blur levels from 0 to 1 px (default 16)")
    hallucinate.add_argument("--lr-size", type=int, default=24, help="squash to this side first; 0 = native (default 24)")
    hallucinate.add_argument("--hallucinator", default="edsr-face")
    hallucinate.add_argument("--device", default="auto")
    _pictures_out(hallucinate)

    plan = _verb(verbs, "plan", commands.plan, "what a match costs")
    plan.add_argument("probes", nargs="?", help="how many pictures, or the pictures themselves")
    plan.add_argument("gallery", nargs="?", help="the same of the gallery, or one that is enrolled")
    gallery.add_key(plan)
    plan.add_argument("--all", action="store_true", help="every preset")
    plan.add_argument("--curve", action="store_true", help="measured accuracy by the number of gallery paths, nothing else")
    matching.add_arguments(plan)

    models = _verb(verbs, "models", installed.models, "list, show or add models")
    models.add_argument("action", nargs="?", choices=("list", "show", "add"), default="list")
    models.add_argument("name", nargs="?", help="a model's name, or the ONNX file to add")
    models.add_argument("--as", dest="new_name", help="name of the added model")
    models.add_argument("--task", choices=("matcher", "hallucinator"), default="matcher", help="what it does (default matcher)")
    models.add_argument("--like", help="its input contract (default arcface, of a hallucinator edsr)")
    models.add_argument("--scale", type=int, help="enlargement of a hallucinator: 2, 4, 8, ...")
    models.add_argument("--family", help="name shared by the models of several scales (default its own name)")
    models.add_argument("--license", default="not stated", help="its terms of use (default 'not stated')")

    evaluate = _verb(verbs, "evaluate", evaluation.evaluate, "error rates and tables on a dataset, with intervals")
    evaluation.add_arguments(evaluate)
    matching.add_arguments(evaluate)

    tune = _verb(verbs, "tune", tuning.tune, "choose a configuration for your matcher and camera, and measure what it is worth")
    tuning.add_arguments(tune)

    export = _verb(verbs, "export", exporting.export, "a trained checkpoint to a model that meetmid runs")
    exporting.add_arguments(export)

    doctor = _verb(verbs, "doctor", installed.doctor, "find what is wrong with the installation")
    doctor.add_argument("--repair", action="store_true", help="run the cures")

    demo = _verb(verbs, "demo", installed.demo, "match six real faces back from a simulated far camera")
    demo.add_argument("-o", "--output", default="meetmid-demo", help="folder to write (default meetmid-demo)")
    demo.add_argument("--size", type=int, default=24, help="pixels of a captured face (default 24)")
    demo.add_argument("--preset", default="balanced", choices=list(PRESETS))
    demo.add_argument("--device", default="auto")
    return parser


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: object, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _calibrated(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calibration", metavar="JSON", help="add likelihood ratios: a calibration for this configuration")
    parser.add_argument("--strength", type=float, help="likelihood ratio that a decision needs (default 100)")


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def _pictures_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", help="folder for one PNG per picture")
    parser.add_argument("--sheet", metavar="PNG", help="one labelled picture of all")
    _quiet(parser)
