"""YuNet on real pictures, insightface's own SCRFD code on a graph that fires where it is told, and what may fail."""

from __future__ import annotations

import csv
import hashlib
import io
import pickle
import sys
import tarfile
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from meetmid import models
from meetmid.errors import ConfigError, DeviceError, ModelError
from meetmid.faces import detection
from meetmid.faces.crops import Face
from meetmid.faces.detection import Scrfd, Serial, YuNet, networks_of, open_detector
from meetmid.result import MatchResult
from meetmid.runtime.sessions import nvidia_gpu_present

COUNT = 8
YUNETS = {"yunet-n-dynamic.onnx": 0.05, "face_detection_yunet_2023mar.onnx": 16.0}
"""Largest error in pixels against points.csv, which the first of them made."""


@pytest.fixture
def yunet(data: Path) -> str:
    return str(data / "weights" / "yunet-n-dynamic.onnx")


@pytest.fixture(scope="module")
def cache() -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    return {}


@pytest.fixture
def portraits(data: Path, cache: dict) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first pictures of LFW and the five points of each."""
    if not cache:
        with open(data / "lfw" / "points.csv", newline="") as file:
            rows = [row for row, _ in zip(csv.reader(file), range(COUNT + 1), strict=False)][1:]
        wanted = {row[0]: np.array(row[5:15], float).reshape(5, 2) for row in rows}
        found = {}
        with tarfile.open(data / "lfw" / "lfw_dev.tar") as tar:
            for member in tar:
                name = "/".join(member.name.split("/")[-2:])
                if name in wanted:
                    found[name] = np.array(Image.open(io.BytesIO(tar.extractfile(member).read())))
                if len(found) == COUNT:
                    break
        cache["lfw"] = [(found[name], wanted[name]) for name in found]
    assert len(cache["lfw"]) == COUNT
    return cache["lfw"]


@pytest.mark.parametrize("name", YUNETS)
def test_yunet_finds_the_points_of_real_faces(data: Path, portraits: list, name: str) -> None:
    detector = YuNet(data / "weights" / name)
    errors = []
    for picture, expected in portraits:
        faces = detector.detect(picture)
        assert [f.score for f in faces] == sorted((f.score for f in faces), reverse=True)
        best = min(faces, key=lambda f: np.abs(np.array(f.points) - expected).max())
        errors.append(np.abs(np.array(best.points) - expected))
        x, y, w, h = best.box
        assert (expected > (x, y)).all()
        assert (expected < (x + w, y + h)).all()
        assert 0.6 <= best.score <= 1
        left, right, nose, *mouth = best.points
        assert left[0] < right[0]
        assert max(left[1], right[1]) < nose[1] < min(mouth[0][1], mouth[1][1])
    assert np.max(errors) < YUNETS[name]
    assert np.mean(errors) < 3


def test_yunet_follows_the_picture_size_and_finds_several(yunet: str, portraits: list) -> None:
    detector = YuNet(yunet)
    both = np.concatenate([portraits[0][0], portraits[1][0]], axis=1)
    assert len(detector.detect(both)) >= 2
    assert len(detector.detect(portraits[0][0])) >= 1
    assert len(detector.detect(both)) >= 2


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (90, 200)])
def test_yunet_finds_nothing_in_nothing(yunet: str, shape: tuple[int, int]) -> None:
    assert YuNet(yunet).detect(np.full((*shape, 3), 127, np.uint8)) == []


def test_yunet_can_be_pickled(yunet: str, portraits: list) -> None:
    detector = YuNet(yunet, threshold=0.7)
    before = detector.detect(portraits[0][0])
    assert pickle.loads(pickle.dumps(detector)).detect(portraits[0][0]) == before


def test_a_picture_without_a_face_fails_alone(yunet: str, portraits: list, small) -> None:
    empty = np.full((250, 250, 3), 127, np.uint8)
    with small(faces="detect", crop="arcface5", detector=f"yunet:{yunet}") as matcher:
        result = matcher.match([portraits[0][0], empty, portraits[1][0]], [portraits[0][0]])
        again = pickle.loads(pickle.dumps(matcher)).match([portraits[0][0]], [portraits[0][0]])
    assert result.probe_status == ("ok", "no face found", "ok")
    assert np.isnan(result.scores[:, 0]).tolist() == [False, True, False]
    np.testing.assert_array_equal(again.scores, result.scores[:1])


def test_detectors_are_opened_by_name(tmp_path: Path, yunet: str) -> None:
    assert isinstance(open_detector(f"yunet:{yunet}"), YuNet)
    with pytest.raises(ModelError, match=r"expected a YuNet ONNX file, .*none\.onnx does not exist"):
        open_detector(f"yunet:{tmp_path / 'none.onnx'}")
    with pytest.raises(ModelError, match=r"expected an SCRFD ONNX file, .*none\.onnx does not exist"):
        open_detector(f"scrfd:{tmp_path / 'none.onnx'}")
    assert isinstance(open_detector("insightface:buffalo_s"), Scrfd)  # opened, and fetched, at first use only


@pytest.mark.parametrize("name", ["yunet:", "scrfd:", "insightface:", "finder:", "mtcnn:x.onnx", ""])
def test_unknown_detectors_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="detector expects 'finder', 'yunet', 'yunet:FILE'"):
        open_detector(name)


class Own:
    """A caller's detector, which finds nothing."""

    def detect(self, image: np.ndarray) -> list[Face]:
        return []


