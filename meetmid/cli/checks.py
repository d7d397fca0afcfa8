"""What is refused before the work because it could only fail after it."""

from __future__ import annotations

import os
from pathlib import Path

from meetmid.errors import InputError


def check_output(path: Path, *endings: str, makes_folders: bool = False) -> None:
    """Raise InputError unless a file with one of the ``endings`` can be written there.

    ``makes_folders``: missing folders are made when it is written, so the nearest one that exists is looked at.
    """
    if path.suffix.lower() not in endings:
        allowed = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        raise InputError(f"{path}: the output is saved as {allowed}, got {path.suffix or 'no ending'!r}")
    if path.is_dir():
        raise InputError(f"{path}: expected a file to write, got a folder")
    path = path.resolve() if path.is_symlink() else path  # what takes its place is written beside the file it points to
    folder = path.parent
    if makes_folders:
        folder = next((parent for parent in path.parents if parent.exists()), folder)
    if not folder.is_dir():
        raise InputError(f"{path}: expected a folder that exists, got {folder}")
    _check_writable(path, *((path, folder) if path.exists() else (folder,)))  # a new file takes an older one's place


def check_folder(path: Path) -> None:
    """Raise InputError unless files can be written to a folder there, which is made where it is missing."""
    there = next((place for place in (path, *path.parents) if place.exists()), path)
    if not there.is_dir():
        raise InputError(f"{path}: expected a folder to write, got the file {there}")
    _check_writable(path, there)


def _check_writable(path: Path, *places: Path) -> None:
    for there in places:
        if not os.access(there, os.W_OK):
            raise InputError(f"{path}: expected to write there, but {there} is read-only; choose another place")
