"""Threads: the cores a process may run on, and its container's share of their time."""

import os
import subprocess
import sys

import pytest

from meetmid.runtime import cores as module
from meetmid.runtime.cores import allowed, cores

UNBOUNDED = 1 << 30


def told(tmp_path, lines, files):
    (tmp_path / "cgroup").write_text("".join(f"{line}\n" for line in lines))
    for name, text in files.items():
        file = tmp_path / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return tmp_path / "cgroup", tmp_path / "sys"


@pytest.mark.parametrize(("lines", "files", "expected"), [
    (["0::/"], {"cpu.max": "150000 100000"}, 2),
    (["0::/"], {"cpu.max": "10000 100000"}, 1),
    (["0::/"], {"cpu.max": "max 100000"}, UNBOUNDED),
    (["0::/a/b"], {"a/cpu.max": "300000 100000", "a/b/cpu.max": "400000 100000"}, 3),  # what it lies in bounds it, too
    (["0::/host/path/unseen"], {"cpu.max": "200000 100000"}, 2),  # a container sees its own group as the outermost
    (["4:cpu,cpuacct:/x", "0::/"], {"cpu,cpuacct/x/cpu.cfs_quota_us": "50000", "cpu,cpuacct/x/cpu.cfs_period_us": "20000"}, 3),
    (["4:cpu:/"], {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, UNBOUNDED),
    (["8:pids:/x"], {"cpu.max": "100000 100000"}, UNBOUNDED),
    (["0::/"], {"cpu.max": "nonsense"}, UNBOUNDED),
    (["0::/"], {}, UNBOUNDED),
    (["", "nonsense", "0::", "4:cpu,cpuacct:", "0::relative"], {}, UNBOUNDED),
    (["nonsense", "0::"], {"cpu.max": "100000 100000"}, 1),
])
def test_the_least_share_of_the_groups_counts(tmp_path, lines, files, expected):
    assert allowed(*told(tmp_path, lines, files)) == expected


def test_names_need_no_encoding(tmp_path):
    of_process, mounts = told(tmp_path, [], {"cpu.max": "100000 100000"})
    of_process.write_bytes(b"0::/a\xff\n")
    assert allowed(of_process, mounts) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not tell where a process may run")
def test_cores_are_those_the_process_is_bound_to() -> None:
    one = min(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, {{{one}}}); from meetmid.runtime.cores import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "1\n"


def test_elsewhere_all_cores_of_the_machine_count(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(module, "OF_PROCESS", tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_no_control_groups(tmp_path):
    assert allowed(tmp_path / "none", tmp_path) == UNBOUNDED


def test_no_more_threads_than_cores_and_share(tmp_path, monkeypatch):
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for share in (1, here, 1000):
        place = tmp_path / str(share)
        place.mkdir()
        of_process, mounts = told(place, ["0::/"], {"cpu.max": f"{share}00000 100000"})
        monkeypatch.setattr(module, "OF_PROCESS", of_process)
        monkeypatch.setattr(module, "MOUNTS", mounts)
        assert cores() == min(share, here)
