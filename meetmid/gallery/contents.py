"""The entries of a store, read from all its shards as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from meetmid.gallery.crops import CropStore
from meetmid.gallery.manifest import Manifest
from meetmid.gallery.shards import ShardEntries, open_entries, open_shard
from meetmid.gallery.vault import Vault
from meetmid.templates.pool import TemplatePool, allocate
from meetmid.templates.stored import StoredTemplates, Templates, as_stored, concatenated, part_of

WEIGHTS = 64 * 2**20
"""Bytes of weights beyond which they are copied to a mapped temporary file."""


@dataclass(frozen=True, eq=False)
class Contents:
    """Entries with their templates and crops; ``dropped`` templates were unusable."""

    entries: ShardEntries
    pool: TemplatePool
    crops: CropStore | None
    dropped: int

    def part(self, start: int, stop: int) -> Contents:
        """Entries start .. stop; dropped templates are told of the whole only."""
        first = self.pool.first
        a, b = int(first[start]), int(first[stop])
        pool = TemplatePool(part_of(self.pool.templates, a, b), self.pool.weights[a:b], first[start : stop + 1] - a)
        return Contents(self.entries.part(start, stop), pool, None if self.crops is None else self.crops.part(a, b), 0)

    def ordered(self, order: Sequence[int]) -> Contents:
        """The entries in another order."""
        own = ShardEntries(*(tuple(values[k] for k in order) for values in vars(self.entries).values()))
        counts, first = np.array(own.pictures, np.int64), np.cumsum([0, *own.pictures]).astype(np.int64)
        begins = self.pool.first[np.asarray(order, np.int64)]
        pictures = np.repeat(begins - first[:-1], counts) + np.arange(first[-1])
        pool = TemplatePool(
            as_stored(self.pool.templates).picked(pictures), np.asarray(self.pool.weights)[pictures], first
        )
        return Contents(own, pool, None if self.crops is None else self.crops.picked(pictures.tolist()), self.dropped)

    @classmethod
    def joined(cls, parts: Sequence[Contents]) -> Contents:
        """The entries of all parts, which are of one configuration, one part after the other."""
        entries = ShardEntries.joined([part.entries for part in parts])
        templates = concatenated(parts[0].pool.pattern, [as_stored(part.pool.templates) for part in parts])
        weights = np.concatenate([np.asarray(part.pool.weights) for part in parts])
        pool = TemplatePool(templates, weights, np.cumsum([0, *entries.pictures]).astype(np.int64))
        kept = [part.crops for part in parts if part.crops is not None]
        crops = CropStore.joined(kept) if len(kept) == len(parts) else None
        return cls(entries, pool, crops, sum(part.dropped for part in parts))


def read(folder: Path, manifest: Manifest, vault: Vault | None, *, verify: bool) -> Contents:
    """All entries of a store that were not removed. Raises as :func:`open_shard`."""
    opened = [open_shard(folder, manifest, vault, record, verify=verify) for record in manifest.shards]
    names, spans, weights, crops = list[ShardEntries](), list[StoredTemplates](), [], []
    for record, shard in zip(manifest.shards, opened, strict=True):
        ends = np.cumsum([0, *shard.entries.pictures])
        for first, last in _runs(record.entries, record.removed):
            a, b = int(ends[first]), int(ends[last])
            names.append(shard.entries.part(first, last))
            spans.append(StoredTemplates.of(shard.templates, manifest.pattern).part(a, b))
            weights.append(shard.weights[a:b])
            if shard.crops is not None:
                crops.append(shard.crops.part(a, b))
    stored = concatenated(manifest.pattern, spans)
    one = len(opened) == 1 and manifest.stored == "float32" and not manifest.shards[0].removed
    templates: Templates = opened[0].templates.rows if one else stored
    if len(weights) == 1:
        joined = weights[0]
    else:
        joined, start = allocate((len(templates), *manifest.pattern[:2]), WEIGHTS), 0
        for own in weights:
            joined[start : start + len(own)] = own
            start += len(own)
    entries = ShardEntries.joined(names)
    pool = TemplatePool(templates, joined, np.cumsum([0, *entries.pictures]).astype(np.int64))
    dropped = sum(record.dropped for record in manifest.shards)
    return Contents(entries, pool, CropStore.joined(crops) if manifest.crops else None, dropped)


def read_ids(folder: Path, manifest: Manifest, vault: Vault | None) -> set[str]:
    """The ids of all entries that were not removed. Raises StoreError."""
    found = set[str]()
    for record in manifest.shards:
        gone = set(record.removed)
        found |= {name for k, name in enumerate(open_entries(folder, vault, record).ids) if k not in gone}
    return found


def _runs(count: int, removed: Sequence[int]) -> list[tuple[int, int]]:
    """The stretches of 0 .. count between removed positions."""
    edges = [-1, *sorted(removed), count]
    return [(a + 1, b) for a, b in pairwise(edges) if a + 1 < b]