def test_what_finds_the_faces_is_named_in_the_result(tmp_path: Path, small, tiny, face) -> None:
    finder, (file, other) = open_detector("finder"), (tmp_path / name for name in ("yunet.onnx", "scrfd.onnx"))
    file.write_bytes(b"any")
    other.write_bytes(b"other")

    def sha256(data: bytes) -> str:
        return f"sha256 {hashlib.sha256(data).hexdigest()} to find faces"

    shipped = {name: f"sha256 {models.get(name).sha256} to find faces" for name in ("finder", "pointer")}
    assert networks_of(finder) == networks_of(Serial(finder)) == shipped
    assert networks_of(open_detector(f"yunet:{file}")) == {"yunet": sha256(b"any")}
    assert networks_of(open_detector(f"scrfd:{other}")) == {"scrfd": sha256(b"other")}
    assert networks_of(open_detector("insightface:nowhere")) == {"scrfd": "pack nowhere to find faces"}  # nothing is fetched
    pictures, box = [face(1, 40), face(2, 40)], np.array([1, 1, 30, 30])
    with small(faces="auto") as matcher:
        gallery, lifted = matcher.enroll(pictures), matcher.lift(pictures)
        result = matcher.match(pictures, pictures)
        assert shipped.items() <= result.models.items()
        for probe, portraits, faces, looks in (
            (pictures, gallery, None, True), (lifted, pictures, "crop", True), (lifted, gallery, None, True),
            (matcher.lift(pictures, faces="crop"), gallery, None, False),
            (pictures, pictures, "crop", False), (pictures, pictures, {"probe": "crop"}, True),
            (pictures, gallery, [box, box], False), (pictures, gallery, {"probe": {lifted.ids[0]: box}}, True),
            (pictures, gallery, {"probe": {name: box for name in lifted.ids}}, False),
            ([pictures], gallery, [["crop", "detect"]], True), ([pictures], gallery, [["crop", box]], False),
        ):
            again = matcher.match(probe, portraits, faces=faces)
            assert again.made_with == result.made_with  # a calibration is for crops, whoever cut them
            assert ({"finder", "pointer"} <= set(again.models)) == looks
    with small(faces="auto") as matcher:
        enrolled = [matcher.enroll([picture], ids=[str(k)], faces="crop") for k, picture in enumerate(pictures)]
        parts = [matcher.match(lifted, enrolled[0]), matcher.match(matcher.lift(pictures, faces="crop"), enrolled[1])]
        for order in (parts, parts[::-1]):  # the same probes, in one part looked for
            same = [replace(part, probe_status=parts[0].probe_status, probe_size=parts[0].probe_size) for part in order]
            assert MatchResult.merged(same).models == parts[0].models != parts[1].models
    with small(faces="crop", matcher=replace(tiny, name="detector"), detector=Own()) as matcher:
        result = matcher.match(pictures, pictures, faces="auto")
        assert result.models["detector"].startswith(f"sha256 {tiny.sha256}")
        assert result.made_with["detector"] == tiny.sha256
    with small(faces="detect", detector=Own()) as matcher:
        result = matcher.match(pictures, pictures, faces={"gallery": "crop"})
        assert result.models["detector"] == "own Own to find faces"


def test_a_file_that_is_no_network_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_text("no network")
    with pytest.raises(ModelError, match=r"OpenCV cannot run .*x\.onnx"):
        YuNet(tmp_path / "x.onnx").detect(np.zeros((40, 40, 3), np.uint8))


# --- SCRFD ------------------------------------------------------------------------------------------------------------

BOX = (2.0, 3.0, 2.0, 4.0)
"""Left, top, right, bottom of the synthetic face about its anchor, in strides of 8 px."""
OFFSETS = ((-1.0, -1.0), (1.0, -1.0), (0.0, 0.5), (-0.75, 2.0), (0.75, 2.0))


def scrfd_graph(path: Path, outputs: int = 9) -> str:
    """SCRFD's layout (scores, boxes, points at strides 8, 16, 32; two anchors) that fires at stride 8 on red cells."""
    nodes, weights, kinds = [], [], []
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            kernel = np.zeros((2 * width, 3, stride, stride), np.float32)
            bias = np.zeros(2 * width, np.float32)
            if kind == "score":
                kernel[:] = np.array([6, -6, -6], np.float32)[None, :, None, None] / stride**2
                bias[:] = (-12.5, -12.0) if stride == 8 else (-99, -99)
            else:
                bias[:] = np.tile(BOX if kind == "bbox" else np.ravel(OFFSETS), 2)
            name = f"{kind}_{stride}"
            weights += [numpy_helper.from_array(kernel, f"{name}_w"), numpy_helper.from_array(bias, f"{name}_b")]
            weights.append(numpy_helper.from_array(np.array([-1, width], np.int64), f"{name}_s"))
            nodes += [
                helper.make_node("Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_c"], strides=[stride, stride]),
                helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [f"{name}_r"]),
                helper.make_node("Sigmoid" if kind == "score" else "Identity", [f"{name}_r"], [name]),
            ]
            kinds.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"n{stride}", width]))
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"])
    graph = helper.make_graph(nodes, "scrfd", [source], kinds[:outputs], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))
    return str(path)


