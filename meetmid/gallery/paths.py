"""Paths in the degradation tree: names, canonical order, storage index, subsets (degradations.md section 5).

A path is a tuple of at most three names of :data:`DEGRADATIONS`, in the order in which they are applied, with a
down-sampling by two between neighbours (Grm et al. 2023, eq. 1). ``()`` is the identity: the undegraded portrait.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import combinations, combinations_with_replacement, permutations, product

from meetmid.errors import ConfigError, InputError

Path = tuple[str, ...]

DEGRADATIONS: tuple[str, ...] = (
    "gauss_noise", "speckle", "color", "bright", "motion", "gblur", "disk", "persp", "shear", "downup", "pshuf",
)
"""The eleven function names; a name's position is its byte in :func:`path_bytes`."""

MAX_LENGTH = 3
PATH_COUNT = sum(len(DEGRADATIONS) ** length for length in range(1, MAX_LENGTH + 1))
"""1463: the paths of length 1, 2 and 3."""

_BYTE = {name: byte for byte, name in enumerate(DEGRADATIONS)}
_FORMS = "none, all, len<=k, len=k, random:k, no-repeat, unordered; each also with +identity"


def path_bytes(path: Sequence[str]) -> bytes:
    """One byte 0..10 per function, in order of application; raises InputError for unknown names and over-long paths."""
    if isinstance(path, str):
        raise InputError(f"a path expects a tuple of names, got the string {path!r}; parse_path() reads strings")
    for name in path:
        if name not in _BYTE:
            raise InputError(f"unknown degradation {name!r}; known are {', '.join(DEGRADATIONS)}")
    if len(path) > MAX_LENGTH:
        raise InputError(f"a path expects at most {MAX_LENGTH} functions, got {len(path)}: {'+'.join(path)}")
    return bytes(_BYTE[name] for name in path)


def path_index(path: Sequence[str]) -> int:
    """The storage index 0..1462 of a path of length 1 to 3: a; 11 + 11a + b; 132 + 121a + 11b + c."""
    digits = path_bytes(path)
    if not digits:
        raise InputError("the identity () has no storage index; a path expects at least one function")
    index = 0
    for digit in digits:
        index = len(DEGRADATIONS) * index + digit + 1
    return index - 1


def path_at(index: int) -> Path:
    """The inverse of :func:`path_index`."""
    if not 0 <= index < PATH_COUNT:
        raise InputError(f"a path index expects 0 to {PATH_COUNT - 1}, got {index}")
    names: list[str] = []
    while index >= 0:
        index, digit = divmod(index, len(DEGRADATIONS))
        names.append(DEGRADATIONS[digit])
        index -= 1
    return tuple(reversed(names))


def format_path(path: Sequence[str]) -> str:
    """``("gblur", "downup")`` as ``"gblur+downup"``; ``()`` as ``"identity"``."""
    path_bytes(path)
    return "+".join(path) or "identity"


def parse_path(text: str) -> Path:
    """The inverse of :func:`format_path`; spaces around the names are ignored."""
    if text.strip() == "identity":
        return ()
    path = tuple(name.strip() for name in text.split("+"))
    path_bytes(path)
    return path


def degradation_paths(
    max_length: int = MAX_LENGTH, *, repetition: bool = True, ordered: bool = True, identity: bool = False
) -> list[Path]:
    """Every path of length 1 to ``max_length``, by length, then in the order of :data:`DEGRADATIONS`.

    1463 by default; 1111 with ``repetition=False``; 231 with ``ordered=False`` as well (each set once, in canonical
    order). ``identity`` puts ``()`` first.
    """
    if max_length not in range(1, MAX_LENGTH + 1):
        raise ConfigError(f"max_length expects 1 to {MAX_LENGTH}, got {max_length}")
    paths: list[Path] = [()] if identity else []
    for length in range(1, max_length + 1):
        if ordered:
            paths += product(DEGRADATIONS, repeat=length) if repetition else permutations(DEGRADATIONS, length)
        else:
            choose = combinations_with_replacement if repetition else combinations
            paths += choose(DEGRADATIONS, length)
    return paths


def select_paths(spec: str | Sequence[Path | str]) -> tuple[Path, ...]:
    """The paths a specification names.

    ``"none"`` only the undegraded portrait; ``"all"`` and ``"len<=3"`` the whole tree; ``"len<=k"`` up to, ``"len=k"``
    exactly k functions; ``"random:k"`` the k nodes with the smallest hash (the same everywhere, nested in k);
    ``"no-repeat"`` ordered, each function at most once; ``"unordered"`` sets of functions. ``"+identity"`` after any of
    them adds ``()`` in front. These come in canonical order; an explicit sequence of paths (tuples of names, or strings
    such as ``"gblur+downup"``) keeps its own. Raises ConfigError for unknown forms, empty selections and duplicates.
    """
    if isinstance(spec, str):
        return _named(spec)
    chosen = tuple(parse_path(p) if isinstance(p, str) else tuple(p) for p in spec)
    if not chosen:
        raise ConfigError(f"a selection expects at least one path, got none; the named selections are {_FORMS}")
    seen: set[Path] = set()
    for path in chosen:
        path_bytes(path)
        if path in seen:
            raise ConfigError(f"a selection expects each path once, got {format_path(path)} twice")
        seen.add(path)
    return chosen


def typed_paths(text: str) -> tuple[Path, ...]:
    """The paths that a text names, as the command line takes it: a selection, or single paths with commas between them.

    Raises what :func:`select_paths` raises.
    """
    if "," not in text and text.partition("+")[0].strip() not in ("identity", *DEGRADATIONS):
        return _named(text, "single paths are written as gblur+downup,disk")
    return select_paths(text.split(","))


def _named(spec: str, otherwise: str = "single paths go in a list") -> tuple[Path, ...]:
    body = spec.removesuffix("+identity")
    first: tuple[Path, ...] = ((),) if body != spec else ()
    if body == "none":
        return ((),)
    if body == "all":
        return first + tuple(degradation_paths())
    if body == "no-repeat":
        return first + tuple(degradation_paths(repetition=False))
    if body == "unordered":
        return first + tuple(degradation_paths(repetition=False, ordered=False))
    if match := re.fullmatch(rf"len(<?=)([1-{MAX_LENGTH}])", body):
        length = int(match[2])
        paths = degradation_paths(length)
        return first + tuple(p for p in paths if match[1] == "<=" or len(p) == length)
    if match := re.fullmatch(r"random:([0-9]+)", body):
        count = int(match[1])
        if not 1 <= count <= PATH_COUNT:
            raise ConfigError(f"random:k expects k from 1 to {PATH_COUNT}, got {spec!r}")
        chosen = set(sorted(degradation_paths(), key=_node_hash)[:count])
        return first + tuple(p for p in degradation_paths() if p in chosen)
    raise ConfigError(
        f"unknown path selection {spec!r}; the forms are {_FORMS}, with k in len from 1 to {MAX_LENGTH}; {otherwise}"
    )


def _node_hash(path: Path) -> int:
    return int.from_bytes(blake2b(b"meetmid-node-1" + path_bytes(path)).digest()[:8], "little")
