"""Pictures to templates through an ArcFace-style matcher."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Normalize
from meetmid.errors import ConfigError, ModelError
from meetmid.resize import Image, ResizeFilter, resize, rounded
from meetmid.runtime.sessions import BATCH, Network, check_contract

MOST = 8
"""Batches that run at once, at most."""


class Hypothesis(NamedTuple):
    """One picture (h, w, 3) float32 in [0, 1] and the (scale, hypothesis) slots that its template fills."""

    picture: Image
    slots: Sequence[tuple[int, int]]


class Fitted(NamedTuple):
    """A hypothesis at the size of the network that is to see it."""

    picture: Image
    slots: Sequence[tuple[int, int]]
    network: TemplateNetwork


class TemplateNetwork:
    """A matcher network with its card; shared by threads, pickled without its session."""

    def __init__(
        self,
        network: Network,
        *,
        flip: bool,
        normalize: Normalize,
        method: ResizeFilter = "bicubic",
        quantize: bool = False,
    ) -> None:
        card = network.card
        if card.task != "matcher":
            raise ModelError(f"matcher expects a model whose task is 'matcher', {card.name!r} is a {card.task}")
        self.network, self._flip, self._normalize = network, flip, normalize
        self._method, self._quantize = method, quantize
        self._length = card.contract.template_length

    @property
    def length(self) -> int:
        """Template length D."""
        if not self._length:
            self._length = check_contract(self.network.card)
        return self._length

    def check_comparable(self, other: TemplateNetwork) -> None:
        """Raise ConfigError unless the other network's templates can be compared with this one's."""
        if other is self:
            return
        ours, theirs = self.network.card, other.network.card
        if not ours.space or ours.space != theirs.space:
            raise ConfigError(
                f"matcher {ours.name!r} (template space {ours.space!r}) and gallery_matcher {theirs.name!r} ({theirs.space!r}) "
                f"must state the same template space in their cards (export them with space=NAME): templates of two spaces "
                f"cannot be compared"
            )
        if self.length != other.length:
            raise ConfigError(
                f"matcher {ours.name!r} gives templates of {self.length} numbers, gallery_matcher {theirs.name!r} of "
                f"{other.length}"
            )

    def same_crops(self, other: TemplateNetwork) -> bool:
        """Whether the other network expects faces aligned as this one does."""
        return self.network.card.contract.alignment == other.network.card.contract.alignment

    def check_same_crops(self, other: TemplateNetwork, why: str) -> None:
        """Raise ConfigError unless the other network expects faces aligned as this one does, whose crops it is shown."""
        ours, theirs = self.network.card, other.network.card
        if not self.same_crops(other):
            raise ConfigError(
                f"{why} shows the crops of {ours.name!r} (alignment {ours.contract.alignment!r}) to "
                f"{theirs.name!r} ({theirs.contract.alignment!r}): the two must be aligned alike"
            )

    def extract(self, hypotheses: Iterable[Hypothesis], templates: NDArray[np.float32], weights: NDArray[np.float32]) -> int:
        """Fill ``templates`` (S, N, D) slot by slot and set ``weights`` (S, N) to 0 where a template is unusable.

        Returns the number of dropped hypotheses: a template that is zero (norm < 1e-12) or not finite is never scored.
        """
        with Extraction() as extraction:
            for hypothesis in hypotheses:
                extraction.add(self.fitted(hypothesis), templates, weights)
            return extraction.finish()

    def fitted(self, hypothesis: Hypothesis) -> Fitted:
        """The hypothesis at the network's size."""
        picture = resize(hypothesis.picture, self.network.card.contract.size, method=self._method)
        return Fitted(rounded(picture, self._quantize), hypothesis.slots, self)

    def raw(self, pictures: NDArray[np.float32], *, alone: bool = False) -> NDArray[np.float32]:
        """(N, H, W, 3) float32 RGB in [0, 1] at the network's size to (N, D); with ``flip`` the sum of the picture's and
        its mirror image's template (networks.md question F8). ``alone`` as in :meth:`meetmid.runtime.sessions.Network.run`."""
        rows = self.network.run(pictures, alone=alone).reshape(len(pictures), -1)
        if self._flip:
            mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
            rows = rows + self.network.run(mirrored, alone=alone).reshape(len(pictures), -1)
        if rows.shape[1] != self.length:
            raise ModelError(
                f"matcher {self.network.card.name!r}: its card says template length {self.length}, got {rows.shape[1]}"
            )
        return normalized(rows, self._normalize)


