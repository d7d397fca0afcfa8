"""What a match costs before it is run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meetmid.config import MatchConfig
from meetmid.gallery.hypotheses import GalleryLayout
from meetmid.probes.hallucination import Hallucinator
from meetmid.probes.hypotheses import scale_labels
from meetmid.runtime.sessions import BATCH
from meetmid.templates.extraction import TemplateNetwork


@dataclass(frozen=True)
class Plan:
    """Cost of a match of ``n_probes`` with ``n_gallery`` pictures.

    ``probe_templates`` and ``gallery_templates`` network runs in all, ``super_resolutions`` generator runs,
    ``similarities`` compared; ``flops`` (2 x multiply-adds) or None where a card does not state its cost;
    ``gallery_bytes`` of enrolled templates; ``seconds`` that the networks are expected to take on this machine (decoding,
    degrading, resizing and scoring come on top), or None if not measured. Blur levels that collapse make a real run cheaper.
    """

    preset: str
    n_probes: int
    n_gallery: int
    super_resolutions: int
    probe_templates: int
    gallery_templates: int
    similarities: int
    flops: float | None
    gallery_bytes: int
    seconds: float | None

    def __str__(self) -> str:
        flops = "unknown (a card states no cost)" if self.flops is None else f"{self.flops:.3g}"
        seconds = "not measured" if self.seconds is None else f"{self.seconds:.1f}"
        rows = (
            ("preset", self.preset),
            ("probes x gallery", f"{self.n_probes} x {self.n_gallery}"),
            ("super-resolutions", f"{self.super_resolutions:,}"),
            ("probe templates", f"{self.probe_templates:,}"),
            ("gallery templates", f"{self.gallery_templates:,}"),
            ("similarities", f"{self.similarities:,}"),
            ("floating-point operations", flops),
            ("gallery store, bytes", f"{self.gallery_bytes:,}"),
            ("network seconds here", seconds),
        )
        return "\n".join(f"{name:<26}{value:>20}" for name, value in rows)


def make_plan(
    config: MatchConfig,
    networks: tuple[TemplateNetwork, TemplateNetwork],
    hallucinator: Hallucinator,
    n_probes: int,
    n_gallery: int,
    *,
    measure: bool,
) -> Plan:
    """See :meth:`meetmid.Matcher.plan`."""
    layout = GalleryLayout.of(config)
    flips = 2 if config.flip else 1
    levels = len(config.sigmas) if config.scales else 0
    per_probe = levels * len(config.scales) + config.identity
    per_portrait = layout.networks_runs()
    runs = (flips * n_probes * per_probe, flips * n_gallery * per_portrait)
    moved = flips * n_gallery * (per_portrait - len(layout.identities)) if config.degraded_by == "probe" else 0
    of_network = (runs[0] + moved, runs[1] - moved)
    own = [network.network.card.gmac for network in networks]
    generated = [generator.card.gmac for generator in hallucinator.networks.values()]
    compared = n_probes * n_gallery * per_probe * sum(layout.counts())
    flops = None
    length = networks[0].length
    if min(own + generated) > 0:
        multiplied = of_network[0] * own[0] + of_network[1] * own[1] + n_probes * levels * sum(generated)
        flops = 2e9 * multiplied + 2.0 * compared * length
    seconds = None
    if measure:
        per_run = {network: _seconds(network, network.network.card.contract.size) for network in networks}
        templates = sum(count * per_run[network] for count, network in zip(of_network, networks, strict=True))
        generated_once = sum(_seconds_of(hallucinator, scale, config.lr_size or 24) for scale in config.scales)
        seconds = templates + n_probes * levels * generated_once
    stored = n_gallery * len(scale_labels(config)) * layout.slots * length * 4
    return Plan(
        config.preset, n_probes, n_gallery, n_probes * levels * len(config.scales), *runs, compared, flops, stored, seconds,
    )


def _seconds(network: TemplateNetwork, size: tuple[int, int]) -> float:
    """Seconds per template, the best of three full batches."""
    blank = np.zeros((BATCH, *size, 3), np.float32)
    return min(_time(lambda: network.raw(blank)) for _ in range(3)) / BATCH


def _seconds_of(hallucinator: Hallucinator, scale: int, side: int) -> float:
    blank = np.zeros((BATCH, side, side, 3), np.float32)
    return min(_time(lambda: hallucinator(blank, scale)) for _ in range(3)) / BATCH


def _time(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
