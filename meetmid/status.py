"""What became of an entry: ``"ok"``, ``"ok: ..."`` where something is to be known, or why it has no score."""

from __future__ import annotations

from collections.abc import Sequence

from meetmid.errors import InputError

Failure = tuple[str, str, str]
"""The side of a failed entry, its id, and why it failed."""


def usable(status: str) -> bool:
    """Whether an entry of this status has templates."""
    return status == "ok" or status.startswith("ok:")


def count_usable(what: str, status: Sequence[str]) -> int:
    """How many entries of a side are usable; raises InputError where none is."""
    count = sum(map(usable, status))
    if count == 0:
        raise InputError(f"{what}: expected at least one usable picture, got none: {status[0]}")
    return count


def failures(side: str, ids: Sequence[str], status: Sequence[str]) -> tuple[Failure, ...]:
    """The entries of a side that have none."""
    return tuple((side, name, why) for name, why in zip(ids, status, strict=True) if not usable(why))
