"""The probe network's last layer, fitted to the gallery network that it will be compared with.

Training leads far faces to the goals of the teacher, in batches of 32. Here the template of a far face, t, becomes t + A t + b,
with the cross-entropy of the gallery network's template of its own sharp face among those of 512 (A. van den Oord et al.,
"Representation learning with contrastive predictive coding", 2018, eq. 4) and a penalty on A. A few templates of every face are
taken before, so the fit takes seconds. The map is folded into the layer and the bias before it. The faces are the training
people of LFW alone, as the reference means': with UTKFace's chips among them nothing was gained.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from meetmid.networks.slimface import SlimFace

SEED, STEPS, BATCH, RATES, PENALTY, VIEWS = 13, 400, 512, (2e-3, 0.05), 0.1, 4
"""Of the fit; rates are those of A and b, views those of every face."""


def runner(path: Path, threads: int) -> Callable[[Tensor], NDArray[np.float32]]:
    """Templates (N, length) of normalised pictures by an exported network, faster than PyTorch takes them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pictures: np.asarray(session.run(None, {"input": pictures.contiguous().numpy()})[0], np.float32)


def fitted(
    far: NDArray[np.float32], near: NDArray[np.float32], *, steps: int, sharpness: float, alike: float, batch: int = BATCH
) -> tuple[Tensor, Tensor]:
    """A (length, length) and b (length,) for far templates (views, N, length) of the N faces whose sharp ones have templates
    ``near`` (N, length); faces whose sharp templates are more alike than ``alike`` are no contrast."""
    rng = np.random.default_rng(SEED)
    seen, goals = torch.from_numpy(far), functional.normalize(torch.from_numpy(near), dim=1)
    length = goals.shape[1]
    turn, shift = torch.zeros(length, length, requires_grad=True), torch.zeros(length, requires_grad=True)
    optimiser = torch.optim.Adam([{"params": [turn]}, {"params": [shift]}])
    size = min(batch, len(goals))
    for step in range(steps):
        for group, rate in zip(optimiser.param_groups, RATES, strict=True):
            group["lr"] = rate * (1 - step / steps)
        index = torch.from_numpy(rng.choice(len(goals), size, replace=False))
        x, goal = seen[torch.from_numpy(rng.integers(0, len(seen), size)), index], goals[index]
        logits = sharpness * functional.normalize(x + x @ turn.T + shift, dim=1) @ goal.T
        near_ones = (goal @ goal.T > alike).fill_diagonal_(False)
        entropy = functional.cross_entropy(logits.masked_fill(near_ones, float("-inf")), torch.arange(size))
        optimiser.zero_grad()
        (entropy + PENALTY * (turn**2).sum()).backward()
        optimiser.step()
    return turn.detach(), shift.detach()


@torch.no_grad()
def fold(model: SlimFace, turn: Tensor, shift: Tensor) -> SlimFace:
    """Templates t of the model become t + A t + b, in place."""
    pooled, last = model.head[2], model.head[3]
    assert isinstance(pooled, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    assert pooled.bias is not None
    weight = last.weight.flatten(1)
    moved = (weight + turn @ weight).double()
    pooled.bias += (torch.linalg.pinv(moved) @ shift.double()).float()
    last.weight.copy_(moved.float().view_as(last.weight))
    return model
