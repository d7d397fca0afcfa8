"""Templates of the development people under the ladder's configuration, kept in files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from people import captures, pictures, portraits

from meetmid import Matcher
from meetmid.evaluation.ladder import ladder_config
from meetmid.templates.pool import TemplatePool


def pools(
    matcher: str, sizes: list[int], paths: str, part: str, people: int, probes_each: int, cache: Path
) -> tuple[list[str], list[str], TemplatePool, dict[int, TemplatePool]]:
    """Subjects of the gallery and of the probes, gallery templates, probe templates by size."""
    gallery_side, probe_side = pictures(part, people, probes_each)
    config = ladder_config(paths, faces="crop", keep_crops=False)
    with Matcher(config=config, matcher=matcher) as lifted:
        template = lifted.card.contract.alignment
        key = f"{lifted.card.sha256} {[n.card.sha256 for n in lifted.hallucinator.networks.values()]} {part} {people}"
        gallery = cached(
            cache, f"{key} {config.gallery_hash()} gallery", lambda: lifted.enroll(portraits(gallery_side, template)).pool
        )
        probes = {
            size: cached(
                cache, f"{key} {config.hash()} {probes_each} {size}",
                lambda size=size: lifted.lift(captures(probe_side, template, size, seed=7)).pool,
            )
            for size in sizes
        }
    return [name for name, *_ in gallery_side], [name for name, *_ in probe_side], gallery, probes


def cached(folder: Path, key: str, make) -> TemplatePool:
    """A pool from its file, or made and written."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
    if not path.exists():
        pool = make()
        np.savez(path, templates=pool.templates, weights=pool.weights, first=pool.first)
    with np.load(path) as data:
        return TemplatePool(data["templates"], data["weights"], data["first"])
