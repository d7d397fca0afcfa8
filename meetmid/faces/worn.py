"""Whether a face wears a mask, dark glasses or a hat, as a glance at its crop tells."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from meetmid.config import Cover
from meetmid.errors import ModelError
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.sessions import Network

KINDS: tuple[Cover, ...] = ("mask", "glasses", "hat")
"""What the outputs of a reader tell of, in their order."""

HIDES = "seems to hide a part of the face"
WORN: dict[Cover, str] = {"mask": "a mask or scarf", "glasses": "dark glasses", "hat": "a hat"}
SIDE = 32
"""Of what is looked at, in pixels."""


class Reader:
    """What a face wears, by the network of a ``reader`` card: so small that it runs on the CPU, in the thread that asks."""

    def __init__(self, card: ModelCard) -> None:
        if card.task != "reader":
            raise ModelError(f"expected a reader's card, {card.name!r} is a {card.task}")
        self.network = Network(card, device="cpu", threads=1)

    def worn(self, crop: NDArray[np.uint8], said: Cover = "nothing") -> Cover | None:
        """What is worn most surely, beside what was ``said`` to be, on a face whose crop (H, W, 3) uint8 RGB is aligned like
        ArcFace's; None where nothing seems to be."""
        odds = dict(zip(KINDS, self.network.run(glance(crop)[None])[0], strict=True))
        odds.pop(said, None)
        surest = max(odds, key=odds.__getitem__)
        return surest if odds[surest] > 0 else None


def glance(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The crop as (32, 32, 3)."""
    reduces = min(crop.shape[:2]) > SIDE
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA if reduces else cv2.INTER_CUBIC)
    return np.asarray(small, np.uint8)


def hides(kind: Cover) -> str:
    """What the status of an entry says of it."""
    return f"{WORN[kind]} {HIDES}"
