"""What a Matcher works with: a configuration and the models that compute it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError
from meetmid.faces.alignment import TEMPLATES
from meetmid.faces.covers import has_rows
from meetmid.faces.detection import DEFAULT, Detector, Serial, open_detector
from meetmid.faces.finder import Finder
from meetmid.faces.worn import Reader
from meetmid.presets import PRESETS, advised, configured, preset
from meetmid.probes.hallucination import Hallucinator
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.registry import get_model, reduced_model
from meetmid.runtime.sessions import Network, kind_used
from meetmid.templates.extraction import TemplateNetwork

Named = str | os.PathLike[str] | ModelCard


@dataclass(frozen=True, eq=False)
class Equipment:
    """``config`` with the matchers of probes (``network``) and of portraits, the generators and the face detector that it
    names, and, where faces are aligned and no spectrum is translated, the ``reader`` that tells what they wear. Sessions open
    at first use, and again after :meth:`close`."""

    config: MatchConfig
    network: TemplateNetwork
    gallery_network: TemplateNetwork
    hallucinator: Hallucinator
    detector: Detector
    reader: Reader | None

    @property
    def card(self) -> ModelCard:
        """The card of the probes' matcher."""
        return self.network.network.card

    @property
    def networks(self) -> list[Network]:
        """What scores depend on: all but the detector's and the reader's."""
        return [self.network.network, self.gallery_network.network, *self.hallucinator.networks.values()]

    @property
    def space(self) -> str:
        """What reference means are bound to: the matcher's sha256, or those of both sides'."""
        return "+".join(dict.fromkeys(network.card.sha256 for network in self.networks[:2]))

    @property
    def has_partner(self) -> bool:
        """Whether the portraits are seen by the network that the matcher's card means for them, wherever its file lies."""
        meant = self.card if self.card.partner is None else get_model(self.card.partner)
        return self.gallery_network.network.card.sha256 == meant.sha256

    @property
    def measured(self) -> str:
        """What the card says was measured of the preset, where nothing about it was changed."""
        name, partner = self.config.preset, self.config.gallery_matcher
        if name not in PRESETS or not self.has_partner:
            return ""
        own = configured(advised(name, self.card.presets), self.card.name, None, None, None, {"gallery_matcher": partner})
        where = {"faces": self.config.faces, "color": self.config.color, "detector": self.config.detector}
        unchanged = replace(own, **where).hash() == self.config.hash()  # type: ignore[arg-type]
        return str(self.card.facts.get("rank_1", {}).get(name, "")) if unchanged else ""

    def close(self) -> None:
        """Release every session."""
        self.network.network.close()
        self.gallery_network.network.close()
        self.hallucinator.close()
        if isinstance(self.detector, Finder):
            self.detector.close()
        if self.reader is not None:
            self.reader.network.close()


def equip(
    name: str,
    config: MatchConfig | None,
    *,
    matcher: Named | None,
    gallery_matcher: Named | None,
    hallucinator: str | os.PathLike[str] | None,
    detector: str | Detector | None,
    fusion: tuple[str, str] | None,
    reduced: bool,
    device: str,
    threads: int | None,
    options: Mapping[str, Any],
) -> Equipment:
    """The preset ``name``, or the ``config`` where one is given, changed by the other keywords of :class:`meetmid.Matcher`,
    with its models. Raises ConfigError, ModelError or DeviceError."""
    if not isinstance(config, MatchConfig | None):
        raise ConfigError(f"config expects a MatchConfig, got {type(config).__name__}")
    if not isinstance(detector, str | None) and not hasattr(detector, "detect"):
        raise ConfigError(f"detector expects a name or an object with detect(), got {type(detector).__name__}")
    begun = preset(name) if config is None else config
    card = _card(matcher or begun.matcher)
    if reduced:
        card = reduced_model(card, kind_used(device))
    wanted = gallery_matcher or begun.gallery_matcher or card.partner
    other = card if wanted is None else _card(wanted)
    its = {**options, "gallery_matcher": other.name} if other is not card else options
    if config is None:
        begun = advised(name, card.presets, lifted=hallucinator is not None or "sigmas" in options)
    chosen = configured(begun, card.name, hallucinator, detector, fusion, dict(its))

    def templates(which: ModelCard) -> TemplateNetwork:
        made = chosen.degradations
        return TemplateNetwork(
            Network(which, device=device, threads=threads), flip=chosen.flip, normalize=chosen.normalize, method=made.resize,
            quantize=made.quantize,
        )

    network = templates(card)
    gallery_network = network if other is card else templates(other)
    presumed = config is None and "sharp_between" not in options
    chosen = _fitting(chosen, network, gallery_network, presumed)
    generators = Hallucinator(chosen.hallucinator, chosen.scales, device=device, threads=threads)
    for lr_size in chosen.sizes or (chosen.lr_side,):
        generators.check(lr_size)
    found = (
        open_detector(chosen.detector or DEFAULT, device=device, threads=threads)
        if isinstance(detector, str | None) else Serial(detector)
    )
    reader = Reader(get_model("wearing")) if chosen.crop == "arcface5" and 1 not in chosen.scales else None
    return Equipment(chosen, network, gallery_network, generators, found, reader)


def _card(model: Named) -> ModelCard:
    return model if isinstance(model, ModelCard) else get_model(model)


def _fitting(config: MatchConfig, network: TemplateNetwork, gallery_network: TemplateNetwork, presumed: bool) -> MatchConfig:
    """The configuration, without a ``sharp_between`` that is only ``presumed`` where both networks take other crops; raises
    ConfigError where the networks do not fit each other or what is asked of them."""
    network.check_comparable(gallery_network)
    if config.degraded_by == "probe":
        gallery_network.check_same_crops(network, "degraded_by='probe'")
    if config.sharp_between is not None:
        if presumed and not network.same_crops(gallery_network):
            config = replace(config, sharp_between=None)
        else:
            network.check_same_crops(gallery_network, f"sharp_between={config.sharp_between}")
    for aligned in {each.network.card.contract.alignment for each in (network, gallery_network)}:
        if config.covers and not has_rows(TEMPLATES[aligned]):
            raise ConfigError(
                f"covered_by={config.covered_by!r} expects matchers of faces aligned like ArcFace's, got {aligned!r}"
            )
    return config
