"""Checkpoints, logs and the export of a trained network with its parity check."""

from __future__ import annotations

import hashlib
import logging
import math
import sys
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

LICENSE = "MIT for the file; trained on research pictures (UTKFace: non-commercial research; LFW: public research set)"


class Stateful(Protocol):
    """An optimiser, or several kept together."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore it."""


def logger(folder: Path) -> logging.Logger:
    """Log to the console and to ``folder/train.log``."""
    folder.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"meetmid.recipe.{folder.name}")
    log.setLevel(logging.INFO)
    for handler in (logging.StreamHandler(sys.stdout), logging.FileHandler(folder / "train.log")):
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
    return log


def cosine_rate(step: int, steps: int, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then half a cosine down to 1 % of ``peak``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def save_checkpoint(path: Path, step: int, model: nn.Module, optimiser: Stateful) -> None:
    """Written aside, renamed last."""
    aside = path.with_suffix(".tmp")
    torch.save({"step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict()}, aside)
    aside.replace(path)


def load_checkpoint(path: Path, model: nn.Module, optimiser: Stateful) -> int:
    """Restore in place and return the step to go on from; 0 without a checkpoint."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


Restored = TypeVar("Restored", bound=nn.Module)


def restored(model: Restored, path: Path) -> Restored:
    """The weights that a published network learned, in place."""
    values = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in onnx.load(str(path)).graph.initializer}
    learned = {name: values[name].reshape(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    model.load_state_dict(model.state_dict() | learned)
    return model


def export(
    model: nn.Module, example: torch.Tensor, path: Path, dynamic: dict[int, str], outputs: dict[int, str] | None = None,
    *, half: bool = False,
) -> dict[str, Any]:
    """Write ``path`` in fp32 with the given dynamic axes (``outputs``: the output's, where they differ) and check it against
    PyTorch at batches 1 and 3. With ``half`` the weights are rounded to fp16 and stored so; it computes in fp32 all the same.

    Returns the facts for the card: sha256, size, versions and the largest relative error; raises if that exceeds 1e-4 (5e-3
    with ``half``).
    """
    model = model.eval().float()
    torch.onnx.export(
        model, (example,), str(path), input_names=["input"], output_names=["output"], opset_version=17,
        dynamic_axes={"input": dynamic, "output": outputs or dynamic}, dynamo=False,
    )
    limit = 1e-4
    if half:
        store_half(path)
        limit = 5e-3
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in (1, 3):
        x = example[:1].repeat(batch, 1, 1, 1) + torch.randn(batch, *example.shape[1:]) * 0.1 * example.abs().max()
        with torch.no_grad():
            expected = model(x).numpy()
        got = session.run(None, {"input": x.numpy()})[0]
        worst = max(worst, float(np.abs(got - expected).max() / np.abs(expected).max()))
    if worst > limit:
        raise RuntimeError(f"{path.name}: onnxruntime differs from PyTorch by {worst:.2e} of the largest value (limit {limit})")
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "exporter": f"torch {torch.__version__} (TorchScript, opset 17)",
        "parity": worst,
    }


def store_half(path: Path) -> None:
    """Keep every fp32 weight of a graph as fp16 and a cast, which onnxruntime carries out once, when it opens the file."""
    model = onnx.load(str(path))
    casts = []
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name = f"{tensor.name}_half"
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
        model.graph.initializer[index].CopyFrom(onnx.numpy_helper.from_array(values, name))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(path))
