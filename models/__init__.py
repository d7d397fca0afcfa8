"""The models: what is shipped, and what a user has added."""

from __future__ import annotations

from meetmid.runtime.registry import add_model as add
from meetmid.runtime.registry import get_model as get
from meetmid.runtime.registry import list_models as list

__all__ = ["add", "get", "list"]
