"""The presets, what a matcher's card changes of them, and what a Matcher's keywords change of both."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError
from meetmid.validation import known_fields

_PAPER = MatchConfig(preset="paper", crop="box", identity=False, paths="len<=3", centering="vector")

PATHS = (
    ("gauss_noise", "disk"), ("disk", "pshuf"), ("disk", "speckle"), ("disk", "gblur"), ("color", "motion"),
    ("persp", "gauss_noise"), ("persp", "disk"), ("gauss_noise", "pshuf"), ("disk", "color"), ("gauss_noise", "motion"),
    ("speckle", "persp"), ("shear", "disk"),
)
"""Best first, so that every beginning is the choice for fewer (benchmarks/selection.py, three matchers together)."""

SHARP_BETWEEN = (16.0, 50.0)
"""Where undegraded portraits begin to help and degraded ones cease to, in pixels of effective resolution: three matchers
together on the selection part (benchmarks/sharp.py)."""

DEGRADE_SIZE = 130
"""The longer side of the median crop that the paths were chosen on, so that they do the same to larger and smaller portraits
(benchmarks/portrait_sizes.py)."""

_SHORT = MatchConfig(
    hallucinator="edsr-recognition", scales=(4,), sigmas=(0.0,), paths=PATHS, probe_rule="T_add", gallery_rule="T_add",
    sharp_between=SHARP_BETWEEN, even_light=True, degrade_size=DEGRADE_SIZE,
)

PRESETS: dict[str, MatchConfig] = {
    "plain": MatchConfig(preset="plain", scales=(), paths="none", centering="none"),
    "fast": replace(_SHORT, preset="fast", paths=PATHS[:4]),
    "balanced": replace(_SHORT, preset="balanced"),
    "accurate": replace(_SHORT, preset="accurate", sigmas=(0.0, 0.4), identity_weight=2.0, flip=True),
    "paper": _PAPER,
    "paper-set": replace(_PAPER, preset="paper-set", centering="set"),
}


def preset(name: str) -> MatchConfig:
    """The named preset by itself (a matcher's card may change it: see ``Matcher(...).config``); raises ConfigError with the
    known names."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


ADVISABLE = frozenset((
    "scales", "sigmas", "hallucinator", "paths", "flip", "centering", "probe_rule", "gallery_rule", "identity_weight",
    "portrait_weight", "degraded_by", "score_norm", "sharp_between", "even_light",
))
"""What a matcher's card may say of a preset; who names a generator or its blurs decides on the first three himself."""


def advised(name: str, presets: dict[str, dict[str, Any]], *, lifted: bool = False) -> MatchConfig:
    """The named preset with the fields that a matcher's card gives for it, but for those of the probe's enlargement where the
    caller has ``lifted`` it; raises ConfigError for a field that a card may not give."""
    given = presets.get(name, {})
    strange = sorted(set(given) - ADVISABLE)
    if strange:
        raise ConfigError(f"a card's preset {name!r} gives {strange}; it may give {sorted(ADVISABLE)}")
    skipped = {"scales", "sigmas", "hallucinator"} if lifted else set()
    return replace(preset(name), **{key: value for key, value in given.items() if key not in skipped})


def configured(
    config: MatchConfig, matcher: str, hallucinator: Any, detector: Any, fusion: Any, options: dict[str, Any]
) -> MatchConfig:
    """A configuration with the keywords of a Matcher applied, its Z-norm, ``sharp_between`` and ``even_light`` left out where
    other keywords leave no room for them; raises ConfigError for unknown options."""
    changes: dict[str, Any] = {"matcher": matcher, **known_fields(options, MatchConfig, "options")}
    if hallucinator is not None:
        changes["hallucinator"] = os.fspath(hallucinator) if isinstance(hallucinator, os.PathLike) else hallucinator
    if isinstance(detector, str):
        changes["detector"] = detector
    if fusion is not None:
        if not isinstance(fusion, tuple | list) or len(fusion) != 2:
            raise ConfigError(f"fusion expects a pair (probe rule, gallery rule), got {fusion!r}")
        changes["probe_rule"], changes["gallery_rule"] = fusion
    made = replace(config, **{"score_norm": "none", "sharp_between": None, "even_light": False, **changes})
    kept: dict[str, Any] = {}
    if "score_norm" not in changes and made.additive:
        kept["score_norm"] = config.score_norm
    if "sharp_between" not in changes and made.comparable:
        kept["sharp_between"] = config.sharp_between
    if "even_light" not in changes and 1 not in made.scales:
        kept["even_light"] = config.even_light
    return replace(made, **kept)
