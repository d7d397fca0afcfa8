"""The doctor: what it decides from facts, what it sees for real, and which commands a repair runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meetmid.runtime import facts as seen
from meetmid.runtime import repair
from meetmid.runtime.doctor import Command, Finding, judge
from meetmid.runtime.facts import Facts

PIP = (sys.executable, "-m", "pip")
REINSTALL_GPU = (*PIP, "install", "--force-reinstall", "--no-deps", "onnxruntime-gpu==1.31.1")
CLASH_CURE = ((*PIP, "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"), REINSTALL_GPU)
MEND_CURE = ((*PIP, "uninstall", "-y", "onnxruntime-gpu"), REINSTALL_GPU)

CUDA_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
CPU_PROVIDERS = ("AzureExecutionProvider", "CPUExecutionProvider")
GOOD = Facts(
    python=(3, 11),
    system="Linux",
    machine="x86_64",
    packages={"onnxruntime-gpu": "1.31.1", "opencv-python": "5.0.0.93"},
    runtime_version="1.31.1",
    runtime_providers=CUDA_PROVIDERS,
    runtime_has_cuda=True,
    runtime_cuda="13.0",
    opencv_version="5.0.0",
    cpu_features=("AVX2", "AVX512F"),
    numba_version="0.68.1",
)
WITH_GPU = replace(GOOD, gpus=1, driver_cuda="13.0")
MAC = replace(
    GOOD,
    system="Darwin",
    machine="arm64",
    packages={"onnxruntime": "1.32.0"},
    runtime_providers=("CoreMLExecutionProvider", "CPUExecutionProvider"),
    runtime_has_cuda=False,
    runtime_cuda="",
    cpu_features=("ASIMD",),
)
CPU_BUILD = replace(
    GOOD, packages={"onnxruntime": "1.32.0"}, runtime_providers=CPU_PROVIDERS, runtime_has_cuda=False, runtime_cuda=""
)
CLASH = replace(CPU_BUILD, packages={"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"})


def finding(facts: Facts, check: str) -> Finding:
    (found,) = (f for f in judge(facts) if f.check == check)
    return found


def levels(facts: Facts) -> dict[str, str]:
    return {f.check: f.level for f in judge(facts) if f.level != "ok"}


# --- facts -> findings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [GOOD, WITH_GPU, MAC, CPU_BUILD, replace(GOOD, gpu_hidden=True)])
def test_sound_environments_have_no_complaint(facts: Facts) -> None:
    findings = judge(facts)
    assert [f.check for f in findings] == ["python", "onnxruntime", "inference", "gpu", "opencv", "cpu", "numba"]
    assert {f.level for f in findings} == {"ok"}
    assert not any(f.cure for f in findings)


def test_gpu_line_says_where_networks_run() -> None:
    assert finding(GOOD, "gpu").message == "no NVIDIA GPU: runs on the CPU"
    assert finding(WITH_GPU, "gpu").message == "1 NVIDIA GPU: a network runs on CUDA 13.0"
    assert "CUDA_VISIBLE_DEVICES" in finding(replace(GOOD, gpu_hidden=True), "gpu").message


def test_old_python() -> None:
    assert levels(replace(GOOD, python=(3, 10))) == {"python": "error"}


def test_clash() -> None:
    clash = finding(CLASH, "onnxruntime")
    assert (clash.level, clash.cure) == ("error", CLASH_CURE)
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1" in clash.message
    assert "silently" in clash.message
    assert "AzureExecutionProvider, CPUExecutionProvider" in clash.message


def test_clash_keeps_the_build_that_belongs_to_the_platform() -> None:
    mac = replace(MAC, packages={"onnxruntime": "1.32.0", "ort-nightly": "1.33"})
    assert finding(mac, "onnxruntime").cure[-1][-1] == "onnxruntime==1.32.0"
    openvino = replace(GOOD, packages={"onnxruntime": "1.32.0", "onnxruntime-openvino": "1.24.1"})
    assert finding(openvino, "onnxruntime").cure[-1][-1] == "onnxruntime-openvino==1.24.1"


def test_clash_on_a_machine_with_a_gpu_names_the_cure_once() -> None:
    facts = replace(CLASH, gpus=1, driver_cuda="13.0")
    assert levels(facts) == {"onnxruntime": "error", "gpu": "error"}
    assert [f.cure for f in judge(facts) if f.cure] == [CLASH_CURE]


@pytest.mark.parametrize(
    ("facts", "requirement"),
    [
        (GOOD, "onnxruntime-gpu>=1.20"),
        (MAC, "onnxruntime>=1.20"),
        (replace(GOOD, machine="aarch64"), "onnxruntime>=1.20"),
    ],
)
def test_no_onnxruntime(facts: Facts, requirement: str) -> None:
    facts = replace(facts, packages={}, runtime_version="", runtime_error="ModuleNotFoundError: No module named ...")
    assert finding(facts, "onnxruntime").cure == ((*PIP, "install", requirement),)
    assert finding(facts, "inference").level == "error"


def test_onnxruntime_from_elsewhere_is_left_alone() -> None:
    found = finding(replace(GOOD, packages={}), "onnxruntime")
    assert (found.level, found.cure) == ("warning", ())


@pytest.mark.parametrize(
    "broken",
    [
        replace(GOOD, runtime_hollow=True, runtime_error="module 'onnxruntime' has no InferenceSession"),
        replace(GOOD, damaged=("onnxruntime/__init__.py",), runtime_hollow=True, runtime_error="..."),
        replace(GOOD, damaged=("onnxruntime/capi/libonnxruntime_providers_cuda.so",)),
        replace(GOOD, runtime_providers=CPU_PROVIDERS, runtime_has_cuda=False),
        replace(GOOD, runtime_error="ModuleNotFoundError: No module named 'onnxruntime.capi'"),
    ],
    ids=["hollow", "hollow and damaged", "file missing", "CPU files under the GPU name", "submodule missing"],
)
def test_broken_onnxruntime_is_reinstalled(broken: Facts) -> None:
    found = finding(broken, "onnxruntime")
    assert (found.level, found.cure) == ("error", MEND_CURE)


def test_broken_cpu_build_is_reinstalled_as_it_was() -> None:
    found = finding(replace(CPU_BUILD, damaged=("onnxruntime/__init__.py",)), "onnxruntime")
    assert found.cure[-1][-1] == "onnxruntime==1.32.0"


def test_damage_names_libraries_first() -> None:
    damaged = ("onnxruntime/LICENSE", "onnxruntime/README", "onnxruntime/a.py", "onnxruntime/capi/x.so")
    message = finding(replace(GOOD, damaged=damaged), "onnxruntime").message
    assert "4 of its files" in message
    assert "(onnxruntime/capi/x.so, onnxruntime/LICENSE, onnxruntime/README, ...)" in message


def test_missing_dependency_is_installed_and_other_import_errors_are_only_reported() -> None:
    absent = replace(GOOD, runtime_error="ModuleNotFoundError: No module named 'flatbuffers'")
    assert finding(absent, "onnxruntime").cure == ((*PIP, "install", "onnxruntime-gpu==1.31.1"),)
    dll = replace(GOOD, runtime_error="ImportError: DLL load failed while importing onnxruntime_pybind11_state")
    assert (finding(dll, "onnxruntime").level, finding(dll, "onnxruntime").cure) == ("error", ())


def test_cpu_build_on_a_machine_with_a_gpu() -> None:
    facts = replace(CPU_BUILD, gpus=2, driver_cuda="13.0")
    cure = ((*PIP, "uninstall", "-y", "onnxruntime"), (*PIP, "install", "onnxruntime-gpu>=1.20"))
    assert finding(facts, "onnxruntime").cure == cure
    assert levels(facts) == {"onnxruntime": "error", "gpu": "error"}
    arm = replace(facts, machine="aarch64")  # no CUDA wheel exists: nothing to install
    assert levels(arm) == {"gpu": "warning"}


def test_network_that_does_not_run() -> None:
    assert levels(replace(GOOD, inference_error="Fail: bad model")) == {"inference": "error"}


def test_missing_cuda_libraries() -> None:
    facts = replace(WITH_GPU, cuda_error="fell back", cuda_missing=("libcublas.so.13", "libcudnn.so.9"))
    found = finding(facts, "gpu")
    assert "libcublas.so.13, libcudnn.so.9" in found.message
    assert found.cure == ((*PIP, "install", "onnxruntime-gpu[cuda,cudnn]==1.31.1"),)


def test_old_driver_is_not_cured_by_libraries() -> None:
    facts = replace(WITH_GPU, driver_cuda="12.4", cuda_error="fell back", cuda_missing=("libcublas.so.13",))
    found = finding(facts, "gpu")
    assert (found.level, found.cure) == ("error", ())
    assert "driver supports CUDA 12.4" in found.message


def test_other_cuda_failures_are_reported() -> None:
    found = finding(replace(WITH_GPU, cuda_error="CUDA failure 2: out of memory"), "gpu")
    assert (found.level, found.cure) == ("error", ())
    assert "out of memory" in found.message
    assert levels(replace(GOOD, gpu_error="cuInit failed with status 803")) == {"gpu": "warning"}


def test_opencv() -> None:
    both = replace(GOOD, packages={**GOOD.packages, "opencv-python-headless": "4.12.0.88"})
    assert levels(both) == {"opencv": "warning"}
    library = replace(GOOD, opencv_error="ImportError: libGL.so.1: cannot open shared object file: No such file")
    assert (finding(library, "opencv").level, finding(library, "opencv").cure) == ("error", ())
    assert "libGL.so.1" in finding(library, "opencv").message
    assert "opencv-python-headless" in finding(library, "opencv").message
    hollow = replace(GOOD, opencv_hollow=True)
    assert finding(hollow, "opencv").cure[-1][-1] == "opencv-python==5.0.0.93"
    absent = replace(GOOD, packages={"onnxruntime-gpu": "1.31.1"}, opencv_error="E: No module named 'cv2'")
    assert finding(absent, "opencv").cure == ((*PIP, "install", "opencv-python"),)
    assert levels(replace(GOOD, opencv_error="numpy.core.multiarray failed to import")) == {"opencv": "error"}


def test_cpu_and_numba() -> None:
    assert levels(replace(GOOD, cpu_features=("SSE42",))) == {"cpu": "warning"}
    assert levels(replace(GOOD, cpu_error="ImportError: numpy")) == {"cpu": "error"}
    assert levels(replace(GOOD, cpu_features=())) == {}
    assert levels(replace(GOOD, numba_cache_error="no locator available")) == {"numba": "error"}
    absent = replace(GOOD, numba_error="ModuleNotFoundError: No module named 'numba'")
    assert finding(absent, "numba").cure == ((*PIP, "install", "numba"),)


def test_missing_libraries_are_read_from_loader_messages() -> None:
    text = (
        "Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open shared object file: No such file\n"
        "with error: libcudnn.so.9: cannot open shared object file\nFailed to load cublas64_13.dll: not found\n"
        "Failed to load library /x/libonnxruntime_providers_cuda.so with error: undefined symbol: cuInit"
    )
    assert seen.missing_libraries(text) == ("cublas64_13.dll", "libcublasLt.so.13", "libcudnn.so.9")


# --- the real thing ---------------------------------------------------------------------------------------------------


def test_tiny_model_runs() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(seen.tiny_model(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": np.array([1.5, -2.0], np.float32)})
    assert len(seen.tiny_model()) == 61
    np.testing.assert_array_equal(result, np.array([3.0, -4.0], np.float32))


def test_tiny_model_is_valid() -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(seen.tiny_model()), full_check=True)


def test_this_environment_is_sound_and_nothing_is_imported() -> None:
    code = """if True:
        import sys
        from meetmid.runtime.doctor import diagnose
        from meetmid.runtime.repair import repair
        findings = diagnose()
        assert len(findings) == 7
        assert not [f for f in findings if f.level == "error"], findings
        assert repair(findings) == findings
        assert not {"onnxruntime", "cv2", "numba", "numpy"} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _fake_distribution(site: Path, name: str, version: str, *record: str) -> None:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if record:
        (folder / "RECORD").write_text("\n".join(record) + "\n")


