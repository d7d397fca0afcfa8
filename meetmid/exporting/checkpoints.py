"""Trained checkpoints, read without executing anything that is in them (networks.md section 9)."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from meetmid.errors import ModelError
from meetmid.runtime.cards import file_sha256

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params", "params_ema", "backbone")
"""Keys under which training scripts keep the weights, in the order they are looked for."""

PARTS = ("genA2B", "genB2A", "disGA", "disGB", "disLA", "disLB")
"""The networks of a U-GAT-IT file; the first is the generator."""

PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.")
"""What wrappers of modules put before every key."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, float32 where they are floating, by key; ``sha256`` of the file, ``part`` that was taken."""

    path: Path
    sha256: str
    part: str
    state: State

    def readings(self) -> Iterator[State]:
        """The state as it is, then with every prefix that all keys share taken away, one after the other."""
        state = self.state
        yield state
        while prefix := next((p for p in PREFIXES if state and all(key.startswith(p) for key in state)), None):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
            yield state


def load_checkpoint(path: str | Path, *, part: str | None = None) -> Checkpoint:
    """Read ``.pt``, ``.pth``, ``.pth.tar``, ``.pkl`` or ``.safetensors``; ``part`` names one network of several.

    Only tensors and plain containers are accepted: a file that pickles whole modules, or anything that would run code, is
    refused. Raises ModelError for that, for a damaged file, for one without tensors and for NaN or infinite weights.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: expected a checkpoint file, found none")
    content = _read(path)
    taken, state = _unwrapped(content, path, part)
    tensors = {key: _plain(key, value, path) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    if not tensors:
        raise ModelError(f"{path}: expected weights, found no tensor in it")
    return Checkpoint(path, file_sha256(path), taken, tensors)


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: expected a dictionary of tensors, got a file that needs to run pickled code, which is never done "
            f"({_first_line(error)}); save the state dict alone with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # readers raise nearly anything on damaged files
        raise ModelError(f"{path}: expected a whole checkpoint, got a damaged file ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _unwrapped(content: Any, path: Path, part: str | None) -> tuple[str, dict[str, Any]]:
    """The dictionary that holds the tensors and the keys that led to it."""
    trail: list[str] = []
    while True:
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise ModelError(f"{path}: expected a dictionary of tensors by name, got {type(content).__name__}")
        if part is not None and part not in trail and part in content:
            inner = part
        elif any(isinstance(value, Tensor) for value in content.values()):
            break
        else:
            found = [key for key in (*WRAPPERS, *PARTS) if isinstance(content.get(key), dict)]
            if not found:
                raise ModelError(
                    f"{path}: expected weights, possibly under one of {', '.join(WRAPPERS)}, got the keys {list(content)[:8]}"
                )
            inner = found[0]
        trail.append(inner)
        content = content[inner]
    if part is not None and part not in trail:
        raise ModelError(f"{path}: expected a part {part!r}, which the file does not hold")
    return ".".join(trail), content


def _plain(key: str, value: Any, path: Path) -> Tensor:
    if not isinstance(value, Tensor) or value.is_complex() or value.is_sparse or value.is_quantized:
        raise ModelError(f"{path}: expected a dense real tensor under {key!r}, got {type(value).__name__}")
    value = value.detach()
    if not value.is_floating_point():
        return value
    value = value.float()
    if not bool(torch.isfinite(value).all()):
        raise ModelError(f"{path}: expected finite weights, got NaN or infinite ones in {key!r}")
    return value
