"""Matchers: ArcFace's and face.evoLVe's residual networks, MobileFaceNets, LightCNNs, RIM's students (networks.md sections 3,
8.3 and 9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from typing import Literal

from meetmid.exporting.adapters import hrn
from meetmid.exporting.checkpoints import State
from meetmid.exporting.family import UNIT, Family, Options, count, keys, shape
from meetmid.networks import evolve, iresnet, lightcnn, midface, mobilefacenet, rim_recognition
from meetmid.runtime.cards import Contract

STAGES = range(1, 5)


def _runs(widths: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Equal neighbours counted: how many of each, and their values."""
    found = [(value, len(list(group))) for value, group in groupby(widths)]
    return tuple(number for _, number in found), tuple(value for value, _ in found)


def _read_stages(state: State, prefix: str = "") -> Options:
    """The four stages ``layer1`` .. ``layer4`` of IResNets and ResNets, and the length of the template."""
    return {
        "blocks": tuple(count(state, rf"{re.escape(prefix)}layer{stage}\.(\d+)\.conv1") for stage in STAGES),
        "widths": tuple(shape(state, f"{prefix}layer{stage}.0.conv1")[0] for stage in STAGES),
        "length": shape(state, f"{prefix}fc")[0],
    }


def _read_evolve(state: State) -> Options:
    units = count(state, r"body\.(\d+)\.res_layer\.1")
    per_stage, widths = _runs([shape(state, f"body.{k}.res_layer.1")[0] for k in range(units)])
    length, inputs = shape(state, "output_layer.3")
    return {
        "units": per_stage, "widths": widths, "size": {49: 112, 196: 224}[inputs // widths[-1]],
        "squeeze_excite": "body.0.res_layer.5.fc1.weight" in state, "length": length,
    }


def _read_mobilefacenet(state: State) -> Options:
    blocks = tuple(count(state, rf"layers\.{stage}\.layers\.(\d+)\.layers\.0\.layers\.0") for stage in (3, 5, 7))
    return {
        "length": shape(state, "features.layers.2")[0], "blocks": blocks, "scale": shape(state, "layers.0.layers.0")[0] // 64
    }


def _read_classic(state: State) -> Options:
    return {"width": 16 * shape(state, "linear7.conv")[-1]}


def _halves(state: State, *names: str) -> tuple[int, ...]:
    return tuple(shape(state, name)[0] // 2 for name in names)


def _read_lightcnn9(state: State) -> Options:
    names = ("features.0.filter", "features.2.conv.filter", "features.4.conv.filter", "features.6.conv.filter")
    return {"widths": _halves(state, *names)}


def _read_lightcnn29(state: State) -> Options:
    names = ("conv1.filter", "group1.conv.filter", "group2.conv.filter", "group3.conv.filter")
    return {"version": 1 if "fc.filter.weight" in state else 2, "widths": _halves(state, *names)}


def _read_lightcnn_v4(state: State) -> Options:
    return {"widths": _halves(state, *(f"conv{stage}.filter" for stage in STAGES))}


def _read_midface(state: State) -> Options:
    blocks = [value.shape[0] for key, value in state.items() if re.fullmatch(r"features\.\d+\.residual\.4\.weight", key)]
    depths, widths = _runs(blocks)
    return {"length": shape(state, "project")[0], "widths": widths, "depths": depths}


def _without_head(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith("fc2.")}


def _arcface(options: Options) -> Contract:
    side = options.get("size", 112)
    return Contract(size=(side, side))


def _classic(options: Options) -> Contract:
    width = options.get("width", 112)
    return Contract(size=(112, width), alignment="arcface-112" if width == 112 else "arcface-96x112")


def _lightcnn(channels: Literal["gray", "bgr"]) -> Callable[[Options], Contract]:
    return lambda options: Contract(
        channels=channels, mean=UNIT["mean"], std=UNIT["std"], size=(128, 128), alignment="lightcnn-128"
    )


FAMILIES = (
    Family(
        "iresnet", "matcher", keys("layer1.0.prelu", "fc", "features"), _read_stages, iresnet.IResNet, _arcface,
        told=lambda state: shape(state, "conv1")[-1] == 3,
    ),
    Family(
        "evolve", "matcher", keys("input_layer.0", "body.0.res_layer.1", "output_layer.3"), _read_evolve, evolve.EvolveIR,
        _arcface,
    ),
    Family(
        "mobilefacenet", "matcher", keys("conv_sep.layers.0", "features.layers.0.layers.0"), _read_mobilefacenet,
        mobilefacenet.MobileFaceNet, _arcface,
    ),
    Family(
        "mobilefacenet-classic", "matcher", keys("dw_conv1.conv", "blocks.0.conv.0", "linear7.conv"), _read_classic,
        mobilefacenet.ClassicMobileFaceNet, _classic,
    ),
    Family(
        "lightcnn-9", "matcher", keys("features.0.filter", "fc1.filter"), _read_lightcnn9, lightcnn.LightCNN9,
        _lightcnn("gray"), _without_head,
    ),
    Family(
        "lightcnn-29", "matcher", keys("group4.conv.filter"), _read_lightcnn29, lightcnn.LightCNN29, _lightcnn("gray"),
        _without_head,
    ),
    Family(
        "lightcnn-v4", "matcher", keys("conv5.filter", "conv1.filter", "fc"), _read_lightcnn_v4, lightcnn.LightCNNV4,
        _lightcnn("bgr"), _without_head,
    ),
    Family("midface", "matcher", keys("features.0", "pool.1", "project"), _read_midface, midface.MidFace, _arcface),
    Family("rim-resnet34", "matcher", keys("bn_o1", "fc", "bn_o2"), _read_stages, rim_recognition.ResNet34, _arcface),
    Family(
        "rim-hrn", "matcher", keys("student.bn_o1", "assistant.bn_o1"), lambda state: _read_stages(state, "student."), hrn,
        _arcface, choices=("sum_at",),
    ),
)
