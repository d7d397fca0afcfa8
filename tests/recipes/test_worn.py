"""What is drawn on faces lies where it is worn, and published networks can be trained on."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import torch
from meetmid.models.recipes import pointing, scenes
from meetmid.models.recipes.reopening import continued, reopen
from meetmid.models.recipes.training import export
from meetmid.models.recipes.worn import OUTLINES, wear

from meetmid.networks.finder import Finder, FlatFinder
from meetmid.networks.pointer import SIDE, Pointer

POINTS = np.array([[80.0, 90], [120, 90], [100, 112], [84, 135], [116, 135]])
HIDES = {"mask": (3, 4), "scarf": (3, 4), "glasses": (0, 1), "hat": ()}
"""Of the five points."""


@pytest.mark.parametrize("kind", list(OUTLINES))
@pytest.mark.parametrize("angle", [0, 40])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_it_hides_what_it_would(kind, angle, dtype, monkeypatch) -> None:
    monkeypatch.setattr("meetmid.models.recipes.worn.SHARES", {kind: 1.0})
    turn = cv2.getRotationMatrix2D((100.0, 100.0), angle, 1.0)
    points = POINTS @ turn[:, :2].T + turn[:, 2]
    hidden = np.zeros(5, int)
    for seed in range(40):
        picture = np.full((200, 200, 3), 131, dtype)
        wear(picture, points, np.random.default_rng(seed))
        assert picture.dtype == dtype
        changed = (picture != 131).any(axis=2)
        assert changed.any()
        hidden += changed[points[:, 1].round().astype(int), points[:, 0].round().astype(int)]
    assert (hidden[list(HIDES[kind])] >= 34).all()
    shown = [k for k in range(5) if k not in (*HIDES[kind], 2)]  # the nose is half in, half out
    assert (hidden[shown] <= 4).all()


def test_it_is_drawn_as_far_as_the_picture_reaches() -> None:
    for seed in range(60):
        for shift in ((-90, 0), (150, 0), (0, -150), (0, 90), (900, 900)):
            picture = np.zeros((200, 200, 3), np.uint8)
            wear(picture, POINTS + shift, np.random.default_rng(seed))
    assert not picture.any()


def test_scenes_without_are_as_they_were_and_with_keep_their_faces(known) -> None:
    plain, same, worn = (scenes.compose(known, (160, 200), (1, 5), **k) for k in ({}, {"worn": 0.0}, {"worn": 1.0}))
    assert np.array_equal(plain.picture, same.picture)
    assert not np.array_equal(plain.picture, worn.picture)
    assert np.array_equal(worn.boxes[:1], plain.boxes[:1])  # the draws are the same up to the first face
    assert np.array_equal(worn.points[:1], plain.points[:1])


def test_views_with_something_worn_keep_the_points() -> None:
    canvas, rng = np.full((176, 176, 3), 90, np.uint8), np.random.default_rng
    canvas.setflags(write=False)  # a mapped file
    points = (pointing.PLACES - (SIDE - 1) / 2) * pointing.SHARE * 176 / SIDE + 87.5
    pictures = [pointing.view(canvas, points, False, rng(3), worn=worn)[0] for worn in (0.0, 1.0)]
    assert not np.array_equal(*pictures)
    assert (canvas == 90).all()


def test_a_card_tells_every_stage_of_a_training(tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"a network")
    facts = {"steps": 3, "worn": 0.3}
    assert continued(None, facts) == facts
    (tmp_path / "card.toml").write_text("[training]\nrecipe = 'r'\nsteps = 20000\n")
    first = continued(tmp_path / "model.onnx", facts)
    digest = hashlib.sha256(b"a network").hexdigest()
    own = {"second_stage_steps": 3, "second_stage_worn": 0.3, "second_stage_began_with": digest}
    assert first == {"recipe": "r", "steps": 20000, **own}
    (tmp_path / "card.toml").write_text(f"[training]\nsteps = 20000\nsecond_stage_began_with = '{digest}'\n")
    assert continued(tmp_path / "model.onnx", facts)["third_stage_steps"] == 3


@pytest.mark.parametrize("kind", ["finder", "pointer"])
def test_a_published_network_does_the_same_when_it_is_trained_on(kind, tmp_path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    made, again = (Finder(stem=8, width=16), Finder(stem=8, width=16)) if kind == "finder" else (Pointer(4), Pointer(4))
    side = 64 if kind == "finder" else SIDE
    batches = [torch.randn(6, 3, side, side) for _ in range(3)]
    for batch in batches:
        made.train()(batch)  # statistics of its own
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
            torch.nn.init.normal_(module.bias)
    wrapped = FlatFinder(made.eval()) if kind == "finder" else made.eval()
    export(wrapped, batches[0][:1], tmp_path / "model.onnx", {0: "batch"}, {0: "batch"}, half=True)
    reopen(again, tmp_path / "model.onnx", batches)
    theirs = FlatFinder(again) if kind == "finder" else again
    with torch.no_grad():
        want = wrapped(batches[0])
        torch.testing.assert_close(theirs.eval()(batches[0]), want, atol=2e-2, rtol=1e-2)  # the file holds half precision
        trained = theirs.train()(torch.cat(batches))[:6]
        torch.testing.assert_close(trained, want, atol=5e-2, rtol=2e-2)
    with pytest.raises(ValueError, match="holds another network than"):
        reopen(Finder(stem=8, width=24), tmp_path / "model.onnx", [torch.randn(2, 3, 64, 64)])
