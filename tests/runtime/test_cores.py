"""Threads: the cores a process may run on, and its container's share of their time."""

import os

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
])
def test_the_least_share_of_the_groups_counts(tmp_path, lines, files, expected):
    assert allowed(*told(tmp_path, lines, files)) == expected


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
