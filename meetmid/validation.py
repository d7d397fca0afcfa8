"""Checks that the fields of a configuration are what their annotations say."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from functools import cache
from math import inf
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from meetmid.errors import ConfigError


class Expected(NamedTuple):
    """What a field expects, in words, and the range of its numbers: ``low`` included, ``below`` excluded."""

    words: str
    low: float = -inf
    below: float = inf


Table = dict[str, Expected]
_kinds = cache(get_type_hints)


def refused(owner: Any, table: Table, name: str, words: str = "") -> ConfigError:
    """The error that says what a field of ``owner`` expects and what it got."""
    got = " ".join(repr(getattr(owner, name)).split())
    return ConfigError(f"{name} expects {words or table[name].words}, got {got[:200]}{' ...' if got[200:] else ''}")


def check(owner: Any, table: Table) -> None:
    """Make every field what its annotation says (numbers and tuples plain), or raise ConfigError."""
    for name, kind in _kinds(owner.__class__).items():
        plain = {str: "a string", bool: "True or False"}.get(kind) or f"one of {', '.join(map(repr, get_args(kind)))}"
        words, low, below = table.get(name, Expected(plain))
        try:
            object.__setattr__(owner, name, _fit(getattr(owner, name), kind, low, below))
        except (TypeError, ValueError, OverflowError):
            raise refused(owner, table, name, words) from None


def _fit(value: Any, kind: Any, low: float, below: float) -> Any:
    """``value`` as the annotation ``kind``; raises TypeError, ValueError or OverflowError where it is none."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(value, bool) and kind is not bool:
        raise ValueError  # Python counts booleans among the integers
    if origin is UnionType:
        for option in inner:
            with suppress(TypeError, ValueError):
                return _fit(value, option, low, below)
    elif origin is tuple and not isinstance(value, str | bytes):
        items = list(value)
        kinds = inner[:1] * len(items) if inner[-1] is Ellipsis else inner
        return tuple(_fit(item, each, low, below) for item, each in zip(items, kinds, strict=True))
    elif kind in (int, float) and isinstance(value, Integral if kind is int else Real):
        number = kind(value)
        if low <= number < below:
            return number
    elif (origin is Literal and isinstance(value, str) and value in inner) or (origin is None and isinstance(value, kind)):
        return value
    raise ValueError


def is_whole(value: Any, least: int) -> bool:
    """Whether it is a whole number of at least so much; Python counts booleans among them."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def known_fields(values: Any, owner: type, what: str) -> dict[str, Any]:
    """A copy of ``values``, whose keys must be fields of ``owner``."""
    if not isinstance(values, dict):
        raise ConfigError(f"{what} expect a dictionary, got {type(values).__name__}")
    known = {f.name for f in fields(owner)}
    unknown = sorted(map(str, set(values) - known))
    if unknown:
        raise ConfigError(f"unknown {what} {unknown}; known are {sorted(known)}")
    return dict(values)
