"""One shard of a store: the files of some entries, written once and never changed."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meetmid.errors import StoreError
from meetmid.gallery import files
from meetmid.gallery.crops import CropStore
from meetmid.gallery.manifest import Manifest, ShardRecord
from meetmid.gallery.vault import Vault
from meetmid.templates.pool import TemplatePool
from meetmid.templates.stored import Shard, as_stored

SHARD = 64 * 2**20
"""Bytes of float32 templates and of crops in one shard, unless a single entry has more."""

PIECE = 4 * 2**20


@dataclass(frozen=True)
class ShardEntries:
    """What a shard knows of its entries, live and removed: ``ids``, ``status``, ``sources`` (what they were made from, see
    :class:`meetmid.Gallery`) and ``pictures`` (how many of each)."""

    ids: tuple[str, ...]
    status: tuple[str, ...]
    sources: tuple[str, ...]
    pictures: tuple[int, ...]

    def part(self, start: int, stop: int) -> ShardEntries:
        """Entries start .. stop."""
        own = slice(start, stop)
        return ShardEntries(self.ids[own], self.status[own], self.sources[own], self.pictures[own])

    @classmethod
    def joined(cls, parts: Sequence[ShardEntries]) -> ShardEntries:
        """All entries, one part after the other."""
        chain = itertools.chain.from_iterable
        return cls(
            tuple(chain(p.ids for p in parts)), tuple(chain(p.status for p in parts)),
            tuple(chain(p.sources for p in parts)), tuple(chain(p.pictures for p in parts)),
        )


@dataclass(frozen=True)
class Opened:
    """A shard that is open: its entries, templates, weights (I, S, N) and crops."""

    entries: ShardEntries
    templates: Shard
    weights: NDArray[np.float32]
    crops: CropStore | None


def write_shard(
    folder: Path, manifest: Manifest, vault: Vault | None, entries: ShardEntries, pool: TemplatePool, crops: CropStore | None,
    dropped: int,
) -> ShardRecord:
    """Write the files of one shard, durable before anything names them. Raises StoreError."""
    written: dict[str, tuple[int, str]] = {}
    pictures = len(pool.weights)

    def put(kind: str, pieces: Iterator[bytes | memoryview]) -> None:
        name = f"shard-{manifest.next:06d}-{kind}" + (".aes" if vault else "")
        if vault is not None:
            pieces = iter([vault.seal(b"".join(pieces), name)])
        written[name] = files.write_new(folder / name, pieces)

    steps = np.zeros((pictures, *manifest.pattern[:2]), np.float32) if manifest.stored == "int8" else None
    try:
        put("templates.npy", _templates(manifest, pool, steps))
        if steps is not None:
            put("steps.npy", _array(steps))
        put("weights.npy", _array(np.asarray(pool.weights, np.float32)))
        told: dict[str, Any] = dict(vars(entries))
        if manifest.crops:
            assert crops is not None
            codes, lengths = crops.pack()
            put("crops.bin", (codes[a : a + PIECE].data for a in range(0, len(codes), PIECE)))
            told["crop_lengths"] = lengths.tolist()
        put("entries.json", iter([json.dumps(told).encode()]))
        files.sync_folder(folder)
    except OSError as error:
        raise StoreError(f"{folder}: the gallery could not be written ({error})") from error
    return ShardRecord(manifest.next, len(entries.ids), pictures, dropped, written)


def open_entries(folder: Path, vault: Vault | None, record: ShardRecord) -> ShardEntries:
    """The entries of one shard, for its writer, without their templates and crops. Raises StoreError."""
    try:
        with _reading(folder, record):
            return _entries(folder, vault, record, verify=False)[0]
    except FileNotFoundError as error:
        raise StoreError(f"{folder}: the gallery is damaged, {error.filename} is missing; enroll again") from error


def open_shard(folder: Path, manifest: Manifest, vault: Vault | None, record: ShardRecord, *, verify: bool) -> Opened:
    """Map the files of one shard (or decrypt them into memory). Raises StoreError for damage, FileNotFoundError where a writer
    has compacted it away."""

    def array(kind: str) -> NDArray[Any]:
        found = _content(folder, vault, record, kind, verify=verify)
        loaded: NDArray[Any] = np.load(found, "r") if vault is None else np.load(io.BytesIO(found), allow_pickle=False)
        return loaded

    with _reading(folder, record):
        names, told = _entries(folder, vault, record, verify=verify)
        steps = array("steps.npy") if manifest.stored == "int8" else None
        rows, weights, crops = array("templates.npy"), array("weights.npy"), None
        if manifest.crops:
            codes = _content(folder, vault, record, "crops.bin", verify=verify)
            lengths = np.array(told["crop_lengths"], np.int64)
            empty = not lengths.sum()  # an empty file cannot be mapped
            data = np.frombuffer(b"" if empty else codes, np.uint8) if vault or empty else np.memmap(codes, np.uint8, "r")
            crops = CropStore.unpack(data, lengths)
    pictures = {len(rows), len(weights), sum(names.pictures), record.pictures, len(weights if crops is None else crops)}
    entries = {len(names.ids), len(names.status), len(names.sources), len(names.pictures), record.entries}
    if len(pictures) > 1 or len(entries) > 1 or rows.shape[1:] != manifest.pattern:
        raise StoreError(f"{folder}: shard {record.number} is damaged, its files differ in their number of entries")
    return Opened(names, Shard(rows, steps), weights, crops)


@contextmanager
def _reading(folder: Path, record: ShardRecord) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise StoreError(f"{folder}: shard {record.number} is damaged ({type(error).__name__}: {error})") from error


def _content(folder: Path, vault: Vault | None, record: ShardRecord, kind: str, *, verify: bool) -> Any:
    """The bytes of a sealed file, the path of any other."""
    name = f"shard-{record.number:06d}-{kind}" + (".aes" if vault else "")
    size, digest = record.files[name]
    path = folder / name
    if path.stat().st_size != size or (verify and files.sha256(path) != digest):
        raise StoreError(f"{path}: the gallery is damaged, this file is not what was written; enroll again or restore it")
    return path if vault is None else vault.open(path.read_bytes(), name)


def _entries(
    folder: Path, vault: Vault | None, record: ShardRecord, *, verify: bool
) -> tuple[ShardEntries, dict[str, Any]]:
    text = _content(folder, vault, record, "entries.json", verify=verify)
    told = json.loads(text.read_text(encoding="utf-8") if vault is None else text)
    return ShardEntries(*(tuple(told[key]) for key in ("ids", "status", "sources", "pictures"))), told


def _templates(manifest: Manifest, pool: TemplatePool, steps: NDArray[np.float32] | None) -> Iterator[bytes | memoryview]:
    shape = (len(pool.weights), *manifest.pattern)
    yield _header(np.dtype(manifest.stored), shape)
    each, templates = max(1, PIECE // max(1, 4 * int(np.prod(manifest.pattern)))), as_stored(pool.templates)
    for start in range(0, len(pool.weights), each):
        stop = min(start + each, len(pool.weights))
        coded, its = templates.coded(start, stop, manifest.stored)
        if not np.isfinite((coded if its is None else its)[np.asarray(pool.weights[start:stop]) > 0]).all():
            raise StoreError(f"templates are not finite, or beyond the range of {manifest.stored}: store them as float32")
        if steps is not None:
            steps[start:stop] = its
        yield np.ascontiguousarray(coded).data.cast("B") if coded.size else b""


def _array(array: NDArray[Any]) -> Iterator[bytes | memoryview]:
    yield _header(array.dtype, array.shape)
    if array.size:
        yield np.ascontiguousarray(array).data.cast("B")


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    told = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, told)
    return head.getvalue()
