"""The graph that devices run, on the CPU, against the CPU's own way."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meetmid
from meetmid.errors import ConfigError, DeviceError, InputError
from meetmid.runtime.sessions import Device, _providers, nvidia_gpu_present
from meetmid.scores.encoding import attribute, model, node, value

RULES = [("S_add", "S_max"), ("S_max", "S_max"), ("T_add", "S_max"), ("S_add", "S_add"), ("S_max", "T_add")]


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 70), st.sampled_from(["all", "same_scale"]),
       st.sampled_from(["gallery_first", "probe_first"]))
def test_scores_and_winners_are_those_of_the_cpu(seed, portraits, hypotheses, pairing, order):
    rng = np.random.default_rng(seed)
    p, g = (rng.standard_normal((e, 2, n, 16), np.float32) for e, n in ((3, 5), (portraits, hypotheses)))
    weights = rng.integers(0, 2, (portraits, 2, hypotheses))  # entries of unequal length, some of none
    options = {"gallery_weights": weights, "pairing": pairing, "order": order, "add": "mean"}
    for one, other in zip(meetmid.fuse(p, g, rules=RULES, device="cpu", **options), meetmid.fuse(p, g, rules=RULES, **options),
                          strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    own, its = (meetmid.fuse(p, g, detail=True, device=device, **options) for device in ("cpu", None))
    assert np.mean(own.winners == its.winners) > 0.99  # all but ties to rounding
    np.testing.assert_allclose(own.scores, its.scores, rtol=1e-5, atol=1e-6)


def test_many_blocks(monkeypatch):
    monkeypatch.setattr("meetmid.scores.reduction.ROWS", 64)
    rng = np.random.default_rng(0)
    p, g = (rng.standard_normal((3, 1, n, 32), np.float32) for n in (130, 300))
    np.testing.assert_allclose(meetmid.fuse(p, g, device="cpu"), meetmid.fuse(p, g), rtol=1e-5)


def test_broken_rows_are_named():
    p, g = np.ones((2, 1, 3, 4), np.float32), np.ones((2, 1, 3, 4), np.float32)
    g[1, 0, 2, 0] = np.nan
    with pytest.raises(InputError, match=r"gallery_templates\[1, 0, 2\]"):
        meetmid.fuse(p, g, device="cpu")


def test_what_cannot_be_is_refused():
    p = np.ones((1, 1, 1, 4), np.float32)
    with pytest.raises(ConfigError, match="precision 'auto' or 'float32'"):
        meetmid.fuse(p, p, device="cpu", precision="int8")
    with pytest.raises(DeviceError, match="device expects"):
        meetmid.fuse(p, p, device="abacus")
    if not nvidia_gpu_present():
        with pytest.raises(DeviceError, match="no NVIDIA GPU"):
            meetmid.fuse(p, p, device="cuda")


def test_cuda_keeps_all_bits_of_float32(monkeypatch):
    class Runtime:
        @staticmethod
        def get_available_providers():
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr("meetmid.runtime.sessions.nvidia_gpu_present", lambda: True)
    (name, options), cpu = _providers(Runtime, Device("cuda", 1), exact=True)
    assert (name, options, cpu) == ("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"}, "CPUExecutionProvider")
    assert _providers(Runtime, Device("cuda")) == ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_the_models_are_valid_onnx():
    nodes = [node("ReduceMax", ("a",), ("b",), attribute("axes", [1]), attribute("keepdims", 0))]
    made = onnx.load_from_string(model(nodes, [value("a", 1, 3)], [value("b", 1, 2)]))
    onnx.checker.check_model(made, full_check=True)
    found = {a.name: onnx.helper.get_attribute_value(a) for a in made.graph.node[0].attribute}
    assert found == {"axes": [1], "keepdims": 0}
