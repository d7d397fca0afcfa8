"""Near-infrared against visible: CASIA NIR-VIS 2.0, BUAA-VisNir and Oulu-CASIA (networks.md sections 13.4 and 13.9)."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from meetmid.errors import InputError
from meetmid.evaluation.protocols.layout import PICTURES, Folder, Sample, SearchProtocol, numbered

CASIA = "http://www.cbsr.ia.ac.cn/english/NIR-VIS-2.0-Database.html (S. Z. Li et al., CVPRW 2013)"
BUAA = "Beihang University (D. Huang, J. Sun and Y. Wang, BUAA-VisNir face database instructions, 2012)"
OULU = "https://www.oulu.fi/cmvs (J. Chen et al., CVPR 2009; G. Zhao et al., Image and Vision Computing 29(9), 2011)"
EXPRESSIONS = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")


def read_casia(root: str | os.PathLike[str], fold: int | str = 1) -> SearchProtocol:
    """One of the ten folds of view 2 (``fold`` 1 to 10), or view 1 (``"dev"``): visible gallery, near-infrared probes.

    The lists lie in ``protocols/`` and write paths with backslashes, as in ``s3\\\\NIR\\\\20385\\\\008.bmp``; the last
    part but one is the subject. Pictures are ``.jpg`` or ``.bmp`` whatever the lists say. Raises InputError.
    """
    if fold != "dev" and not (isinstance(fold, int) and 1 <= fold <= 10):
        raise InputError(f"CASIA NIR-VIS 2.0: expected fold 1 to 10 or 'dev', got {fold!r}")
    folder = Folder("CASIA NIR-VIS 2.0", root, CASIA)
    sides = []
    for name in (f"protocols/vis_gallery_{fold}.txt", f"protocols/nir_probe_{fold}.txt"):
        found = []
        for line in folder.lines(name):
            path = PurePosixPath(line.strip().replace("\\", "/"))
            if len(path.parts) < 3:
                raise InputError(f"CASIA NIR-VIS 2.0: expected lines like s1\\NIR\\10039\\001.bmp in {name}, got {line!r}")
            picture = folder.find(*(str(path.with_suffix(ending)) for ending in (path.suffix, ".jpg", ".bmp") if ending))
            if picture is not None:
                found.append(Sample(str(path.with_suffix("")), path.parts[-2], picture))
        sides.append(tuple(found))
    folder.check()
    return SearchProtocol(f"CASIA NIR-VIS 2.0 fold {fold}", sides[0], sides[1], CASIA)


def read_buaa(root: str | os.PathLike[str], *, test_from: int = 51) -> SearchProtocol:
    """``<subject>/<n>.bmp``: picture 1 of every subject as visible gallery, the even ones 2 to 28 as near-infrared probes.

    Subjects are numbers; those from ``test_from`` on are tested (50 train and 100 test in the papers, the split itself is not
    published). Raises InputError.
    """
    folder = Folder("BUAA-VisNir", root, BUAA)
    subjects = [name for name in numbered(folder.names()) if int(name) >= test_from]
    gallery: list[Sample] = []
    probes: list[Sample] = []
    for subject in subjects:
        for number in (1, *range(2, 29, 2)):
            path = folder.find(f"{subject}/{number}.bmp", f"{subject}/{number}.jpg")
            if path is not None:
                (gallery if number == 1 else probes).append(Sample(f"{subject}/{number}", subject, path))
    folder.check()
    note = f"the published split is not printed: people from {test_from} on are tested"
    return SearchProtocol("BUAA-VisNir", tuple(gallery), tuple(probes), BUAA, note)


def read_oulu(
    root: str | os.PathLike[str], *, subjects: tuple[str, ...] | None = None, light: str = "Strong", each: int = 8
) -> SearchProtocol:
    """``{NI,VL}/<light>/P###/<expression>/*.jpeg``: the first ``each`` pictures of every expression, visible as gallery and
    near-infrared as probes.

    The subjects of the published 20/20 split are not printed: give the tested ones, default all. Raises InputError.
    """
    folder = Folder("Oulu-CASIA NIR-VIS", root, OULU)
    if light not in ("Strong", "Weak", "Dark"):
        raise InputError(f"Oulu-CASIA NIR-VIS: expected light 'Strong', 'Weak' or 'Dark', got {light!r}")
    chosen = subjects or tuple(n for n in folder.names(f"VL/{light}") if n[:1] in "Pp" and n[1:].isdigit())
    sides: dict[str, list[Sample]] = {"VL": [], "NI": []}
    for spectrum, side in sides.items():
        for subject in chosen:
            for expression in EXPRESSIONS:
                place = f"{spectrum}/{light}/{subject}/{expression}"
                pictures = folder.pictures(place)[:each]
                if len(pictures) < each:
                    folder.missing.append(f"{place}: {each - len(pictures)} of {each} pictures")
                tags = (("expression", expression), ("light", light))
                side += [Sample(f"{place}/{p.stem}", subject, p, tags) for p in pictures if p.suffix.lower() in PICTURES]
    folder.check()
    note = "" if subjects else "the papers test 20 people whom they do not name: all are taken"
    return SearchProtocol("Oulu-CASIA NIR-VIS", tuple(sides["VL"]), tuple(sides["NI"]), OULU, note)
