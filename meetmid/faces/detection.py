"""Face detection behind one small interface: the library's own finder, OpenCV's YuNet and insightface's SCRFD."""

from __future__ import annotations

import os
import secrets
import threading
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import ConfigError, ModelError
from meetmid.faces.crops import Face
from meetmid.faces.finder import Finder
from meetmid.runtime.cards import file_sha256
from meetmid.runtime.downloads import PUBLISHED, fetch
from meetmid.runtime.registry import downloads_folder, get_model

_EXTRA = "the scrfd detector needs the insightface extra: pip install 'meetmid[insightface]' && meetmid doctor --repair"


FINDS = "to find faces"
"""What is said of a model that scores do not otherwise depend on."""


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Every face of an RGB uint8 (H, W, 3) picture, best score first."""


class Serial:
    """A caller's own detector, asked by one thread at a time: it need not know of threads."""

    def __init__(self, detector: Detector) -> None:
        self.own, self._lock = detector, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"detector": self.own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["detector"])  # type: ignore[misc]

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """As :meth:`Detector.detect`."""
        with self._lock:
            return self.own.detect(image)


class YuNet:
    """``cv2.FaceDetectorYN`` with a YuNet ONNX file (S. Wu et al., "YuNet: a tiny millisecond-level face detector",
    Machine Intelligence Research 20, 2023)."""

    def __init__(self, path: str | os.PathLike[str], *, threshold: float = 0.6) -> None:
        self._path, self._threshold = Path(path), threshold
        self._lock = threading.Lock()
        self._detector: Any = None
        if not self._path.is_file():
            raise ModelError(f"detector yunet: expected a YuNet ONNX file, {self._path} does not exist")

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "threshold": self._threshold}

    @cached_property
    def sha256(self) -> str:
        """Of its network's file."""
        return file_sha256(self._path)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], threshold=state["threshold"])  # type: ignore[misc]

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Every face, best score first."""
        import cv2

        height, width = image.shape[:2]
        bgr = np.ascontiguousarray(image[..., ::-1])
        with self._lock:  # setInputSize makes the OpenCV object stateful
            try:
                if self._detector is None:
                    self._detector = cv2.FaceDetectorYN.create(str(self._path), "", (width, height), self._threshold)
                self._detector.setInputSize((width, height))
                _, rows = self._detector.detect(bgr)
            except cv2.error as error:
                raise ModelError(f"detector yunet: OpenCV cannot run {self._path}: {error}") from error
        found = [] if rows is None else [_yunet_face(row) for row in np.asarray(rows, np.float64)]
        return sorted(found, key=lambda face: -face.score)


def _yunet_face(row: NDArray[np.float64]) -> Face:
    """YuNet's first eye and mouth corner are the subject's right: image-left on an upright face, as the templates expect."""
    points = row[4:14].reshape(5, 2)
    x, y, w, h = (float(v) for v in row[:4])
    return Face((x, y, w, h), tuple((float(a), float(b)) for a, b in points), float(row[14]))


class Scrfd:
    """insightface's SCRFD (J. Guo et al., "Sample and computation redistribution for efficient face detection", ICLR
    2022), from an ONNX file or from a published pack that insightface fetches when it is named."""

    def __init__(self, model: str, *, is_pack: bool, device: str = "cpu", size: int = 640, threshold: float = 0.5) -> None:
        self._arguments: dict[str, Any] = {
            "model": model, "is_pack": is_pack, "device": device, "size": size, "threshold": threshold
        }
        self._model: Any = None
        self._lock = threading.Lock()
        if not is_pack and not Path(model).is_file():
            raise ModelError(f"detector scrfd: expected an SCRFD ONNX file, {model} does not exist")

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    @property
    def pack(self) -> str | None:
        """The name of its pack."""
        return self._arguments["model"] if self._arguments["is_pack"] else None

    @cached_property
    def sha256(self) -> str:
        """Of its network's file; a pack that is not there is fetched."""
        return file_sha256(self._file())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _open(self) -> Any:
        from meetmid.runtime.sessions import import_onnxruntime, make_session

        import_onnxruntime()  # a broken one is told from an absent insightface
        try:
            from insightface.model_zoo import scrfd
        except ImportError as error:
            raise ConfigError(_EXTRA) from error
        path = self._file()
        session = make_session(path, "scrfd", device=self._arguments["device"])
        if len(session.get_outputs()) not in (6, 9, 10, 15):
            raise ModelError(f"detector scrfd: {path} is no SCRFD (expected 6, 9, 10 or 15 outputs)")
        model = scrfd.SCRFD(model_file=str(path), session=session)
        side = self._arguments["size"]
        model.prepare(0, input_size=(side, side), det_thresh=self._arguments["threshold"])  # 0: keep the session's device
        return model

    def _file(self) -> Path:
        model = str(self._arguments["model"])
        return _pack_detector(model) if self._arguments["is_pack"] else Path(model)

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Every face, best score first."""
        with self._lock:
            if self._model is None:
                self._model = self._open()
            boxes, points = self._model.detect(np.ascontiguousarray(image[..., ::-1]))
        found = []
        for row, five in zip(boxes, points if points is not None else [None] * len(boxes), strict=True):
            left, top, right, bottom, score = (float(v) for v in row)
            pairs = None if five is None else tuple((float(a), float(b)) for a, b in five)
            found.append(Face((left, top, right - left, bottom - top), pairs, score))
        return sorted(found, key=lambda face: -face.score)


def _pack_detector(name: str) -> Path:
    """The detection model of an insightface pack; insightface downloads the pack when it is not there."""
    try:
        from insightface.utils import ensure_available
    except ImportError as error:
        raise ConfigError(_EXTRA) from error
    folder = Path(ensure_available("models", name, root="~/.insightface"))
    for path in sorted(folder.glob("*.onnx")):
        if path.name.startswith(("det_", "scrfd")):
            return path
    raise ModelError(f"insightface pack {name!r} in {folder} holds no SCRFD detector (det_*.onnx or scrfd*.onnx)")


def identity(detector: Detector) -> str:
    """The sha256 of a detector's network; of a caller's own, which has no name that says how it is set, something new every
    time."""
    return detector.sha256 if isinstance(detector, Finder | YuNet | Scrfd) else secrets.token_hex(16)


def networks_of(detector: Detector) -> dict[str, str]:
    """What a detector finds faces with, name to "sha256 ...", of an insightface pack (which need not be here) and of a caller's
    own detector "pack ..." and "own ...", and that it does."""
    if isinstance(detector, Serial):
        return networks_of(detector.own)
    if isinstance(detector, Finder):
        known = {card.name: f"sha256 {card.sha256}" for card in detector.cards}
    elif isinstance(detector, YuNet):
        known = {"yunet": f"sha256 {detector.sha256}"}
    elif isinstance(detector, Scrfd):
        known = {"scrfd": f"sha256 {detector.sha256}" if detector.pack is None else f"pack {detector.pack}"}
    else:
        known = {"detector": f"own {type(detector).__qualname__}"}
    return {name: f"{what} {FINDS}" for name, what in known.items()}


DEFAULT = "finder"
"""The detector that ships."""


def open_detector(name: str, *, device: str = "auto", threads: int | None = None) -> Detector:
    """``"finder"`` (the one that ships), ``"yunet"`` (the published one, fetched once), ``"yunet:FILE"``, ``"scrfd:FILE"``,
    ``"insightface:PACK"`` or ``"finder:MODEL"`` (a model that ``models/finder/train.py`` made, or its folder); raises
    ConfigError or ModelError. ``device`` and ``threads`` are the finders'."""
    kind, _, value = name.partition(":")
    if name == DEFAULT:
        return Finder(get_model(DEFAULT), device=device, threads=threads)
    if name == "yunet":
        return YuNet(fetch(PUBLISHED["yunet"], downloads_folder()))
    if kind == "finder" and value:
        return Finder(get_model(value), device=device, threads=threads)
    if kind == "yunet" and value:
        return YuNet(value)
    if kind == "scrfd" and value:
        return Scrfd(value, is_pack=False)
    if kind == "insightface" and value:
        return Scrfd(value, is_pack=True)
    raise ConfigError(
        f"detector expects 'finder', 'yunet', 'yunet:FILE', 'scrfd:FILE', 'insightface:PACK' or 'finder:MODEL', got {name!r}"
    )
