"""PyTorch networks as ONNX graphs, in three precisions (networks.md section 10)."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor, nn
from torch.export import Dim

from meetmid.errors import ModelError

OPSET = 18
EXTERNAL = 1_500_000_000
"""Bytes of weights from which they lie in a file of their own (protobuf ends at 2 GB)."""

DATA = "model.onnx.data"

PERCENTILE = 99.99
"""Of each layer's values, up to which 8 bits reach: a rare large one would make the steps of all the others coarse."""


def export_graph(network: nn.Module, example: Tensor, path: Path, outputs: Sequence[str], *, any_size: bool) -> None:
    """Write the graph of an evaluated network in float32, with dynamic batch and, with ``any_size``, height and width.

    ``example`` (N, C, H, W) with N >= 2: a batch of one would be taken for a constant. Raises ModelError.
    """
    dynamic = {0: Dim.DYNAMIC, **({2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if any_size else {})}
    try:
        with _quiet():
            program = torch.onnx.export(
                network, (example,), dynamo=True, dynamic_shapes=(dynamic,), input_names=["input"],
                output_names=list(outputs), opset_version=OPSET, verbose=False,
            )
        assert program is not None
        weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
        _drop_notes(program.model)
        program.save(str(path), external_data=weights > EXTERNAL)
        onnx.checker.check_model(str(path))
    except (RuntimeError, ValueError, TypeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the graph of {type(network).__name__} could not be exported: {str(error)[:500]}") from error


def _drop_notes(model: Any) -> None:
    """The exporter notes on every node where in which file it was traced, which tells of the exporting machine."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None


def to_half(source: Path, target: Path) -> None:
    """float16 inside, float32 inputs and outputs. Raises ModelError."""
    with _failing("fp16"), _quiet():
        model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
        _drop_repeated(model)
        onnx.save(model, str(target), save_as_external_data=model.ByteSize() > EXTERNAL, location=DATA)


def _drop_repeated(model: onnx.ModelProto) -> None:
    """The converter casts an input once per use; of a node that uses it twice, one cast is enough and two are invalid."""
    seen: set[str] = set()
    kept = []
    for node in model.graph.node:
        if not seen & set(node.output):
            seen |= set(node.output)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


class _Pictures(CalibrationDataReader):
    """One at a time: what is calibrated on them would not fit the memory together."""

    def __init__(self, planes: NDArray[np.float32]) -> None:
        self._planes = planes
        self.set_range(0, len(planes))

    def __len__(self) -> int:
        return len(self._planes)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        k = next(self._left, None)
        return None if k is None else {"input": self._planes[k : k + 1]}


def to_int8(source: Path, target: Path, planes: NDArray[np.float32]) -> None:
    """Static 8-bit quantisation of activations and weights (per channel), calibrated on ``planes`` (N, C, H, W).

    Weights take 7 bits, so that CPUs without 8-bit products of their own (VNNI) do not overflow. Raises ModelError.
    """
    prepared = source.with_name("prepared.onnx")
    with _failing("int8"), _quiet(), redirect_stdout(io.StringIO()):
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(target), _Pictures(planes), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )
    prepared.unlink()


@contextmanager
def _failing(precision: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # converters raise nearly anything
        told = str(error)[:300]
        raise ModelError(f"the graph could not be converted to {precision} ({told}); export fp32 instead") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell their inner life through warnings and logs; errors still arrive as exceptions."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
