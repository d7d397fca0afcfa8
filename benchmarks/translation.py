"""Short runs of every translating recipe on simulated spectra: does it learn, and does it help a matcher?

    python benchmarks/translation.py --work DIR --data DATA [--witness MATCHER.onnx] [--only NAME ...]

A functional proof, not the papers' result: the spectra are renderings of visible faces, the networks small, the pictures 64 to
144 pixels wide. Validation people were never trained on. "witness" is a matcher that no loss saw; "fused" is the mean of the
untranslated and the translated cosine; "n pairs" counts the probe x gallery cosines behind an AUC. About an hour and a half
on one core; finished runs in --work are not repeated. Writes results/translation.csv.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from machine import write_csv

ROOT = Path(__file__).resolve().parents[1]
NAMES = ROOT / "benchmarks" / "splits" / "test.txt"
_AGGAN = "--people 1500 --size 64 --width 16 --critic-width 16 --blocks 2 --layers 5 4 --batch 4 --rate 1e-3 " \
    "--weight-identity 20 --enlarge 1.1"
RUNS = {
    "anyres": (
        "anyres", "--people 1500 --size 64 --widths 16 32 64 128 256 --critic-width 16 --batch 4 --rate 1e-3 --steps 350",
    ),
    "aggan": ("aggan", f"{_AGGAN} --steps 900 --weight-cam 10"),
    "aggan-plus": ("aggan", f"{_AGGAN} --steps 600 --attention se"),
    "pcfh": (
        "pcfh", "--people 800 --size 144 --width 12 --critic-width 12 --blocks 2 --batch 4 --rate 1e-3 --steps 900 "
        "--weight-identity 0.02 --weight-local 10 --rotation 5",
    ),
    "rim-fhn": (
        "rim_fhn", "--people 2000 --size 80 --width 16 --embedding 64 --batch 6 --steps 1200 --rotation 0 --contrast 0 "
        "--weight-pixel 50 --weight-landmark 0.1",
    ),
    "rim-hrn": (
        "rim_hrn", "--people 4000 --size 80 --blocks 1 1 1 1 --widths 32 64 128 256 --length 256 --batch 24 --rate 1e-3 "
        "--steps 800 --rotation 5 --contrast 0.1 --student-learns-residual --fhn {work}/rim-fhn/weights.pt",
    ),
}
"""Recipe and what it is run with; HRN takes the pictures of the FHN before it."""


def finished(folder: Path) -> dict[str, object] | None:
    """The figures of a run that has ended."""
    path = folder / "figures.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return figures if "after" in figures else None


def run(name: str, work: Path, data: Path, witness: Path | None) -> None:
    recipe, options = RUNS[name]
    command = [sys.executable, str(ROOT / "models" / recipe / "train.py"), "--out", str(work / name), "--data", str(data)]
    command += ["--validation-names", str(NAMES), *options.format(work=work).split()]
    if witness is not None and recipe != "rim_hrn":
        command += ["--witness", str(witness)]
    subprocess.run(command, check=True)


def row(name: str, figures: dict[str, dict[str, float]]) -> dict[str, object]:
    before, after = figures["before"], figures["after"]
    kinds = [f"{kind}_{what}" for kind in ("auc", "witness") for what in ("untranslated", "translated", "fused")]
    return {
        "family": name, "size": figures["size"], "steps": figures["steps"], "seconds": round(float(figures["seconds"])),
        "validation_loss_before": round(before["loss"], 4), "validation_loss_after": round(after["loss"], 4),
        "auc_translated_before": round(before["auc_translated"], 4),
        **{kind: round(after[kind], 4) if kind in after else "" for kind in kinds},
        "n_pairs": figures["n_pairs"], "seed": figures["seed"], "spectra": "simulated", "options": RUNS[name][1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with lfw/")
    parser.add_argument("--witness", type=Path)
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    args = parser.parse_args()
    rows = []
    for name in args.only:
        if finished(args.work / name) is None:
            run(name, args.work, args.data, args.witness)
        rows.append(row(name, finished(args.work / name) or {}))
        print("  ".join(f"{k} {v}" for k, v in rows[-1].items() if k != "options"), flush=True)
    write_csv(ROOT / "benchmarks" / "results" / "translation.csv", rows)


if __name__ == "__main__":
    main()
