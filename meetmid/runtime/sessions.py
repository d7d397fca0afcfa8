"""The one place where onnxruntime sessions are made, and where a device is either really used or refused."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import DeviceError, ModelError
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.cores import cores
from meetmid.runtime.facts import ask_driver

LOG = logging.getLogger("meetmid")
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
BATCH = 8
"""Every network runs on batches of exactly this many pictures, the last one padded: the batch never changes a bit."""

APART = ("detector", "pointer", "reader")
"""Tasks whose networks see the views of one picture."""

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""

LARGE = 224 * 224
"""Pictures whose output has more pixels than this run one at a time: their activations, not their number, are the cost."""


@dataclass(frozen=True)
class Device:
    """A device asked for: ``kind`` ("auto" or a key of PROVIDERS) and ``index``."""

    kind: str
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Device:
        """``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"tensorrt"``, ``"openvino"``, ``"coreml"``."""
        kind, colon, index = str(text).partition(":")
        indexed = kind not in ("auto", "cpu") and index.isdecimal()
        if (kind != "auto" and kind not in PROVIDERS) or (colon and not indexed):
            raise DeviceError(f"device expects auto, {', '.join(PROVIDERS)} or cuda:N, got {text!r}")
        return cls(kind, int(index or 0))


def import_onnxruntime() -> Any:
    """onnxruntime, or a DeviceError that says how to mend the installation."""
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError(f"onnxruntime cannot be imported ({error}); run `meetmid doctor --repair`") from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise DeviceError(
            "onnxruntime is installed but broken (no InferenceSession), as happens when onnxruntime and onnxruntime-gpu "
            "were both installed and one was removed; run `meetmid doctor --repair`"
        )
    return onnxruntime


def nvidia_gpu_present() -> bool:
    """Whether the NVIDIA driver is there and reports at least one GPU."""
    try:
        _, gpus, _ = ask_driver()
    except OSError:
        return False
    return gpus > 0


def _providers(runtime: Any, device: Device, exact: bool = False) -> list[Any]:
    available = runtime.get_available_providers()
    if device.kind in ("cuda", "tensorrt") and not nvidia_gpu_present():
        raise DeviceError(f"device {device.kind!r} was asked for, but no NVIDIA GPU or driver was found; use device='cpu'")
    if device.kind == "auto":
        usable = {"cuda": nvidia_gpu_present(), "coreml": sys.platform == "darwin"}
        wanted = [PROVIDERS[kind] for kind, here in usable.items() if here and PROVIDERS[kind] in available]
    elif device.kind == "cpu":
        wanted = []
    elif PROVIDERS[device.kind] not in available:
        raise DeviceError(
            f"device {device.kind!r} was asked for, but this onnxruntime offers only {', '.join(available)}; "
            f"run `meetmid doctor`, or ask for device='cpu'"
        )
    else:
        wanted = [PROVIDERS[device.kind]]
    options = {"device_id": str(device.index)} if device.index else {}
    told = [(p, options | ({"use_tf32": "0"} if exact and p == PROVIDERS["cuda"] else {})) for p in wanted]
    return [*((p, its) if its else p for p, its in told), PROVIDERS["cpu"]]


def kind_used(device: str) -> str:
    """The kind of device that ``device`` means here: "auto" is one of those it may choose. Raises DeviceError."""
    first = _providers(import_onnxruntime(), Device.parse(device))[0]
    provider = first[0] if isinstance(first, tuple) else first
    return next(kind for kind, its in PROVIDERS.items() if its == provider)


def open_session(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> Any:
    """Verify the file's hash and open it. Raises ModelError for the file and DeviceError when a device asked for by name
    is not the one the session really uses."""
    card.verify()
    return make_session(card.path, card.name, device=device, threads=threads)


def make_session(model: Path | bytes, name: str, *, device: str, threads: int | None = None, exact: bool = False) -> Any:
    """Open an ONNX file or model whose content is not vouched for by a card; raises as :func:`open_session`. ``exact`` keeps
    CUDA from multiplying float32 in 19 bits (TF32)."""
    runtime = import_onnxruntime()
    wanted = Device.parse(device)
    providers = _providers(runtime, wanted, exact)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    # threads that wait in a loop for the next run of this network take the cores from another network's
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is None and cores() < (os.cpu_count() or 1):  # of which onnxruntime knows nothing
        threads = cores()
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    if len(providers) > 1 and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    try:
        source = model if isinstance(model, bytes) else str(model)
        session = runtime.InferenceSession(source, options, providers=providers)
    except Exception as error:
        if len(providers) > 1 and wanted.kind != "auto":
            raise DeviceError(f"device {device!r} refused model {name!r}: {error}; run `meetmid doctor`") from error
        where = "" if isinstance(model, bytes) else f" ({model})"
        raise ModelError(f"onnxruntime cannot load model {name!r}{where}: {error}") from error
    session.disable_fallback()
    used = session.get_providers()[0]
    if wanted.kind == "auto" and used == PROVIDERS["cpu"] and nvidia_gpu_present():
        LOG.warning("an NVIDIA GPU is there but onnxruntime uses the CPU for %s; run `meetmid doctor`", name)
    if wanted.kind not in ("auto", "cpu") and used != PROVIDERS[wanted.kind]:
        raise DeviceError(f"device {device!r} was asked for, but onnxruntime used {used}; run `meetmid doctor`")
    return session


class Network:
    """A card and its session, opened at first use; safe to share between threads and to pickle."""

    def __init__(self, card: ModelCard, *, device: str = "auto", threads: int | None = None) -> None:
        self.card = card
        self._device, self._threads = device, threads
        self._session: Any = None
        self._alone: Any = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"card": self.card, "device": self._device, "threads": self._threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["card"], device=state["device"], threads=state["threads"])  # type: ignore[misc]

    def open(self) -> Any:
        """The session."""
        with self._lock:
            if self._session is None:
                self._session = open_session(self.card, device=self._device, threads=self._threads)
            return self._session

    def open_alone(self) -> Any:
        """A session that runs in the thread that calls it, on the CPU, which many may do at once; None on other devices, which
        share their work out themselves."""
        if self.provider != PROVIDERS["cpu"]:
            return None
        with self._lock:
            if self._alone is None:
                self._alone = self._session if self._threads == 1 else open_session(self.card, device="cpu", threads=1)
            return self._alone

    @property
    def threads(self) -> int:
        """As asked for, or the number of cores."""
        return self._threads or cores()

    def close(self) -> None:
        """Release the sessions; the next use opens them again."""
        with self._lock:
            self._session = self._alone = None

    @property
    def provider(self) -> str:
        """The execution provider in use, e.g. ``"CUDAExecutionProvider"``."""
        return str(self.open().get_providers()[0])

    def batch(self, height: int, width: int) -> int:
        """How many pictures of a size run together. On the CPU a generator is no faster with more than one, and a probe need
        not be filled up with blank ones."""
        alone = self.card.task == "hallucinator" and self.provider == PROVIDERS["cpu"]
        return BATCH if not alone and height * width * self.card.contract.scale**2 <= LARGE else 1

    def run(self, pictures: NDArray[np.float32] | NDArray[np.uint8], *, alone: bool = False) -> NDArray[np.float32]:
        """(N, H, W, 3) RGB, float32 in [0, 1] or uint8, through the network, raw output (N, ...), in fixed padded batches;
        views of one picture (:data:`APART`), whose number never depends on what else there is to do, run as they come.
        ``alone`` takes no thread but the caller's, where :meth:`open_alone` can; the bits are the same."""
        blob = to_planes(pictures, self.card)
        if self.card.task in APART:
            return self._run_batch(blob)
        session = self.open_alone() if alone else None
        size = self.batch(*blob.shape[2:])
        parts = []
        for start in range(0, len(blob), size):
            batch = blob[start : start + size]
            if len(batch) < size:
                batch = np.concatenate([batch, np.zeros((size - len(batch), *blob.shape[1:]), np.float32)])
            parts.append(self._run_batch(batch, session=session)[: len(blob) - start])
        return np.concatenate(parts)

    def heat(self, picture: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """What a generator attends to in (H, W, 3) float32 RGB in [0, 1]: its raw map (h, w), None where it has none."""
        if not self.card.contract.heat:
            return None
        return np.ascontiguousarray(self._run_batch(to_planes(picture[None], self.card), self.card.contract.heat)[0, 0])

    def _run_batch(self, batch: NDArray[np.float32], output: str = "", session: Any = None) -> NDArray[np.float32]:
        session, contract = session or self.open(), self.card.contract
        source = session.get_inputs()[0]
        outputs = [output or contract.output or session.get_outputs()[0].name]
        name = contract.input or source.name

        def call(x: NDArray[np.float32]) -> NDArray[np.float32]:
            result: NDArray[np.float32] = session.run(outputs, {name: x})[0]
            return result.astype(np.float32, copy=False)

        if source.shape and source.shape[0] == 1:
            return np.concatenate([self._checked(call, batch[i : i + 1]) for i in range(len(batch))])
        return self._checked(call, batch)

    def _checked(
        self, call: Callable[[NDArray[np.float32]], NDArray[np.float32]], batch: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        try:
            return call(batch)
        except Exception as error:
            raise ModelError(
                f"model {self.card.name!r} refused an input of shape {batch.shape}: {error}; "
                f"does its card's contract state the right size?"
            ) from error


def to_planes(pictures: NDArray[np.float32] | NDArray[np.uint8], card: ModelCard) -> NDArray[np.float32]:
    """(N, H, W, 3) RGB, float32 in [0, 1] or uint8, to the planes (N, 3, H, W), or (N, 1, H, W) of luma, that the card's
    contract asks for."""
    contract, levels = card.contract, np.float32(1.0 if pictures.dtype == np.uint8 else 255.0)
    if contract.stretch:
        low, high = (bound(pictures, axis=(1, 2, 3), keepdims=True) for bound in (np.min, np.max))
        pictures, levels = (pictures - low) / np.maximum(high - low, np.float32(1e-6)), np.float32(255.0)
    if contract.channels == "gray":
        pictures = (pictures @ np.array(LUMA, np.float32))[..., None]
    ordered = pictures[..., ::-1] if contract.channels == "bgr" else pictures
    mean, std = (np.array(values[: ordered.shape[-1]], np.float32)[:, None, None] for values in (contract.mean, contract.std))
    planes = ordered.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    planes *= levels
    planes -= mean
    planes /= std
    return planes


def from_planes(planes: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """The inverse of :func:`to_planes` for networks that return pictures (N, 3, H, W), clipped to [0, 1]; RGB where their
    input is gray."""
    contract = card.contract
    x = planes.transpose(0, 2, 3, 1) * np.array(contract.std, np.float32) + np.array(contract.mean, np.float32)
    x = x[..., ::-1] if contract.channels == "bgr" else x
    return np.ascontiguousarray(np.clip(x * np.float32(1.0 / 255.0), 0.0, 1.0))


def check_contract(card: ModelCard) -> int:
    """Run a blank picture through a model on the CPU; returns its template length (0 for a hallucinator)."""
    height, width = card.contract.size if min(card.contract.size) > 0 else (24, 24)
    out = Network(card, device="cpu").run(np.zeros((1, height, width, 3), np.float32))
    if card.task == "hallucinator":
        expected = (1, 3, height * card.contract.scale, width * card.contract.scale)
        if out.shape != expected:
            raise ModelError(f"hallucinator {card.name!r}: expected output {expected}, got {out.shape}")
        return 0
    length = int(np.prod(out.shape[1:]))
    if card.contract.template_length not in (0, length):
        raise ModelError(
            f"matcher {card.name!r}: its contract says template length {card.contract.template_length}, got {length}"
        )
    return length
