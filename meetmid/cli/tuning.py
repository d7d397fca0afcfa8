"""``meetmid tune``: a configuration for one's own matcher and camera."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from meetmid.cli import DONE, SOME_FAILED
from meetmid.cli.bar import Bar
from meetmid.cli.checks import check_output
from meetmid.cli.matching import add_models, add_place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("portraits", help="a directory: a sub-directory per subject, its first picture the portrait")
    parser.add_argument("--probes", help="a directory of real far pictures: a sub-directory of the same name per subject")
    parser.add_argument("-o", "--output", required=True, help="the .json to write, for --config")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[24, 16], metavar="PX", help="of simulated far faces (default 24 16)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of simulated far cameras (default 0 1)")
    parser.add_argument("--minutes", type=float, default=15.0, help="the time it may take here (default 15)")
    parser.add_argument("--seed", type=int, default=0, help="of the splits of people (default 0)")
    add_models(parser)
    add_place(parser)


def tune(options: argparse.Namespace) -> int:
    """Tune, print what was found and save it."""
    from meetmid.tuning.run import tune as tuned

    check_output(Path(options.output), ".json")
    found = tuned(
        options.portraits, options.probes, matcher=options.matcher, gallery_matcher=options.gallery_matcher,
        reference=options.reference, detector=options.detector, faces=options.faces or "auto", sizes=options.sizes,
        seeds=options.seeds, minutes=options.minutes, seed=options.seed, device=options.device, threads=options.threads,
        memory_limit=int(options.memory_limit * 2**30), progress=Bar(quiet=options.quiet),
    )
    found.save(options.output)
    print(found)
    models = {"matcher": options.matcher, "gallery-matcher": options.gallery_matcher, "reference": options.reference}
    named = "".join(f" --{name} {value}" for name, value in models.items() if value)
    print(f"wrote {options.output}; use it by: meetmid match PROBES GALLERY --config {options.output}{named}")
    for side, name, why in found.failed:
        print(f"failed {side} {name}: {why}", file=sys.stderr)
    return SOME_FAILED if found.failed else DONE
