"""Cards, the registry and sessions: nothing is guessed, nothing falls back, nothing runs unverified."""

from __future__ import annotations

import pickle
import types
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import meetmid
from meetmid.errors import DeviceError, ModelError
from meetmid.runtime import sessions
from meetmid.runtime.cards import CONTRACTS, ModelCard, make_contract, read_card, write_card
from meetmid.runtime.registry import get_family, get_model
from meetmid.runtime.sessions import BATCH, Device, Network, from_planes, open_session, to_planes


def test_a_card_survives_writing_and_reading(tmp_path: Path) -> None:
    values = {
        "name": 'quo"te\\d', "task": "matcher", "file": "m.onnx", "sha256": "AB", "license": "MIT\nline two",
        "contract": {"channels": "bgr", "mean": [1.0, 2.0, 3.0], "size": [96, 112]}, "figures": {"a b": 1.5, "ok": True},
    }
    write_card(tmp_path / "card.toml", values)
    card = read_card(tmp_path / "card.toml")
    assert card.name == 'quo"te\\d'
    assert card.license == "MIT\nline two"
    assert card.sha256 == "ab"
    assert card.contract.mean == (1.0, 2.0, 3.0)
    assert card.contract.size == (96, 112)
    assert card.facts["figures"] == {"a b": 1.5, "ok": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "expected a str under 'name', got 3"),
        ({"task": "poet"}, "task expects one of"),
        ({"contract": {"size": [1]}}, "size expects"),
        ({"contract": {"channels": "rbg"}}, "channels expects 'rgb', 'bgr' or 'gray', got 'rbg'"),
        ({"contract": {"std": [1.0, 0.0, 1.0]}}, "std > 0"),
        ({"contract": {"alignment": "my-own"}}, "alignment expects one of"),
        ({"contract": {"colour": "rgb"}}, r"unknown contract keys \['colour'\]"),
    ],
)
def test_a_wrong_card_is_refused_by_name(tmp_path: Path, change: dict, message: str) -> None:
    values = {"name": "n", "task": "matcher", "file": "f", "sha256": "0", "license": "MIT", "contract": {}} | change
    write_card(tmp_path / "card.toml", values)
    with pytest.raises(ModelError, match=message):
        read_card(tmp_path / "card.toml")


def test_unreadable_cards_are_model_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the model card"):
        read_card(tmp_path / "card.toml")
    (tmp_path / "card.toml").write_text("name = [")
    with pytest.raises(ModelError, match="not valid TOML"):
        read_card(tmp_path / "card.toml")


def test_a_changed_file_never_becomes_a_session(tmp_path: Path, make_matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    card: ModelCard = make_matcher(tmp_path / "m")
    with card.path.open("ab") as file:
        file.write(b"\0")
    monkeypatch.setattr(sessions, "import_onnxruntime", lambda: pytest.fail("onnxruntime was asked before the hash"))
    with pytest.raises(ModelError, match="not the file its card describes"):
        open_session(card, device="cpu")
    card.path.unlink()
    with pytest.raises(ModelError, match="found none"):
        open_session(card, device="cpu")


def test_reference_means_are_verified_too(tmp_path: Path, make_matcher) -> None:
    card = make_matcher(tmp_path / "m")
    (tmp_path / "m" / "means.npz").write_bytes(b"changed")
    named = ModelCard(**{**vars(card), "means": tmp_path / "m" / "means.npz", "facts": {"means": {"sha256": "00"}}})
    with pytest.raises(ModelError, match="expected reference means"):
        named.reference_means()


def test_models_are_added_listed_and_found(tmp_path: Path, make_matcher, own_model_folder: Path) -> None:
    card = make_matcher(tmp_path / "made", channels="bgr")
    added = meetmid.models.add(card.path, name="mine", like="arcface-bgr", size=[32, 32], license="MIT")
    assert added.path.parent == own_model_folder / "mine"
    assert added.contract.channels == "bgr"
    assert added.contract.template_length == 24
    assert meetmid.models.get("mine") == added
    assert "mine" in [c.name for c in meetmid.models.list()]
    assert get_model(added.path) == added
    assert get_model(added.path.parent) == added
    again = meetmid.models.add(card.path, name="mine", like="arcface", size=[32, 32])
    assert again.contract.channels == "rgb"
    assert not list(own_model_folder.glob(".adding-*"))


def test_what_cannot_be_added_is_refused(tmp_path: Path, make_matcher) -> None:
    card = make_matcher(tmp_path / "made")
    with pytest.raises(ModelError, match="does not exist"):
        meetmid.models.add(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="unknown contract 'facenet'"):
        meetmid.models.add(card.path, like="facenet")
    with pytest.raises(ModelError, match="shipped with the library"):
        meetmid.models.add(card.path, name="midface-s", size=[32, 32])
    with pytest.raises(ModelError, match="a model name expects"):
        meetmid.models.add(card.path, name="../escape", size=[32, 32])
    with pytest.raises(ModelError, match="template length 99, got 24"):
        meetmid.models.add(card.path, name="m", size=[32, 32], template_length=99)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ModelError, match="cannot load model"):
        meetmid.models.add(tmp_path / "text.onnx")


def test_a_bare_onnx_file_is_never_guessed(tmp_path: Path, make_matcher) -> None:
    card = make_matcher(tmp_path / "made")
    (tmp_path / "made" / "card.toml").unlink()
    with pytest.raises(ModelError, match=r"never guessed: register the file once with meetmid.models.add"):
        get_model(card.path)
    with pytest.raises(ModelError, match="unknown model 'nobody'"):
        get_model("nobody")


