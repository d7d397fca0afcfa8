"""What is wrong with this Python environment, and the commands that cure it: facts, then findings.

Third-party modules are only ever imported in child processes (this file run as a script, with the name of one probe):
a broken or half-loaded module cannot poison the caller, and a diagnosis after a repair sees the repaired files.
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
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

Command = tuple[str, ...]
Level = Literal["ok", "warning", "error"]

RUNTIMES = frozenset(
    {"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-training"}
    | {"onnxruntime-qnn", "onnxruntime-rocm", "onnxruntime-migraphx", "ort-nightly", "ort-nightly-gpu"}
)
"""Distributions that all install the one module ``onnxruntime``."""
OPENCVS = frozenset(
    {"opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"}
)
"""Distributions that all install the one module ``cv2``."""
OLDEST_PYTHON = (3, 11)
OLDEST_RUNTIME = "1.20"
PROBE_SECONDS = 180.0
_RESULT = "meetmid-probe:"

log = logging.getLogger("meetmid")


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis; ``cure`` holds the commands that mend it, to be run in this order."""

    check: str
    level: Level
    message: str
    cure: tuple[Command, ...] = ()


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


def diagnose() -> tuple[Finding, ...]:
    """Examine this environment; takes seconds, changes nothing."""
    return judge(gather())


# --- facts -> findings -----------------------------------------------------------------------------------------------


def judge(facts: Facts) -> tuple[Finding, ...]:
    """One finding per check, always in the same order; decides from ``facts`` alone."""
    checks = (_python, _runtime, _inference, _gpu, _opencv, _cpu, _numba)
    return tuple(check(facts) for check in checks)


def _python(facts: Facts) -> Finding:
    version, oldest = (".".join(map(str, v)) for v in (facts.python, OLDEST_PYTHON))
    if facts.python < OLDEST_PYTHON:
        return Finding("python", "error", f"Python {version} is too old: meetmid needs {oldest} or newer")
    return Finding("python", "ok", f"Python {version} on {facts.system} {facts.machine}")


def _runtime(facts: Facts) -> Finding:
    def error(message: str, *cure: Command) -> Finding:
        return Finding("onnxruntime", "error", message, cure)

    base, installed = facts.base_runtime, facts.runtimes
    named = _and(f"{name} {version}" for name, version in installed.items())
    if facts.packages_error:
        return error(f"the installed distributions cannot be listed ({facts.packages_error})")
    if not installed:
        if facts.runtime_version:
            message = f"onnxruntime {facts.runtime_version} was not installed by pip: it cannot be checked here"
            return Finding("onnxruntime", "warning", message)
        return error("onnxruntime is not installed", _pip("install", f"{base}>={OLDEST_RUNTIME}"))
    if len(installed) > 1:
        others = [name for name in installed if name != "onnxruntime"]
        keep = next(name for name in ("onnxruntime-gpu", base, *others) if name in installed)
        now = f"now: {', '.join(facts.runtime_providers) or facts.runtime_error or 'nothing'}"
        message = (
            f"{named} are installed over each other in one folder and the files of the last one win ({now}): as a rule"
            " the CPU build, so a GPU silently stays unused; uninstalling only one of them breaks the other"
        )
        return error(message, *_reinstall(installed, keep))
    name = next(iter(installed))
    if facts.gpus and name == "onnxruntime" != base:
        cure = (_pip("uninstall", "-y", name), _pip("install", f"{base}>={OLDEST_RUNTIME}"))
        return error(f"{named} is the CPU build, but this machine has an NVIDIA GPU: install {base} instead", *cure)
    if facts.damaged:
        libraries_first = sorted(facts.damaged, key=lambda file: not re.search(r"\.(so|pyd|dll)", file))
        some = ", ".join(libraries_first[:3]) + (", ..." if len(facts.damaged) > 3 else "")
        why = "as after uninstalling another onnxruntime distribution from the same folder"
        message = f"{named} is damaged: {len(facts.damaged)} of its files are missing or foreign, {why} ({some})"
        return error(message, *_reinstall(installed, name))
    if facts.runtime_error:
        message = f"{named} is installed but cannot be imported ({facts.runtime_error})"
        if facts.runtime_hollow or "No module named 'onnxruntime" in facts.runtime_error:
            return error(message, *_reinstall(installed, name))
        absent = "No module named" in facts.runtime_error
        return error(message, *([_pip("install", f"{name}=={installed[name]}")] if absent else []))
    if name == "onnxruntime-gpu" and not facts.runtime_has_cuda:
        message = f"{named} is installed, but a build without CUDA is imported: {_list(facts.runtime_providers)}"
        return error(message, *_reinstall(installed, name))
    return Finding("onnxruntime", "ok", f"{named}: {_list(facts.runtime_providers)}")


