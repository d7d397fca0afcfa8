"""Faces that the finder's recipes compose scenes of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from meetmid.faces.alignment import ARCFACE_112

if TYPE_CHECKING:
    from meetmid.models.recipes.scenes import KnownFace


@pytest.fixture
def known(face: Callable[..., np.ndarray]) -> list[KnownFace]:
    """Drawn faces of 80 px in pictures of 140."""
    from meetmid.models.recipes.scenes import KnownFace

    found = []
    for k in range(6):
        picture = cv2.copyMakeBorder(face(k, 80), 30, 30, 30, 30, cv2.BORDER_REFLECT_101)
        code = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        found.append(KnownFace(code, (36.0, 34.0, 62.0, 76.0), ARCFACE_112.scaled(80, 80) + 30))
    return found
