"""Proof that a graph computes what its network computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from meetmid.errors import ModelError
from meetmid.runtime.sessions import make_session

Precision = Literal["fp32", "fp16", "int8"]
MAX_ERROR = 1e-4
"""Largest difference of a float32 graph, relative to the largest value."""

MIN_COSINE = 0.999
"""Smallest cosine of a float16 graph's output with the network's."""


@dataclass(frozen=True)
class Parity:
    """Over all outputs and inputs: ``error``, the largest difference relative to the output's largest value, and
    ``cosine``, the smallest between one picture's output and the network's (of the first output)."""

    error: float
    cosine: float

    def check(self, precision: Precision, what: str) -> None:
        """Raise ModelError where a graph of this precision does not agree; int8 figures are reported, not judged."""
        if precision == "fp32" and not self.error <= MAX_ERROR:
            raise ModelError(
                f"{what}: the graph differs from PyTorch by {self.error:.2e} of the largest value, at most {MAX_ERROR:.0e} is "
                f"accepted; nothing was written"
            )
        if precision == "fp16" and not self.cosine >= MIN_COSINE:
            raise ModelError(
                f"{what}: the fp16 graph's cosine with PyTorch is {self.cosine:.5f}, at least {MIN_COSINE} is expected; export "
                f"fp32 instead. Nothing was written"
            )


def measure(network: nn.Module, path: Path, inputs: list[NDArray[np.float32]]) -> Parity:
    """Run the network and the graph on the CPU on every batch of ``inputs`` (N, C, H, W) and compare all outputs."""
    session = make_session(path, path.name, device="cpu")
    errors, cosines = [0.0], [1.0]
    for batch in inputs:
        with torch.no_grad():
            wanted = network(torch.from_numpy(batch))
        wanted = [value.numpy() for value in (wanted if isinstance(wanted, tuple) else (wanted,))]
        try:
            got: list[Any] = session.run(None, {"input": batch})
        except Exception as error:
            told = str(error)[:300]
            raise ModelError(f"{path.name}: onnxruntime cannot run the graph ({told}); nothing was written") from error
        for value, reference in zip(got, wanted, strict=True):
            if value.shape != reference.shape:
                raise ModelError(f"{path.name}: expected outputs {reference.shape}, got {value.shape}; nothing was written")
            difference = float(np.abs(value - reference).max())
            errors.append(difference / max(float(np.abs(reference).max()), 1e-12))
        a, b = (value.reshape(len(batch), -1).astype(np.float64) for value in (got[0], wanted[0]))
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines.append(float(((a * b).sum(axis=1) / np.maximum(norms, 1e-12)).min()))
    finite = np.isfinite(errors).all() and np.isfinite(cosines).all()
    return Parity(max(errors) if finite else float("inf"), min(cosines) if finite else -1.0)


def natural_pictures(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    """(N, H, W, 3) in [0, 1]: random pictures with the 1 / f amplitude spectrum of natural ones, for parity without data.

    Source: D. J. Field, "Relations between the statistics of natural images and the response properties of cortical
    cells", JOSA A 4(12), 1987.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0 / max(size)
    spectrum = np.fft.rfft2(rng.normal(size=(count, 3, height, width))) / frequency
    pictures = np.fft.irfft2(spectrum, s=size)
    low, high = (pictures.min(axis=(2, 3), keepdims=True), pictures.max(axis=(2, 3), keepdims=True))
    scaled = (pictures - low) / np.maximum(high - low, 1e-12)
    return np.ascontiguousarray(scaled.transpose(0, 2, 3, 1), np.float32)
