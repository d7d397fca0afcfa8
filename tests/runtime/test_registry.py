"""The registry against damage and odd names. The common cases are in test_models.py."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import meetmid
from meetmid.errors import ModelError
from meetmid.runtime.cards import write_card
from meetmid.runtime.registry import get_family, user_folder


def test_a_damaged_card_hides_no_shipped_model(own_model_folder: Path, tmp_path: Path, make_matcher) -> None:
    (own_model_folder / "broken").mkdir()
    (own_model_folder / "broken" / "card.toml").write_text("name = [")
    assert meetmid.models.get("midface-s").name == "midface-s"
    card = make_matcher(tmp_path / "made")
    assert meetmid.models.add(card.path, name="mine", size=[32, 32]).name == "mine"
    for ask in (meetmid.models.list, lambda: meetmid.models.get("nobody")):
        with pytest.raises(ModelError, match=r"broken.card\.toml is not valid TOML"):
            ask()


def test_what_is_still_being_added_is_not_listed(own_model_folder: Path) -> None:
    before = [card.name for card in meetmid.models.list()]
    (own_model_folder / ".adding-x").mkdir()
    (own_model_folder / ".adding-x" / "card.toml").write_text("half a ca")
    assert [card.name for card in meetmid.models.list()] == before


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a b", "x.onnx", "c:d", "a\nb"])
def test_names_that_could_not_be_asked_for_are_refused(name: str, tmp_path: Path, make_matcher) -> None:
    card = make_matcher(tmp_path / "made")
    with pytest.raises(ModelError, match="a model name expects letters, digits"):
        meetmid.models.add(card.path, name=name, size=[32, 32])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "poet"}, "task expects one of"),
        ({"like": "edsr", "size": [32, 32]}, "needs a size"),
        ({"colour": "rgb"}, "unknown contract keys"),
        ({"template_length": 7, "size": [32, 32]}, "template length 7, got 24"),
        ({}, "does its card's contract state the right size"),
        ({"size": [32, 32], "input": "nothing"}, "refused an input"),
        ({"size": [32, 32], "task": "hallucinator", "scale": 2}, "expected output"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    options: dict, message: str, tmp_path: Path, make_matcher, own_model_folder: Path
) -> None:
    card = make_matcher(tmp_path / "made")
    with pytest.raises(ModelError, match=message):
        meetmid.models.add(card.path, name="mine", **options)
    assert list(own_model_folder.iterdir()) == []


def test_a_file_that_needs_another_file_is_refused(tmp_path: Path, make_matcher, own_model_folder: Path) -> None:
    """Weights kept outside the .onnx file would stay behind, unverified."""
    model = onnx.load(make_matcher(tmp_path / "made").path)
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, size_threshold=0, location="weights.bin")
    with pytest.raises(ModelError, match="cannot load model"):
        meetmid.models.add(tmp_path / "split.onnx", size=[32, 32])
    assert list(own_model_folder.iterdir()) == []


def test_hallucinators_can_be_added_and_found(tmp_path: Path, make_hallucinator) -> None:
    card = make_hallucinator(tmp_path / "x3", 3)
    added = meetmid.models.add(card.path, name="triple", task="hallucinator", like="edsr", scale=3)
    assert get_family("triple", (3,)) == {3: added}
    assert get_family(str(added.path.parent), (3,)) == {3: added}
    with pytest.raises(ModelError, match=r"hallucinator 'triple' has no \[2\] x model; found .*triple 3x"):
        get_family("triple", (2,))


def test_the_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MEETMID_MODELS")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert user_folder() == tmp_path / ".cache" / "meetmid" / "models"
    assert meetmid.models.get("midface-s")  # a folder that is not there is no error
    monkeypatch.setenv("MEETMID_MODELS", str(tmp_path / "own"))
    assert user_folder() == tmp_path / "own"


def test_a_users_card_of_a_shipped_name_never_wins(own_model_folder: Path, tmp_path: Path, make_matcher) -> None:
    make_matcher(own_model_folder / "midface-s", name="midface-s")
    assert meetmid.models.get("midface-s").contract.template_length == 256


def test_a_folder_without_its_file_is_listed_but_never_run(own_model_folder: Path) -> None:
    (own_model_folder / "ghost").mkdir()
    write_card(own_model_folder / "ghost" / "card.toml", {
        "name": "ghost", "task": "matcher", "file": "model.onnx", "sha256": "00", "license": "MIT", "contract": {},
    })
    with pytest.raises(ModelError, match=r"expected the file .*ghost.model\.onnx, found none"):
        meetmid.models.get("ghost").verify()
