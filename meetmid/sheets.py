"""Contact sheets: one labelled picture of many hypotheses, because people would rather look than read."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from meetmid.interchange import aside

if TYPE_CHECKING:
    from meetmid.result import Explanation

TILE, MARGIN, LINE = 144, 8, 14
BACKGROUND, INK, WARNING = (250, 250, 250), (20, 20, 20), (176, 0, 32)
SYNTHETIC = "synthetic"


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]],
    labels: Sequence[str],
    *,
    title: str = "",
    columns: int | None = None,
    synthetic: Sequence[bool] | None = None,
) -> NDArray[np.uint8]:
    """Tile pictures (h, w, 3) uint8 RGB of any size with a label under each; returns one (H, W, 3) uint8 picture.

    Each picture is shown with its pixels visible (nearest neighbour) in a 144 px tile; synthetic ones are marked in red.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = columns or min(len(pictures), max(1, math.ceil(math.sqrt(1.6 * len(pictures)))))
    wrapped = [_wrap(label, 24) for label in labels]
    height = TILE + LINE * (max(len(lines) for lines in wrapped) + bool(synthetic)) + MARGIN
    top = MARGIN + (2 * LINE if title else 0)
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (MARGIN + columns * (TILE + MARGIN), top + rows * height + MARGIN), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    if title:
        draw.text((MARGIN, MARGIN), title, INK, font=ImageFont.load_default(size=15))
    for index, (picture, lines) in enumerate(zip(pictures, wrapped, strict=True)):
        x = MARGIN + (index % columns) * (TILE + MARGIN)
        y = top + (index // columns) * height
        scale = TILE / max(picture.shape[:2])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        filter_ = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
        sheet.paste(Image.fromarray(picture).resize(size, filter_), (x + (TILE - size[0]) // 2, y))
        for line, text in enumerate(lines):
            draw.text((x, y + TILE + 1 + LINE * line), text, INK, font=font)
        if synthetic is not None and synthetic[index]:
            draw.text((x, y + TILE + 1 + LINE * len(lines)), SYNTHETIC, WARNING, font=font)
    return np.array(sheet)


def explanation_sheet(explanations: Sequence[Explanation], title: str) -> NDArray[np.uint8]:
    """Per explanation the probe hypothesis and the gallery hypothesis that met, and the generator's heat map if it has one."""
    tiles: list[tuple[NDArray[np.uint8], str, bool]] = []
    for e in explanations:
        tiles.append((e.probe_picture, f"{e.probe_id}: {e.probe}", e.synthetic))
        if e.heat is not None:
            tiles.append((_heat_colours(e.heat), f"{e.probe_id}: what the generator attended to", False))
        tiles.append((e.gallery_picture, f"{e.gallery_id}: {e.gallery}; score {e.score:.3f}", False))
    pictures, labels, marks = zip(*tiles, strict=True)
    columns = 4 if len(tiles) == 2 * len(explanations) else 3
    return contact_sheet(pictures, labels, title=title, columns=columns, synthetic=marks)


def _heat_colours(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w) in [0, 1] from black over red and yellow to white."""
    return np.asarray(np.clip(3.0 * heat[..., None] - (0.0, 1.0, 2.0), 0.0, 1.0) * 255.0 + 0.5, np.uint8)


def save_png(path: str | os.PathLike[str], picture: NDArray[np.uint8], *, synthetic: bool = False) -> None:
    """Write an RGB picture; a synthetic one says so in its file (PNG text chunk "Comment")."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    if synthetic:
        info.add_text("Comment", "synthetic: made by a super-resolution network, no evidence of what a person looks like")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with aside(Path(path)) as new:
        Image.fromarray(picture).save(new, format="PNG", pnginfo=info)


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    words = [word[k : k + width] for word in text.replace("+", "+ ").split() for k in range(0, len(word), width)]
    for word in words:
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return [line.replace("+ ", "+") for line in lines]
