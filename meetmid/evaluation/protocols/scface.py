"""SCface: surveillance cameras at three distances against frontal mugshots (M. Grgic, K. Delac and S. Grgic, "SCface",
Multimedia Tools and Applications 51(3), 2011; networks.md section 13.1)."""

from __future__ import annotations

import os
from typing import Literal

from meetmid.errors import InputError
from meetmid.evaluation.protocols.layout import Folder, Sample, SearchProtocol, samples

SOURCE = "https://www.scface.org (University of Zagreb, release agreement)"
SUBJECTS = tuple(f"{number:03d}" for number in range(1, 131))
METRES = {1: 4.2, 2: 2.6, 3: 1.0}
VISIBLE, INFRARED = (1, 2, 3, 4, 5), (6, 7)
MUGSHOTS = {
    "original": "mugshot_frontal_original_all/{}_frontal.jpg", "cropped": "mugshot_frontal_cropped_all/{}_frontal.jpg",
    "infrared": "surveillance_cameras_IR_cam8/{}_cam8.jpg",
}


def read_scface(
    root: str | os.PathLike[str], *, distance: int = 1, cameras: tuple[int, ...] = VISIBLE,
    mugshots: Literal["original", "cropped", "infrared"] = "original",
) -> SearchProtocol:
    """130 frontal mugshots and the pictures of ``cameras`` (1 to 5 visible, 6 and 7 infrared) at ``distance`` 1 (4.2 m), 2
    (2.6 m) or 3 (1 m): 650 probes of the visible cameras. ``mugshots`` "infrared" are those of camera 8.

    ``root`` is the folder ``SCface_database``. The paper of the fused scheme does not say which mugshots it used. Raises
    InputError listing missing files.
    """
    if distance not in METRES or not set(cameras) <= {*VISIBLE, *INFRARED} or not cameras or mugshots not in MUGSHOTS:
        raise InputError(
            f"SCface: expected distance 1, 2 or 3, cameras from 1 to 7 and mugshots {', '.join(MUGSHOTS)}, got "
            f"{distance}, {cameras} and {mugshots!r}"
        )
    folder = Folder("SCface", root, SOURCE)
    gallery = samples([(s, s, folder.find(MUGSHOTS[mugshots].format(s))) for s in SUBJECTS])
    probes: list[Sample] = []
    for camera in cameras:
        stem = f"surveillance_cameras_distance_{distance}/cam_{camera}"
        flat = "surveillance_cameras_all"
        found = [
            (name, name[:3], folder.find(f"{stem}/{name}.jpg", f"{flat}/{name}.jpg"))
            for name in (f"{s}_cam{camera}_{distance}" for s in SUBJECTS)
        ]
        probes += samples(found, camera=str(camera), distance=str(distance))
    folder.check()
    note = "" if mugshots == "infrared" else f"the paper does not say which mugshots it used: {mugshots} ones here"
    return SearchProtocol(f"SCface d{distance}", tuple(gallery), tuple(probes), SOURCE, note)
