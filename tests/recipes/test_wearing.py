"""What the reader of worn things is trained on, and how rarely it is to tell of a bare face."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from meetmid.models.recipes import wearing  # noqa: E402

from meetmid.faces.worn import KINDS, SIDE  # noqa: E402
from meetmid.networks.wearing import Wearing  # noqa: E402


@pytest.fixture
def canvases(face) -> np.ndarray:
    return np.stack([face(k, 128) for k in range(6)])


def test_batches_are_drawn_anew_and_again(canvases) -> None:
    pictures, wanted = wearing.batch_of(canvases, 400, (1, 2))
    again, same = wearing.batch_of(canvases, 400, (1, 2))
    assert pictures.shape == (400, SIDE, SIDE, 3)
    assert pictures.dtype == np.uint8
    assert np.array_equal(pictures, again)
    assert np.array_equal(wanted, same)
    assert set(wanted.sum(axis=1)) == {0.0, 1.0}
    assert (wanted.sum(axis=1) == 0).mean() == pytest.approx(wearing.BARE, abs=0.08)
    assert wanted.sum(axis=0) / wanted.sum() == pytest.approx(wearing.SHARES, abs=0.1)


@pytest.mark.parametrize(("kind", "rows"), [("mask", slice(23, 30)), ("glasses", slice(12, 17)), ("hat", slice(0, 6))])
def test_what_is_drawn_lies_where_it_is_worn(face, monkeypatch, kind, rows) -> None:
    monkeypatch.setattr(wearing, "far", lambda canvas, *_: canvas[8:120, 8:120])  # as ArcFace aligns it
    monkeypatch.setattr(wearing, "LIT", 0.0)
    canvas = np.full((128, 128, 3), 128, np.uint8)
    moved = np.zeros((SIDE, SIDE))
    for k in range(20):
        shown = wearing.seen(canvas, kind, np.random.default_rng(k)).astype(int)
        moved += np.abs(shown - 128).max(axis=2)
    middle = moved[:, 12:20].mean(axis=1)
    assert middle[rows].min() > 3 * np.median(moved)
    assert (canvas == 128).all()
    assert np.array_equal(wearing.seen(canvas, "", np.random.default_rng(0)), np.full((SIDE, SIDE, 3), 128))


def test_light_is_that_of_a_lamp(face) -> None:
    canvas = np.full((128, 128, 3), 100, np.uint8)
    sides = []
    for k in range(60):
        lit = wearing.lit(canvas, np.random.default_rng(k)).astype(float)
        assert lit.shape == canvas.shape
        assert (np.ptp(lit, axis=(0, 1)) == 0).all() or np.ptp(lit, axis=(0, 1)).min() > 1  # alike everywhere, or by a lamp
        sides.append((lit[:64].mean() > lit[64:].mean() + 2, lit[:, :64].mean() > lit[:, 64:].mean() + 2))
    assert 0.1 < np.mean(sides) < 0.5  # from any side


def test_bare_faces_are_rarely_told_of(canvases, monkeypatch) -> None:
    torch.manual_seed(0)
    network = Wearing(len(KINDS)).eval()
    many = np.repeat(canvases, 40, axis=0)
    monkeypatch.setattr(wearing, "RARELY", 0.1)
    wearing.doubting(network, many)
    assert (network.doubt >= 0).all()
    rng = np.random.default_rng((wearing.SEED, 1))
    with torch.no_grad():
        odds = network(wearing.planes(np.stack([wearing.seen(canvas, "", rng) for canvas in many])))
    assert ((odds > 0).float().mean(dim=0) <= 0.1 + 1e-6).all()
    doubted = network.doubt > 0
    assert ((odds > 0).float().mean(dim=0)[doubted] > 0.08).all()
