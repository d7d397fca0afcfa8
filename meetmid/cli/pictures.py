"""The commands that write pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meetmid.cli import DONE
from meetmid.cli.bar import Bar
from meetmid.cli.checks import check_folder, check_output
from meetmid.errors import InputError
from meetmid.runtime.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def degrade(options: argparse.Namespace) -> int:
    """``meetmid degrade``."""
    from meetmid.config import DegradationOptions
    from meetmid.gallery.paths import format_path, typed_paths
    from meetmid.gallery.tree import walk, work_image
    from meetmid.images import load
    from meetmid.resize import to_uint8

    _check_pictures(options)
    paths = typed_paths(options.paths)
    work = work_image(load(options.image), options.work_size or None)
    made: dict[int, NDArray[np.uint8]] = {}
    progress = Progress(Bar(quiet=options.quiet), "degrade", len(paths))
    for k, picture in walk(work, paths, seed=options.seed, options=DegradationOptions()):
        made[k] = to_uint8(picture)
        progress.step()
    pictures = [made[k] for k in range(len(paths))]
    names = [format_path(path) for path in paths]
    return _write_pictures(options, pictures, names, synthetic=False)


def hallucinate(options: argparse.Namespace) -> int:
    """``meetmid hallucinate``."""
    from meetmid.probes.hallucination import hallucinate as enlarge

    _check_pictures(options)
    if options.levels < 1:
        raise InputError(f"--levels expects at least 1, got {options.levels}")
    if options.lr_size and options.lr_size < 8:
        raise InputError(f"--lr-size expects at least 8 px, or 0 for native, got {options.lr_size}")
    if len(set(options.scale)) < len(options.scale):
        raise InputError(f"--scale expects each scale once, got {' '.join(map(str, options.scale))}")
    digits = max(2, len(str(options.levels - 2)))  # so that no two levels have one name
    sigmas = [k / max(1, options.levels - 1) for k in range(options.levels)]
    pictures: list[NDArray[np.uint8]] = []
    names = []
    progress = Progress(Bar(quiet=options.quiet), "scales", len(options.scale))
    for scale in options.scale:
        pictures += list(
            enlarge(
                options.image, scale, sigmas=sigmas, lr_size=options.lr_size or None, model=options.hallucinator,
                device=options.device,
            )
        )
        names += [f"{scale}x-blur-{sigma:.{digits}f}" for sigma in sigmas]
        progress.step()
    return _write_pictures(options, pictures, names, synthetic=True)


def _check_pictures(options: argparse.Namespace) -> None:
    if not options.output and not options.sheet:
        raise InputError("nothing to write: give -o FOLDER, --sheet PNG, or both")
    if options.output:
        check_folder(Path(options.output))
    if options.sheet:
        check_output(Path(options.sheet), ".png", makes_folders=True)


def _write_pictures(
    options: argparse.Namespace, pictures: Sequence[NDArray[np.uint8]], names: Sequence[str], *, synthetic: bool
) -> int:
    from meetmid.sheets import SYNTHETIC, contact_sheet, save_png

    if options.output:
        prefix = f"{SYNTHETIC}-" if synthetic else ""
        for name, picture in zip(names, pictures, strict=True):
            save_png(Path(options.output) / f"{prefix}{name}.png", picture, synthetic=synthetic)
    if options.sheet:
        marks = [synthetic] * len(pictures)
        sheet = contact_sheet(pictures, names, title=Path(options.image).name, synthetic=marks if synthetic else None)
        save_png(options.sheet, sheet, synthetic=synthetic)
    print(f"wrote {len(pictures)} pictures to {' and '.join(filter(None, (options.output, options.sheet)))}")
    return DONE
