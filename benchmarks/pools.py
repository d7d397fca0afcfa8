"""Templates of the development people, made once and kept in files: full trees take hours."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from people import captures, pictures, portraits

from meetmid import MatchConfig, Matcher
from meetmid.evaluation.ladder import ladder_config
from meetmid.templates.pool import TemplatePool

TOGETHER = 10
"""Pictures per file: as much work is lost when a run is stopped."""


def pools(
    matcher: str, sizes: list[int], paths: str, part: str, people: int, probes_each: int, cache: Path
) -> tuple[list[str], list[str], TemplatePool, dict[int, TemplatePool]]:
    """Subjects of gallery and probes, gallery templates, probe templates by size, under the configuration of the ladder."""
    gallery_side, probe_side = pictures(part, people, probes_each)
    config = ladder_config(paths, faces="crop", keep_crops=False)
    with Matcher(config=config, matcher=matcher) as lifted:
        gallery = gallery_pool(lifted, portraits(gallery_side, lifted.card.contract.alignment), cache)
        probes = {size: probe_pool(lifted, probe_side, size, 7, cache) for size in sizes}
    return [name for name, *_ in gallery_side], [name for name, *_ in probe_side], gallery, probes


def gallery_pool(matcher: Matcher, pictures: list[np.ndarray], cache: Path) -> TemplatePool:
    """The templates of portraits."""
    key = f"{matcher.comparison.intake.gallery_hashes} {matcher.config.gallery_hash()} gallery"
    return _cached(pictures, lambda part: matcher.enroll(part).pool, key, cache)


def probe_pool(matcher: Matcher, side: list, size: int, seed: int, cache: Path) -> TemplatePool:
    """The templates of probes as the simulated cameras caught them."""
    generators = [network.card.sha256 for network in matcher.hallucinator.networks.values()]
    shown = MatchConfig.from_dict(matcher.config.to_dict() | {"paths": "none"})  # the other side's paths change nothing here
    key = f"{matcher.card.sha256} {generators} {shown.hash()} probe"
    caught = captures(side, matcher.card.contract.alignment, size, seed)
    return _cached(caught, lambda part: matcher.lift(part).pool, key, cache)


def _cached(
    pictures: list[np.ndarray], make: Callable[[list[np.ndarray]], TemplatePool], key: str, cache: Path
) -> TemplatePool:
    """A pool from its files; those that are not there are made and written, in one step each."""
    cache.mkdir(parents=True, exist_ok=True)
    templates, weights = [], []
    for start in range(0, len(pictures), TOGETHER):
        part = pictures[start : start + TOGETHER]
        digest = hashlib.sha256(key.encode())
        for picture in part:
            digest.update(repr(picture.shape).encode() + picture.tobytes())
        path = cache / f"{digest.hexdigest()[:24]}.npz"
        if not path.exists():
            pool = make(part)
            aside = path.with_suffix(f".{os.getpid()}.npz")
            np.savez(aside, templates=pool.templates, weights=pool.weights)
            os.replace(aside, path)
        with np.load(path) as data:
            templates.append(data["templates"])
            weights.append(data["weights"])
    return TemplatePool(np.concatenate(templates), np.concatenate(weights), np.arange(len(pictures) + 1))