def red_cells(*cells: tuple[int, int]) -> np.ndarray:
    """(240, 320, 3): SCRFD sees it at twice the size, so a 4 px block is one cell of stride 8."""
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:4, 316:] = (0, 0, 255)  # blue: would fire if the channels were swapped
    for x, y in cells:
        picture[y : y + 4, x : x + 4, 0] = 255
    return picture


@pytest.fixture
def insightface() -> None:
    pytest.importorskip("insightface.model_zoo.scrfd", reason="needs the insightface extra", exc_type=ImportError)


@pytest.mark.usefixtures("insightface")
def test_scrfd_gives_boxes_and_points_in_picture_pixels(tmp_path: Path) -> None:
    detector = open_detector(f"scrfd:{scrfd_graph(tmp_path / 'scrfd.onnx')}")
    faces = detector.detect(red_cells((100, 60), (200, 160)))
    assert len(faces) == 2
    assert faces[0].score >= faces[1].score > 0.5
    for (x, y), face in zip([(100, 60), (200, 160)], sorted(faces, key=lambda f: f.box), strict=True):
        left, top, right, bottom = (4 * d for d in BOX)
        np.testing.assert_allclose(face.box, (x - left, y - top, left + right, top + bottom), atol=1e-3)
        np.testing.assert_allclose(face.points, np.array(OFFSETS) * 4 + (x, y), atol=1e-3)


@pytest.mark.usefixtures("insightface")
def test_scrfd_finds_nothing_in_nothing_and_can_be_pickled(tmp_path: Path) -> None:
    detector = Scrfd(scrfd_graph(tmp_path / "scrfd.onnx"), is_pack=False, size=320)
    assert detector.detect(red_cells()) == []
    again = pickle.loads(pickle.dumps(detector))
    assert again.detect(red_cells()) == []
    assert again._arguments["size"] == 320


@pytest.mark.usefixtures("insightface")
def test_scrfd_without_points_gives_boxes(tmp_path: Path) -> None:
    (face,) = Scrfd(scrfd_graph(tmp_path / "scrfd.onnx", outputs=6), is_pack=False).detect(red_cells((100, 60)))
    assert face.points is None
    assert face.box[2] == pytest.approx(16)


@pytest.mark.usefixtures("insightface")
def test_scrfd_serves_a_match(tmp_path: Path, small) -> None:
    name = f"scrfd:{scrfd_graph(tmp_path / 'scrfd.onnx')}"
    with small(faces="detect", detector=name) as matcher:
        result = matcher.match([red_cells((100, 60)), red_cells()], [red_cells((200, 160))])
    assert result.probe_status == ("ok", "no face found")


@pytest.mark.usefixtures("insightface")
def test_files_that_are_no_scrfd_are_model_errors(tmp_path: Path, tiny) -> None:
    (tmp_path / "x.onnx").write_text("no network")
    with pytest.raises(ModelError, match=r"cannot load model 'scrfd' \(.*x\.onnx\)"):
        Scrfd(str(tmp_path / "x.onnx"), is_pack=False).detect(red_cells())
    with pytest.raises(ModelError, match="is no SCRFD"):
        Scrfd(str(tiny.path), is_pack=False).detect(red_cells())


@pytest.mark.usefixtures("insightface")
@pytest.mark.skipif(nvidia_gpu_present(), reason="this machine has an NVIDIA GPU")
def test_scrfd_never_falls_back_from_a_device_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no NVIDIA GPU or driver"):
        Scrfd(scrfd_graph(tmp_path / "scrfd.onnx"), is_pack=False, device="cuda").detect(red_cells())


def test_without_insightface_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "insightface", None)
    monkeypatch.setitem(sys.modules, "insightface.model_zoo", None)
    detector = Scrfd(scrfd_graph(tmp_path / "scrfd.onnx"), is_pack=False)
    with pytest.raises(ConfigError, match=r"pip install 'meetmid\[insightface\]' && meetmid doctor --repair"):
        detector.detect(red_cells())


def test_the_detector_of_a_pack_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("insightface.utils")
    fake.ensure_available = lambda kind, name, root: str(tmp_path)
    monkeypatch.setitem(sys.modules, "insightface", types.ModuleType("insightface"))
    monkeypatch.setitem(sys.modules, "insightface.utils", fake)
    (tmp_path / "w600k_r50.onnx").touch()
    with pytest.raises(ModelError, match=r"insightface pack 'buffalo_x' .* holds no SCRFD detector"):
        detection._pack_detector("buffalo_x")
    (tmp_path / "det_10g.onnx").touch()
    assert detection._pack_detector("buffalo_x") == tmp_path / "det_10g.onnx"
