"""Contact sheets: every picture in its tile, synthetic ones marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meetmid.sheets import BACKGROUND, LINE, MARGIN, TILE, WARNING, contact_sheet, save_png


def flat(color: tuple[int, int, int], height: int = 9, width: int = 9) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def test_every_picture_is_in_its_tile() -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    sheet = contact_sheet([flat(c) for c in colors], ["a", "b", "c"], columns=2)
    step = TILE + MARGIN
    height = TILE + LINE + MARGIN
    assert sheet.shape == (MARGIN + 2 * height + MARGIN, MARGIN + 2 * step, 3)
    for k, color in enumerate(colors):
        y, x = MARGIN + (k // 2) * height, MARGIN + (k % 2) * step
        assert (sheet[y : y + TILE, x : x + TILE] == color).all()
    assert (sheet[MARGIN + height :, MARGIN + step :] == BACKGROUND).all()


@pytest.mark.parametrize(
    ("height", "width", "shown"), [(10, 20, (72, 144)), (400, 100, (144, 36)), (1, 1, (144, 144)), (1, 999, (1, 144))]
)
def test_shapes_are_kept(height: int, width: int, shown: tuple[int, int]) -> None:
    sheet = contact_sheet([flat((200, 0, 0), height, width)], [""])
    assert int((sheet == (200, 0, 0)).all(axis=2).sum()) == shown[0] * shown[1]


def test_pixels_of_small_pictures_stay_pixels() -> None:
    chess = np.array([[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]], np.uint8)
    tile = contact_sheet([chess], ["x"])[MARGIN : MARGIN + TILE, MARGIN : MARGIN + TILE]
    np.testing.assert_array_equal(tile, np.kron(chess, np.ones((72, 72, 1), np.uint8)))


def test_synthetic_pictures_are_marked_in_red() -> None:
    pictures = [flat((9, 9, 9)), flat((9, 9, 9))]
    marked = contact_sheet(pictures, ["a", "b"], columns=2, synthetic=[False, True])
    half = MARGIN + TILE
    red = (np.abs(marked.astype(int) - WARNING).sum(axis=2) < 60)
    assert red[:, half:].any()
    assert not red[:, :half].any()


def test_labels_stay_in_their_columns() -> None:
    long = "someone/with/a/very/long/path/to/a/picture_0001.png"
    sheet = contact_sheet([flat((9, 9, 9))] * 2, [long, ""], columns=2)
    right = sheet[MARGIN + TILE + 1 :, MARGIN + TILE + MARGIN :]
    assert (right == BACKGROUND).all()


def test_a_saved_picture_says_that_it_is_synthetic(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    save_png(tmp_path / "new" / "a.png", picture, synthetic=True)
    save_png(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "new" / "a.png") as made, Image.open(tmp_path / "b.png") as real:
        assert made.text["Comment"].startswith("synthetic: made by a super-resolution network")
        assert "Comment" not in real.text
        np.testing.assert_array_equal(np.array(made), picture)
        np.testing.assert_array_equal(np.array(real), picture)
