"""What lies in a gallery's folder before it is written to: a committed gallery, an enrolment under way, or nothing yet."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from meetmid.errors import InputError, StoreError
from meetmid.gallery import files
from meetmid.gallery.manifest import PENDING, Manifest, is_store
from meetmid.gallery.vault import Vault


def existing_store(folder: Path) -> Path:
    """The folder, which must hold a gallery, finished or not. Raises StoreError."""
    if not is_store(folder):
        raise StoreError(f"{folder}: expected an enrolled gallery")
    return folder


def ids_taken(folder: Path, ids: set[str]) -> InputError:
    """The error that says which ids are there already."""
    such = sorted(ids)[:3]
    return InputError(
        f"{folder}: {len(ids)} ids are in the gallery already, such as {such}; replace them (replace(), --replace) instead"
    )


def numbered(manifest: Manifest, others: Iterable[Manifest]) -> Manifest:
    """The manifest, whose next shard takes no number of the others'."""
    return replace(manifest, next=max(manifest.next, *(other.next for other in others), 1))


def read_committed(folder: Path, key: str | os.PathLike[str] | None) -> tuple[Manifest, Vault | None]:
    """The committed manifest and its vault. Raises StoreError."""
    try:
        return Manifest.read(folder, key)
    except FileNotFoundError as error:
        raise StoreError(f"{folder}: expected an enrolled gallery; its enrolment has not ended") from error


def create_store(folder: Path, manifest: Manifest, vault: Vault | None) -> None:
    """A directory that holds nothing but a pending manifest, there in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        manifest.write(aside, vault, PENDING)
        os.rename(aside, folder)
        files.sync_folder(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read_pending(folder: Path, key: str | os.PathLike[str] | None, wanted: Manifest) -> tuple[Manifest | None, Vault | None]:
    """What an interrupted enrolment of the same job, configuration and storage has committed."""
    try:
        there, vault = Manifest.read(folder, key, PENDING)
    except FileNotFoundError:
        return None, None
    except StoreError as error:
        raise StoreError(
            f"an enrolment that was begun in {folder} cannot be continued ({error}); continue it with its own key, or delete "
            f"{folder / PENDING} to give it up"
        ) from error
    same = replace(there, salt=b"", next=1, shards=()) == replace(wanted, salt=b"", next=1, shards=())
    return (there, vault) if same and bool(vault) == bool(wanted.salt) else (None, None)


def committed_manifests(folder: Path, key: str | os.PathLike[str] | None) -> list[Manifest]:
    """The committed manifest, if there is one."""
    try:
        return [Manifest.read(folder, key, strict=False)[0]]  # it may not be encrypted yet
    except FileNotFoundError:
        return []
