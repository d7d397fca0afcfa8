"""An enrolled gallery: templates, statuses and crops, bound to the matcher and the configuration that made them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, StoreError
from meetmid.gallery.crops import CropStore
from meetmid.gallery.hypotheses import GalleryLayout
from meetmid.templates.pool import TemplatePool

FORMAT = "meetmid-gallery-1"


@dataclass(frozen=True, eq=False)
class Gallery:
    """Enrolled portraits.

    ``ids`` and ``status`` one per entry; ``pool`` the uncentred templates, of which ``dropped`` were zero or not finite and
    take no part; ``matcher`` the sha256 of the network and ``config`` the configuration they were made with; ``lr_shape``
    (height, width) the probe working size they are matched to. Biometric templates are sensitive: saved galleries are
    readable by their owner only.
    """

    ids: tuple[str, ...]
    status: tuple[str, ...]
    config: MatchConfig
    matcher: str
    lr_shape: tuple[int, int]
    pool: TemplatePool = field(repr=False)
    crops: CropStore | None = field(repr=False)
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def layout(self) -> GalleryLayout:
        """Which hypothesis lies in which slot."""
        return GalleryLayout.of(self.config, self.lr_shape)

    def entry(self, index: int) -> Gallery:
        """One entry as a gallery of its own, without templates."""
        start, stop = (int(k) for k in self.pool.first[index : index + 2])
        crops = None if self.crops is None else self.crops.part(start, stop)
        alone = replace(self, ids=self.ids[index : index + 1], status=self.status[index : index + 1], crops=crops)
        return replace(alone, pool=_room(np.array([0, stop - start], np.int64)))

    def emptied(self) -> Gallery:
        """The same portraits without their templates."""
        return replace(self, pool=_room(self.pool.first))

    def check(self, matcher: str, config: MatchConfig, lr_shape: tuple[int, int]) -> None:
        """Raise StoreError unless templates of this matcher and configuration can be compared with the gallery's."""
        if self.matcher != matcher:
            raise StoreError(
                f"the gallery was enrolled with matcher {self.matcher[:12]}..., this one is {matcher[:12]}...; templates of "
                f"two networks cannot be compared: enroll again"
            )
        if self.config.gallery_hash() != config.gallery_hash() or self.lr_shape != lr_shape:
            ours, theirs = self.config.gallery_values(), config.gallery_values()
            differing = sorted(k for k in ours if ours[k] != theirs[k])
            raise StoreError(
                f"the gallery was enrolled with another configuration (preset {self.config.preset!r} against "
                f"{config.preset!r}; differing: {', '.join(differing) or 'lr_shape'}); enroll again or use its configuration"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a directory (manifest.json and .npy arrays, no pickle), aside first and renamed last; mode 0700 / 0600."""
        target = Path(path)
        if target.exists() and not _is_gallery(target):
            raise StoreError(f"{target}: expected a new path or an enrolled gallery, it holds something else")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        except OSError as error:
            raise StoreError(f"{target}: the gallery could not be written ({error})") from error
        try:
            arrays: dict[str, Any] = {
                "templates": self.pool.templates, "weights": self.pool.weights, "first": self.pool.first
            }
            if self.crops is not None:
                arrays["crops"], arrays["crop_lengths"] = self.crops.pack()
            for name, array in arrays.items():
                np.save(aside / f"{name}.npy", array, allow_pickle=False)
            manifest = {
                "format": FORMAT, "matcher": self.matcher, "lr_shape": self.lr_shape, "config": self.config.to_dict(),
                "ids": self.ids, "status": self.status, "dropped": self.dropped, "arrays": sorted(arrays),
            }
            (aside / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            for file in aside.iterdir():
                file.chmod(0o600)
            retired = aside.with_name(f"{aside.name}-retired")
            if target.exists():
                target.rename(retired)
            aside.rename(target)
            shutil.rmtree(retired, ignore_errors=True)
        except OSError as error:
            raise StoreError(f"{target}: the gallery could not be written ({error})") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: Literal["r"] = "r") -> Gallery:
        """Open a saved gallery with its templates memory-mapped, read-only. Raises StoreError."""
        root = Path(path)
        if mode != "r":
            raise StoreError(f"mode expects 'r' in this version, got {mode!r}")
        try:
            manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
            if manifest.get("format") != FORMAT:
                raise StoreError(f"{root}: expected a gallery of format {FORMAT}, got {manifest.get('format')!r}")
            arrays = {name: np.load(root / f"{name}.npy", mmap_mode="r") for name in manifest["arrays"]}
            pool = TemplatePool(arrays["templates"], arrays["weights"], np.array(arrays["first"]))
            crops = CropStore.unpack(arrays["crops"], arrays["crop_lengths"]) if "crops" in arrays else None
            height, width = manifest["lr_shape"]
            gallery = cls(
                tuple(manifest["ids"]), tuple(manifest["status"]), MatchConfig.from_dict(manifest["config"]),
                manifest["matcher"], (height, width), pool, crops, int(manifest["dropped"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, ConfigError) as error:
            raise StoreError(f"{root}: expected an enrolled gallery, got {type(error).__name__}: {error}") from error
        pictures = {len(pool.templates), len(pool.weights), int(pool.first[-1]), len(pool.weights if crops is None else crops)}
        if len(pictures) > 1 or not len(gallery.ids) == len(gallery.status) == len(pool.first) - 1:
            raise StoreError(f"{root}: the gallery is damaged, its manifest and arrays differ in their number of entries")
        return gallery


def _room(first: NDArray[np.int64]) -> TemplatePool:
    pictures = int(first[-1])
    return TemplatePool(np.zeros((pictures, 0, 0, 0), np.float32), np.zeros((pictures, 0, 0), np.float32), first)


def _is_gallery(path: Path) -> bool:
    """Whether a directory holds a gallery of ours, and may therefore be replaced by one."""
    try:
        return f'"{FORMAT}"' in (path / "manifest.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