def _inference(facts: Facts) -> Finding:
    if reason := facts.runtime_error or facts.inference_error:
        return Finding("inference", "error", f"a network cannot run on the CPU ({reason})")
    return Finding("inference", "ok", "a network runs on the CPU")


def _gpu(facts: Facts) -> Finding:
    if facts.gpu_error:
        message = (
            f"there is an NVIDIA GPU that cannot be reached, so networks run on the CPU ({facts.gpu_error}): mend the"
            " driver, or start the container with its GPUs (docker run --gpus all)"
        )
        return Finding("gpu", "warning", message)
    if not facts.gpus:
        hidden = "every NVIDIA GPU is hidden by CUDA_VISIBLE_DEVICES: runs on the CPU"
        return Finding("gpu", "ok", hidden if facts.gpu_hidden else "no NVIDIA GPU: runs on the CPU")
    count = f"{facts.gpus} NVIDIA GPU{'s' if facts.gpus > 1 else ''}"
    if not facts.runtime_has_cuda:
        level: Level = "error" if facts.base_runtime == "onnxruntime-gpu" else "warning"
        return Finding("gpu", level, f"{count}, but the onnxruntime that is imported has no CUDA: runs on the CPU")
    if not facts.cuda_error:
        return Finding("gpu", "ok", f"{count}: a network runs on CUDA {facts.runtime_cuda}".rstrip())
    if 0 < _major(facts.driver_cuda) < _major(facts.runtime_cuda):
        message = (
            f"{count}, but the NVIDIA driver supports CUDA {facts.driver_cuda} and onnxruntime-gpu was built for CUDA"
            f" {facts.runtime_cuda}: update the driver, or install an older onnxruntime-gpu built for CUDA"
            f" {_major(facts.driver_cuda)}"
        )
        return Finding("gpu", "error", message)
    if facts.cuda_missing and (version := facts.packages.get("onnxruntime-gpu")):
        message = f"{count}, but CUDA libraries are missing ({_list(facts.cuda_missing)}): networks run on the CPU"
        return Finding("gpu", "error", message, (_pip("install", f"onnxruntime-gpu[cuda,cudnn]=={version}"),))
    return Finding("gpu", "error", f"{count}, but a network does not run on CUDA ({facts.cuda_error})")


