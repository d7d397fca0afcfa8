"""Changing a gallery on disk: every change is committed by one rename, and a kill at any instant leaves the last commit."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meetmid.errors import InputError, StoreError
from meetmid.gallery import files
from meetmid.gallery.contents import Contents, read
from meetmid.gallery.manifest import COMMITTED, PENDING, Manifest, ShardRecord, is_store, sweep
from meetmid.gallery.shards import SHARD, open_shard, write_shard
from meetmid.gallery.vault import Vault, find_key

if TYPE_CHECKING:
    from meetmid.gallery.store import Gallery


class GalleryWriter:
    """The one writer of a gallery: :meth:`append`, :meth:`remove`, :meth:`replace`, :meth:`compact`, each committed when it
    returns. Readers go on with what they opened. Use as a context manager or :meth:`close`; made by
    ``meetmid.Gallery.open(path, mode="a")``. Raises StoreError where another writer has the gallery open."""

    def __init__(
        self, folder: Path, manifest: Manifest, vault: Vault | None, held: Any, key: Any, name: str = COMMITTED
    ) -> None:
        self.folder, self.manifest = folder, manifest
        self._vault, self._lock, self._key, self._name = vault, held, key, name
        self._closed = False
        self._known: set[str] | None = None  # the committed entries' ids, once they were needed

    @classmethod
    def open(cls, path: str | os.PathLike[str], key: str | os.PathLike[str] | None = None) -> GalleryWriter:
        """A writer of a committed gallery; an enrolment that was under way there can no longer be continued."""
        folder = Path(path)
        held = files.lock(_existing(folder))
        try:
            manifest, vault = Manifest.read(folder, key)
            (folder / PENDING).unlink(missing_ok=True)
            sweep(folder, manifest)
        except FileNotFoundError as error:
            held.release()
            raise StoreError(f"{folder}: expected an enrolled gallery; its enrolment has not ended") from error
        except BaseException:
            held.release()
            raise
        return cls(folder, manifest, vault, held, key)

    @classmethod
    def begin(
        cls, path: str | os.PathLike[str], wanted: Manifest, key: str | os.PathLike[str] | None = None
    ) -> GalleryWriter:
        """A writer of a new gallery that becomes visible at ``path``, or takes the place of the one there, with
        :meth:`finish`. What an interrupted one with the same ``wanted.job`` has committed is there already."""
        folder = Path(path)
        if folder.exists() and not is_store(folder):
            raise StoreError(f"{folder}: expected a new path or an enrolled gallery, it holds something else")
        sealed = key is not None or find_key(None) is not None
        salt = os.urandom(16) if sealed else b""
        fresh, vault = replace(wanted, salt=salt), Vault.of(key, salt) if sealed else None
        try:
            if not folder.exists():
                _create(folder, fresh, vault)
            held = files.lock(folder)
        except OSError as error:
            raise StoreError(f"{folder}: the gallery could not be written ({error})") from error
        try:
            there, its_vault = _pending(folder, key, fresh)
            if there is None:
                committed = _committed(folder, key)
                number = max([fresh.next, *(s.next for s in committed)])
                there, its_vault = replace(fresh, next=number), vault
                there.write(folder, its_vault, PENDING)
                sweep(folder, there, *committed)
            else:
                sweep(folder, there, *_committed(folder, key))
        except BaseException:
            held.release()
            raise
        return cls(folder, there, its_vault, held, key, PENDING)

    def __enter__(self) -> GalleryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the next writer in; this one writes no more."""
        self._closed = True
        self._lock.release()

    def contents(self, *, verify: bool = True) -> Contents:
        """What was committed. Raises StoreError for damage."""
        try:
            return read(self.folder, self.manifest, self._vault, verify=verify)
        except (FileNotFoundError, StoreError) as error:
            cure = f"; delete {self.folder / PENDING} to begin anew" if self._name == PENDING else ""
            raise StoreError(f"{self.folder}: what was written is damaged ({error}){cure}") from error

    def append(self, gallery: Gallery) -> None:
        """Add the entries of a gallery of the same matcher and configuration; raises StoreError for another one and
        InputError for ids that are there already."""
        gallery.check(self.manifest.matcher, self.manifest.config, self.manifest.lr_shape)
        self._add(gallery, self.manifest)

    def remove(self, ids: Iterable[str]) -> None:
        """Take the entries of these ids out. Their bytes stay in the files until :meth:`compact`. Raises InputError for ids
        that are not there, and then removes none."""
        if isinstance(ids, str):
            raise InputError(f"remove expects ids, such as [{ids!r}], got the string {ids!r}")
        wanted = set(ids)
        if wanted:
            self._commit(self._without(wanted))
            self._known = None

    def replace(self, gallery: Gallery) -> None:
        """Take out the entries of the same ids, if any, and add these, in one commit."""
        gallery.check(self.manifest.matcher, self.manifest.config, self.manifest.lr_shape)
        self._add(gallery, self._without(self._ids(self.manifest) & set(gallery.ids)))

    def compact(self) -> None:
        """Write shards that hold removed entries, or are small beside others that are, anew, and erase the old ones."""
        manifest, loose, start = replace(self.manifest, shards=()), list[ShardRecord](), 0
        whole = cache(self.contents)  # read only if something is to be written anew

        def settle(manifest: Manifest) -> Manifest:
            """``loose`` shards, which end before entry ``start``, written anew."""
            if len(loose) < 2 and not any(record.removed for record in loose):
                return replace(manifest, shards=(*manifest.shards, *loose))
            count = sum(record.live for record in loose)
            dropped = sum(record.dropped for record in loose)
            return self._written(whole().part(start - count, start), manifest, dropped)

        for record in self.manifest.shards:
            if record.removed or record.bytes < SHARD // 2:
                loose.append(record)
            else:
                manifest = settle(manifest)
                manifest, loose = replace(manifest, shards=(*manifest.shards, record)), []
            start += record.live
        self._commit(settle(manifest))
        sweep(self.folder, self.manifest, *self._others())

    def finish(self) -> None:
        """Make a new gallery the committed one, in shards of full size."""
        self.compact()
        self._check_open()
        os.replace(self.folder / PENDING, self.folder / COMMITTED)
        files.sync_folder(self.folder)
        self._name = COMMITTED
        sweep(self.folder, self.manifest)

    def _add(self, gallery: Gallery, to: Manifest) -> None:
        twice = sorted(set(gallery.ids) & self._ids(to))
        if twice:
            raise InputError(f"{self.folder}: {len(twice)} ids are in the gallery already, such as {twice[:3]}; use replace()")
        if to.crops and gallery.crops is None:
            raise InputError(f"{self.folder}: this gallery keeps crops, the new entries have none (keep_crops=False)")
        if gallery.pattern != to.pattern:
            raise StoreError(f"{self.folder}: expected templates (S, N, D) {to.pattern}, got {gallery.pattern}")
        known = self._ids(to) | set(gallery.ids)
        self._commit(self._written(gallery.contents(), to, gallery.dropped))
        self._known = known

    def _others(self) -> list[Manifest]:
        """The committed gallery that this one has not taken the place of yet."""
        return _committed(self.folder, self._key) if self._name == PENDING else []

    def _ids(self, manifest: Manifest) -> set[str]:
        if manifest is self.manifest and self._known is not None:
            return self._known
        return set(read(self.folder, manifest, self._vault, verify=False).entries.ids)

    def _without(self, ids: set[str]) -> Manifest:
        if not ids:
            return self.manifest
        found, shards = set[str](), []
        for record in self.manifest.shards:
            names = open_shard(self.folder, self.manifest, self._vault, record, verify=False).entries.ids
            gone = {k for k, name in enumerate(names) if name in ids and k not in record.removed}
            found |= {names[k] for k in gone}
            shards.append(replace(record, removed=tuple(sorted({*record.removed, *gone}))))
        if ids - found:
            missing = sorted(ids - found)
            raise InputError(f"{self.folder}: {len(missing)} ids are not in the gallery, such as {missing[:3]}")
        return replace(self.manifest, shards=tuple(record for record in shards if record.live))

    def _written(self, contents: Contents, manifest: Manifest, dropped: int) -> Manifest:
        """The manifest with these entries in new shards."""
        self._check_open()
        each = 4 * math.prod(manifest.pattern)
        start, count = 0, len(contents.entries.ids)
        while start < count:
            ends = np.searchsorted(contents.pool.first, contents.pool.first[start] + SHARD // each, "right") - 1
            stop = max(start + 1, int(ends))
            part = contents.part(start, stop)
            record = write_shard(
                self.folder, manifest, self._vault, part.entries, part.pool, part.crops, dropped if start == 0 else 0
            )
            manifest, start = manifest.with_shard(record), stop
        return manifest

    def _commit(self, manifest: Manifest) -> None:
        self._check_open()
        try:
            manifest.write(self.folder, self._vault, self._name)
        except OSError as error:
            raise StoreError(f"{self.folder}: the gallery could not be written ({error})") from error
        self.manifest = manifest

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self.folder}: this writer was closed; open the gallery again with mode='a'")


def _existing(folder: Path) -> Path:
    if not is_store(folder):
        raise StoreError(f"{folder}: expected an enrolled gallery")
    return folder


def _create(folder: Path, manifest: Manifest, vault: Vault | None) -> None:
    """A directory that holds nothing but a pending manifest, there in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        manifest.write(aside, vault, PENDING)
        os.rename(aside, folder)
        files.sync_folder(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _pending(folder: Path, key: str | os.PathLike[str] | None, wanted: Manifest) -> tuple[Manifest | None, Vault | None]:
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


def _committed(folder: Path, key: str | os.PathLike[str] | None) -> list[Manifest]:
    try:
        return [Manifest.read(folder, key)[0]]
    except FileNotFoundError:
        return []
    except StoreError:
        if key is None:
            raise
        return [Manifest.read(folder)[0]]  # one that is not encrypted yet
