"""Points of small faces: the views, the rounds, the mirror image, and a network as the recipe exports it."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from meetmid.errors import ModelError
from meetmid.faces.alignment import MIRRORED, similarity
from meetmid.faces.detection import identity
from meetmid.faces.finder import SMALL, Finder
from meetmid.faces.pointer import BOXED, PLACES, SCALE, SIDE, Pointer
from meetmid.runtime.cards import ModelCard, make_contract, write_card

COLOURS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [250, 250, 20], [20, 250, 250]], np.float64)


def card(task: str = "pointer", folder: Path = Path("nowhere")) -> ModelCard:
    contract = make_contract({"size": [SIDE, SIDE], "alignment": ""})
    return ModelCard("dots", task, folder / "model.onnx", "", "none", contract)  # type: ignore[arg-type]


def drawn(points: np.ndarray, spread: float, shape: tuple[int, int] = (160, 200)) -> np.ndarray:
    """A grey picture with a soft dot of its own colour on each point."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    picture = np.full((*shape, 3), 60.0)
    for point, colour in zip(points, COLOURS, strict=True):
        share = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * spread**2))[..., None]
        picture = picture * (1 - share) + colour * share
    return picture.round().astype(np.uint8)


class Dots:
    """A network that sees where the coloured dots of a view are: image-left ones of a mirrored view are its right ones."""

    def __init__(self, error: tuple[float, float] = (0.0, 0.0)) -> None:
        self.error, self.views = np.array(error), list[np.ndarray]()

    def run(self, pictures: np.ndarray) -> np.ndarray:
        self.views.append(pictures)
        rows = []
        y, x = np.mgrid[:SIDE, :SIDE]
        for k, picture in enumerate(pictures):
            order = MIRRORED if k % 2 else range(5)
            found = []
            for number in order:
                apart = np.linalg.norm(picture.astype(float) - COLOURS[number], axis=2)
                weight = np.clip(90 - apart, 0, None)
                found.append([(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()])
            rows.append((((np.array(found) - (SIDE - 1) / 2) / SIDE) + self.error).ravel())
        return np.array(rows, np.float32)


def posed(size: float, turn: float, middle: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Points of a face turned by degrees, and the box of a finder that sees it upright."""
    scale, angle = size / (BOXED * SIDE), np.deg2rad(turn)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (PLACES - (SIDE - 1) / 2) @ rotation.T + middle
    return points, np.array([middle[0] + 0.5 - size / 2, middle[1] + 0.5 - size / 2, size, size])


@pytest.mark.parametrize(("size", "turn"), [(18.0, 0.0), (30.0, 20.0), (47.0, -15.0), (60.0, 8.0)])
@pytest.mark.parametrize("middle", [(100.0, 80.0), (30.0, 26.0)])
def test_points_are_found_where_they_are_and_the_last_view_is_upright(monkeypatch, size, turn, middle) -> None:
    points, box = posed(size, turn, middle)
    pointer, dots = Pointer(card()), Dots()
    monkeypatch.setattr(pointer, "_network", dots)
    got = pointer.points(drawn(points, 0.035 * size), box + np.array([0.05 * size, -0.04 * size, 0, 0]))
    inside = (points > 1).all(axis=1)
    assert np.abs(got - points)[inside].max() < 0.02 * size + 0.1
    if inside.all():
        places = (Dots().run(dots.views[-1])[0].reshape(5, 2)) * SIDE + (SIDE - 1) / 2
        assert np.abs(places - PLACES).max() < 1.0


@pytest.mark.parametrize("middle", [(100.0, 80.0), (18.0, 140.0), (180.0, 22.0)])
def test_beyond_the_picture_its_edge_is_repeated(monkeypatch, middle) -> None:
    """As in a picture whose edge was repeated before; also in one wider than OpenCV warps."""
    points, box = posed(40, 10, middle)
    picture, pointer, dots = drawn(points, 1.5), Pointer(card()), Dots()
    monkeypatch.setattr(pointer, "_network", dots)
    found = pointer.points(picture, box)
    framed = cv2.copyMakeBorder(picture, 90, 90, 90, 90, cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(pointer.points(framed, box + np.array([90, 90, 0, 0])), found + 90, atol=0.02)
    wide = cv2.copyMakeBorder(picture, 0, 0, 0, 40_000, cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(pointer.points(wide, box), found, atol=0.02)


def test_points_far_from_their_box_are_not_believed(tmp_path: Path, monkeypatch) -> None:
    contract = make_contract({"size": [0, 0], "alignment": ""})
    finder = Finder(ModelCard("finder", "detector", tmp_path / "no.onnx", "", "none", contract))
    kept = np.full((5, 2), 30.0)
    for place, believed in ((31.0, True), (300.0, False), (np.nan, False)):
        at = type("At", (), {"points": lambda self, image, box, place=place: np.full((5, 2), place)})
        monkeypatch.setattr(finder, "_pointer", at())
        got = finder._closer(np.zeros((60, 60, 3), np.uint8), np.array([20.0, 20.0, 20.0, 20.0]), kept)
        assert np.array_equal(got, kept) != believed
    broken = Pointer(card())
    monkeypatch.setattr(broken, "_network", type("NaN", (), {"run": lambda self, p: np.full((2, 10), np.nan, np.float32)})())
    monkeypatch.setattr(finder, "_pointer", broken)
    assert np.array_equal(finder._closer(np.zeros((60, 60, 3), np.uint8), np.array([20.0, 20.0, 20.0, 20.0]), kept), kept)


def test_the_mirror_image_undoes_what_a_network_errs_to_one_side(monkeypatch) -> None:
    points, box = posed(40, 0, (100, 80))
    picture, pointer = drawn(points, 1.5), Pointer(card())
    monkeypatch.setattr(pointer, "_network", Dots())
    want = pointer.points(picture, box)
    monkeypatch.setattr(pointer, "_network", Dots(error=(0.05, 0.0)))
    np.testing.assert_allclose(pointer.points(picture, box), want, atol=0.05)


def test_a_view_is_as_a_finder_box_and_as_the_arcface_crop_say() -> None:
    """The eyes of an upright face are 35.24 of 112 px apart in ArcFace's crop (networks.md section 1)."""
    assert PLACES[1, 0] - PLACES[0, 0] == pytest.approx(SCALE * (73.5318 - 38.2946))
    points, box = posed(BOXED * SIDE, 0, (39.5, 39.5))
    np.testing.assert_allclose(points, PLACES, atol=1e-9)
    np.testing.assert_allclose(similarity(points, PLACES), [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    np.testing.assert_allclose(box, [16, 16, 48, 48])


def test_only_a_pointer_points() -> None:
    with pytest.raises(ModelError, match="expected a pointer's card, 'dots' is a matcher"):
        Pointer(ModelCard("dots", "matcher", Path("x"), "", "none", make_contract({})))


def exported(folder: Path) -> Path:
    """A pointer as the recipe exports it, untrained."""
    torch = pytest.importorskip("torch", reason="the network definitions need torch (extra: export)")
    from meetmid.models.recipes.training import export

    from meetmid.networks import pointer as network

    assert network.SIDE == SIDE
    torch.manual_seed(0)
    folder.mkdir()
    net = network.Pointer(8).eval()
    net.head[3].bias.data = torch.from_numpy(((PLACES - (SIDE - 1) / 2) / SIDE).ravel()).float()
    facts = export(net, torch.zeros(1, 3, SIDE, SIDE), folder / "model.onnx", {0: "batch"}, half=True)
    write_card(folder / "card.toml", {
        "name": "mine", "task": "pointer", "file": "model.onnx", "sha256": facts["sha256"], "license": "none",
        "contract": {"size": [SIDE, SIDE], "alignment": "", "input": "input", "output": "output"},
    })
    return folder


def test_a_finder_leaves_small_faces_to_its_partner(tmp_path: Path, monkeypatch, face) -> None:
    """The points of small faces are the pointer's, those of large ones the finder's; both networks' hashes name the detector;
    a pickle finds the same."""
    folder = exported(tmp_path / "pointer")
    contract = make_contract({"size": [0, 0], "alignment": ""})
    alone = Finder(ModelCard("finder", "detector", tmp_path / "no.onnx", "ab", "none", contract), device="cpu")
    both = Finder(ModelCard("finder", "detector", tmp_path / "no.onnx", "ab", "none", contract, partner=folder), device="cpu")
    assert identity(alone) == "ab"
    assert identity(both) != identity(alone)
    picture = face(3, 200)
    for size in (SMALL - 1, SMALL + 1):
        box = np.array([20.0, 30.0, size, size])
        kept = np.full((5, 2), 7.0)
        blind = type("Blind", (), {"run": lambda self, pictures: np.full((2, 525, 15), -20, np.float32)})
        monkeypatch.setattr(both, "_network", blind())
        got = both._closer(picture, box, kept)
        assert np.array_equal(got, kept) == (size > SMALL)
        if size < SMALL:
            again = pickle.loads(pickle.dumps(both._pointer)).points(picture, box)
            assert np.array_equal(got, again)
            assert np.abs(got - (box[:2] + size / 2)).max() < size  # in the box


def test_a_partner_that_is_not_there_is_told(tmp_path: Path) -> None:
    contract = make_contract({"size": [0, 0], "alignment": ""})
    with pytest.raises(ModelError, match="detector 'finder': expected its partner, the pointer, in"):
        Finder(ModelCard("finder", "detector", tmp_path / "x", "", "none", contract, partner=tmp_path / "gone"))


def test_a_view_keeps_its_face(face) -> None:
    """What the recipe draws: points follow the picture, mirrored or not, however it is caught."""
    pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")
    from meetmid.models.recipes import pointing

    middle = (pointing.CANVAS - 1) / 2
    points = (PLACES - (SIDE - 1) / 2) * pointing.SHARE * pointing.CANVAS / SIDE + middle
    canvas = drawn(points, 3.0, (pointing.CANVAS, pointing.CANVAS))
    errors = []
    for seed in range(40):
        mirror = seed % 2 == 1
        shown, places = pointing.view(canvas, points, mirror, np.random.default_rng(seed))
        again, _ = pointing.view(canvas, points, mirror, np.random.default_rng(seed))
        assert shown.shape == (SIDE, SIDE, 3)
        assert np.array_equal(shown, again)
        number = 2  # the nose: blue, and no other dot near
        apart = np.linalg.norm(shown.astype(float) - COLOURS[number], axis=2)
        weight = np.clip(110 - apart, 0, None)
        if weight.sum() > 200:  # not where light and noise hide it
            y, x = np.mgrid[:SIDE, :SIDE]
            seen = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
            errors.append(np.hypot(*(places[2] - seen)))
    assert len(errors) > 10
    assert np.median(errors) < 1.5


def test_a_picture_is_turned_upright(face) -> None:
    pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")
    from meetmid.models.recipes import pointing

    points, _ = posed(40, 25, (100, 80))
    canvas, moved = pointing.upright(drawn(points, 1.5), points)
    assert canvas.shape == (pointing.CANVAS, pointing.CANVAS, 3)
    eyes = moved[1] - moved[0]
    assert abs(eyes[1]) < 0.5
    assert eyes[0] == pytest.approx(pointing.SHARE * pointing.CANVAS / SIDE * (PLACES[1, 0] - PLACES[0, 0]), rel=0.02)
    known = pointing.Known(np.zeros((9, 1, 1, 3), np.uint8), np.zeros((9, 5, 2)), 6)
    chosen = known.drawn(4000, np.random.default_rng(0))
    assert (chosen < 6).mean() == pytest.approx(pointing.CHIPS, abs=0.03)
    assert set(chosen) == set(range(9))
