"""The command ``meetmid gallery``: what becomes of an enrolled gallery."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from meetmid.cli import DONE
from meetmid.cli.checks import check_output
from meetmid.errors import InputError
from meetmid.status import usable
from meetmid.templates.stored import Stored

FILES = (".npz", ".safetensors", ".parquet")


def add_key(parser: argparse.ArgumentParser, text: str = "the key of an encrypted gallery") -> None:
    """Where the key is."""
    parser.add_argument("--key", metavar="FILE", help=f"{text} (default: that of MEETMID_KEY_FILE or MEETMID_KEY)")


def add_enroll_arguments(parser: argparse.ArgumentParser) -> None:
    """How ``meetmid enroll`` keeps a gallery."""
    kind = parser.add_mutually_exclusive_group()
    told = {
        "append": "add to the gallery that is there", "replace": "the same, and entries of equal names go",
        "overwrite": "take the place of the gallery that is there",
    }
    for name, text in told.items():
        kind.add_argument(f"--{name}", dest="add", action="store_const", const=name, help=text)
    parser.add_argument("--part", type=_part, default=(1, 1), metavar="K/N", help="one of N shares; see gallery merge")
    _storage(parser)


def _part(text: str) -> tuple[int, int]:
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected K/N such as 1/4, got {text!r}")
    return int(k), int(n)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do with which gallery."""
    parser.add_argument("action", choices=tuple(_ACTIONS))
    parser.add_argument("store", help="the gallery's directory")
    parser.add_argument("what", nargs="*", help="remove: ids; merge: parts; export, import: a file (" + ", ".join(FILES) + ")")
    _storage(parser)
    parser.add_argument("--overwrite", action="store_true", help="merge, import: take the place of a gallery that is there")
    parser.add_argument("--new-key", metavar="FILE", help="rekey: the key that takes the place of --key")


def _storage(parser: argparse.ArgumentParser) -> None:
    told = "how exactly templates are kept (default: as in the gallery at hand, of a new one float32)"
    parser.add_argument("--stored", choices=get_args(Stored), help=told)
    add_key(parser, "encrypts the gallery")


def gallery(options: argparse.Namespace) -> int:
    """``meetmid gallery``."""
    if options.overwrite and options.action not in ("merge", "import"):
        raise InputError(f"--overwrite is for merge and import, not for {options.action}")
    takes_one = options.action in ("export", "import")
    takes_some = {"remove": "ids", "merge": "galleries"}.get(options.action)
    if (takes_one and len(options.what) != 1) or (takes_some and not options.what):
        raise InputError(f"meetmid gallery {options.action} expects {takes_some or 'one file'} after the gallery")
    if options.what and not takes_one and not takes_some:
        raise InputError(f"meetmid gallery {options.action} expects nothing after the gallery, got {options.what[0]!r}")
    if (options.action == "rekey") != (options.new_key is not None):
        raise InputError("meetmid gallery rekey expects --new-key FILE, and nothing else does")
    _ACTIONS[options.action](options)
    return DONE


def _info(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    found = Gallery.open(options.store, key=options.key, verify=False)
    made = sum(map(usable, found.status))
    size = sum(file.stat().st_size for file in Path(options.store).iterdir())
    rows = (
        ("entries", f"{len(found):,} ({made:,} with templates)"), ("pictures", f"{len(found.pool.weights):,}"),
        ("preset", found.config.preset), ("configuration", found.config.gallery_hash()),
        ("matcher", f"{found.config.gallery_matcher or found.config.matcher}, sha256 {found.matcher[:12]}..."),
        ("templates", f"{' x '.join(map(str, found.pattern))} {found.stored} per picture"),
        ("crops", "kept" if found.crops is not None else "not kept"), ("bytes on disk", f"{size:,}"),
    )
    for name, value in rows:
        print(f"{name:<15}{value}")
    if found.share is not None:
        print(f"{'share':<15}{found.share.number} of {found.share.count}")


def _verify(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    found = Gallery.open(options.store, key=options.key)
    print(f"{options.store}: all {len(found):,} entries are as they were written")


def _remove(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    with Gallery.open(options.store, "a", key=options.key) as writer:
        writer.remove(options.what)
        erased = writer.compact()
    print(f"removed {len(set(options.what))} entries from {options.store}{' and erased their bytes' if erased else ''}")
    _tell_left(erased)


def _rekey(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    with Gallery.open(options.store, "a", key=options.key) as writer:
        erased = writer.rekey(options.new_key)
    print(f"{options.store} now opens with {options.new_key} alone")
    _tell_left(erased)


def _tell_left(erased: bool) -> None:
    if not erased:
        print("note: a reader has old files open, which are not erased; the next change of the gallery does", file=sys.stderr)


def _compact(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    with Gallery.open(options.store, "a", key=options.key) as writer:
        erased = writer.compact()
    print(f"compacted {options.store}")
    _tell_left(erased)


def _check_place(options: argparse.Namespace) -> None:
    from meetmid.gallery.manifest import check_free

    if not options.overwrite:
        check_free(options.store, "--overwrite takes its place")


def _merge(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    _check_place(options)
    parts = [Gallery.open(part, key=options.key) for part in options.what]
    kinds = sorted({part.stored for part in parts})
    if options.stored is None and len(kinds) > 1:
        raise InputError(f"the galleries are stored as {' and '.join(kinds)}: say --stored")
    whole = Gallery.merged(parts, sorted(name for part in parts for name in part.ids))
    whole.save(options.store, stored=options.stored, key=options.key)
    print(f"wrote {len(whole):,} entries of {len(parts)} galleries to {options.store}")


def _export(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    check_output(Path(options.what[0]), *FILES)
    Gallery.open(options.store, key=options.key).export(options.what[0])
    print(f"wrote {options.what[0]}, which is not encrypted")


def _import(options: argparse.Namespace) -> None:
    from meetmid.gallery.store import Gallery

    _check_place(options)
    found = Gallery.load(options.what[0])
    found.save(options.store, stored=options.stored, key=options.key)
    print(f"wrote {len(found):,} entries to {options.store}")


_ACTIONS = {
    "info": _info, "verify": _verify, "remove": _remove, "compact": _compact, "rekey": _rekey, "merge": _merge,
    "export": _export, "import": _import,
}
