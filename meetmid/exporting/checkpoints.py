"""Trained checkpoints, read without executing anything that is in them (networks.md section 9)."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
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

DEPTH = 8
"""How many dictionaries may lie around the weights."""

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
    tensors = {key: _dense(key, value, path) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    if not tensors:
        raise ModelError(f"{path}: expected weights, found no tensor in it")
    numbers, size = sum(value.numel() for value in tensors.values()), path.stat().st_size
    if numbers > size:  # tensors that repeat a few bytes without end
        raise ModelError(f"{path}: expected as many bytes as weights at least, got {size} bytes that claim {numbers} weights")
    return Checkpoint(path, file_sha256(path), taken, {key: _single(key, value, path) for key, value in tensors.items()})


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        _refuse_compressed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path}: the checkpoint cannot be read ({error})") from error
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            raise ModelError(
                f"{path}: expected a checkpoint, got a damaged file or one of another kind; save the state dict with "
                f"torch.save(model.state_dict(), ...)"
            ) from error
        raise ModelError(
            f"{path}: expected a dictionary of tensors, got a file that needs to run pickled code ({refused[1]}), which is "
            f"never done; save the state dict alone with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # readers raise nearly anything on damaged files
        raise ModelError(f"{path}: expected a whole checkpoint, got a damaged file ({_first_sentence(error)})") from error


def _refuse_compressed(path: Path) -> None:
    """Archives of torch.save are not compressed; one that is could fill the memory from a small file."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        expanded = sum(entry.file_size for entry in archive.infolist())
    if expanded > path.stat().st_size:
        raise ModelError(
            f"{path}: expected an archive as torch.save writes it, got one of {path.stat().st_size} bytes that expands to "
            f"{expanded}"
        )


def _first_sentence(error: BaseException) -> str:
    lines = ("" if "weights_only" in str(error) else str(error)).splitlines() or [""]  # not an advice to read unsafely
    return f"{type(error).__name__}: {lines[0].split('. ')[0][:200]}".removesuffix(": ")


def _unwrapped(content: Any, path: Path, part: str | None) -> tuple[str, dict[str, Any]]:
    """The dictionary that holds the tensors and the keys that led to it."""
    trail: list[str] = []
    parts: list[str] = []
    while len(trail) <= DEPTH:
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise ModelError(f"{path}: expected a dictionary of tensors by name, got {type(content).__name__}")
        parts += [key for key, value in content.items() if isinstance(value, dict)]
        inner = next((key for key in (*WRAPPERS, *PARTS) if isinstance(content.get(key), dict)), None)
        if part is not None and part not in trail and part in content:
            inner = part
        if inner is None:  # a figure saved beside the weights may be a tensor too, so wrappers go first
            if part is not None and part not in trail:
                raise ModelError(f"{path}: expected a part {part!r}, got {', '.join(parts) or 'one network'}")
            if not any(isinstance(value, Tensor) for value in content.values()):
                raise ModelError(
                    f"{path}: expected weights, possibly under one of {', '.join(WRAPPERS)}, got the keys {list(content)[:8]}"
                )
            return ".".join(trail), content
        trail.append(inner)
        content = content[inner]
    raise ModelError(f"{path}: expected weights within {DEPTH} dictionaries, got more: {'.'.join(trail)}")


def _dense(key: str, value: Any, path: Path) -> Tensor:
    dense = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    if not dense or not value.is_floating_point():
        got = f"{value.layout} {value.dtype} ({value.device})" if isinstance(value, Tensor) else type(value).__name__
        raise ModelError(f"{path}: expected a dense tensor of real floating-point numbers under {key!r}, got {got}")
    return value.detach()


def _single(key: str, value: Tensor, path: Path) -> Tensor:
    value = value.float()
    if not bool(torch.isfinite(value).all()):
        raise ModelError(f"{path}: expected finite float32 weights, got NaN or infinite ones in {key!r}")
    return value
