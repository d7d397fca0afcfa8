"""Changing a gallery on disk: every change is committed by one rename, and a kill at any instant leaves the last commit."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meetmid.errors import InputError, StoreError
from meetmid.gallery import files
from meetmid.gallery.contents import Contents, read, read_ids
from meetmid.gallery.manifest import COMMITTED, PENDING, Manifest, ShardRecord, free_number, is_store, sweep
from meetmid.gallery.pending import (
    committed_manifests,
    create_store,
    existing_store,
    ids_taken,
    numbered,
    read_committed,
    read_pending,
)
from meetmid.gallery.shards import SHARD, open_entries, write_shard
from meetmid.gallery.vault import Vault, find_key
from meetmid.interchange import move
from meetmid.templates.stored import Stored

if TYPE_CHECKING:
    from meetmid.gallery.store import Gallery


class GalleryWriter:
    """The one writer of a gallery: :meth:`append`, :meth:`remove`, :meth:`replace`, :meth:`compact`, :meth:`rekey`, each
    committed when it returns. Readers go on with what they opened. Use as a context manager or :meth:`close`; made by
    ``meetmid.Gallery.open(path, mode="a")``. Raises StoreError where another writer has the gallery open."""

    def __init__(
        self, folder: Path, manifest: Manifest, vault: Vault | None, held: Any, key: Any, name: str = COMMITTED
    ) -> None:
        self.folder, self.manifest = folder, manifest
        self._vault, self._lock, self._key, self._name = vault, held, key, name
        self._closed = False
        self.before = 0  # entries that stay of a gallery that is added to
        self._known: set[str] | None = None  # the committed entries' ids, once they were needed

    @classmethod
    def open(cls, path: str | os.PathLike[str], key: str | os.PathLike[str] | None = None) -> GalleryWriter:
        """A writer of a committed gallery; its first commit gives up an enrolment that is under way there."""
        folder = Path(path)
        held = files.lock(existing_store(folder))
        try:
            manifest, vault = read_committed(folder, key)
            if (folder / PENDING).exists():
                manifest = replace(manifest, next=max(manifest.next, free_number(folder)))
            else:
                sweep(folder, manifest)
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
                create_store(folder, fresh, vault)
            held = files.lock(folder)
        except OSError as error:
            raise StoreError(f"{folder}: the gallery could not be written ({error})") from error
        try:
            there, its_vault = read_pending(folder, key, fresh)
            committed = committed_manifests(folder, key)
            writer = cls(folder, numbered(there or fresh, committed), its_vault or vault, held, key, PENDING)
            if there is None:
                writer._commit(writer.manifest)
            sweep(folder, writer.manifest, *committed)
        except BaseException:
            held.release()
            raise
        return writer

    @classmethod
    def extend(
        cls, path: str | os.PathLike[str], empty: Gallery, ids: Iterable[str], job: str, *, replaces: bool,
        stored: Stored | None = None, key: str | os.PathLike[str] | None = None,
    ) -> GalleryWriter:
        """A writer of the gallery at ``path`` and of entries like those of ``empty``, which become visible with :meth:`finish`,
        all in one. What an interrupted one with the same job has committed to the same gallery is there already. Raises as
        :meth:`append` for ``ids`` that are there, unless it ``replaces`` them, and StoreError where the gallery is ``stored``
        otherwise."""
        folder = Path(path)
        held = files.lock(existing_store(folder))
        try:
            committed, vault = read_committed(folder, key)
            writer = cls(folder, committed, vault, held, key, PENDING)
            writer._check_fits(empty)
            if stored not in (None, committed.stored):
                raise StoreError(f"{folder}: this gallery is stored as {committed.stored}, it takes no entries as {stored}")
            gone = writer._ids(committed) & set(ids)
            if gone and not replaces:
                raise ids_taken(folder, gone)
            writer.before = sum(record.live for record in committed.shards) - len(gone)
            told = json.dumps([job, files.sha256(folder / COMMITTED), sorted(gone)])
            own = hashlib.sha256(told.encode()).hexdigest()
            there, _ = read_pending(folder, key, replace(committed, job=own))
            if there is None:
                writer._commit(replace(writer._without(gone), job=own))
            else:
                writer.manifest = numbered(there, [committed])
            writer._known = None
            sweep(folder, writer.manifest, committed)
        except BaseException:
            held.release()
            raise
        return writer

    def __enter__(self) -> GalleryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the next writer in; this one writes no more."""
        self._closed = True
        self._lock.release()

    @property
    def count(self) -> int:
        """Entries that were committed."""
        return sum(record.live for record in self.manifest.shards)

    def contents(self) -> Contents:
        """What was committed. Raises StoreError for damage."""
        return self._contents(self.manifest.shards)

    def _contents(self, shards: Iterable[ShardRecord]) -> Contents:
        try:
            return read(self.folder, replace(self.manifest, shards=tuple(shards)), self._vault, verify=True)
        except (FileNotFoundError, StoreError) as error:
            cure = f"; delete {self.folder / PENDING} to begin anew" if self._name == PENDING else ""
            raise StoreError(f"{self.folder}: what was written is damaged ({error}){cure}") from error

    def append(self, gallery: Gallery) -> None:
        """Add the entries of a gallery of the same matcher and configuration; raises StoreError for another one and
        InputError for ids that are there already."""
        self._check_fits(gallery)
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
        self._check_fits(gallery)
        self._add(gallery, self._without(self._ids(self.manifest) & set(gallery.ids)))

    def rekey(self, key: str | os.PathLike[str]) -> bool:
        """Encrypt everything anew with another ``key`` (as in :meth:`meetmid.Gallery.save`), encrypted before or not, and erase
        the old files: True as of :meth:`compact`. Copies that were made before still open as before."""
        salt = os.urandom(16)
        vault, manifest = Vault.of(key, salt), replace(self.manifest, salt=salt, shards=())
        for record in self.manifest.shards:
            found = self._contents([record])
            manifest = self._written(found, manifest, found.dropped, vault)
        self._commit(manifest, vault)
        return sweep(self.folder, self.manifest)

    def compact(self) -> bool:
        """Write shards that hold removed entries, or are small beside others that are, anew, and erase the old ones. True where
        they are erased; Windows keeps files that a reader has open, which the next writer erases."""
        manifest, loose = replace(self.manifest, shards=()), list[ShardRecord]()

        def settle(manifest: Manifest) -> Manifest:
            """``loose`` shards, written anew."""
            if len(loose) < 2 and not any(record.removed for record in loose):
                return replace(manifest, shards=(*manifest.shards, *loose))
            found = self._contents(loose)
            return self._written(found, manifest, found.dropped)

        for record in self.manifest.shards:
            if record.removed or self._size(record) < SHARD // 2:
                loose.append(record)
            else:
                manifest = settle(manifest)
                manifest, loose = replace(manifest, shards=(*manifest.shards, record)), []
        self._commit(settle(manifest))
        return sweep(self.folder, self.manifest, *self._others())

    def finish(self) -> None:
        """Make a new gallery the committed one, in shards of full size."""
        self.compact()
        self._check_open()
        try:
            move(self.folder / PENDING, self.folder / COMMITTED)
            files.sync_folder(self.folder)
        except OSError as error:
            raise StoreError(f"{self.folder}: the gallery could not be written ({error})") from error
        self._name = COMMITTED
        sweep(self.folder, self.manifest)

    def _add(self, gallery: Gallery, to: Manifest) -> None:
        twice = set(gallery.ids) & self._ids(to)
        if twice:
            raise ids_taken(self.folder, twice)
        known = self._ids(to) | set(gallery.ids)
        self._commit(self._written(gallery.contents(), to, gallery.dropped))
        self._known = known

    def _check_fits(self, gallery: Gallery) -> None:
        own = self.manifest
        gallery.check(own.matcher, own.config, own.lr_shape)
        if own.crops and gallery.crops is None:
            raise InputError(f"{self.folder}: this gallery keeps crops, the new entries have none (keep_crops=False)")
        if gallery.pattern != own.pattern:
            raise StoreError(f"{self.folder}: expected templates (S, N, D) {own.pattern}, got {gallery.pattern}")

    def _others(self) -> list[Manifest]:
        """The committed gallery that this one has not taken the place of yet."""
        return committed_manifests(self.folder, self._key) if self._name == PENDING else []

    def _ids(self, manifest: Manifest) -> set[str]:
        if manifest is self.manifest and self._known is not None:
            return self._known
        return read_ids(self.folder, manifest, self._vault)

    def _without(self, ids: set[str]) -> Manifest:
        if not ids:
            return self.manifest
        found, shards = set[str](), []
        for record in self.manifest.shards:
            names, before = open_entries(self.folder, self._vault, record).ids, set(record.removed)
            gone = {k for k, name in enumerate(names) if name in ids and k not in before}
            found |= {names[k] for k in gone}
            shards.append(replace(record, removed=tuple(sorted(before | gone))))
        if ids - found:
            missing = sorted(ids - found)
            raise InputError(f"{self.folder}: {len(missing)} ids are not in the gallery, such as {missing[:3]}")
        return replace(self.manifest, shards=tuple(record for record in shards if record.live))

    def _written(self, contents: Contents, manifest: Manifest, dropped: int, vault: Vault | None = None) -> Manifest:
        """The manifest with these entries in new shards."""
        self._check_open()
        first = contents.pool.first
        sizes = first * 4 * math.prod(manifest.pattern)
        if manifest.crops and contents.crops is not None:
            sizes = sizes + np.cumsum(np.append(0, contents.crops.lengths))[first]
        start, count = 0, len(contents.entries.ids)
        while start < count:
            stop = max(start + 1, int(np.searchsorted(sizes, sizes[start] + SHARD, "right")) - 1)
            part = contents.part(start, stop)
            record = write_shard(
                self.folder, manifest, vault or self._vault, part.entries, part.pool, part.crops, dropped if start == 0 else 0
            )
            manifest, start = manifest.with_shard(record), stop
        return manifest

    def _size(self, record: ShardRecord) -> int:
        """Bytes of a shard as :data:`SHARD` counts them."""
        crops = sum(size for name, (size, _) in record.files.items() if "-crops." in name)
        return record.pictures * 4 * math.prod(self.manifest.pattern) + crops

    def _commit(self, manifest: Manifest, vault: Vault | None = None) -> None:
        self._check_open()
        try:
            manifest.write(self.folder, vault or self._vault, self._name)
        except OSError as error:
            raise StoreError(f"{self.folder}: the gallery could not be written ({error})") from error
        self.manifest, self._vault = manifest, vault or self._vault
        if self._name == COMMITTED and (self.folder / PENDING).exists():
            with suppress(OSError):
                (self.folder / PENDING).unlink()
                sweep(self.folder, manifest)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self.folder}: this writer was closed; open the gallery again with mode='a'")
