"""Galleries of numbers, for tests of the store that need no network."""

from __future__ import annotations

import numpy as np

from meetmid.gallery.crops import CropStore
from meetmid.gallery.store import Gallery
from meetmid.presets import preset
from meetmid.templates.pool import TemplatePool

LENGTH = 8


def numbers(version: int, pictures: int) -> np.ndarray:
    """Templates (pictures, 1, 1, LENGTH) that a version stands for."""
    return np.random.default_rng(version).standard_normal((pictures, 1, 1, LENGTH), np.float32)


def gallery(versions: dict[str, int], **changes) -> Gallery:
    """Entries by name, of 0 to 2 pictures each, their templates and crops made from a version number."""
    counts = [version % 3 for version in versions.values()]
    crops = CropStore()
    for version, count in zip(versions.values(), counts, strict=True):
        for k in range(count):
            crops.append(None if k else np.full((2, 3, 3), version % 256, np.uint8))
    rows = [numbers(*pair) for pair in zip(versions.values(), counts, strict=True)]
    templates = np.concatenate([np.zeros((0, 1, 1, LENGTH), np.float32), *rows])
    pool = TemplatePool(templates, np.ones(templates.shape[:3], np.float32), np.cumsum([0, *counts]).astype(np.int64))
    status = tuple("ok" if count else "no face found" for count in counts)
    values = {"ids": tuple(versions), "status": status, "config": preset("plain"), "matcher": "a" * 64, "lr_shape": (24, 24)}
    return Gallery(**{**values, "pool": pool, "crops": crops, **changes})


def versions(found: Gallery) -> dict[str, list[list[float]]]:
    """What a gallery holds, to be compared with that of another."""
    held = {}
    for entry, name in enumerate(found.ids):
        rows = range(int(found.pool.first[entry]), int(found.pool.first[entry + 1]))
        crops = [None if crop is None else crop.tolist() for crop in map(found.crops.crop, rows)]
        held[name] = [np.asarray(found.pool.templates[k]).ravel().tolist() for k in rows], crops, found.status[entry]
    return held
