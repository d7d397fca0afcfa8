"""Progress is reported after every step, and False cancels."""

from __future__ import annotations

import pytest

from meetmid.errors import Cancelled, MeetmidError
from meetmid.runtime.progress import Progress


def test_every_step_is_told() -> None:
    seen: list[tuple[int, int, str]] = []
    progress = Progress(lambda *step: seen.append(step), "probe", 3)
    for _ in range(3):
        progress.step()
    assert seen == [(1, 3, "probe"), (2, 3, "probe"), (3, 3, "probe")]


def test_only_false_cancels() -> None:
    for answer in (None, True, 0):
        Progress(lambda *_, answer=answer: answer, "probe", 2).step()
    progress = Progress(lambda done, total, stage: done < 2, "gallery", 5)
    progress.step()
    with pytest.raises(Cancelled, match="cancelled by the progress callback during gallery at 2 of 5") as stopped:
        progress.step()
    assert isinstance(stopped.value, MeetmidError)


def test_nobody_need_listen() -> None:
    Progress(None, "probe", 1).step()
