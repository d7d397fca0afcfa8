"""Run the commands that the doctor prescribes."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence

from meetmid.runtime.doctor import Command, Finding, diagnose

Run = Callable[[Command], "subprocess.CompletedProcess[str]"]

log = logging.getLogger("meetmid")


def run_command(command: Command) -> subprocess.CompletedProcess[str]:
    """Run one command without a terminal and return its exit status and output."""
    return subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)


def repair(
    findings: Iterable[Finding],
    run: Run = run_command,
    examine: Callable[[], tuple[Finding, ...]] = diagnose,
) -> tuple[Finding, ...]:
    """Run the cures of the errors among ``findings`` and return the diagnosis after them.

    Every cure is run once, also those that only the new diagnosis brings up. Nothing is run when no error has a cure or
    pip is not installed, and nothing is uninstalled whose replacement cannot be installed. The first command that fails
    ends the repair; a finding named "repair" then says which one and why.
    """
    findings = tuple(findings)
    tried: set[tuple[Command, ...]] = set()
    while cures := _cures(findings, tried):
        if not _has_pip():
            return (*findings, _no_pip(cures))
        tried.update(cures)
        if failure := _run_all(cures, run):
            return (*examine(), failure)
        findings = examine()
    return findings


def _cures(findings: Iterable[Finding], tried: set[tuple[Command, ...]]) -> list[tuple[Command, ...]]:
    wanted = (finding.cure for finding in findings if finding.level == "error" and finding.cure)
    return [cure for cure in dict.fromkeys(wanted) if cure not in tried]


def _run_all(cures: Iterable[tuple[Command, ...]], run: Run) -> Finding | None:
    """Run the cures; before one that uninstalls, rehearse what it installs: offline, say, nothing may be taken away."""
    for cure in cures:
        uninstalls = any("uninstall" in command for command in cure)
        rehearsal = [(*command, "--dry-run") for command in cure if uninstalls and "uninstall" not in command]
        for command in (*rehearsal, *cure):
            log.info("running %s", shlex.join(command))
            done = run(command)
            log.debug("exit status %d\n%s%s", done.returncode, done.stdout, done.stderr)
            if done.returncode:
                return _failure(command, done)
    return None


def _failure(command: Command, done: subprocess.CompletedProcess[str]) -> Finding:
    lines = ((done.stderr or "").strip() or (done.stdout or "").strip()).splitlines()
    errors = [line for line in lines if line.lower().startswith("error")] or lines
    said = " ".join(errors[-2:]) or f"exit status {done.returncode}"
    untouched = "nothing was removed; " if "--dry-run" in command else ""
    return Finding("repair", "error", f"{untouched}this command failed: {shlex.join(command)} ({said})")


def _has_pip() -> bool:
    importlib.invalidate_caches()
    return importlib.util.find_spec("pip") is not None


def _no_pip(cures: Sequence[tuple[Command, ...]]) -> Finding:
    commands = [command for cure in cures for command in cure]
    python = shlex.quote(commands[0][0])
    message = (
        f"this environment has no pip, so nothing was changed: run `{python} -m ensurepip --upgrade` and repair again,"
        f" or do the same with your own installer: {'; '.join(shlex.join(command[3:]) for command in commands)}"
    )
    return Finding("repair", "error", message)