Waiting = list[tuple[Fitted, NDArray[np.float32], NDArray[np.float32]]]


class Extraction:
    """Hypotheses of any number of faces on their way through their networks: each batch is as full as can be.

    Where there are many batches, each runs in one thread and many run at once: a batch that is split among all cores waits for
    the one that prepares the next pictures. A single batch has all cores. Use as a context manager.
    """

    def __init__(self) -> None:
        self._open: dict[TemplateNetwork, Waiting] = {}
        self._held: tuple[TemplateNetwork, Waiting] | None = None
        self._running: deque[Future[int]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._dropped = 0

    def __enter__(self) -> Extraction:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def add(self, fitted: Fitted, templates: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
        """One more hypothesis, for its slots in ``templates`` (S, N, D) and ``weights`` (S, N), which are filled by the time of
        :meth:`finish`."""
        waiting = self._open.setdefault(fitted.network, [])
        waiting.append((fitted, templates, weights))
        if len(waiting) == BATCH:
            self._full(fitted.network, self._open.pop(fitted.network))

    def finish(self) -> int:
        """Fill what is waiting; how many hypotheses were dropped since the last time, as :meth:`TemplateNetwork.extract`."""
        self._settle(0)
        for network, waiting in [*([self._held] if self._held else []), *self._open.items()]:
            self._dropped += _fill(network, waiting, alone=False)
        self._held, self._open = None, {}
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _full(self, network: TemplateNetwork, waiting: Waiting) -> None:
        if self._pool is None and self._held is None:
            self._held = network, waiting
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(MOST, network.network.threads), "meetmid-network")
        if self._held is not None:
            self._running.append(self._pool.submit(_fill, *self._held, alone=True))
            self._held = None
        self._running.append(self._pool.submit(_fill, network, waiting, alone=True))
        self._settle(2 * min(MOST, network.network.threads))

    def _settle(self, most: int) -> None:
        """Wait until no more than so many batches are under way."""
        while len(self._running) > most:
            self._dropped += self._running.popleft().result()


def _fill(network: TemplateNetwork, waiting: Waiting, *, alone: bool) -> int:
    """Run a batch and fill its slots; how many hypotheses were dropped."""
    dropped = 0
    rows = network.raw(np.stack([fitted.picture for fitted, _, _ in waiting]), alone=alone)
    for (fitted, templates, weights), row in zip(waiting, rows, strict=True):
        usable = bool(np.isfinite(row).all()) and float(np.linalg.norm(row)) >= 1e-12
        for scale, slot in fitted.slots:
            if usable:
                templates[scale, slot] = row
            else:
                weights[scale, slot] = 0.0
                dropped += 1
    return dropped


def normalized(rows: NDArray[np.float32], how: Normalize) -> NDArray[np.float32]:
    """Raw templates (N, D), at unit length (``"l2"``), or with zero mean and unit variance (``"standardize"``)."""
    if how == "raw":
        return rows
    values = rows.astype(np.float64)
    if how == "standardize":
        values = values - values.mean(axis=1, keepdims=True)
    norms = np.sqrt((values**2).sum(axis=1, keepdims=True))
    scale = np.sqrt(rows.shape[1]) if how == "standardize" else 1.0
    with np.errstate(invalid="ignore"):
        unit: NDArray[np.float32] = (scale * values / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit
