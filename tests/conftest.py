"""Fixtures: tiny real ONNX models with cards, synthetic faces, and the measuring data where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from meetmid.config import MatchConfig
from meetmid.faces.worn import Reader
from meetmid.matcher import Matcher
from meetmid.runtime.cards import ModelCard, file_sha256, read_card, write_card

settings.register_profile("meetmid", deadline=None)  # no test depends on timing
settings.load_profile("meetmid")


def data_folder() -> Path:
    return Path(os.environ.get("MEETMID_DATA") or Path(__file__).parents[2] / "shared" / "data")


READ = Reader.worn


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawn faces of tests wear nothing, whatever a network that knows photographs makes of them."""
    monkeypatch.setattr(Reader, "worn", lambda *_: None)


@pytest.fixture
def reading(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What faces wear is looked at."""
    monkeypatch.setattr(Reader, "worn", READ)


@pytest.fixture
def data() -> Path:
    """The measuring data; tests that need it are skipped where it is absent."""
    folder = data_folder()
    if not (folder / "lfw" / "points.csv").is_file():
        pytest.skip(f"the measuring data are not at {folder} (set MEETMID_DATA)")
    return folder


@pytest.fixture(autouse=True)
def own_model_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing a test adds reaches the user's own models."""
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.setenv("MEETMID_MODELS", str(folder))
    return folder


def save_model(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], outputs: list[object]) -> None:
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    values = [helper.make_tensor_value_info("output", TensorProto.FLOAT, outputs)]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, values, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def make_matcher(
    folder: Path, *, length: int = 24, size: int = 32, seed: int = 0, name: str = "tiny", space: str = "", **contract: object
) -> ModelCard:
    """A real convolutional matcher with random weights: conv s4 - relu - conv s2 - relu - flatten - linear."""
    rng = np.random.default_rng(seed)
    grid = size // 8
    weights = {
        "w1": rng.normal(size=(8, 3, 4, 4)).astype(np.float32) / 7,
        "w2": rng.normal(size=(16, 8, 2, 2)).astype(np.float32) / 6,
        "w3": rng.normal(size=(16 * grid * grid, length)).astype(np.float32) / 16,
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["c1"], strides=[4, 4]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["output"]),
    ]
    save_model(folder / "model.onnx", nodes, weights, ["n", length])
    table = {
        "channels": "rgb", "mean": [127.5] * 3, "std": [127.5] * 3, "size": [size, size], "alignment": "arcface-112",
        "template_length": length, **contract,
    }
    return _card(folder, name, "matcher", table, space=space)


def make_hallucinator(folder: Path, scale: int, *, family: str = "tiny-sr") -> ModelCard:
    """A real generator: nearest-neighbour enlargement followed by a fixed 3 x 3 sharpening convolution."""
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    for c in range(3):
        kernel[c, c] = [[0, -0.1, 0], [-0.1, 1.4, -0.1], [0, -0.1, 0]]
    weights = {"scales": np.array([1, 1, scale, scale], np.float32), "k": kernel}
    nodes = [
        helper.make_node(
            "Resize", ["input", "", "scales"], ["big"], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Conv", ["big", "k"], ["output"], pads=[1, 1, 1, 1]),
    ]
    save_model(folder / "model.onnx", nodes, weights, ["n", 3, "H", "W"])
    table = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": [0, 0], "alignment": "", "scale": scale}
    return _card(folder, f"{family}-x{scale}", "hallucinator", table, family=family)


def make_translator(
    folder: Path, *, channels: str = "rgb", size: int = 40, heat: bool = True, name: str = "tiny-tr"
) -> ModelCard:
    """A real translator that keeps the size: the negative in [-1, 1], and as its heat map the mean of the planes, halved."""
    planes = 1 if channels == "gray" else 3
    kernel = np.zeros((3, planes, 1, 1), np.float32)
    for c in range(3):
        kernel[c, c % planes] = -1.0
    nodes = [
        helper.make_node("Conv", ["input", "k"], ["output"]),
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("AveragePool", ["mean"], ["heat"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("output", "heat")]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", planes, "h", "w"])]
    graph = helper.make_graph(nodes, "tiny", inputs, values, [numpy_helper.from_array(kernel, "k")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"))
    table = {"channels": channels, "size": [size, size], "alignment": "", "scale": 1, "output": "output"}
    return _card(folder, name, "hallucinator", {**table, **({"heat": "heat"} if heat else {})})


def _card(folder: Path, name: str, task: str, contract: dict[str, object], **extra: object) -> ModelCard:
    write_card(folder / "card.toml", {
        "name": name, "task": task, "file": "model.onnx", "sha256": file_sha256(folder / "model.onnx"), "license": "MIT",
        "gmac": 0.001, **extra, "contract": contract,
    })
    return read_card(folder / "card.toml")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """A tiny matcher: 32 px input, 24-d templates."""
    return make_matcher(tmp_path_factory.mktemp("tiny-matcher"))


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of tiny generators for 2x, 4x and 8x."""
    folder = tmp_path_factory.mktemp("tiny-family")
    for scale in (2, 4, 8):
        make_hallucinator(folder / f"x{scale}", scale)
    return str(folder)


def face(seed: int, side: int = 64) -> np.ndarray:
    """A smooth synthetic "face" (side, side, 3) uint8: an oval with eyes and mouth whose geometry depends on the seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    skin, ground = rng.uniform(90, 230, 3), rng.uniform(0, 255, 3)
    oval = (((x - 0.5) / rng.uniform(0.32, 0.45)) ** 2 + ((y - 0.5) / rng.uniform(0.4, 0.5)) ** 2) < 1
    picture = np.where(oval[..., None], skin, ground)
    for centre in (rng.uniform(0.28, 0.38), rng.uniform(0.62, 0.72)):
        eye = (x - centre) ** 2 + (y - rng.uniform(0.36, 0.44)) ** 2 < rng.uniform(0.003, 0.009)
        picture[eye] = rng.uniform(0, 90, 3)
    mouth = (np.abs(x - 0.5) < rng.uniform(0.08, 0.2)) & (np.abs(y - rng.uniform(0.7, 0.78)) < 0.03)
    picture[mouth] = rng.uniform(60, 200, 3)
    picture = picture + rng.normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session", name="face")
def face_function():
    """:func:`face`, for modules that cannot import this file."""
    return face


@pytest.fixture(scope="session")
def red_face():
    """As :func:`face`, of which the one or other is bluer than red, but for its colours' order: no status tells of those."""

    def ordered(seed: int, side: int = 64) -> np.ndarray:
        picture = face(seed, side)
        red, _, blue = picture[side // 4 : -(side // 4), side // 4 : -(side // 4)].mean((0, 1))
        return picture if red > blue else picture[..., ::-1].copy()

    return ordered


@pytest.fixture(scope="session", name="make_matcher")
def make_matcher_function():
    return make_matcher


@pytest.fixture(scope="session", name="make_hallucinator")
def make_hallucinator_function():
    return make_hallucinator


@pytest.fixture(scope="session", name="make_translator")
def make_translator_function():
    return make_translator


@pytest.fixture(scope="session", name="make_model")
def make_model_function():
    """``make_model(folder, nodes, weights, outputs, name, contract)``: a matcher from any graph."""

    def make(folder: Path, nodes: list, weights: dict, outputs: list, name: str, contract: dict) -> ModelCard:
        save_model(folder / "model.onnx", nodes, weights, outputs)
        return _card(folder, name, "matcher", {"mean": [0.0] * 3, "std": [1.0] * 3, "alignment": "arcface-112", **contract})

    return make


@pytest.fixture(scope="session")
def small(tiny: ModelCard, tiny_family: str):
    """``small(**options)``: a Matcher of the tiny models whose matches take milliseconds."""
    base = MatchConfig(
        scales=(2, 4), sigmas=(0.0, 0.5, 1.0), lr_size=12, work_size=48, paths=(("gblur",), ("gauss_noise", "downup")),
        centering="none", faces="crop",
    )

    def make(config: MatchConfig = base, **options: object) -> Matcher:
        options = {"matcher": tiny, "hallucinator": tiny_family, "device": "cpu", "threads": 1, **options}
        return Matcher(config=config, **options)

    return make


@pytest.fixture
def probes(face):
    return [face(k, 18 + k) for k in range(4)]


@pytest.fixture
def portraits(face):
    return [face(k, 60) for k in range(5)]
