"""What a store holds: its shards, what was removed, and what the templates were made with. One small file, replaced whole."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, InputError, StoreError
from meetmid.gallery import files
from meetmid.gallery.vault import CIPHER, Vault, key_name
from meetmid.templates.stored import Stored

FORMAT = "meetmid-gallery-2"
COMMITTED = "manifest.json"
PENDING = "pending.json"
"""The manifest of an enrolment that is under way; renamed to :data:`COMMITTED` when it ends."""

_SHARD_FILE = re.compile(r"shard-\d{6}-[a-z]+\.(npy|bin|json)(\.aes)?")


@dataclass(frozen=True)
class ShardRecord:
    """One shard: its ``number``, ``entries`` and ``pictures``, ``dropped`` templates, ``removed`` entries, and of every file
    the bytes and sha256."""

    number: int
    entries: int
    pictures: int
    dropped: int
    files: dict[str, tuple[int, str]]
    removed: tuple[int, ...] = ()

    @property
    def live(self) -> int:
        """Entries that were not removed."""
        return self.entries - len(self.removed)


@dataclass(frozen=True)
class Share:
    """The ``number``-th of ``count`` shares of a side, whose pictures ``side`` is a digest of."""

    number: int
    count: int
    side: str


@dataclass(frozen=True)
class Manifest:
    """The state of a store. ``matcher``, ``config``, ``lr_shape`` as in :class:`meetmid.Gallery`; ``pattern`` (S, N, D) of
    every picture's templates, which are ``stored`` as so exact; whether ``crops`` are kept; ``salt`` of an encrypted store,
    else empty; ``next`` shard number; ``job``, what a pending enrolment enrols; ``share``, which one of a side."""

    matcher: str
    config: MatchConfig
    lr_shape: tuple[int, int]
    pattern: tuple[int, int, int]
    stored: Stored
    crops: bool
    salt: bytes = b""
    next: int = 1
    shards: tuple[ShardRecord, ...] = ()
    job: str = ""
    share: Share | None = None

    def with_shard(self, shard: ShardRecord) -> Manifest:
        """This and one more shard."""
        return replace(self, shards=(*self.shards, shard), next=max(self.next, shard.number + 1))

    def write(self, folder: Path, vault: Vault | None, name: str = COMMITTED) -> None:
        """Replace the manifest of a store."""
        body = {
            "matcher": self.matcher, "config": self.config.to_dict(), "lr_shape": self.lr_shape, "pattern": self.pattern,
            "stored": self.stored, "crops": self.crops, "next": self.next, "job": self.job,
            "shards": [vars(shard) for shard in self.shards], "share": None if self.share is None else vars(self.share),
        }
        text = json.dumps(body, separators=(",", ":"))
        if vault is not None:
            text = base64.b64encode(vault.seal(text.encode(), "manifest")).decode()
        head = {"format": FORMAT, "cipher": CIPHER if vault else "", "salt": self.salt.hex()}
        whole = {**head, "sha256": _digest(head, text), "body": text}
        files.put(folder / name, json.dumps(whole, indent=1).encode())

    @classmethod
    def read(
        cls, folder: Path, key: Any = None, name: str = COMMITTED, *, strict: bool = True
    ) -> tuple[Manifest, Vault | None]:
        """The manifest of a store and its vault. Raises StoreError, also for a key that nothing is encrypted with (unless not
        ``strict``), or FileNotFoundError where there is no manifest."""
        try:
            whole = json.loads((folder / name).read_text(encoding="utf-8"))
            if whole.get("format") != FORMAT:
                raise StoreError(f"{folder}: expected a gallery of format {FORMAT}, got {whole.get('format')!r}: enroll again")
            head = {k: whole[k] for k in ("format", "cipher", "salt")}
            if whole["sha256"] != _digest(head, whole["body"]):
                raise StoreError(f"{folder}: the gallery is damaged, {name} was changed")
            salt, text = bytes.fromhex(whole["salt"]), whole["body"]
            vault = Vault.of(key, salt) if whole["cipher"] else None
            if vault is not None:
                sealed = base64.b64decode(text)
                try:
                    text = vault.open(sealed, "manifest").decode()
                except StoreError as error:  # its bytes are as they were written, by their digest
                    raise StoreError(
                        f"{folder}: the gallery is encrypted with another key than that of {key_name(key)}; give its own "
                        f"(meetmid gallery rekey changes it)"
                    ) from error
            elif key is not None and strict:
                raise StoreError(f"{folder}: a key was given, but the gallery is not encrypted")
            body = json.loads(text)
            return cls._of(body, salt), vault
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
            raise StoreError(f"{folder}: expected an enrolled gallery, got {type(error).__name__}: {error}") from error

    @classmethod
    def _of(cls, body: dict[str, Any], salt: bytes) -> Manifest:
        shards = tuple(
            ShardRecord(
                int(s["number"]), int(s["entries"]), int(s["pictures"]), int(s["dropped"]),
                {k: (int(size), str(digest)) for k, (size, digest) in s["files"].items()}, tuple(s["removed"]),
            )
            for s in body["shards"]
        )
        height, width = body["lr_shape"]
        scales, slots, length = body["pattern"]
        if body["stored"] not in get_args(Stored):
            raise ValueError(f"stored as {body['stored']!r}")
        share = body.get("share")  # galleries of before have none
        return cls(
            body["matcher"], MatchConfig.from_dict(body["config"]), (height, width), (scales, slots, length), body["stored"],
            bool(body["crops"]), salt, int(body["next"]), shards, body["job"],
            None if share is None else Share(int(share["number"]), int(share["count"]), str(share["side"])),
        )


def sweep(folder: Path, *kept: Manifest) -> bool:
    """Remove the files of shards that no manifest names: what a killed writer left, and what was compacted away. False where
    some stay: Windows keeps what a reader has mapped, and the next writer sweeps again."""
    named, swept = {file for manifest in kept for shard in manifest.shards for file in shard.files}, True
    for file in folder.iterdir():
        if (_SHARD_FILE.fullmatch(file.name) and file.name not in named) or file.name.endswith(".json.new"):
            try:
                file.unlink()
            except OSError:
                swept = False
    return swept


def free_number(folder: Path) -> int:
    """A shard number beyond those of all files there, whichever manifest names them."""
    return 1 + max((int(file.name[6:12]) for file in folder.iterdir() if _SHARD_FILE.fullmatch(file.name)), default=0)


def is_store(folder: Path) -> bool:
    """Whether a directory holds a gallery of ours, finished or not, and may therefore be written to."""
    for name in (COMMITTED, PENDING):
        try:
            if f'"{FORMAT}"' in (folder / name).read_text(encoding="utf-8"):
                return True
        except (OSError, ValueError):
            continue
    return False


def check_free(path: str | os.PathLike[str], cure: str) -> None:
    """Raise StoreError where a finished gallery would be lost; ``cure`` tells what to do about it."""
    folder = Path(path)
    if is_store(folder) and (folder / COMMITTED).exists():
        raise StoreError(f"{folder}: expected a new path, there is a gallery already; {cure}")


def check_pictures(side: Any) -> None:
    """Raise InputError for an enrolled gallery's path: its folder holds no pictures."""
    if isinstance(side, str | os.PathLike) and is_store(Path(side)):
        path = os.fspath(side)
        raise InputError(f"{path}: expected pictures, it is an enrolled gallery: pass meetmid.Gallery.open({path!r})")


def _digest(head: dict[str, Any], text: str) -> str:
    return hashlib.sha256((json.dumps(head, sort_keys=True) + text).encode()).hexdigest()
