"""Faces and plots as the bytes that a page embeds."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meetmid.reporting.page import figure, paragraph, row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = 256
"""Longest side of an embedded face in pixels."""


def face(picture: NDArray[np.uint8] | None, alt: str, caption: str, *, synthetic: bool = False) -> str:
    """The figure of a face (h, w, 3) uint8 RGB, or of its absence."""
    from PIL import Image

    if picture is None:
        return f'<figure class="face"><figcaption>no picture was kept</figcaption>{paragraph(caption)}</figure>'
    shown = Image.fromarray(picture)
    if max(shown.size) > LARGEST:
        shown.thumbnail((LARGEST, LARGEST))
    data = io.BytesIO()
    shown.save(data, format="PNG")
    return figure(data.getvalue(), "png", alt, caption, synthetic=synthetic)


def plots(drawn: Iterable[tuple[Axes, str]]) -> list[str]:
    """Figures of axes, each with its caption, which is its alternative text too."""
    found = [figure(_svg(ax), "svg+xml", caption, caption, role="plot") for ax, caption in drawn]
    return [row(found)] if found else []


def _svg(ax: Axes) -> bytes:
    from matplotlib import rc_context

    data = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None, "Creator": None}
    with rc_context({"svg.hashsalt": "meetmid", "svg.fonttype": "path"}):  # the same run, the same bytes
        drawing = ax.get_figure(root=True)
        assert drawing is not None  # every plot is drawn into one
        drawing.savefig(data, format="svg", metadata=metadata)
    return data.getvalue()


def can_plot() -> bool:
    """Whether matplotlib is there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True
