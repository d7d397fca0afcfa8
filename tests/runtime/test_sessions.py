"""Sessions: devices, fixed batches and errors of the graph. The common cases are in test_models.py."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from meetmid.errors import DeviceError, ModelError
from meetmid.runtime import sessions
from meetmid.runtime.cards import ModelCard, file_sha256
from meetmid.runtime.sessions import BATCH, Device, Network, check_contract, open_session

PICTURES = np.random.default_rng(0).random((BATCH + 3, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("text", ["cuda:", "cuda:-1", "cuda:²", "cuda:1:2", "auto:1", "cpu:0", "CUDA", " cpu"])
def test_half_devices_are_refused(text: str) -> None:
    with pytest.raises(DeviceError, match="device expects auto, cpu, cuda"):
        Device.parse(text)


def test_threads_do_not_wait_in_a_loop_between_runs(tiny: ModelCard) -> None:
    options = open_session(tiny, device="cpu").get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize("kind", ["cuda", "tensorrt", "openvino", "coreml"])
def test_every_device_can_have_a_number(kind: str) -> None:
    assert Device.parse(kind) == Device(kind, 0)
    assert Device.parse(f"{kind}:12") == Device(kind, 12)


def test_the_number_reaches_the_provider(tiny: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    class Session:
        def __init__(self, path: str, options: object, providers: list) -> None:
            seen["providers"] = providers

        def disable_fallback(self) -> None:
            seen["disabled"] = True

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    class Runtime:
        InferenceSession = Session

        SessionOptions = onnxruntime.SessionOptions

        @staticmethod
        def get_available_providers() -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        @staticmethod
        def preload_dlls() -> None:
            seen["preloaded"] = True

    monkeypatch.setattr(sessions, "import_onnxruntime", lambda: Runtime)
    monkeypatch.setattr(sessions, "nvidia_gpu_present", lambda: True)
    open_session(tiny, device="cuda:2")
    assert seen["providers"] == [("CUDAExecutionProvider", {"device_id": "2"}), "CPUExecutionProvider"]
    assert seen["preloaded"]
    assert seen["disabled"]
    open_session(tiny, device="auto")
    assert seen["providers"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    open_session(tiny, device="cpu")
    assert seen["providers"] == ["CPUExecutionProvider"]


@pytest.mark.parametrize(("answer", "present"), [((0, 2, 13000), True), ((0, 0, 13000), False), ((100, 0, 0), False)])
def test_a_gpu_is_what_the_driver_reports(answer: tuple, present: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ask_driver", lambda: answer)
    assert sessions.nvidia_gpu_present() is present


def fixed(card: ModelCard, folder: Path, batch: int) -> ModelCard:
    """The same model with a batch that is written into its graph."""
    model = onnx.load(card.path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return ModelCard(**{**vars(card), "path": folder / "model.onnx", "sha256": file_sha256(folder / "model.onnx")})


@pytest.mark.parametrize("batch", [1, BATCH])
def test_graphs_of_a_fixed_batch_work(tiny: ModelCard, tmp_path: Path, batch: int) -> None:
    card = fixed(tiny, tmp_path / "fixed", batch)
    found = Network(card, device="cpu").run(PICTURES)
    np.testing.assert_allclose(found, Network(tiny, device="cpu").run(PICTURES), atol=1e-5)
    np.testing.assert_array_equal(found[3:5], Network(card, device="cpu").run(PICTURES[3:5]))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_graph_that_refuses_says_so_by_name(tiny: ModelCard, tmp_path: Path, batch: int) -> None:
    card = fixed(tiny, tmp_path / "fixed", batch)
    wrong = PICTURES[:, :20] if batch == 1 else PICTURES
    with pytest.raises(ModelError, match="model 'tiny' refused an input of shape"):
        Network(card, device="cpu").run(wrong)


def test_named_tensors_are_used(tiny: ModelCard) -> None:
    def named(**names: str) -> ModelCard:
        contract = type(tiny.contract)(**{**vars(tiny.contract), **names})
        return ModelCard(**{**vars(tiny), "contract": contract})

    expected = Network(tiny, device="cpu").run(PICTURES)
    np.testing.assert_array_equal(Network(named(input="input", output="output"), device="cpu").run(PICTURES), expected)
    for names in ({"input": "nothing"}, {"output": "nothing"}):
        with pytest.raises(ModelError, match="model 'tiny' refused an input"):
            Network(named(**names), device="cpu").run(PICTURES)


def test_a_hallucinator_is_checked_for_its_scale(tmp_path: Path, make_hallucinator) -> None:
    card = make_hallucinator(tmp_path / "x2", 2)
    assert check_contract(card) == 0
    contract = type(card.contract)(**{**vars(card.contract), "scale": 4})
    with pytest.raises(ModelError, match=r"expected output \(1, 3, 96, 96\), got \(1, 3, 48, 48\)"):
        check_contract(ModelCard(**{**vars(card), "contract": contract}))


def test_threads_share_one_session(tiny: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    network, opened, found = Network(tiny, device="cpu", threads=1), [], {}
    original = sessions.open_session
    monkeypatch.setattr(sessions, "open_session", lambda *a, **k: (opened.append(1), original(*a, **k))[1])
    workers = [threading.Thread(target=lambda k=k: found.update({k: network.run(PICTURES)})) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(opened) == 1
    for result in found.values():
        np.testing.assert_array_equal(result, found[0])
    assert len(found) == 4
