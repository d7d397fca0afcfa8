"""Short runs of every translating recipe on simulated spectra: does it learn, and does it help a matcher?

    python benchmarks/translation.py --work DIR --data DATA --witness MATCHER.onnx [--only NAME ...]

A functional proof, not the papers' result: the spectra are renderings of visible faces, the networks small, the pictures 64 to
144 pixels wide. Settings were tried on the people of splits/test.txt; these figures are of the people of splits/selection.txt,
who were never trained on either. "gain" is the AUC translated minus untranslated with its 95 % interval (people drawn).
"witness" is a matcher that no loss saw, "fused" the mean of the untranslated and the translated cosine, "@1/4" sources of a
quarter of their resolution. About two hours on one core; finished runs in --work are not repeated. Writes
results/translation.csv, keeping the rows of runs that were not asked for.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

from machine import write_csv

ROOT = Path(__file__).resolve().parents[1]
NAMES = ROOT / "benchmarks" / "splits" / "selection.txt"
TABLE = ROOT / "benchmarks" / "results" / "translation.csv"
_AGGAN = "--people 1500 --size 64 --width 16 --critic-width 16 --blocks 2 --layers 5 4 --batch 4 --rate 1e-3 " \
    "--weight-identity 20 --enlarge 1.1"
_HRN = "--people 4000 --size 80 --blocks 1 1 1 1 --widths 32 64 128 256 --length 256 --batch 24 --rate 1e-3 " \
    "--steps 800 --rotation 5 --contrast 0.1 --fhn {work}/rim-fhn/weights.pt"
_FHN = "--rotation 0 --contrast 0 --weight-pixel 50 --weight-landmark 0.1"
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
    "rim-fhn": ("rim_fhn", f"--people 4000 --size 80 --width 16 --embedding 64 --batch 6 --steps 3000 {_FHN}"),
    "rim-hrn": ("rim_hrn", _HRN),
    "rim-hrn-learning": ("rim_hrn", f"{_HRN} --student-learns-residual"),
    "rim-joint": (
        "rim_joint", "--people 4000 --size 80 --embedding 64 --batch 6 --steps 400 --student-learns-residual "
        f"{_FHN} --fhn {{work}}/rim-fhn/weights.pt --hrn {{work}}/rim-hrn-learning/weights.pt",
    ),
}
"""Recipe and what it is run with; HRN takes the pictures of the FHN before it, the joint fine-tune both."""
PEOPLE = 200


def finished(folder: Path, options: str) -> dict[str, object] | None:
    """The figures of a run that has ended; exits where it was run with other options."""
    path = folder / "figures.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = folder / "options.txt"
    if path.exists() and (not told.exists() or told.read_text(encoding="utf-8") != options):
        raise SystemExit(f"{folder} was run with other options: remove it")
    return figures if "after" in figures else None


def run(name: str, work: Path, data: Path, witness: Path) -> None:
    recipe, options = RUNS[name]
    (work / name).mkdir(parents=True, exist_ok=True)
    (work / name / "options.txt").write_text(options, encoding="utf-8")
    command = [sys.executable, str(ROOT / "models" / recipe / "train.py"), "--out", str(work / name), "--data", str(data)]
    command += ["--validation-names", str(NAMES), "--validation-people", str(PEOPLE), *options.format(work=work).split()]
    if recipe not in ("rim_hrn", "rim_joint"):
        command += ["--witness", str(witness)]
    subprocess.run(command, check=True)


def row(name: str, figures: dict[str, dict[str, float]], witness: str) -> dict[str, object]:
    before, after = figures["before"], figures["after"]
    kinds = [f"{kind}_{what}" for kind in ("auc", "witness") for what in ("untranslated", "translated", "fused")]
    kinds += [f"{kind}_gain{end}" for kind in ("auc", "witness") for end in ("", "_low", "_high")]
    kinds += [f"auc_{what}@1/{d}" for d in (2, 4, 8) for what in ("untranslated", "translated")]
    return {
        "family": name, "size": figures["size"], "steps": figures["steps"], "seconds": round(float(figures["seconds"])),
        "validation_loss_before": round(before["loss"], 4), "validation_loss_after": round(after["loss"], 4),
        "auc_translated_before": round(before["auc_translated"], 4),
        **{kind: round(after[kind], 4) if kind in after else "" for kind in kinds},
        "people": figures["people"], "n_mated": figures["n_mated"], "n_pairs": figures["n_pairs"], "seed": figures["seed"],
        "spectra": "simulated", "witness": witness if "witness_fused" in after else "", "options": RUNS[name][1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with lfw/")
    parser.add_argument("--witness", type=Path, required=True, help="ONNX matcher of raw RGB, 112 px")
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    args = parser.parse_args()
    known: dict[str, dict[str, object]] = {}
    if TABLE.exists():
        with TABLE.open(newline="", encoding="utf-8") as file:
            known = {found["family"]: found for found in csv.DictReader(file) if found["family"] in RUNS}
    for name in args.only:
        if finished(args.work / name, RUNS[name][1]) is None:
            run(name, args.work, args.data, args.witness)
        known[name] = row(name, finished(args.work / name, RUNS[name][1]) or {}, args.witness.stem)
        print("  ".join(f"{k} {v}" for k, v in known[name].items() if k != "options"), flush=True)
    columns = list(next(iter(known[name] for name in args.only)))
    write_csv(TABLE, [{column: known[name].get(column, "") for column in columns} for name in RUNS if name in known])


if __name__ == "__main__":
    main()
