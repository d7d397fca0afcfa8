"""Published models that are fetched when they are named, and only then: resumed where a download broke off, and checked.

Nothing is fetched at import, and nothing at all while ``$MEETMID_OFFLINE`` is set.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from meetmid.errors import ModelError
from meetmid.runtime.progress import Progress, ProgressCallback

CHUNK = 2**18
TIMEOUT = 30.0


@dataclass(frozen=True)
class PublishedModel:
    """Where others hand out a model: ``url``, ``size`` in bytes, ``sha256``, its terms, and the contract it is ``like``."""

    name: str
    task: Literal["matcher", "detector"]
    url: str
    size: int
    sha256: str
    license: str
    like: str
    summary: str


_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models"
PUBLISHED: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        PublishedModel(
            "sface", "matcher", f"{_ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx", 38_696_353,
            "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79", "Apache-2.0", "sface",
            "SFace (Y. Zhong et al., IEEE TIP 30, 2021), 128-d, of the OpenCV Zoo",
        ),
        PublishedModel(
            "yunet", "detector", f"{_ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx", 232_589,
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4", "MIT", "",
            "YuNet (S. Wu et al., Machine Intelligence Research 20, 2023), boxes and five points, of the OpenCV Zoo",
        ),
    )
}
"""By name. InsightFace's packs are fetched by its own package (``detector="insightface:PACK"``)."""


def fetch(model: PublishedModel, folder: Path, callback: ProgressCallback | None = None) -> Path:
    """The model's file in ``folder``, downloaded unless it is there; raises ModelError.

    A part of a broken download stays beside it (``.part``) and is completed by the next call. The file appears under its name
    only once its size and SHA-256 are right; one that is wrong is deleted.
    """
    target = folder / f"{model.name}.onnx"
    if target.is_file() and _digest(target) == model.sha256:
        return target
    if os.environ.get("MEETMID_OFFLINE"):
        raise ModelError(f"{_told(model)} is not here and MEETMID_OFFLINE is set: {_cure(model, target)}")
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    try:
        _download(model, part, Progress(callback, f"download {model.name}", model.size))
    except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as error:
        kept = part.stat().st_size if part.is_file() else 0
        raise ModelError(
            f"{_told(model)} could not be downloaded ({error}); {kept} bytes are kept and the next call goes on from there, "
            f"or: {_cure(model, target)}"
        ) from error
    got = _digest(part)
    if got != model.sha256:
        size = part.stat().st_size
        part.unlink()
        raise ModelError(
            f"{model.url} gave another file than expected: {model.size} bytes with SHA-256 {model.sha256} were expected, got "
            f"{size} bytes with {got}; it was deleted"
        )
    part.replace(target)
    return target


def _download(model: PublishedModel, part: Path, progress: Progress) -> None:
    """Append what is missing of the file; a server that cannot resume sends it anew."""
    have = part.stat().st_size if part.is_file() else 0
    if have > model.size:
        part.unlink()
        have = 0
    if have == model.size:
        return
    request = urllib.request.Request(model.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = have and answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
        with part.open("ab" if resumed else "wb") as file:
            progress.step(have if resumed else 0)
            while data := answer.read(CHUNK):
                file.write(data)
                progress.step(len(data))
                if file.tell() > model.size:
                    break
    if part.stat().st_size < model.size:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {model.size} bytes")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _told(model: PublishedModel) -> str:
    return f"model {model.name!r} ({model.summary}, {model.license}, {model.size / 2**20:.1f} MiB)"


def _cure(model: PublishedModel, target: Path) -> str:
    return f"fetch {model.url} elsewhere and save it as {target}"

