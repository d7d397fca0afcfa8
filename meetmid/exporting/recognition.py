"""Which network a checkpoint belongs to, told from its tensors alone (networks.md section 9)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from meetmid.errors import ConfigError, ModelError
from meetmid.exporting import matchers, super_resolvers, translators
from meetmid.exporting.checkpoints import Checkpoint, State
from meetmid.exporting.family import Family, Options
from meetmid.runtime.cards import Contract

FAMILIES: tuple[Family, ...] = (*super_resolvers.FAMILIES, *matchers.FAMILIES, *translators.FAMILIES)
"""In the order they are tried."""

BAD_VALUES = (KeyError, IndexError, TypeError, ValueError, RuntimeError, ZeroDivisionError)
"""What strange shapes and options raise where a network is built from them."""

SHOWN = 5
"""Keys named per list in a message."""


@dataclass(frozen=True)
class Recognised:
    """The ``network`` with the checkpoint's weights, in evaluation mode; its ``family`` and the ``options`` it was built
    with."""

    family: Family
    options: Options
    network: nn.Module

    @property
    def contract(self) -> Contract:
        """What the network takes and gives."""
        return self.family.contract(self.options)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the network returns, the one that counts first."""
        return self.family.outputs(self.options)

    @property
    def any_size(self) -> bool:
        """Whether height and width of the picture are free."""
        return self.family.any_size(self.options)


@dataclass(frozen=True)
class _Misfit:
    family: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def __str__(self) -> str:
        lists = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.shapes))
        told = [
            f"{len(keys)} {name} ({', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''})"
            for name, keys in lists if keys
        ]
        return f"{self.family}: {'; '.join(told) or 'the right names, but shapes that no such network has'}"


def recognise(checkpoint: Checkpoint, *, arch: str | None = None, **options: Any) -> Recognised:
    """Find the family whose keys and shapes are exactly the checkpoint's, build its network and load the weights.

    ``arch`` names the family (only that one is tried); ``options`` override what was read off or could not be (such as
    ``residual_scale`` of EDSR). Raises ModelError with the closest families and the keys that did not fit, ConfigError for
    an unknown ``arch`` or option.
    """
    families = [family for family in FAMILIES if arch in (None, family.name)]
    if not families:
        raise ConfigError(f"arch expects one of {', '.join(family.name for family in FAMILIES)}, got {arch!r}")
    misfits: dict[str, _Misfit] = {}
    for state in checkpoint.readings():
        for family in families:
            read = _read(family, state)
            if read is None:
                continue
            takes = {*read, *family.choices}
            if not options.keys() <= takes:
                raise ConfigError(
                    f"family {family.name!r} takes the options {', '.join(sorted(takes))}, got {', '.join(sorted(options))}"
                )
            known = {**read, **options}
            try:
                with torch.device("meta"):
                    wanted = _keys(family.build(**known))
            except BAD_VALUES as error:
                if options:
                    raise ConfigError(f"family {family.name!r} cannot be built with {known}: {error}") from error
                misfits[family.name] = _Misfit(family.name, (), (), (f"{error}",))
                continue
            renamed = _renamed(family, state)
            misfit = _compare(family.name, wanted, renamed)
            if not misfit.size:
                return Recognised(family, known, _loaded(family.build(**known), renamed))
            if family.name not in misfits or misfit.size < misfits[family.name].size:
                misfits[family.name] = misfit
        if {"model.1.weight", "model.5.weight"} <= state.keys() and tuple(state["model.5.weight"].shape) == (128, 64, 3, 3):
            raise ModelError(
                f"{checkpoint.path}: this is a part of RIM's second public code line, whose layers are not documented; only "
                f"the first line's FHN (one file) is supported"
            )
    raise ModelError(
        f"{checkpoint.path}: expected the checkpoint of a known family, got {len(checkpoint.state)} tensors that fit none. "
        f"Closest: {' | '.join(map(str, _closest(misfits, families, checkpoint)))}"
    )


def _read(family: Family, state: State) -> Options | None:
    if not family.decisive <= state.keys():
        return None
    try:
        return family.read(state) if family.told(state) else None
    except BAD_VALUES:  # decisive keys of strange shapes
        return None


def _renamed(family: Family, state: State) -> State:
    """The state under the network's names; under its own where keys that the names depend on are missing."""
    try:
        return family.rename(state)
    except BAD_VALUES:
        return state


def _keys(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def _compare(name: str, wanted: dict[str, tuple[int, ...]], state: State) -> _Misfit:
    shapes = [
        f"{key} {tuple(state[key].shape)} for {shape}" for key, shape in wanted.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    return _Misfit(name, tuple(sorted(wanted.keys() - state)), tuple(sorted(state.keys() - wanted)), tuple(shapes))


def _loaded(network: nn.Module, state: State) -> nn.Module:
    full = network.state_dict() | state  # the counters of batches, which inference never reads, keep their start value
    network.load_state_dict(full, strict=True)
    return network.eval().requires_grad_(False)


def _closest(misfits: dict[str, _Misfit], families: list[Family], checkpoint: Checkpoint) -> list[_Misfit]:
    """The three families whose names are most alike, those first whose decisive keys are all there."""
    found = []
    for family in families:
        unlike, misfit = min((_by_pattern(family, state) for state in checkpoint.readings()), key=lambda pair: pair[0])
        exact = misfits.get(family.name)
        found.append((exact is None, unlike, exact or misfit))
    return [misfit for _, _, misfit in sorted(found, key=lambda entry: entry[:2])[:3]]


def _by_pattern(family: Family, state: State) -> tuple[float, _Misfit]:
    """Like :func:`_compare`, but indifferent to how often a block is repeated; first the share of patterns not in common."""
    ours, theirs = _example_patterns(family.name), frozenset(_pattern(key) for key in _renamed(family, state))
    missing = {*(ours - theirs), *(family.decisive - state.keys())}
    unlike = 1.0 - len(ours & theirs) / len(ours | theirs)
    return unlike, _Misfit(family.name, tuple(sorted(missing)), tuple(sorted(theirs - ours)), ())


def _pattern(key: str) -> str:
    return re.sub(r"\d+", "N", key)


@cache
def _example_patterns(name: str) -> frozenset[str]:
    """The names of a family's typical network."""
    family = next(family for family in FAMILIES if family.name == name)
    with torch.device("meta"):
        return frozenset(map(_pattern, _keys(family.build(**family.example))))
