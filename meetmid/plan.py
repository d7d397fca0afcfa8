"""What a match costs before it is run."""

from __future__ import annotations

from dataclasses import dataclass

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError
from meetmid.gallery.hypotheses import GalleryLayouts
from meetmid.gallery.paths import format_path
from meetmid.probes.hallucination import Hallucinator
from meetmid.probes.hypotheses import scale_labels
from meetmid.runtime.cards import ModelCard
from meetmid.templates.extraction import TemplateNetwork


@dataclass(frozen=True)
class Plan:
    """Cost of a match of ``n_probes`` with ``n_gallery`` pictures.

    ``probe_templates`` and ``gallery_templates`` network runs in all, ``super_resolutions`` generator runs,
    ``similarities`` compared; ``flops`` (2 x multiply-adds) or None where a card does not state its cost;
    ``gallery_bytes`` of enrolled templates; ``stages``, the seconds that each stage is expected to take on this machine, as
    :class:`meetmid.MatchResult` tells them afterwards, and ``seconds`` of all, or None if not measured; ``rank_1``, what the
    matcher's card says was measured of this preset, if it is unchanged. Blur levels that collapse, sharp probes and very far
    ones make a real run cheaper.
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
    stages: dict[str, float] | None
    rank_1: str = ""

    @property
    def seconds(self) -> float | None:
        """Of all stages."""
        return None if self.stages is None else sum(self.stages.values())

    def __str__(self) -> str:
        flops = "unknown (a card states no cost)" if self.flops is None else f"{self.flops:.3g}"
        stages = self.stages or {}
        told = "not measured" if self.seconds is None else f"{self.seconds:,.1f}"
        rows = (
            ("preset", self.preset),
            ("probes x gallery", f"{self.n_probes} x {self.n_gallery}"),
            ("super-resolutions", f"{self.super_resolutions:,}"),
            ("probe templates", f"{self.probe_templates:,}"),
            ("gallery templates", f"{self.gallery_templates:,}"),
            ("similarities", f"{self.similarities:,}"),
            ("floating-point operations", flops),
            ("gallery store, bytes", f"{self.gallery_bytes:,}"),
            ("seconds here", told),
            *((f"  {name}", f"{seconds:,.1f}") for name, seconds in stages.items()),
            *([("rank-1 measured", self.rank_1)] if self.rank_1 else []),
        )
        return "\n".join(f"{name:<26}{value:>20}" for name, value in rows)


def make_plan(
    config: MatchConfig,
    networks: tuple[TemplateNetwork, TemplateNetwork],
    hallucinator: Hallucinator,
    n_probes: int,
    n_gallery: int,
    stages: dict[str, float] | None,
    *,
    enrolled: bool,
    rank_1: str = "",
) -> Plan:
    """See :meth:`meetmid.Matcher.plan`; ``stages`` of :func:`meetmid.timing.expected_seconds`."""
    layouts = GalleryLayouts.of(config)
    flips = 2 if config.flip else 1
    levels = len(config.sigmas) if config.scales else 0
    per_probe = levels * len(config.scales) + config.own_scales
    per_portrait = 0 if enrolled else layouts.networks_runs()
    as_they_are = config.own_scales * (config.sharp_between is not None and networks[0] is not networks[1])
    runs = (flips * n_probes * (per_probe + as_they_are), flips * n_gallery * per_portrait)
    sees_degraded = config.degraded_by == "probe" and not enrolled
    moved = flips * n_gallery * (per_portrait - layouts.undegraded_runs()) if sees_degraded else 0
    moved -= flips * n_probes * as_they_are
    of_network = (runs[0] + moved, runs[1] - moved)
    own = [network.network.card.gmac for network in networks]
    generated = [generator.card.gmac for generator in hallucinator.networks.values()]
    compared = n_probes * n_gallery * per_probe * max(sum(layout.counts()) for layout in layouts.each)
    flops = None
    length = networks[0].length
    if min(own + generated) > 0:
        multiplied = of_network[0] * own[0] + of_network[1] * own[1] + n_probes * levels * sum(generated)
        flops = 2e9 * multiplied + 2.0 * compared * length
    stored = n_gallery * len(scale_labels(config)) * layouts.slots * length * 4
    return Plan(
        config.preset, n_probes, n_gallery, n_probes * levels * len(config.scales), *runs, compared, flops, stored, stages,
        rank_1,
    )


def curve(card: ModelCard) -> str:
    """Accuracy against cost as a matcher's card has it: a line for every beginning of its list of gallery paths. Raises
    ConfigError for a card without one."""
    table = card.facts.get("curve")
    if not isinstance(table, dict):
        raise ConfigError(f"the card of {card.name!r} has no curve of accuracy against cost; `meetmid tune` measures yours")
    sizes = sorted((name for name in table if name.startswith("rank_1_")), key=lambda name: -int(name.split("_")[2][:-2]))
    names = [format_path(tuple(path)) for path in table["paths"]]
    header = "".join(f"{name[7:-2]:>5} px" for name in sizes)
    lines = [str(table["measured"]), f"{'templates a portrait':<22}{header}  path added"]
    for count, added in enumerate(["(the portrait)", *names]):
        rates = "".join(f"{table[name][count]:>8.1f}" for name in sizes)
        lines.append(f"{count + 1:<22}{rates}  {added}")
    return "\n".join(lines)
