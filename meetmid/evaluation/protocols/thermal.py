"""Thermal against visible: ARL-VTF, SpeakingFaces, Tufts and VIS-TH (networks.md sections 13.5 to 13.8)."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

from meetmid.errors import InputError
from meetmid.evaluation.protocols.layout import PICTURES, Folder, Sample, SearchProtocol, numbered

ARL = "https://www.arl.army.mil (D. Poster et al., WACV 2021; on request)"
SPEAKING = "https://issai.nu.edu.kz/speaking-faces/ (M. Abdrakhmanova et al., Sensors 21(10), 2021)"
TUFTS = "http://tdface.ece.tufts.edu (K. Panetta et al., IEEE TPAMI 42(3), 2020)"
VISTH = "https://vis-th.eurecom.fr (K. Mallat and J.-L. Dugelay, BIOSIG 2018)"


def read_arl_vtf(
    root: str | os.PathLike[str], *, gallery: str = "gallery_0010", probes: str = "probes_0010_baseline"
) -> SearchProtocol:
    """The lists ``splits/test/<gallery>.txt`` and ``<probes>.txt``, whose lines are row numbers of ``metadata.csv``.

    The file's column ``filepath`` is relative to the root or to ``images/``, ``subid`` is the subject; camera, condition and
    eyewear become tags. Which lists are the papers' G_VB0- and P_TB0- is not published; the defaults are a guess.
    Raises InputError.
    """
    folder = Folder("ARL-VTF", root, ARL)
    rows: dict[str, dict[str, str]] = {}
    table = folder.find("metadata.csv")
    if table is not None:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lacking = {"subid", "filepath"} - set(columns)
            if lacking:
                raise InputError(f"ARL-VTF: expected the columns subid and filepath in metadata.csv, got {', '.join(columns)}")
            rows = {row[columns[0]]: row for row in reader}
    sides = []
    for name in (gallery, probes):
        found = []
        for line in folder.lines(f"splits/test/{name}.txt"):
            number = line.strip()
            if rows and number not in rows:
                raise InputError(f"ARL-VTF: expected row numbers of metadata.csv in {name}.txt, got {number!r}")
            row = rows.get(number)
            path = None if row is None else folder.find(row["filepath"], f"images/{row['filepath']}")
            if row is not None and path is not None:
                tags = tuple((key, row[key]) for key in ("camera", "condition", "eyewear") if row.get(key))
                found.append(Sample(number, row["subid"], path, tags, _counterpart(path)))
        sides.append(tuple(found))
    folder.check()
    note = "which lists are the papers' G_VB0- and P_TB0- is not published: these are a guess"
    return SearchProtocol(f"ARL-VTF {probes}", sides[0], sides[1], ARL, note)


def _counterpart(path: Path) -> Path | None:
    """The visible picture of the same moment: same folder, same name after the first two fields (section 13.5)."""
    moment = path.name.split("_", 2)[-1]
    return next((p for p in sorted(path.parent.glob(f"BAS_RGB2_{moment}")) if p != path), None)


def read_speaking_faces(
    root: str | os.PathLike[str], *, subjects: tuple[int, ...] = tuple(range(101, 143)), frames: tuple[int, ...] = (1,),
    aligned: bool = False,
) -> SearchProtocol:
    """Enrolled on the visible pictures of trial 1, searched with the thermal ones of trial 2, of session 1, all 9 positions.

    ``sub_S/trial_T/{rgb_image|rgb_image_aligned,thr_image}/S_T_1_P_F_{2|3,1}.png``; ``frames`` of the 900 to take. The default
    subjects are the 42 tested ones (networks.md section 13.6). Raises InputError.
    """
    folder = Folder("SpeakingFaces", root, SPEAKING)
    sides = []
    visible = ("rgb_image_aligned", 3) if aligned else ("rgb_image", 2)
    for trial, (place, kind) in ((1, visible), (2, ("thr_image", 1))):
        found = []
        for subject in subjects:
            for position in range(1, 10):
                for frame in frames:
                    stem = f"{subject}_{trial}_1_{position}_{frame}_{kind}"
                    path = folder.find(f"sub_{subject}/trial_{trial}/{place}/{stem}.png")
                    if path is not None:
                        seen = path.parents[1] / "rgb_image_aligned" / f"{stem.rpartition('_')[0]}_3.png" if kind == 1 else None
                        truth = seen if seen is not None and seen.is_file() else None
                        found.append(Sample(stem, str(subject), path, (("position", str(position)),), truth))
        sides.append(tuple(found))
    folder.check()
    note = f"{len(frames)} of the 900 frames of a position (a published crop of the set has 3)"
    return SearchProtocol("SpeakingFaces", sides[0], sides[1], SPEAKING, note)


def read_tufts(root: str | os.PathLike[str], *, subjects: tuple[str, ...] | None = None) -> SearchProtocol:
    """``<participant>/TD_RGB_E_1.jpg`` (neutral) as gallery, ``TD_IR_E_{1..5}.jpg`` (neutral, smile, eyes closed, shocked,
    sunglasses) as probes; participants' folders may lie in the sets' folders ``TD_RGB_E_Set*`` and ``TD_IR_E_Set*``.

    The papers' 63 tested participants are not printed: give them, default all. Raises InputError.
    """
    folder = Folder("Tufts", root, TUFTS)
    sets = folder.names()
    tops = {kind: [f"{name}/" for name in sets if name.startswith(f"TD_{kind}_E_Set")] or [""] for kind in ("RGB", "IR")}
    names = sorted({n for top in tops["RGB"] for n in numbered(folder.names(top.rstrip("/")))}, key=int)
    gallery, probes = [], []
    for subject in subjects or tuple(names):
        path = folder.find(*(f"{top}{subject}/TD_RGB_E_1.jpg" for top in tops["RGB"]))
        if path is not None:
            gallery.append(Sample(f"{subject}/TD_RGB_E_1", subject, path))
        for number in range(1, 6):
            path = folder.find(*(f"{top}{subject}/TD_IR_E_{number}.jpg" for top in tops["IR"]))
            if path is not None:
                same = [f"{top}{subject}/TD_RGB_E_{number}.jpg" for top in tops["RGB"]]
                tags = (("expression", str(number)),)
                probes.append(Sample(f"{subject}/TD_IR_E_{number}", subject, path, tags, folder.maybe(*same)))
    folder.check()
    note = "" if subjects else "the papers test 63 people whom they do not name: all are taken"
    return SearchProtocol("Tufts", tuple(gallery), tuple(probes), TUFTS, note)


_VISTH = re.compile(r"(?P<kind>VIS|TH)_\d+_(?P<subject>\d+)_\d+_(?P<variation>\d+)_(?P<code>\w+)", re.IGNORECASE)


def read_vis_th(root: str | os.PathLike[str], *, subjects: tuple[int, ...] = tuple(range(41, 51))) -> SearchProtocol:
    """The neutral visible picture of every subject (code NN) as gallery, all their thermal ones as probes.

    Files anywhere below the root named ``{VIS|TH}_?_<subject>_?_<variation>_<code>``; the original folders were not seen and
    the published test subjects are not printed (networks.md section 13.8), so the default is a guess. Raises InputError.
    """
    folder = Folder("VIS-TH", root, VISTH)
    sides: dict[str, list[Sample]] = {"VIS": [], "TH": []}
    for path in sorted(folder.root.rglob("*")):
        found = _VISTH.fullmatch(path.stem) if path.suffix.lower() in PICTURES else None
        if found is None or int(found["subject"]) not in subjects:
            continue
        kind, code = found["kind"].upper(), found["code"].upper()
        if kind == "TH" or code == "NN":
            tags = (("code", code), ("variation", found["variation"]))
            same = path.with_name(f"VIS{path.name[2:]}") if kind == "TH" else None
            truth = same if same is not None and same.is_file() else None
            sides[kind].append(Sample(path.stem, str(int(found["subject"])), path, tags, truth))
    for subject in subjects:
        for kind, side in sides.items():
            if not any(sample.subject == str(subject) for sample in side):
                folder.missing.append(f"{kind} pictures of subject {subject}")
    folder.check()
    note = "the ten people whom the papers test are not named: these are a guess"
    return SearchProtocol("VIS-TH", tuple(sides["VIS"]), tuple(sides["TH"]), VISTH, note)