def test_fake_clash_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second distribution that really lies on the path of the child processes, and a module that is a shell."""
    _fake_distribution(tmp_path, "onnxruntime", "1.0")
    _fake_distribution(tmp_path, "onnxruntime-gpu", "1.1", "onnxruntime/gone.so,,100", "onnxruntime/x.pyc,,")
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = seen.gather()
    assert facts.runtimes == {"onnxruntime": "1.0", "onnxruntime-gpu": "1.1"}
    assert facts.damaged == ("onnxruntime/gone.so",)
    assert facts.runtime_hollow
    clash = finding(facts, "onnxruntime")
    assert clash.level == "error"
    assert [command[3:] for command in clash.cure] == [
        ("uninstall", "-y", "onnxruntime", "onnxruntime-gpu"),
        ("install", "--force-reinstall", "--no-deps", "onnxruntime-gpu==1.1"),
    ]


def test_the_doctor_itself_works_where_nothing_else_does(tmp_path: Path) -> None:
    for module in ("numpy", "cv2", "numba", "onnxruntime"):
        (tmp_path / f"{module}.py").write_text(f"raise ImportError('no {module} today')")
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import os
        os.environ["PYTHONPATH"] = {str(tmp_path)!r}
        from meetmid.runtime.doctor import diagnose
        print([f.check for f in diagnose() if f.level == "error"])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "['onnxruntime', 'inference', 'opencv', 'cpu', 'numba']", done.stderr


def test_modules_that_crash_hang_or_raise_are_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("import os; os.abort()")
    (tmp_path / "numba.py").write_text("import time; time.sleep(60)")
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('two\\nlines')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert seen._ask("opencv")["opencv_error"].startswith("the process died with exit status ")
    assert seen._ask("runtime") == {"runtime_error": "ImportError: two lines"}
    monkeypatch.setattr(seen, "PROBE_SECONDS", 1.0)
    assert seen._ask("numba") == {"numba_error": "no answer within 1 s"}


def test_folders_of_the_caller_do_not_shadow_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('shadow')")
    monkeypatch.chdir(tmp_path)
    assert "opencv_version" in seen._ask("opencv")


# --- repair -----------------------------------------------------------------------------------------------------------


class Shell:
    """Records commands; the one that contains ``fails`` fails."""

    def __init__(self, fails: str = "") -> None:
        self.commands: list[Command] = []
        self.fails = fails

    def __call__(self, command: Command) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        failed = bool(self.fails) and self.fails in command
        said = "WARNING: slow\nERROR: No matching distribution found\n" if failed else ""
        return subprocess.CompletedProcess(command, int(failed), "", said)


def test_repair_runs_the_cure_once_and_looks_again() -> None:
    shell = Shell()
    errors = judge(replace(CLASH, gpus=1))
    twice = (*errors, finding(CLASH, "onnxruntime"))
    assert repair.repair(twice, shell, lambda: judge(GOOD)) == judge(GOOD)
    assert shell.commands == [(*REINSTALL_GPU, "--dry-run"), *CLASH_CURE]


def test_repair_follows_up_what_the_first_cure_brings_to_light() -> None:
    shell = Shell()
    libraries = replace(WITH_GPU, cuda_error="fell back", cuda_missing=("libcudnn.so.9",))
    after = iter([judge(libraries), judge(WITH_GPU)])
    assert repair.repair(judge(replace(CLASH, gpus=1)), shell, lambda: next(after)) == judge(WITH_GPU)
    assert shell.commands[-1] == (*PIP, "install", "onnxruntime-gpu[cuda,cudnn]==1.31.1")
    assert len(shell.commands) == 4


def test_repair_that_does_not_help_ends() -> None:
    shell = Shell()
    assert repair.repair(judge(CLASH), shell, lambda: judge(CLASH)) == judge(CLASH)
    assert len(shell.commands) == 3


@pytest.mark.parametrize(
    "facts",
    [GOOD, replace(GOOD, python=(3, 10)), replace(GOOD, cpu_features=("SSE42",))],
    ids=["ok", "no cure", "warning"],
)
def test_repair_of_nothing_does_nothing(facts: Facts) -> None:
    shell = Shell()

    def never() -> tuple[Finding, ...]:
        raise AssertionError("examined again")

    assert repair.repair(judge(facts), shell, never) == judge(facts)
    assert shell.commands == []


def test_nothing_is_uninstalled_that_cannot_be_installed_again() -> None:
    shell = Shell(fails="--dry-run")
    *rest, last = repair.repair(judge(CLASH), shell, lambda: judge(CLASH))
    assert tuple(rest) == judge(CLASH)
    assert shell.commands == [(*REINSTALL_GPU, "--dry-run")]
    assert (last.check, last.level) == ("repair", "error")
    assert "nothing was removed" in last.message
    assert "No matching distribution found" in last.message


def test_repair_stops_at_the_first_failure() -> None:
    shell = Shell(fails="uninstall")
    last = repair.repair(judge(CLASH), shell, lambda: judge(CLASH))[-1]
    assert last.check == "repair"
    assert "nothing was removed" not in last.message
    assert len(shell.commands) == 2


def test_repair_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    shell = Shell()
    *rest, last = repair.repair(judge(CLASH), shell)
    assert tuple(rest) == judge(CLASH)
    assert shell.commands == []
    assert "-m ensurepip --upgrade" in last.message
    assert "uninstall -y onnxruntime onnxruntime-gpu; install --force-reinstall" in last.message


def test_run_command_captures_both_streams() -> None:
    done = repair.run_command((sys.executable, "-c", "import sys; print('out'); sys.exit('err')"))
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (1, "out", "err")
