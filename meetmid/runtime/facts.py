"""What is there in this Python environment, seen without importing any of it.

Third-party modules are only ever imported in child processes (this file run as a script, with the name of one probe):
a broken or half-loaded module cannot poison the caller, and a diagnosis after a repair sees the repaired files. So this
file imports the standard library only.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from meetmid.runtime.cores import cores

RUNTIMES = frozenset(
    {"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-training"}
    | {"onnxruntime-qnn", "onnxruntime-rocm", "onnxruntime-migraphx", "ort-nightly", "ort-nightly-gpu"}
)
"""Distributions that all install the one module ``onnxruntime``."""
OPENCVS = frozenset(
    {"opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"}
)
"""Distributions that all install the one module ``cv2``."""
NVIDIA_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
PROBE_SECONDS = 180.0
_RESULT = "meetmid-probe:"

log = logging.getLogger("meetmid")


@dataclass(frozen=True)
class Facts:
    """What was seen; an empty ``*_error`` means that the thing worked."""

    python: tuple[int, int]
    system: str
    machine: str
    packages: Mapping[str, str] = field(default_factory=dict)
    """Version of each installed distribution out of RUNTIMES and OPENCVS."""
    packages_error: str = ""
    damaged: tuple[str, ...] = ()
    """Files of an onnxruntime distribution that are gone, or of another size than its RECORD says."""
    runtime_version: str = ""
    runtime_providers: tuple[str, ...] = ()
    runtime_has_cuda: bool = False
    runtime_cuda: str = ""
    """CUDA version that onnxruntime was built for, such as ``13.0``."""
    runtime_hollow: bool = False
    """The module imports, but only as the empty folder that an uninstallation left."""
    runtime_error: str = ""
    inference_error: str = ""
    gpus: int = 0
    gpu_hidden: bool = False
    driver_cuda: str = ""
    """Newest CUDA version that the NVIDIA driver supports."""
    gpu_error: str = ""
    cuda_error: str = ""
    cuda_missing: tuple[str, ...] = ()
    opencv_version: str = ""
    opencv_hollow: bool = False
    opencv_error: str = ""
    cpu_features: tuple[str, ...] = ()
    cpu_error: str = ""
    numba_version: str = ""
    numba_error: str = ""
    numba_cache_error: str = ""

    @property
    def runtimes(self) -> dict[str, str]:
        """The installed distributions of onnxruntime and their versions, by name."""
        return {name: self.packages[name] for name in sorted(self.packages) if name in RUNTIMES}

    @property
    def base_runtime(self) -> str:
        """The distribution of onnxruntime that this platform should have: CUDA builds exist for 64-bit x86 only."""
        x86 = self.machine.lower() in {"x86_64", "amd64"}
        return "onnxruntime-gpu" if x86 and self.system in {"Linux", "Windows"} else "onnxruntime"


def gather() -> Facts:
    """See what is there, each probe in a child process of its own; a child that crashes or hangs is a fact too."""
    first = [name for name in _PROBES if name != "cuda"]
    with ThreadPoolExecutor(max_workers=min(len(first), cores())) as pool:
        seen = {key: value for found in pool.map(_ask, first) for key, value in found.items()}
    if seen.get("gpus") and seen.get("runtime_has_cuda"):
        seen |= _ask("cuda")
    return Facts(sys.version_info[:2], platform.system(), platform.machine(), **seen)


def _ask(name: str) -> dict[str, Any]:
    """Run one probe in a child process and return the fields of Facts that it fills."""
    error_field = _PROBES[name][1]
    if getattr(sys, "frozen", False):
        return {error_field: "a frozen application cannot start a Python interpreter"}
    command = [sys.executable, "-P", __file__, name]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {error_field: f"no answer within {PROBE_SECONDS:.0f} s"}
    except OSError as error:
        return {error_field: f"{sys.executable} cannot be started: {error}"}
    log.debug("probe %s: exit status %d\n%s%s", name, child.returncode, child.stdout, child.stderr)
    _, marker, answer = child.stdout.rpartition(_RESULT)
    if not marker:
        return {error_field: f"the process died with exit status {child.returncode}"}
    found = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(answer).items()}
    if name == "cuda" and found.get("cuda_error"):
        found["cuda_missing"] = missing_libraries(child.stdout + child.stderr)
        if logged := re.search(r"\[E:onnxruntime[^\]]*\][ \t]*(.+)", child.stderr):
            reason = logged[1].rpartition(" with error: ")[2]
            found["cuda_error"] = f"{found['cuda_error']}: {reason[-300:]}"
    return found


def missing_libraries(text: str) -> tuple[str, ...]:
    """The shared libraries that a loader's messages in ``text`` name as not found."""
    pattern = r"(lib[\w.+-]+?\.so[.\d]*): cannot open shared object|Failed to load ([\w.-]+\.(?:dll|so[.\d]*)):"
    return tuple(sorted({linux or any_system for linux, any_system in re.findall(pattern, text)}))


# --- probes: run in a child process, return fields of Facts -----------------------------------------------------------


def _field(number: int, value: str | bytes | int) -> bytes:
    """One protobuf field below 128 bytes: a small integer, or a string or message with its length."""
    if isinstance(value, int):
        return bytes((number << 3, value))
    data = value.encode() if isinstance(value, str) else value
    return bytes((number << 3 | 2, len(data))) + data


def tiny_model() -> bytes:
    """An ONNX model of 61 bytes: ``y = x + x`` for float32 ``x`` of shape (2,), IR version 8, opset 13."""

    def tensor(name: str) -> bytes:
        shape = _field(1, _field(1, 2))
        return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))

    node = _field(1, "x") + _field(1, "x") + _field(2, "y") + _field(4, "Add")
    graph = _field(1, node) + _field(2, "g") + _field(11, tensor("x")) + _field(12, tensor("y"))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