def _opencv(facts: Facts) -> Finding:
    installed = {name: facts.packages[name] for name in sorted(facts.packages) if name in OPENCVS}
    if facts.opencv_hollow or "No module named 'cv2" in facts.opencv_error:
        if not installed:
            return Finding("opencv", "error", "OpenCV is not installed", (_pip("install", "opencv-python"),))
        keep = "opencv-python" if "opencv-python" in installed else next(iter(installed))
        message = f"{_and(installed)} is installed, but its module cv2 is gone, as after uninstalling another OpenCV"
        return Finding("opencv", "error", message, _reinstall(installed, keep))
    if missing := re.search(r"(lib\S+\.so\S*): cannot open shared object", facts.opencv_error):
        message = (
            f"OpenCV needs the system library {missing[1]}, which is missing: install it (Debian, Ubuntu: apt-get"
            " install libgl1 libglib2.0-0), or replace opencv-python with opencv-python-headless, which does without"
        )
        return Finding("opencv", "error", message)
    if facts.opencv_error:
        return Finding("opencv", "error", f"OpenCV cannot be imported ({facts.opencv_error})")
    if len(installed) > 1:
        message = (
            f"{_and(installed)} are installed over each other in one folder (cv2 is {facts.opencv_version}): to keep"
            " one, uninstall all of them, then install that one"
        )
        return Finding("opencv", "warning", message)
    return Finding("opencv", "ok", f"OpenCV {facts.opencv_version}")


def _cpu(facts: Facts) -> Finding:
    has = set(facts.cpu_features)
    if facts.cpu_error:
        return Finding("cpu", "error", f"numpy cannot be imported ({facts.cpu_error})")
    if not has:
        return Finding("cpu", "ok", f"{facts.machine}: its vector instructions are not known here")
    if facts.machine.lower() in {"x86_64", "amd64"} and "AVX2" not in has:
        return Finding("cpu", "warning", "this CPU (or virtual machine) has no AVX2: networks run several times slower")
    return Finding("cpu", "ok", f"vector instructions: {_list(facts.cpu_features)}")


def _numba(facts: Facts) -> Finding:
    if facts.numba_error:
        cure = (_pip("install", "numba"),) if "No module named 'numba'" in facts.numba_error else ()
        return Finding("numba", "error", f"numba cannot be imported ({facts.numba_error})", cure)
    if facts.numba_cache_error:
        message = (
            "numba finds no folder for compiled code, so modules whose functions use cache=True cannot be imported:"
            f" set NUMBA_CACHE_DIR to a folder that can be written ({facts.numba_cache_error})"
        )
        return Finding("numba", "error", message)
    return Finding("numba", "ok", f"numba {facts.numba_version}, its cache can be written")


def _pip(*arguments: str) -> Command:
    return (sys.executable, "-m", "pip", *arguments)


def _reinstall(installed: Mapping[str, str], keep: str) -> tuple[Command, ...]:
    requirement = f"{keep}=={installed[keep]}"
    return (
        _pip("uninstall", "-y", *sorted(installed)),
        _pip("install", "--force-reinstall", "--no-deps", requirement),
    )


def _list(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _and(items: Iterable[str]) -> str:
    return " and ".join(items)


def _major(version: str) -> int:
    return int(found[0]) if (found := re.match(r"\d+", version)) else 0


# --- facts ------------------------------------------------------------------------------------------------------------


def gather() -> Facts:
    """See what is there, each probe in a child process of its own; a child that crashes or hangs is a fact too."""
    first = [name for name in _PROBES if name != "cuda"]
    with ThreadPoolExecutor(max_workers=min(len(first), os.cpu_count() or 1)) as pool:
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


def _probe_gpu() -> dict[str, Any]:
    """Ask the NVIDIA driver itself; when it does not answer, look for the hardware."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError as error:
        return {"gpu_error": str(error)} if _has_nvidia_hardware() else {}
    status, count, version = driver.cuInit(0), ctypes.c_int(0), ctypes.c_int(0)
    if status == 100:  # CUDA_ERROR_NO_DEVICE
        return {"gpu_hidden": "CUDA_VISIBLE_DEVICES" in os.environ and _has_nvidia_hardware()}
    if status:
        return {"gpu_error": f"cuInit of {library} failed with status {status}"} if _has_nvidia_hardware() else {}
    driver.cuDeviceGetCount(ctypes.byref(count))
    driver.cuDriverGetVersion(ctypes.byref(version))
    return {"gpus": count.value, "driver_cuda": f"{version.value // 1000}.{version.value % 1000 // 10}"}


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
