"""A family of networks: how its checkpoints are told, what can be read off them, and what it takes and gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from meetmid.exporting.checkpoints import State
from meetmid.runtime.cards import Contract, Task

Options = dict[str, Any]
UNIT = {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}


@dataclass(frozen=True)
class Family:
    """``decisive`` keys tell its checkpoints from others, where ``told`` does not object; ``read`` gives the options of
    ``build`` from the tensors (it may raise on strange shapes), ``choices`` names those that no tensor tells; ``rename`` maps
    the keys to those of the network and drops what only training needs (it may raise where keys are missing); ``example``
    are options of a typical network; ``outputs`` names what the network returns and ``any_size`` tells whether height and
    width are free."""

    name: str
    task: Task
    decisive: frozenset[str]
    read: Callable[[State], Options]
    build: Callable[..., nn.Module]
    contract: Callable[[Options], Contract]
    rename: Callable[[State], State] = lambda state: state
    told: Callable[[State], bool] = lambda state: True
    example: Options = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    outputs: Callable[[Options], tuple[str, ...]] = lambda options: ("output",)
    any_size: Callable[[Options], bool] = lambda options: False


def keys(*names: str) -> frozenset[str]:
    """``names``, each with ".weight"."""
    return frozenset(f"{name}.weight" for name in names)


def free(options: Options) -> bool:
    """An ``any_size`` that is always true."""
    return True


def count(state: State, pattern: str) -> int:
    """How many different numbers stand where ``pattern`` has its group, before ".weight"."""
    return len({match[1] for key in state if (match := re.fullmatch(rf"{pattern}\.weight", key))})


def shape(state: State, name: str) -> tuple[int, ...]:
    """Shape of a weight."""
    return tuple(state[f"{name}.weight"].shape)


def inside(state: State) -> State:
    """The names of a network that an adapter holds."""
    return {f"network.{key}": value for key, value in state.items()}