def _run_tiny_model(provider: str) -> str:
    """Run the tiny model on ``provider``; return what went wrong."""
    import numpy as np
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(tiny_model(), providers=[provider])
        used = session.get_providers()[0]
        result = session.run(None, {"x": np.array([1.0, 2.0], np.float32)})[0].tolist()
    except Exception as error:
        return _describe(error)
    if used != provider:
        return f"onnxruntime fell back to {used}"
    return "" if result == [2.0, 4.0] else f"1 + 1, 2 + 2 gave {result}"


def _probe_packages() -> dict[str, Any]:
    packages: dict[str, str] = {}
    damaged: list[str] = []
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name not in RUNTIMES | OPENCVS or name in packages:
            continue
        packages[name] = distribution.version
        for file in distribution.files or () if name in RUNTIMES else ():
            path = Path(str(file.locate()))
            checked = file.parts[0] == "onnxruntime" and file.size is not None
            if checked and not (path.is_file() and path.stat().st_size == file.size):
                damaged.append(file.as_posix())
    return {"packages": packages, "damaged": damaged}


def _probe_runtime() -> dict[str, Any]:
    import onnxruntime

    if not (hasattr(onnxruntime, "InferenceSession") and hasattr(onnxruntime, "__version__")):
        return {"runtime_hollow": True, "runtime_error": "module 'onnxruntime' has no InferenceSession"}
    providers = onnxruntime.get_available_providers()
    is_plugin = "cuda-plugin-ep=" in getattr(onnxruntime, "get_build_info", str)()
    return {
        "runtime_version": onnxruntime.__version__,
        "runtime_providers": providers,
        "runtime_has_cuda": "CUDAExecutionProvider" in providers or is_plugin,
        "runtime_cuda": str(getattr(onnxruntime, "cuda_version", "")),
        "inference_error": _run_tiny_model("CPUExecutionProvider"),
    }


def _probe_cuda() -> dict[str, Any]:
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    return {"cuda_error": _run_tiny_model("CUDAExecutionProvider")}


def ask_driver() -> tuple[int, int, int]:
    """The NVIDIA driver's answer: its status (0 = good), how many GPUs it reports, and the newest CUDA version it supports
    (1000 x major + 10 x minor). Raises OSError where there is no driver."""
    driver = ctypes.CDLL(NVIDIA_DRIVER)
    status, count, version = driver.cuInit(0), ctypes.c_int(0), ctypes.c_int(0)
    if status == 0:
        driver.cuDeviceGetCount(ctypes.byref(count))
        driver.cuDriverGetVersion(ctypes.byref(version))
    return status, count.value, version.value


def _probe_gpu() -> dict[str, Any]:
    """Ask the NVIDIA driver itself; when it does not answer, look for the hardware."""
    try:
        status, count, version = ask_driver()
    except OSError as error:
        return {"gpu_error": str(error)} if _has_nvidia_hardware() else {}
    if status == 100:  # CUDA_ERROR_NO_DEVICE
        return {"gpu_hidden": "CUDA_VISIBLE_DEVICES" in os.environ and _has_nvidia_hardware()}
    if status:
        return {"gpu_error": f"cuInit of {NVIDIA_DRIVER} failed with status {status}"} if _has_nvidia_hardware() else {}
    return {"gpus": count, "driver_cuda": f"{version // 1000}.{version % 1000 // 10}"}


def _has_nvidia_hardware() -> bool:
    folder = Path("/proc/driver/nvidia/gpus")
    if folder.is_dir() and any(folder.iterdir()):
        return True
    tool = shutil.which("nvidia-smi")
    return tool is not None and b"GPU " in subprocess.run([tool, "-L"], capture_output=True).stdout


def _probe_opencv() -> dict[str, Any]:
    import cv2

    if not hasattr(cv2, "resize"):
        return {"opencv_hollow": True}
    return {"opencv_version": cv2.__version__}


def _probe_cpu() -> dict[str, Any]:
    import numpy as np

    features = getattr(getattr(np, "_core", None), "_multiarray_umath", None)
    features = getattr(features, "__cpu_features__", {})
    shown = ("SSE42", "AVX2", "FMA3", "AVX512F", "AVX512VNNI", "ASIMD", "ASIMDDP", "SVE")
    return {"cpu_features": [name for name in shown if features.get(name)]}


def _probe_numba() -> dict[str, Any]:
    import numba

    try:
        numba.njit(cache=True)(_describe)  # only decorated: this is where numba looks for a folder it can write
    except RuntimeError as error:
        return {"numba_version": numba.__version__, "numba_cache_error": _describe(error)}
    return {"numba_version": numba.__version__}


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


_PROBES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "packages": (_probe_packages, "packages_error"),
    "runtime": (_probe_runtime, "runtime_error"),
    "gpu": (_probe_gpu, "gpu_error"),
    "cuda": (_probe_cuda, "cuda_error"),
    "opencv": (_probe_opencv, "opencv_error"),
    "cpu": (_probe_cpu, "cpu_error"),
    "numba": (_probe_numba, "numba_error"),
}
"""Each probe, and the field of Facts that says that it failed."""


def _main(name: str) -> None:
    probe, error_field = _PROBES[name]
    try:
        found = probe()
    except Exception as error:
        found = {error_field: _describe(error)}
    sys.stdout.write(f"\n{_RESULT}{json.dumps(found)}\n")


if __name__ == "__main__":
    _main(sys.argv[1])
