"""meetmid: match faces across resolutions.

    import meetmid
    result = meetmid.match(probe, gallery)      # (P, G) similarities, and why

Importing the package loads nothing but the standard library; every name below is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import meetmid.models as models
    from meetmid import evaluation
    from meetmid.config import DegradationOptions, MatchConfig
    from meetmid.errors import (
        Cancelled,
        ConfigError,
        DeviceError,
        InputError,
        MeetmidError,
        ModelError,
        StoreError,
    )
    from meetmid.export import export_onnx
    from meetmid.faces.crops import Face
    from meetmid.faces.finding import find_faces
    from meetmid.gallery.degrading import degrade
    from meetmid.gallery.paths import degradation_paths
    from meetmid.gallery.store import Gallery
    from meetmid.matcher import Matcher, match
    from meetmid.plan import Plan
    from meetmid.presets import PRESETS
    from meetmid.probes.hallucination import hallucinate
    from meetmid.result import Explanation, MatchResult
    from meetmid.scores.fusion import fuse
    from meetmid.scores.ranking import Candidate
    from meetmid.scores.scoring import Fused
    from meetmid.templates.centering import ReferenceMeans
    from meetmid.tuning.result import Tuned
    from meetmid.tuning.run import tune

_HOME = {
    "Cancelled": "errors", "ConfigError": "errors", "DeviceError": "errors", "InputError": "errors",
    "MeetmidError": "errors", "ModelError": "errors", "StoreError": "errors",
    "export_onnx": "export", "PRESETS": "presets", "DegradationOptions": "config", "MatchConfig": "config",
    "Face": "faces.crops", "find_faces": "faces.finding",
    "degrade": "gallery.degrading", "degradation_paths": "gallery.paths", "Gallery": "gallery.store",
    "Matcher": "matcher", "match": "matcher", "Plan": "plan", "hallucinate": "probes.hallucination",
    "Explanation": "result", "MatchResult": "result", "Fused": "scores.scoring", "fuse": "scores.fusion",
    "Candidate": "scores.ranking", "ReferenceMeans": "templates.centering",
    "Tuned": "tuning.result", "tune": "tuning.run",
}

__version__ = "0.1.0"
__all__ = [
    "PRESETS", "Cancelled", "Candidate", "ConfigError", "DegradationOptions", "DeviceError", "Explanation", "Face",
    "Fused", "Gallery", "InputError", "MatchConfig", "MatchResult", "Matcher", "MeetmidError", "ModelError", "Plan",
    "ReferenceMeans", "StoreError", "Tuned", "degradation_paths", "degrade", "evaluation", "export_onnx", "find_faces", "fuse",
    "hallucinate", "match", "models", "tune",
]


def __getattr__(name: str) -> Any:
    if name in ("models", "evaluation"):
        return import_module(f"meetmid.{name}")
    if name in _HOME:
        return getattr(import_module(f"meetmid.{_HOME[name]}"), name)
    raise AttributeError(f"module 'meetmid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
