"""Collect what the translating recipes wrote: python benchmarks/translation.py FAMILY=FOLDER ... into results/translation.csv.

The figures are those of ``figures.json`` in each recipe's ``--out``. Without licensed pictures the spectra are simulated and
the networks small: a functional proof, not the papers' result. "witness" is a matcher that no loss saw; "n pairs" counts the
probe x gallery cosines behind an AUC.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from machine import write_csv


def row(family: str, folder: Path) -> dict[str, object]:
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    if "after" not in figures:
        raise SystemExit(f"{folder}: the run has not ended")
    before, after = figures["before"], figures["after"]
    return {
        "family": family, "size": figures["size"], "steps": figures["steps"], "seconds": round(figures["seconds"]),
        "validation_loss_before": round(before["loss"], 4), "validation_loss_after": round(after["loss"], 4),
        "auc_untranslated": round(after["auc_untranslated"], 4), "auc_translated_before": round(before["auc_translated"], 4),
        "auc_translated_after": round(after["auc_translated"], 4),
        "witness_untranslated": round(after["witness_untranslated"], 4) if "witness_untranslated" in after else "",
        "witness_translated": round(after["witness_translated"], 4) if "witness_translated" in after else "",
        "n_pairs": figures["n_pairs"], "seed": figures["seed"], "spectra": "simulated",
    }


if __name__ == "__main__":
    runs = [argument.partition("=") for argument in sys.argv[1:]]
    if not runs:
        raise SystemExit(__doc__)
    write_csv(
        Path(__file__).parent / "results" / "translation.csv", [row(family, Path(folder)) for family, _, folder in runs]
    )
