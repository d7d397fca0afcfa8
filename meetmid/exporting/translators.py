"""Generators that translate thermal or near-infrared faces to visible ones (networks.md sections 5 to 7, 9 and 11)."""

from __future__ import annotations

import re
from collections.abc import Callable

from meetmid.exporting.adapters import AlignedPCFH
from meetmid.exporting.checkpoints import State
from meetmid.exporting.family import Family, Options, count, free, inside, keys, shape
from meetmid.networks import aggan, anyres, baselines, cyclegan
from meetmid.runtime.cards import Contract


def _translating(side: int) -> Callable[[Options], Contract]:
    """A contract at the size that the network was made for, ``side`` where it takes any."""

    def contract(options: Options) -> Contract:
        size = options.get("full_size") or options.get("size") or 2 ** options.get("depth", 0)
        size = size if size > 1 else side
        return Contract(channels="gray" if options.get("channels") == 1 else "rgb", size=(size, size), alignment="")

    return contract


def _read_aggan(state: State) -> Options:
    """gamma and beta from pooled features ("light") or from all of them, which fixes the size."""
    width, channels = shape(state, "DownBlock.1")[:2]
    inner, columns = shape(state, "FC.0")
    return {
        "attention": "cam" if "gap_fc.weight" in state else "se",
        "blocks": sum(key.endswith("norm1.rho") for key in state),
        "full_size": None if columns == inner else 4 * round((columns / inner) ** 0.5), "channels": channels, "width": width,
    }


def _aggan_outputs(options: Options) -> tuple[str, ...]:
    return ("image", "heat", "logits") if options.get("attention", "cam") == "cam" else ("image", "heat")


def _read_resnet(state: State, prefix: str = "") -> Options:
    width, channels = shape(state, f"{prefix}model.1")[:2]
    blocks = count(state, rf"{re.escape(prefix)}model\.(\d+)\.conv_block\.1")
    return {"blocks": blocks, "channels": channels, "width": width}


def _from_resnet(state: State) -> State:
    """Old files keep statistics of instance norms, which are never used; with dropout the second convolution is number 6."""
    kept = {key: value for key, value in state.items() if not key.endswith(("running_mean", "running_var"))}
    return {re.sub(r"conv_block\.6\.", "conv_block.5.", key): value for key, value in kept.items()}


def _read_pcfh(state: State) -> Options:
    return {"fuse": "concat" if "merge.weight" in state else "max", **_read_resnet(state, "global_path.")}


def _read_unet(state: State) -> Options:
    """Every level has one convolution and one deconvolution."""
    width, channels = shape(state, "model.model.0")[:2]
    return {"depth": sum(value.ndim == 4 for value in state.values()) // 2, "channels": channels, "width": width}


def _read_anyres(state: State) -> Options:
    levels = range(count(state, r"encoder\.(\d+)\.0"))
    return {
        "channels": shape(state, "encoder.0.0")[1], "widths": tuple(shape(state, f"encoder.{level}.0")[0] for level in levels)
    }


FAMILIES = (
    Family(
        "aggan", "hallucinator", keys("DownBlock.1", "FC.0", "UpBlock2.11") | {"UpBlock1_1.norm1.rho"}, _read_aggan,
        aggan.AGGAN, _translating(256), outputs=_aggan_outputs, any_size=lambda options: options.get("full_size") is None,
    ),
    Family(
        "cyclegan", "hallucinator", keys("model.1", "model.10.conv_block.1"), _read_resnet, cyclegan.ResNetGenerator,
        _translating(256), _from_resnet, any_size=free,
    ),
    Family(
        "pix2pix-unet", "hallucinator", keys("model.model.0", "model.model.1.model.1"), _read_unet, baselines.Pix2PixUNet,
        _translating(256),
    ),
    Family(
        "pcfh", "hallucinator", keys("global_path.model.1", "local_paths.0.model.1"), _read_pcfh, AlignedPCFH,
        _translating(256), inside, choices=("size", "template"),
    ),
    Family(
        "anyres", "hallucinator", keys("encoder.0.0", "decoder.0.gate.fc1", "image"), _read_anyres, anyres.AnyRes,
        _translating(128), any_size=free,
    ),
)
