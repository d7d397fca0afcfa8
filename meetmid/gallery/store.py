"""An enrolled gallery: templates, statuses and crops, bound to the matcher and the configuration that made them."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from meetmid.config import MatchConfig
from meetmid.errors import InputError, StoreError
from meetmid.gallery.contents import Contents, read
from meetmid.gallery.crops import CropStore
from meetmid.gallery.hypotheses import GalleryLayouts
from meetmid.gallery.manifest import COMMITTED, PENDING, Manifest, Share
from meetmid.gallery.shards import ShardEntries
from meetmid.gallery.writer import GalleryWriter
from meetmid.templates.pool import TemplatePool
from meetmid.templates.stored import Stored, cut_of

ATTEMPTS = 20
"""How often a reader begins anew when a writer compacts the gallery under its hands."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Enrolled portraits.

    ``ids`` and ``status`` one per entry; ``pool`` the uncentred templates, of which ``dropped`` were zero or not finite and
    take no part; ``matcher`` the sha256 of the network and ``config`` the configuration they were made with; ``lr_shape``
    (height, width) the probe working size they are matched to, the first of several; ``sources`` digests of the entries'
    pictures, where they were enrolled into a file; ``stored``, how exactly the file they came from keeps templates; ``share``,
    which part of a side they are. Biometric templates are sensitive: saved galleries are readable by their owner only.
    """

    ids: tuple[str, ...]
    status: tuple[str, ...]
    config: MatchConfig
    matcher: str
    lr_shape: tuple[int, int]
    pool: TemplatePool = field(repr=False)
    crops: CropStore | None = field(repr=False)
    dropped: int = 0
    sources: tuple[str, ...] = field(default=(), repr=False)
    stored: Stored = "float32"
    share: Share | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def layouts(self) -> GalleryLayouts:
        """Which hypothesis lies in which slot."""
        return GalleryLayouts.of(self.config, self.lr_shape)

    def matched(self, number: int) -> Gallery:
        """The same portraits matched to the ``number``-th of their several sizes (``MatchConfig.sizes``) alone."""
        layouts = self.layouts
        layout, start = layouts.each[number], range(len(layouts.each))[number] * layouts.block
        own = slice(start, start + layout.slots)
        pool = TemplatePool(cut_of(self.pool.templates, slice(None), own), self.pool.weights[:, :, own], self.pool.first)
        return replace(self, config=layout.config, lr_shape=layout.lr_shape, pool=pool)

    def entry(self, index: int) -> Gallery:
        """One entry as a gallery of its own, without templates."""
        start, stop = (int(k) for k in self.pool.first[index : index + 2])
        crops = None if self.crops is None else self.crops.part(start, stop)
        own = slice(index, index + 1)
        alone = replace(self, ids=self.ids[own], status=self.status[own], sources=self.sources[own], crops=crops)
        return replace(alone, pool=_room(np.array([0, stop - start], np.int64)))

    def part(self, start: int, stop: int) -> Gallery:
        """Entries start .. stop; unusable templates are told of the whole only."""
        if (start, stop) == (0, len(self)):
            return self
        own = self.contents().part(start, stop)
        return replace(
            self, ids=own.entries.ids, status=own.entries.status, sources=own.entries.sources, pool=own.pool, crops=own.crops,
            dropped=own.dropped, share=None,
        )

    def emptied(self) -> Gallery:
        """The same portraits without their templates."""
        return replace(self, pool=_room(self.pool.first))

    def check(self, matcher: str, config: MatchConfig, lr_shape: tuple[int, int]) -> None:
        """Raise StoreError unless templates of this matcher and configuration can be compared with the gallery's."""
        fits = self.config.gallery_hash() == config.gallery_hash() and self.lr_shape == lr_shape
        if fits and self.matcher == matcher:
            return
        ours, theirs = self.config.gallery_values(), config.gallery_values()
        differing = sorted(k for k in ours if ours[k] != theirs[k])
        if self.matcher != matcher:
            own, its = (" and ".join(f"{name[:12]}..." for name in names.split("+")) for names in (self.matcher, matcher))
            told = f" (their configurations differ in {', '.join(differing)})" if differing else ""
            raise StoreError(
                f"the gallery was enrolled with matcher {own}, this one is {its}{told}; templates of two networks cannot be "
                f"compared: enroll again"
            )
        raise StoreError(
            f"the gallery was enrolled with another configuration (preset {self.config.preset!r} against "
            f"{config.preset!r}; differing: {', '.join(differing) or 'lr_shape'}); enroll again or use its configuration"
        )

    @property
    def pattern(self) -> tuple[int, int, int]:
        """(S, N, D) of every picture's templates."""
        return self.pool.pattern

    def contents(self) -> Contents:
        """What a store keeps of the entries."""
        sources = self.sources or ("",) * len(self)
        entries = ShardEntries(self.ids, self.status, sources, tuple(np.diff(self.pool.first).tolist()))
        return Contents(entries, self.pool, self.crops, self.dropped)

    def manifest(self, stored: Stored = "float32", job: str = "") -> Manifest:
        """The manifest of a store of this configuration that holds nothing yet."""
        if stored not in get_args(Stored):
            raise StoreError(f"stored expects one of {', '.join(get_args(Stored))}, got {stored!r}")
        kept = self.crops is not None
        return Manifest(self.matcher, self.config, self.lr_shape, self.pattern, stored, kept, job=job, share=self.share)

    def save(
        self, path: str | os.PathLike[str], *, stored: Stored | None = None, key: str | os.PathLike[str] | None = None
    ) -> None:
        """Write a directory of shards and a manifest (JSON and .npy arrays, no pickle; mode 0700 / 0600), or replace the
        gallery there in one step.

        ``stored`` keeps the templates as ``"float32"`` bit for bit, as ``"float16"``, or as ``"int8"`` with a step per template
        (at most half a 127th of its largest component off in each; a quarter of the bytes); default as the gallery is
        ``stored`` (a merged one as its least exact part), bit for bit; int8 steps that went through an exported file to a
        rounding. ``key`` names a file with 32 bytes or 64 hexadecimal digits that encrypts everything but the number and sizes
        of files (AES-256-GCM); default that of ``MEETMID_KEY_FILE`` or ``MEETMID_KEY``, else nothing is encrypted. Raises
        StoreError.
        """
        with GalleryWriter.begin(path, self.manifest(stored or self.stored, job=secrets.token_hex(16)), key) as writer:
            writer.append(self)
            writer.finish()

    @overload
    @classmethod
    def open(
        cls, path: str | os.PathLike[str], mode: Literal["r"] = "r", *, key: Any = None, verify: bool = True
    ) -> Gallery: ...

    @overload
    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: Literal["a"], *, key: Any = None) -> GalleryWriter: ...

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], mode: Literal["r", "a"] = "r", *, key: Any = None, verify: bool = True
    ) -> Gallery | GalleryWriter:
        """A saved gallery, memory-mapped and as it was last committed, whatever a writer does later; or, with ``mode="a"``, its
        :class:`GalleryWriter`.

        ``verify`` compares every file with its sha256 (a gigabyte takes about a second); sizes are compared in any case.
        ``key`` as in :meth:`save`; an encrypted gallery is decrypted into memory. Raises StoreError.
        """
        root = Path(path)
        if mode == "a":
            return GalleryWriter.open(root, key)
        if mode != "r":
            raise StoreError(f"mode expects 'r' or 'a', got {mode!r}")
        if not (root / COMMITTED).exists():
            if (root / PENDING).exists():
                raise StoreError(f"{root}: its enrolment has not ended; the same command continues it")
            got = "a folder that holds none" if root.is_dir() else "a file" if root.exists() else "nothing of that name"
            raise StoreError(f"{root}: expected an enrolled gallery, got {got}")
        for _ in range(ATTEMPTS):
            try:
                manifest, vault = Manifest.read(root, key)
                return cls._of(manifest, read(root, manifest, vault, verify=verify))
            except FileNotFoundError as error:  # compacted away since the manifest was read
                missing = error
        raise StoreError(f"{root}: the gallery is damaged, {missing.filename} is missing; enroll again") from missing

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the gallery to one ``.npz``, ``.safetensors`` or ``.parquet`` file (:mod:`meetmid.gallery.exchange`)."""
        from meetmid.gallery.exchange import export_gallery

        export_gallery(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Gallery:
        """The gallery that :meth:`export` wrote, in memory; :meth:`save` makes a store of it. Raises StoreError."""
        from meetmid.gallery.exchange import import_gallery

        return import_gallery(path)

    @classmethod
    def merged(cls, parts: Sequence[Gallery], ids: Sequence[str] | None = None) -> Gallery:
        """One gallery of parts that were enrolled with one matcher and configuration, say by several processes
        (``Matcher.enroll(..., part=(k, n))``); in the order of ``ids``, default that of the parts. Templates in files stay
        there until it is saved. Raises StoreError for parts that do not fit, InputError for missing, strange or doubled ids or
        shares."""
        if not parts:
            raise InputError("merged expects at least one gallery, got none")
        first = parts[0]
        for part in parts[1:]:
            part.check(first.matcher, first.config, first.lr_shape)
        _check_shares([part.share for part in parts if part.share is not None])
        whole = Contents.joined([part.contents() for part in parts])
        names = whole.entries.ids
        place = {name: k for k, name in enumerate(names)}
        if len(place) < len(names):
            raise InputError("some ids are in several parts")
        if ids is not None:
            if set(ids) != set(names) or len(ids) != len(names):
                strange = sorted(set(ids) ^ set(names))
                raise InputError(f"ids expects every entry's id once; missing, strange or twice: {strange[:5]}")
            whole = whole.ordered([place[name] for name in ids])
        entries = whole.entries
        return replace(
            first, ids=entries.ids, status=entries.status, sources=entries.sources, pool=whole.pool, crops=whole.crops,
            dropped=whole.dropped, stored=_coarsest(parts), share=None,
        )

    @classmethod
    def _of(cls, manifest: Manifest, contents: Contents) -> Gallery:
        entries = contents.entries
        return cls(
            entries.ids, entries.status, manifest.config, manifest.matcher, manifest.lr_shape, contents.pool, contents.crops,
            contents.dropped, entries.sources, manifest.stored, manifest.share,
        )


def _coarsest(parts: Sequence[Gallery]) -> Stored:
    return max((part.stored for part in parts), key=get_args(Stored).index)


def _check_shares(shares: Sequence[Share]) -> None:
    counts = sorted({share.count for share in shares})
    if len(counts) > 1:
        raise InputError(f"merged expects shares of one enrolment, got some of {' and some of '.join(map(str, counts))}")
    given = Counter(share.number for share in shares)
    problems = [f"share {k} of {counts[0]} is there {n} times" for k, n in sorted(given.items()) if n > 1]
    problems += [f"share {k} of {counts[0]} is missing" for k in range(1, counts[0] + 1 if counts else 1) if k not in given]
    if problems:
        raise InputError(f"merged expects every share of an enrolment once: {', '.join(problems)}")
    if len({share.side for share in shares}) > 1:
        raise InputError(
            "merged expects shares of one enrolment, got shares of different sets of pictures (some were added, taken away or "
            "changed, or could be read in one place only), so that one may be in no share; enroll them from the same pictures"
        )


def _room(first: NDArray[np.int64]) -> TemplatePool:
    pictures = int(first[-1])
    return TemplatePool(np.zeros((pictures, 0, 0, 0), np.float32), np.zeros((pictures, 0, 0), np.float32), first)
