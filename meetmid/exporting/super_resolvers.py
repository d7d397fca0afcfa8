"""Super-resolvers: EDSR in its conventions, SRGAN's generator, RIM's FHN (networks.md sections 2, 8, 9 and 11)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from meetmid.exporting.adapters import FixedDown, FromLowResolution, UnitOutput
from meetmid.exporting.checkpoints import State
from meetmid.exporting.family import UNIT, Family, Options, count, free, inside, keys, shape
from meetmid.networks import edsr, rim
from meetmid.runtime.cards import Contract

BYTES = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def _enlarging(**values: Any) -> Callable[[Options], Contract]:
    return lambda options: Contract(size=(0, 0), alignment="", scale=options.get("scale", 4), **values)


def _read_edsr(
    state: State, head: str = "head.0", block: str = r"body\.(\d+)\.body\.0", tail: str = r"tail\.0\.\d+"
) -> Options:
    """The scale follows from the upsampling convolutions; how residuals are scaled does not, so it goes by the width.

    The range of the input, 255 as published, shows in the mean shift alone.
    """
    width = shape(state, head)[0]
    steps = [value.shape[0] for key, value in state.items() if re.fullmatch(rf"{tail}\.weight", key)]
    scale = 3 if steps == [9 * width] else 2 ** len(steps)
    return {"scale": scale, "blocks": count(state, block), "width": width, "residual_scale": 0.1 if width >= 256 else 1.0}


def _read_pytorch(state: State) -> Options:
    shifted = float(state["sub_mean.bias"].abs().max()) if "sub_mean.bias" in state else 0.0
    return {**_read_edsr(state), "value_range": 1.0 if 0.0 < shifted <= 1.0 else 255.0}


def _edsr(*, value_range: float = 255.0, **options: Any) -> edsr.EDSR:
    """The network; the range only tells the contract, as the mean shift is loaded."""
    if value_range not in (1, 255):
        raise ValueError(f"value_range must be 1 or 255, got {value_range!r}")
    return edsr.EDSR(**options)


def _edsr_contract(options: Options) -> Contract:
    spread = 255.0 / float(options.get("value_range", 255.0))
    return Contract(size=(0, 0), alignment="", scale=options.get("scale", 4), mean=BYTES["mean"], std=(spread,) * 3)


def _shift(mean: torch.Tensor) -> State:
    """The two frozen convolutions of EDSR's mean shift, for a mean in 0..255."""
    eye = torch.eye(3).view(3, 3, 1, 1)
    return {"sub_mean.weight": eye, "sub_mean.bias": -mean, "add_mean.weight": eye, "add_mean.bias": mean}


def _with_shift(state: State) -> State:
    """A file without mean shift means none: its two convolutions become identities."""
    none = _shift(torch.zeros(3))
    return state if none.keys() & state.keys() else none | state


def _read_basicsr(state: State) -> Options:
    return _read_edsr(state, "conv_first", r"body\.(\d+)\.conv1", r"upsample\.\d+")


def _from_basicsr(state: State) -> State:
    blocks = count(state, r"body\.(\d+)\.conv1")
    names = (
        (r"conv_first\.", "head.0."), (r"body\.(\d+)\.conv1\.", r"body.\1.body.0."),
        (r"body\.(\d+)\.conv2\.", r"body.\1.body.2."), (r"conv_after_body\.", f"body.{blocks}."),
        (r"upsample\.", "tail.0."), (r"conv_last\.", "tail.1."),
    )

    def renamed(key: str) -> str:
        return next((re.sub(f"^{old}", new, key) for old, new in names if re.match(old, key)), key)

    mean = state.get("mean", torch.tensor(edsr.RGB_MEAN)).reshape(3)
    return _shift(255.0 * mean) | {renamed(key): value for key, value in state.items() if key != "mean"}


def _read_tanh(state: State) -> Options:
    return {
        "scale": 2 ** count(state, r"upsampler\.(\d+)\.conv"), "blocks": count(state, r"res_blocks\.(\d+)\.residual\.0"),
        "width": shape(state, "conv1")[0],
    }


def _is_gated(state: State) -> bool:
    return any(re.match(r"res_blocks\.0\.(seblock|pre)\.", key) for key in state)


def _read_srgan(state: State) -> Options:
    return {"blocks": count(state, r"body\.(\d+)\.body\.0"), "width": shape(state, "head.0")[0]}


def _read_fhn(state: State) -> Options:
    prior = "_prior_estimation_network"
    return {
        "landmarks": shape(state, f"{prior}.fc_landmark")[0], "parts": shape(state, f"{prior}.fc")[0],
        "separate_priors": f"{prior}.landmark_trunk.conv.weight" in state, "passes": 3 if _is_v1(state) else 1,
        "width": shape(state, "_coarse_sr_network.conv_input")[0],
    }


def _is_v1(state: State) -> bool:
    """Whether none of the layers is there that v1 does without."""
    return not any(re.match(r"_fine_sr_(encoder|decoder)\.(bn_out|relu_out)\.", key) for key in state)


def _fhn_inside(state: State) -> State:
    try:
        return inside(rim.from_v1(state) if _is_v1(state) else state)
    except KeyError:  # a layer is missing that v1 uses twice
        return inside(state)


def _fhn_contract(options: Options) -> Contract:
    side = options.get("side", 28)
    return Contract(size=(side, side), alignment="", scale=8)


_TANH = keys("res_blocks.0.residual.0", "upsampler.0.conv")

FAMILIES = (
    Family(
        "edsr", "hallucinator", keys("head.0", "body.0.body.0", "tail.1"), _read_pytorch, _edsr, _edsr_contract, _with_shift,
        example={"scale": 4}, any_size=free,
    ),
    Family(
        "edsr-basicsr", "hallucinator", keys("conv_first", "conv_after_body"), _read_basicsr, edsr.EDSR, _enlarging(**BYTES),
        _from_basicsr, example={"scale": 4}, any_size=free,
    ),
    Family(
        "edsr-tanh", "hallucinator", _TANH, _read_tanh, edsr.TanhEDSR, _enlarging(), told=lambda state: not _is_gated(state),
        any_size=free,
    ),
    Family("edsr-gated", "hallucinator", _TANH, _read_tanh, FixedDown, _enlarging(), inside, told=_is_gated, any_size=free),
    Family(
        "srgan", "hallucinator", keys("head.0", "body.0.body.2", "upsample.0", "tail"), _read_srgan, UnitOutput,
        _enlarging(**UNIT), inside, any_size=free,
    ),
    Family(
        "rim-fhn", "hallucinator",
        keys("_coarse_sr_network.conv_input", "_prior_estimation_network.fc_landmark", "_prior_estimation_network.fc"),
        _read_fhn, FromLowResolution, _fhn_contract, _fhn_inside, choices=("side",),
        outputs=lambda options: ("sr", "coarse", "landmarks", "parsing"),
    ),
)
