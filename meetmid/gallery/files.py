"""Files that are there whole or not at all: written, synced, renamed; and the lock that keeps a second writer out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from meetmid.errors import StoreError
from meetmid.interchange import move

CHUNK = 4 * 2**20


def write_new(path: Path, pieces: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """Write a file that nobody reads yet, readable by its owner only, and sync it; its bytes and sha256."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(memoryview(piece).cast("B"))
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def put(path: Path, content: bytes) -> None:
    """Replace a file in one step: readers see the old content or the new."""
    aside = path.with_name(path.name + ".new")
    write_new(aside, [content])
    move(aside, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new names durable (where the system knows how)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def lock(folder: Path) -> Any:
    """The acquired lock of the one writer; the system frees it when the process ends, however it ends. Raises StoreError."""
    from filelock import FileLock, Timeout

    held = FileLock(folder / "lock", timeout=0, mode=0o600, is_singleton=False, thread_local=False)
    try:
        held.acquire()
    except Timeout as error:
        raise StoreError(f"{folder}: another writer has this gallery open; readers are not in its way") from error
    except OSError as error:
        raise StoreError(f"{folder}: the gallery cannot be written ({error})") from error
    return held


def optional(name: str) -> Any:
    """A module that only some stores and files need; raises StoreError that says how to install it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise StoreError(f"this needs the package {package}: pip install 'meetmid[store]'") from error