def test_a_family_needs_every_scale(tiny_family: str) -> None:
    found = get_family(tiny_family, (2, 8))
    assert {scale: card.contract.scale for scale, card in found.items()} == {2: 2, 8: 8}
    with pytest.raises(ModelError, match=r"no \[3\] x model"):
        get_family(tiny_family, (2, 3))


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "", "cpu:one"])
def test_unknown_devices_are_refused(text: str) -> None:
    with pytest.raises(DeviceError, match="device expects auto, cpu"):
        Device.parse(text)


def test_devices_are_parsed() -> None:
    assert Device.parse("cuda:1") == Device("cuda", 1)
    assert Device.parse("auto") == Device("auto", 0)


def test_cuda_without_a_gpu_is_an_error_not_the_cpu(tiny: ModelCard) -> None:
    if sessions.nvidia_gpu_present():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(DeviceError, match="no NVIDIA GPU or driver"):
        open_session(tiny, device="cuda")
    with pytest.raises(DeviceError, match="offers only"):
        open_session(tiny, device="openvino")


def _fake_runtime(providers: list[str], used: list[str]) -> types.SimpleNamespace:
    session = types.SimpleNamespace(disable_fallback=lambda: None, get_providers=lambda: used)
    return types.SimpleNamespace(
        get_available_providers=lambda: providers, SessionOptions=onnxruntime.SessionOptions,
        InferenceSession=lambda *args, **kwargs: session,
    )


def test_a_device_that_is_not_really_used_is_an_error(tiny: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _fake_runtime(["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"])
    monkeypatch.setattr(sessions, "import_onnxruntime", lambda: fake)
    monkeypatch.setattr(sessions, "nvidia_gpu_present", lambda: True)
    with pytest.raises(DeviceError, match="onnxruntime used CPUExecutionProvider"):
        open_session(tiny, device="cuda")


def test_auto_says_when_a_gpu_stays_unused(tiny: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    fake = _fake_runtime(["CPUExecutionProvider"], ["CPUExecutionProvider"])
    monkeypatch.setattr(sessions, "import_onnxruntime", lambda: fake)
    monkeypatch.setattr(sessions, "nvidia_gpu_present", lambda: True)
    open_session(tiny, device="auto")
    assert "uses the CPU" in caplog.text


def test_a_broken_onnxruntime_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(DeviceError, match="meetmid doctor --repair"):
        sessions.import_onnxruntime()
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(DeviceError, match="cannot be imported"):
        sessions.import_onnxruntime()


def test_a_network_reopens_after_close_and_after_pickling(tiny: ModelCard) -> None:
    network = Network(tiny, device="cpu", threads=1)
    x = np.random.default_rng(0).random((3, 32, 32, 3)).astype(np.float32)
    first = network.run(x)
    network.close()
    assert (network.run(x) == first).all()
    assert (pickle.loads(pickle.dumps(network)).run(x) == first).all()
    assert network.provider == "CPUExecutionProvider"


@pytest.mark.parametrize(
    "name", ["midface-s", "midface-s-int8", "slimface-probe", "edsr-face-x4", "edsr-recognition-x4", "finder"]
)
def test_neighbours_threads_and_position_change_no_bit(name: str) -> None:
    card = get_model(name)
    side = card.contract.size[0] or 64
    x = np.random.default_rng(1).random((BATCH + 3, side, side, 3)).astype(np.float32)
    whole = Network(card, device="cpu", threads=1).run(x)
    order = np.random.default_rng(2).permutation(len(x))
    two = Network(card, device="cpu", threads=2)
    assert (two.run(x[order]) == whole[order]).all()
    assert (np.concatenate([two.run(x[k : k + 1]) for k in range(len(x))]) == whole).all()


def test_planes_follow_the_contract_and_come_back(tiny: ModelCard) -> None:
    x = np.random.default_rng(3).random((2, 4, 5, 3)).astype(np.float32)
    contract = make_contract({"channels": "bgr", "mean": [10.0, 20.0, 30.0], "std": [2.0, 4.0, 8.0]})
    card = ModelCard(**{**vars(tiny), "contract": contract})
    planes = to_planes(x, card)
    assert planes.shape == (2, 3, 4, 5)
    assert planes[1, 0, 2, 3] == pytest.approx((255 * x[1, 2, 3, 2] - 10) / 2, rel=1e-5)
    assert np.abs(from_planes(planes, card) - x).max() < 1e-5


def test_the_channel_order_matters(tmp_path: Path, make_matcher) -> None:
    x = np.random.default_rng(4).random((1, 32, 32, 3)).astype(np.float32)
    rgb = Network(make_matcher(tmp_path / "a"), device="cpu").run(x)
    bgr = Network(make_matcher(tmp_path / "b", channels="bgr"), device="cpu").run(x)
    assert np.abs(rgb - bgr).max() > 1e-3
    assert np.abs(bgr - Network(make_matcher(tmp_path / "a"), device="cpu").run(x[..., ::-1])).max() < 1e-5


def test_a_picture_of_the_wrong_size_names_the_contract(tiny: ModelCard) -> None:
    with pytest.raises(ModelError, match="does its card's contract state the right size"):
        Network(tiny, device="cpu").run(np.zeros((1, 40, 48, 3), np.float32))


def test_every_named_contract_is_valid() -> None:
    for name, contract in CONTRACTS.items():
        assert make_contract({}, base=contract) == contract, name
