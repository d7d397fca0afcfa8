"""Enrolled galleries as one file that other programs read: .npz, .safetensors or .parquet. Never pickle, never encrypted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, StoreError
from meetmid.gallery import files
from meetmid.gallery.crops import CropStore
from meetmid.gallery.files import optional
from meetmid.gallery.manifest import Share
from meetmid.gallery.store import Gallery
from meetmid.interchange import aside, read_arrays
from meetmid.templates.pool import TemplatePool
from meetmid.templates.stored import Stored

FORMAT = "meetmid-gallery-file-1"
ROWS = 256
"""Pictures per row group of a Parquet file, which is written and read piece by piece."""

Arrays = dict[str, NDArray[Any]]


def export_gallery(gallery: Gallery, path: str | os.PathLike[str]) -> None:
    """Write a gallery to one file, readable by its owner only; its name says how.

    ``.npz`` and ``.safetensors`` hold the arrays ``templates`` (I, S, N, D) float32, ``weights`` (I, S, N) float32, ``first``
    (E + 1,) int64 and, where crops are kept, ``crops`` (PNG codes end to end, uint8) and ``crop_lengths`` (I,) int64, and a
    JSON text ``meetmid`` with ids, statuses, matcher, configuration and how exactly the templates were ``stored`` before.
    ``.parquet`` has a row per picture (``entry``, ``id``, ``templates``, ``weights``, ``crop``) and the same JSON in the
    schema's metadata; it holds no id that is no Unicode. Raises StoreError.
    """
    target = Path(path)
    write = _chosen(target, WRITERS)
    try:
        with aside(target, private=True) as new:
            write(gallery, new)
        files.sync_folder(target.absolute().parent)
    except OSError as error:
        raise StoreError(f"{target}: the gallery could not be written ({error})") from error


def import_gallery(path: str | os.PathLike[str]) -> Gallery:
    """The gallery that :func:`export_gallery` wrote, in memory. Raises StoreError for anything else."""
    source = Path(path)
    read = _chosen(source, READERS)
    try:
        text, arrays = read(source)
        told = json.loads(text)
        if told.pop("format", None) != FORMAT:
            raise StoreError(f"{source}: expected a gallery file of format {FORMAT}")
        return _gallery(told, arrays)
    except StoreError:
        raise
    except Exception as error:  # every library has its own errors for damaged files
        raise StoreError(f"{source}: expected an exported gallery, got {type(error).__name__}: {error}") from error


def _gallery(told: dict[str, Any], arrays: Arrays) -> Gallery:
    try:
        config = MatchConfig.from_dict(told["config"])
    except ConfigError as error:
        raise StoreError(f"the file's configuration is not one of this version: {error}") from error
    stored = told.get("stored", "float32")  # a file of before told nothing of it
    if stored not in get_args(Stored):
        raise StoreError(f"the file is damaged: its templates are stored as {stored!r}")
    pool = TemplatePool(
        np.asarray(arrays["templates"], np.float32), np.asarray(arrays["weights"], np.float32),
        np.asarray(arrays["first"], np.int64),
    )
    crops = CropStore.unpack(arrays["crops"], arrays["crop_lengths"]) if "crops" in arrays else None
    height, width = told["lr_shape"]
    made = Gallery(
        tuple(told["ids"]), tuple(told["status"]), config, told["matcher"], (height, width), pool, crops, told["dropped"],
        tuple(told["sources"]), stored, None if told.get("share") is None else Share(**told["share"]),
    )
    pictures = {len(pool.templates), len(pool.weights), int(pool.first[-1]), len(pool.weights if crops is None else crops)}
    shapes_fit = len(pool.templates.shape) == 4 and pool.templates.shape[:3] == pool.weights.shape
    entries = {len(made.ids), len(made.status), len(pool.first) - 1, len(made.sources or made.ids)}
    if len(pictures) > 1 or not shapes_fit or len(entries) > 1 or pool.first[0] != 0 or (np.diff(pool.first) < 0).any():
        raise StoreError("the file is damaged: its parts differ in their number of entries")
    if len(set(made.ids)) < len(made.ids) or not all(isinstance(v, str) for v in (*made.ids, *made.status, *made.sources)):
        raise StoreError("the file is damaged: ids, statuses and sources are texts, and no id is there twice")
    expected = len(made.layouts.each[0].counts()), made.layouts.slots
    if pool.templates.shape[1:3] != expected or not pool.pattern[2]:
        raise StoreError(
            f"the file is damaged: its configuration makes templates (S, N) = {expected} of a picture, got {pool.pattern[:2]}"
        )
    if not (np.isfinite(pool.weights).all() and (pool.weights >= 0).all()):
        raise StoreError("the file is damaged: weights are finite and not negative")
    if not np.isfinite(np.asarray(pool.templates)[pool.weights > 0]).all():
        raise StoreError("the file is damaged: some templates of weight above 0 are not finite")
    return made


def _text(gallery: Gallery) -> str:
    values = {
        "format": FORMAT, "matcher": gallery.matcher, "lr_shape": gallery.lr_shape, "config": gallery.config.to_dict(),
        "ids": gallery.ids, "status": gallery.status, "sources": gallery.sources, "dropped": gallery.dropped,
        "stored": gallery.stored, "share": None if gallery.share is None else vars(gallery.share),
    }
    return json.dumps(values)


def _arrays(gallery: Gallery) -> Arrays:
    pool = gallery.pool
    arrays = {"templates": np.asarray(pool.templates), "weights": np.asarray(pool.weights), "first": pool.first}
    if gallery.crops is not None:
        arrays["crops"], arrays["crop_lengths"] = gallery.crops.pack()
    return arrays


def _write_npz(gallery: Gallery, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, meetmid=np.array(_text(gallery)), **_arrays(gallery))


def _read_npz(path: Path) -> tuple[str, Arrays]:
    arrays = read_arrays(path)
    return str(arrays.pop("meetmid")), arrays


def _write_safetensors(gallery: Gallery, path: Path) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(gallery).items()}
    optional("safetensors.numpy").save_file(arrays, path, metadata={"meetmid": _text(gallery)})


def _read_safetensors(path: Path) -> tuple[str, Arrays]:
    with optional("safetensors").safe_open(path, "np") as file:
        return file.metadata()["meetmid"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _write_parquet(gallery: Gallery, path: Path) -> None:
    arrow, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    strange = next((name for name in gallery.ids if not _is_unicode(name)), None)
    if strange is not None:
        raise StoreError(f"a .parquet file holds Unicode alone, the id {strange!r} is none: .npz and .safetensors keep it")
    pool, (scales, slots, length) = gallery.pool, gallery.pattern
    schema = arrow.schema([
        ("entry", arrow.int64()), ("id", arrow.string()),
        ("templates", arrow.list_(arrow.float32(), scales * slots * length)),
        ("weights", arrow.list_(arrow.float32(), scales * slots)), ("crop", arrow.binary()),
    ], {"meetmid": _text(gallery), "pattern": json.dumps(gallery.pattern)})
    entry = np.repeat(np.arange(len(gallery)), np.diff(pool.first))

    def lists(rows: NDArray[Any], size: int) -> Any:
        return arrow.FixedSizeListArray.from_arrays(arrow.array(np.ascontiguousarray(rows).reshape(-1), arrow.float32()), size)

    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, len(entry), ROWS):
            rows = range(start, min(start + ROWS, len(entry)))
            templates = np.stack([pool.templates[k] for k in rows])
            columns = [
                arrow.array(entry[rows.start : rows.stop]), arrow.array([gallery.ids[entry[k]] for k in rows]),
                lists(templates, scales * slots * length),
                lists(np.asarray(pool.weights[rows.start : rows.stop]), scales * slots),
                arrow.array([None if gallery.crops is None else gallery.crops.code(k) for k in rows], arrow.binary()),
            ]
            writer.write_table(arrow.table(columns, schema=schema))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(path: Path) -> tuple[str, Arrays]:
    parquet = optional("pyarrow.parquet")
    with parquet.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata
        text, pattern = metadata[b"meetmid"].decode(), tuple(json.loads(metadata[b"pattern"]))
        tables = list(_groups(file))
    told = json.loads(text)

    def joined(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        parts = [np.zeros(0, np.float32), *(np.asarray(t.column(name).combine_chunks().values, np.float32) for t in tables)]
        return np.concatenate(parts).reshape(-1, *shape)

    entry = np.concatenate([np.zeros(0, np.int64), *(np.asarray(t.column("entry")) for t in tables)])
    names = [name for table in tables for name in table.column("id").to_pylist()]
    if (np.diff(entry) < 0).any() or names != [told["ids"][k] for k in entry]:
        raise StoreError(f"{path}: its rows were reordered or changed: entry and id no longer fit what was exported")
    counts = np.bincount(entry, minlength=len(told["ids"]))
    arrays: Arrays = {
        "templates": joined("templates", pattern), "weights": joined("weights", pattern[:2]),
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    }
    codes = [code for table in tables for code in table.column("crop").to_pylist()]
    if not any(code is None for code in codes):
        arrays["crops"] = np.frombuffer(b"".join(codes), np.uint8)
        arrays["crop_lengths"] = np.array([len(code) for code in codes], np.int64)
    return text, arrays


def _groups(file: Any) -> Iterator[Any]:
    for group in range(file.num_row_groups):
        yield file.read_row_group(group)


WRITERS: dict[str, Callable[[Gallery, Path], None]] = {
    ".npz": _write_npz, ".safetensors": _write_safetensors, ".parquet": _write_parquet,
}
READERS: dict[str, Callable[[Path], tuple[str, Arrays]]] = {
    ".npz": _read_npz, ".safetensors": _read_safetensors, ".parquet": _read_parquet,
}


def _chosen(path: Path, table: dict[str, Any]) -> Any:
    if path.suffix.lower() not in table:
        raise StoreError(f"{path}: expected a name that ends in {', '.join(table)}")
    return table[path.suffix.lower()]
