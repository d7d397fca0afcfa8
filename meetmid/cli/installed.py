"""The commands about what is installed: models, the doctor, the demo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from meetmid.cli import DONE, ENVIRONMENT
from meetmid.errors import InputError


def models(options: argparse.Namespace) -> int:
    """``meetmid models``."""
    from meetmid.runtime.downloads import PUBLISHED
    from meetmid.runtime.registry import add_model, get_model, list_models

    if options.action == "list":
        cards = list_models()
        for card in cards:
            print(f"{card.name:<21}{card.task:<14}{card.license}\n{'':<21}{card.summary}")
        for published in (p for p in PUBLISHED.values() if p.name not in {card.name for card in cards}):
            told = f"{published.summary}; {published.size / 2**20:.1f} MiB, fetched when named"
            print(f"{published.name:<21}{published.task:<14}{published.license}\n{'':<21}{told}")
        return DONE
    if not options.name:
        raise InputError(f"meetmid models {options.action} expects a name or a file")
    if options.action == "add":
        is_matcher = options.task == "matcher"
        if is_matcher != (options.scale is None):
            raise InputError("meetmid models add expects --scale N with --task hallucinator, and only there")
        card = add_model(
            options.name, name=options.new_name, like=options.like or ("arcface" if is_matcher else "edsr"),
            task=options.task, family=options.family, license=options.license,
            **({} if is_matcher else {"scale": options.scale}),
        )
        print(f"added {card.name} ({card.path})")
        return DONE
    card = get_model(options.name)
    card.verify()
    print((card.path.parent / "card.toml").read_text(encoding="utf-8"), end="")
    return DONE


def doctor(options: argparse.Namespace) -> int:
    """``meetmid doctor``."""
    from meetmid.runtime.doctor import diagnose
    from meetmid.runtime.repair import repair

    findings = diagnose()
    if options.repair and any(f.level == "error" for f in findings):
        for finding in findings:
            if finding.level == "error":
                print(f"repairing {finding.check}: {finding.message}", file=sys.stderr)
        findings = repair(findings)
    for finding in findings:
        print(f"{finding.level:<8}{finding.check}: {finding.message}")
        if finding.level == "error":
            for command in finding.cure:
                print(f"{'':<8}cure: {' '.join(command)}")
    return ENVIRONMENT if any(f.level == "error" for f in findings) else DONE


def demo(options: argparse.Namespace) -> int:
    """``meetmid demo``."""
    from meetmid.demo import run_demo

    done = run_demo(Path(options.output), preset=options.preset, device=options.device, size=options.size)
    result = done.result
    print(f"similarity of {len(result.probe_ids)} faces seen at {options.size} px (rows) with their portraits (columns):")
    print(" " * 8 + "".join(f"{name:>9}" for name in result.gallery_ids))
    for k, row in enumerate(result.scores):
        cells = "".join(f"{value:9.3f}" for value in row)
        print(f"probe {k + 1:<2}{cells}   best: {result.gallery_ids[int(row.argmax())]}")
    print(f"{done.right} of {len(result.probe_ids)} probes are most like their own portrait (both from one photograph)")
    for path in done.files:
        print(f"wrote {path}")
    return DONE
