"""The face finder's pyramid, tiles and decoding, and a network as the recipe exports it."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.errors import ModelError
from meetmid.faces.detection import open_detector
from meetmid.faces.finder import (
    CLOSE,
    LARGEST,
    LENIENT,
    OVERLAP,
    STRIDES,
    TILE,
    WHOLE,
    Finder,
    close_view,
    decode,
    shrinks,
    tiles,
)
from meetmid.runtime.cards import ModelCard, make_contract, write_card


def blob_cells(pictures: np.ndarray) -> np.ndarray:
    return np.stack([cells_of(picture) for picture in pictures])


def cells_of(shown: np.ndarray) -> np.ndarray:
    """What a perfect network returns for bright ellipses on black: a box around each, points at its corners and middle."""
    height, width = shown.shape[:2]
    grids = [(height // s, width // s) for s in STRIDES]
    first = np.concatenate([[0], np.cumsum([h * w for h, w in grids])])
    cells = np.zeros((first[-1], 15), np.float32)
    cells[:, 0] = -20
    _, _, stats, _ = cv2.connectedComponentsWithStats((shown[..., 0] > 127).astype(np.uint8), connectivity=8)
    for x, y, w, h, area in stats[1:]:
        if area < 30:
            continue
        extent = np.sqrt(w * h)
        level = 0 if extent < 32 else 1 if extent < 96 else 2
        stride, (rows, columns) = STRIDES[level], grids[level]
        middle = np.array([x + w / 2, y + h / 2])
        column, row = np.clip((middle / stride).astype(int), 0, (columns - 1, rows - 1))
        centre = np.array([column + 0.5, row + 0.5])
        five = np.array([[-w, -h], [w, -h], [0, 0], [-w, h], [w, h]]) / 2 / extent
        cell = cells[first[level] + row * columns + column]
        cell[0] = 4.0 + extent / 1000  # of two views of one blob the larger counts
        cell[1:3] = middle / stride - centre
        cell[3:5] = np.log([w / stride, h / stride])
        cell[5:] = five.ravel()
    return cells


def card(task: str = "detector", folder: Path = Path("nowhere")) -> ModelCard:
    contract = make_contract({"size": [0, 0], "alignment": ""} if task == "detector" else {})
    return ModelCard("blobs", task, folder / "model.onnx", "", "none", contract)  # type: ignore[arg-type]


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Finder:
    """A finder whose network finds bright blobs."""
    found = Finder(card())
    monkeypatch.setattr(found, "_network", type("Blobs", (), {"run": lambda self, pictures: blob_cells(pictures)})())
    return found


@pytest.mark.parametrize("shape", [(60, 80), (480, 640), (900, 1300), (1800, 3100)])
def test_every_face_is_found_once_and_in_place_whatever_its_size(finder: Finder, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    picture = np.zeros((*shape, 3), np.uint8)
    drawn: list[tuple[int, int, int, int]] = []
    for _ in range(400):
        size = int(np.exp(rng.uniform(np.log(14), np.log(0.7 * min(shape)))))
        a, b = max(5, size // 2), max(6, int(0.6 * size))
        if 2 * b + 20 >= shape[0] or 2 * a + 20 >= shape[1]:
            continue
        x, y = int(rng.integers(a + 8, shape[1] - a - 8)), int(rng.integers(b + 8, shape[0] - b - 8))
        box = (x - a, y - b, 2 * a + 1, 2 * b + 1)
        gap = 12 + max(a, b) // 6
        if any(abs(x - p - w / 2) < a + w / 2 + gap and abs(y - q - h / 2) < b + h / 2 + gap for p, q, w, h in drawn):
            continue
        cv2.ellipse(picture, (x, y), (a, b), 0, 0, 360, (255, 255, 255), -1)
        drawn.append(box)
        if len(drawn) == 12:
            break
    assert drawn
    faces = finder.detect(picture)
    assert len(faces) == len(drawn)
    for box in drawn:
        near = min(faces, key=lambda face: np.abs(np.subtract(face.box, box)).max())
        slack = 2.5 + 0.06 * max(box[2:])  # a shrunk picture's blob is known to one of its pixels
        assert np.abs(np.subtract(near.box, box)).max() < slack
        assert near.points is not None
        corners = np.array(near.points)[[0, 4]] + 0.5
        assert np.abs(corners - [box[:2], np.add(box[:2], box[2:])]).max() < slack


@pytest.mark.parametrize(("size", "least"), [(14, LENIENT * 0.7), (18, LENIENT * 0.7), (24, 0.7), (60, 0.7)])
def test_tiny_faces_count_from_a_lower_score_on(finder: Finder, monkeypatch, size, least) -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(picture, (100, 90), size // 2, (255, 255, 255), -1)
    for score, counts in ((least + 0.01, True), (least - 0.01, False)):

        def scored(self, pictures: np.ndarray, score: float = score) -> np.ndarray:
            cells = blob_cells(pictures)
            cells[..., 0] = np.where(cells[..., 0] > 0, np.log(score / (1 - score)), -20)
            return cells

        monkeypatch.setattr(finder, "_network", type("Scored", (), {"run": scored})())
        assert [face.score for face in finder.detect(picture)] == ([pytest.approx(score, abs=1e-5)] if counts else [])


def test_rough_faces_are_the_faces_before_their_points_are_looked_for(finder: Finder) -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    for centre, size in (((60, 80), 20), ((200, 150), 50), ((330, 220), 90)):
        cv2.ellipse(picture, centre, (size // 2, int(0.6 * size)), 0, 0, 360, (255, 255, 255), -1)
    faces, rough = finder.detect(picture), finder.rough(picture)
    assert len(faces) == 3
    assert [(face.box, face.score) for face in faces] == [(face.box, face.score) for face in rough]
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
    assert faces == [finder.pointed(picture, face) for face in rough] != rough


def test_a_face_as_large_as_the_picture_is_seen_whole(finder: Finder) -> None:
    picture = np.zeros((1000, 1000, 3), np.uint8)
    cv2.circle(picture, (500, 500), 490, (255, 255, 255), -1)
    faces = finder.detect(picture)
    assert len(faces) == 1
    assert faces[0].size == pytest.approx(981, rel=0.05)


@pytest.mark.parametrize("centre", [(200, 150), (31, 22), (378, 280)])
@pytest.mark.parametrize("size", [14, 40])
def test_points_are_those_of_the_close_view_and_its_mirror_image(finder: Finder, monkeypatch, centre, size) -> None:
    """A network that errs by 10 % of the face, except close by, where it errs to the left: the mirror image undoes that."""
    picture = np.zeros((300, 400, 3), np.uint8)
    cv2.ellipse(picture, centre, (size // 2, int(0.6 * size)), 0, 0, 360, (255, 255, 255), -1)

    def wrong(self, pictures: np.ndarray) -> np.ndarray:
        cells = blob_cells(pictures)
        cells[..., 5:] += np.tile([-0.05, 0.0] if pictures.shape[1:3] == (CLOSE, CLOSE) else [0.1, 0.1], 5).astype(np.float32)
        return cells

    want = finder.detect(picture)[0]
    monkeypatch.setattr(finder, "_network", type("Wrong", (), {"run": wrong})())
    got = finder.detect(picture)[0]
    assert (got.box, got.score) == (want.box, want.score)
    np.testing.assert_allclose(got.points, want.points, atol=1e-3)


def test_points_stay_where_the_close_view_shows_no_face(finder: Finder, monkeypatch) -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(picture, (200, 150), 30, (255, 255, 255), -1)

    def blind(self, pictures: np.ndarray) -> np.ndarray:
        cells = blob_cells(pictures)
        if pictures.shape[1:3] == (CLOSE, CLOSE):
            cells[..., 0] = -20
        return cells

    monkeypatch.setattr(finder, "_network", type("Blind", (), {"run": blind})())
    (face,) = finder.detect(picture)
    assert np.array_equal(face.points, finder._pass(picture, 1)[2][0])


@pytest.mark.parametrize("box", [
    (5.0, 7.0, 60.0, 80.0), (-30.0, 250.0, 90.0, 110.0), (100.0, 100.0, 0.5, 0.7), (-90.0, 100.0, 30.0, 20.0),
    (410.0, 330.0, 9.0, 9.0),
])
def test_a_close_view_shows_its_square_of_the_picture(box) -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.linspace(0, 255, 400), np.linspace(0, 255, 300)[:, None]
    view, left, top, step = close_view(picture, np.array(box))
    x = np.clip((np.arange(CLOSE) + 0.5) * step - 0.5 + left, 0, 399) / 399 * 255
    y = np.clip((np.arange(CLOSE) + 0.5) * step - 0.5 + top, 0, 299) / 299 * 255
    assert view.shape == (CLOSE, CLOSE, 3)
    np.testing.assert_allclose(view[..., 0], np.broadcast_to(x, (CLOSE, CLOSE)), atol=2)
    np.testing.assert_allclose(view[..., 1], np.broadcast_to(y[:, None], (CLOSE, CLOSE)), atol=2)


@given(st.integers(1, 20_000), st.sampled_from([1, 4, 16]))
def test_tiles_cover_a_side_and_overlap_by_a_face(side: int, shrink: int) -> None:
    found = tiles(side, shrink)
    sizes = {last - first for first, last in found}
    assert len(sizes) == 1
    assert max(sizes) <= TILE * shrink
    assert (found[0][0], found[-1][1]) == (0, side)
    assert all(before[1] - after[0] >= OVERLAP * shrink - 1 for before, after in pairwise(found))
    fewest = max(1, -(-(side - OVERLAP * shrink) // ((TILE - OVERLAP) * shrink)))
    assert len(found) == fewest


def test_passes_reach_a_face_of_the_pictures_size() -> None:
    assert shrinks((100, 100)) == [1]
    assert shrinks((320, 330)) == [1]
    assert shrinks((480, 640)) == [1, 4]
    assert shrinks((4000, 3000)) == [1, 4, 16]
    assert min(OVERLAP, WHOLE) >= 1.3 * LARGEST  # what one pass sees is whole in one of its tiles


def test_cells_mean_what_the_network_says() -> None:
    torch = pytest.importorskip("torch", reason="the network definitions need torch (extra: export)")
    from meetmid.networks import finder as network

    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(1, network.CHANNELS, 64 // s, 96 // s, generator=generator) for s in STRIDES)
    flat = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)[0].numpy()
    scores, boxes, points = decode(flat, (64, 96), 0.0)
    wanted = [value[0].numpy() for value in network.decode(maps)]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-wanted[0].astype(np.float64))), rtol=1e-6)
    np.testing.assert_allclose(boxes, wanted[1], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(points, wanted[2], rtol=1e-4, atol=1e-3)
    assert network.STRIDES == STRIDES
    kept, _, _ = decode(flat, (64, 96), 0.7)
    np.testing.assert_array_equal(kept, scores[scores >= 0.7])


def test_a_network_of_another_layout_is_refused() -> None:
    with pytest.raises(ModelError, match="returned 10 cells for 96 x 64 px, expected 126"):
        decode(np.zeros((10, 15), np.float32), (64, 96), 0.5)


def test_only_a_detector_finds_faces() -> None:
    with pytest.raises(ModelError, match="expected a detector's card, 'blobs' is a matcher"):
        Finder(card("matcher"))


def test_a_model_of_the_recipe_finds_what_its_network_finds(tmp_path: Path) -> None:
    """Exported as the recipe does it, opened by its folder's name: the best cell of PyTorch's network is the best face; the
    same with other thread counts and from a pickle."""
    torch = pytest.importorskip("torch", reason="the network definitions need torch (extra: export)")
    from meetmid.models.recipes.training import export

    from meetmid.networks import finder as network

    torch.manual_seed(0)
    net = network.Finder(8, 16).eval()
    with torch.no_grad():
        for head in net.heads:
            head[1].weight.normal_(0, 0.3)
            head[1].bias[0] = 0.5
    facts = export(
        network.FlatFinder(net), torch.zeros(1, 3, 64, 96), tmp_path / "model.onnx",
        {0: "batch", 2: "height", 3: "width"}, {0: "batch", 1: "cells"},
    )
    write_card(tmp_path / "card.toml", {
        "name": "mine", "task": "detector", "file": "model.onnx", "sha256": facts["sha256"], "license": "none",
        "contract": {"size": [0, 0], "alignment": "", "input": "input", "output": "output"},
    })
    picture = np.random.default_rng(0).integers(0, 256, (112, 134, 3), dtype=np.uint8)
    detector = open_detector(f"finder:{tmp_path}", device="cpu", threads=1)
    assert isinstance(detector, Finder)
    detector = detector.at(0.05)
    faces = detector.detect(picture)
    shown = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_LINEAR)
    with torch.no_grad():
        maps = net(torch.from_numpy(shown.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1))
    scores, boxes, points = (value[0].numpy() for value in network.decode(maps))
    best = scores.argmax()
    assert faces[0].score == pytest.approx(1 / (1 + np.exp(-scores[best])), rel=1e-4)
    ratio = np.array([134 / 160, 112 / 160])
    np.testing.assert_allclose(faces[0].box, boxes[best] * np.tile(ratio, 2), rtol=1e-3, atol=1e-2)
    found, _, coarse = detector._pass(picture, 1)
    np.testing.assert_allclose(coarse[found.argmax()], (points[best] + 0.5) * ratio - 0.5, rtol=1e-3, atol=1e-2)
    other = open_detector(f"finder:{tmp_path}", device="cpu", threads=2)
    assert isinstance(other, Finder)
    assert other.at(0.05).detect(picture) == faces == pickle.loads(pickle.dumps(detector)).detect(picture)


def test_sides_are_rounded_to_what_the_network_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    found = Finder(card())
    stub = type("Shapes", (), {"run": lambda self, p: (seen.append(p.shape[1:3]), blob_cells(p))[1]})
    monkeypatch.setattr(found, "_network", stub())
    for shape in ((1, 1), (17, 300), (100, 99)):
        found.detect(np.zeros((*shape, 3), np.uint8))
    assert all(side % STRIDES[-1] == 0 and side >= STRIDES[-1] for shape in seen for side in shape)
    assert (128, 128) in seen  # 100 x 99 times six fifths, rounded up
