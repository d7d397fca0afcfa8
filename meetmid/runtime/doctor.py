"""What is wrong with this Python environment, and the commands that cure it: facts to findings."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from meetmid.runtime.facts import OPENCVS, Facts, gather

Command = tuple[str, ...]
Level = Literal["ok", "warning", "error"]

OLDEST_PYTHON = (3, 11)
OLDEST_RUNTIME = "1.20"


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis; ``cure`` holds the commands that mend it, to be run in this order."""

    check: str
    level: Level
    message: str
    cure: tuple[Command, ...] = ()


def diagnose() -> tuple[Finding, ...]:
    """Examine this environment; takes seconds, changes nothing."""
    return judge(gather())


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
