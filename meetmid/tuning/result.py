"""What tuning found, and its file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meetmid.config import MatchConfig
from meetmid.errors import ConfigError, StoreError
from meetmid.evaluation.held_out import RULE, HeldOut
from meetmid.interchange import write_text
from meetmid.matcher import Matcher

FORMAT = "meetmid-tuned-1"


@dataclass(frozen=True)
class Tuned:
    """A configuration for one matcher and one kind of far pictures, and what shows that it is better.

    ``config`` is the one to use: ``found``, or ``baseline`` (the preset ``preset``) where no gain is shown. ``held_out`` are
    the figures, all on people that the choice was not made on. ``probes`` says what the far pictures are, ``tried`` what was
    chosen among, ``models`` the sha256 of every model (and of the reference means), ``notes`` what a reader must know.
    ``failed`` (side, subject, reason) pictures do not count.
    """

    config: MatchConfig
    found: MatchConfig = field(repr=False)
    baseline: MatchConfig = field(repr=False)
    preset: str
    held_out: HeldOut
    probes: str
    tried: dict[str, Any]
    models: dict[str, str]
    versions: dict[str, str]
    notes: tuple[str, ...]
    failed: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)

    @property
    def pays(self) -> bool:
        """Whether a gain is shown: the 95 % interval of the paired difference lies above 0."""
        return self.held_out.pays

    def __str__(self) -> str:
        h = self.held_out
        shares = [f"{k}/{h.searches} = {100 * k / h.searches:.1f} %" for k in (h.hits, h.baseline_hits)]
        gain = f"{100 * h.gain.value:+.1f} points [{100 * h.gain.low:+.1f}, {100 * h.gain.high:+.1f}]"
        often = [f"{name} {100 * share:.0f} %" for name, share in sorted(h.frequency.items(), key=lambda item: -item[1])]
        told = [
            f"{h.people} people, {h.probes} probes ({self.probes})",
            f"rank-1 of held-out people in galleries of about {h.gallery} ({h.repeats} x {h.folds} folds):",
            f"  tuned     {shares[0]}", f"  {self.preset:<10}{shares[1]}",
            f"  gain      {gain}, 95 % interval over people",
        ]
        if self.pays:
            told.append(f"the tuned configuration is kept: {h.option}; degraded portraits: {', '.join(h.chosen) or 'none'}")
            told.append(f"  {h.shipped.templates} templates per probe and portrait together; chosen by this rule: {RULE}")
            told.append(f"  its list in the splits: mean Jaccard index {h.shipped.alike:.2f}; {', '.join(often) or 'empty'}")
        else:
            told.append(f"no gain is shown, so the configuration is that of {self.preset!r}; the best other one was {h.option}")
        told += [f"note: {note}" for note in self.notes]
        return "\n".join(told)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; no name of a person and no date."""
        h = self.held_out
        return {
            "format": FORMAT, "config": self.config.to_dict(), "pays": self.pays, "models": self.models,
            "found": self.found.to_dict(), "baseline": self.baseline.to_dict(), "preset": self.preset, "probes": self.probes,
            "held_out": {
                "people": h.people, "probes": h.probes, "gallery": h.gallery, "folds": h.folds, "repeats": h.repeats,
                "seed": h.seed, "searches": h.searches, "hits": h.hits, "baseline_hits": h.baseline_hits,
                "gain": [h.gain.value, h.gain.low, h.gain.high], "option": h.option, "chosen": list(h.chosen), "rule": RULE,
                "list": list(h.lists[h.option]), "alike": h.shipped.alike, "frequency": h.frequency,
                "beginnings": [
                    [b.option, b.length, b.templates, b.rate, b.gain.value, b.gain.low, b.gain.high, b.alike]
                    for b in h.beginnings
                ],
            },
            "tried": self.tried, "versions": self.versions, "notes": list(self.notes), "failures": len(self.failed),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, for ``--config`` and :func:`open_tuned`, whole or not at all; raises OSError."""
        write_text(path, json.dumps(self.to_dict(), indent=1))


def read_config(path: str | os.PathLike[str]) -> tuple[MatchConfig, dict[str, str]]:
    """The configuration in a file that :meth:`Tuned.save` wrote and the models that it is for, or in one that holds
    :meth:`meetmid.MatchConfig.to_dict`, which is for any. Raises StoreError or ConfigError."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict) or values.get("format", FORMAT) != FORMAT:
            raise ValueError("another format")
        config, models = (values["config"], values["models"]) if "format" in values else (values, {})
        if not isinstance(models, dict):
            raise ValueError("no models")
    except (OSError, ValueError, KeyError) as error:
        told = f"{os.fspath(path)}: expected a configuration ({FORMAT}), got {type(error).__name__}: {error}"
        raise StoreError(told) from error
    return MatchConfig.from_dict(config), {str(name): str(sha) for name, sha in models.items()}


def open_tuned(path: str | os.PathLike[str], **options: Any) -> Matcher:
    """A Matcher with the configuration in a file, ``options`` as it takes them. Raises ConfigError where the file was tuned for
    other models than these, and as :func:`read_config`."""
    config, models = read_config(path)
    matcher = Matcher(config=config, **options)
    check_models(matcher, models)
    return matcher


def models_of(matcher: Matcher) -> dict[str, str]:
    """The sha256 of what a matcher's scores depend on beside its configuration."""
    found = {network.card.name: network.card.sha256 for network in matcher.equipment.networks}
    return found | ({"reference means": matcher.reference.digest} if matcher.config.centering == "reference" else {})


def check_models(matcher: Matcher, models: dict[str, str]) -> None:
    """Raise ConfigError where a configuration was tuned for other models than the matcher has."""
    if models and models_of(matcher) != models:
        own = models_of(matcher)
        differing = sorted(name for name in {*own, *models} if own.get(name) != models.get(name))
        raise ConfigError(f"the configuration was tuned for other models: {', '.join(differing)} differ; tune it for these")
