"""What a reader tells of faces, and where it is told."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meetmid.errors import ModelError
from meetmid.faces.worn import HIDES, KINDS, SIDE, Reader, glance, hides
from meetmid.runtime.cards import ModelCard
from meetmid.runtime.registry import get_model
from meetmid.runtime.sessions import Network


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch):
    """Makes readers tell one thing of every face, and keeps what they saw."""
    seen: list[np.ndarray] = []

    def tell(kind: str | None) -> list[np.ndarray]:
        monkeypatch.setattr(Reader, "worn", lambda _, crop, said: seen.append(crop) or kind)
        return seen

    return tell


@pytest.mark.parametrize(("odds", "expected"), [
    ((-3.0, -1.0, -2.0), None), ((0.0, -1.0, -2.0), None), ((0.1, -1.0, -2.0), "mask"), ((0.1, 0.3, -2.0), "glasses"),
    ((-9.0, -9.0, 7.0), "hat"),
])
def test_the_surest_of_what_seems_to_be_worn_is_told(reading, monkeypatch, odds, expected) -> None:
    reader = Reader(get_model("wearing"))
    monkeypatch.setattr(reader.network, "run", lambda pictures: np.array([odds], np.float32))
    assert reader.worn(np.zeros((24, 24, 3), np.uint8)) == expected


def test_the_network_that_ships_takes_crops_of_any_size(reading, face) -> None:
    reader = Reader(get_model("wearing"))
    for height, width in ((3, 5), (24, 24), (32, 32), (112, 96), (400, 300)):
        assert reader.worn(face(1, 400)[:height, :width]) in (None, *KINDS)
    assert reader.network.run(glance(face(1, 40))[None]).shape == (1, len(KINDS))
    again = pickle.loads(pickle.dumps(reader))
    assert np.array_equal(again.network.run(glance(face(1, 40))[None]), reader.network.run(glance(face(1, 40))[None]))


def test_a_glance_keeps_levels_and_size() -> None:
    for side in (8, 32, 100):
        seen = glance(np.full((side, side, 3), (10, 100, 250), np.uint8))
        assert seen.shape == (SIDE, SIDE, 3)
        assert (seen == (10, 100, 250)).all()
    blocks = np.repeat(np.repeat(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE), 3, 0), 3, 1)
    assert np.array_equal(glance(np.repeat(blocks[..., None], 3, 2))[..., 0], blocks[1::3, 1::3])


def test_another_model_is_refused(reading) -> None:
    card = get_model("wearing")
    with pytest.raises(ModelError, match="expected a reader's card, 'wearing' is a pointer"):
        Reader(replace(card, task="pointer"))
    with pytest.raises(ModelError, match="expected the file"):
        Reader(ModelCard(**{**vars(card), "path": Path("nowhere.onnx")})).worn(np.zeros((9, 9, 3), np.uint8))


def test_both_sides_are_told_of_and_no_score_changes(small, face, always) -> None:
    seen = always("mask")
    probes, portraits = [face(1, 20), [face(2, 20), face(3, 20)], b"broken"], [face(4, 64), face(5, 64)]
    with small(errors="record") as matcher:
        result = matcher.match(probes, portraits)
        assert len(seen) == 5
        assert result.probe_status[0] == f"ok: {hides('mask')}"
        assert result.probe_status[1].count(HIDES) == 1  # of two pictures
        assert HIDES not in result.probe_status[2]
        assert all(HIDES in status for status in result.gallery_status)
        assert f"2 of 3 probes: something {HIDES}: see their status and covered_by" in result.warnings
        assert f"2 of 2 portraits: something {HIDES}: see their status" in result.warnings
        enrolled = matcher.enroll(portraits)
        assert all(HIDES in status for status in enrolled.status)
        again = matcher.match(probes, enrolled)
        assert not any("portraits" in warning for warning in again.warnings)  # told when they were enrolled
        assert again.scores.tobytes() == result.scores.tobytes()
    always(None)
    with small(errors="record") as matcher:
        plain = matcher.match(probes, portraits)
        assert not any(HIDES in status for status in plain.probe_status)
        assert plain.scores.tobytes() == result.scores.tobytes()
        assert not any(HIDES in warning for warning in plain.warnings)


@pytest.mark.parametrize(("said", "told"), [("nothing", "mask"), ("mask", "hat"), ("hat", "mask")])
def test_what_was_said_already_is_not_told(reading, monkeypatch, small, face, said, told) -> None:
    monkeypatch.setattr(Network, "run", answering(Network.run, (5.0, -1.0, 4.0)))
    with small(covered_by=said, centering="none") as matcher:
        status = matcher.match([face(1, 40)], [face(2, 64)]).probe_status[0]
        assert hides(told) in status
        assert status.count(HIDES) == 1


def answering(run, odds: tuple[float, ...]):
    """As networks run, but readers always find these odds."""
    return lambda self, *given, **named: (
        np.array([odds], np.float32) if self.card.task == "reader" else run(self, *given, **named)
    )


def test_crops_that_are_not_aligned_are_not_looked_at(small, face, always, make_matcher, tmp_path) -> None:
    seen = always("mask")
    with small(crop="box") as matcher:
        assert matcher.equipment.reader is None
        assert HIDES not in matcher.match([face(1, 20)], [face(2, 64)]).probe_status[0]
    with small() as matcher:
        box, picture = np.array([[10.0, 10, 30, 30]]), face(1, 60)
        assert HIDES not in matcher.match([picture], [face(2, 64)], faces={"probe": box, "gallery": "crop"}).probe_status[0]
        assert len(seen) == 1  # the portrait
        points = np.array([[[20.0, 20], [40, 20], [30, 30], [22, 40], [38, 40]]])
        assert HIDES in matcher.match([picture], [face(2, 64)], faces={"probe": points}).probe_status[0]
    other = make_matcher(tmp_path / "other", alignment="lightcnn-128", space="one")
    own = make_matcher(tmp_path / "own", space="one")
    with small(matcher=own, gallery_matcher=other) as matcher:
        result = matcher.match([face(1, 20)], [face(2, 64)])
        assert HIDES in result.probe_status[0]
        assert HIDES not in result.gallery_status[0]


def test_its_session_is_closed_with_the_matcher(reading, small, face) -> None:
    with small() as matcher:
        matcher.match([face(1, 20)], [face(2, 64)])
        reader = matcher.equipment.reader
        assert reader is not None
        assert reader.network._session is not None
    assert reader.network._session is None
