"""Cores that a process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from meetmid.runtime.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not tell where a process may run")
def test_cores_are_those_the_process_is_bound_to() -> None:
    one = min(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, {{{one}}}); from meetmid.runtime.cores import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "1\n"


def test_elsewhere_all_cores_of_the_machine_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
