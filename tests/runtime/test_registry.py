"""The registry against damage and odd names. The common cases are in test_models.py."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import meetmid
from meetmid.errors import DeviceError, ModelError, StoreError
from meetmid.runtime import registry, sessions
from meetmid.runtime.cards import read_card, write_card
from meetmid.runtime.registry import get_family, reduced_model, user_folder


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if (r.name, r.levelno) == ("meetmid", logging.WARNING)]


@pytest.fixture
def damaged(own_model_folder: Path, tmp_path: Path, make_hallucinator) -> Path:
    """A damaged card of the user's before (in the order of reading) a healthy 2x model of the family "zoo"."""
    card = make_hallucinator(tmp_path / "zoo", 2)
    meetmid.models.add(card.path, name="zoo-x2", task="hallucinator", like="edsr", family="zoo", scale=2)
    path = own_model_folder / "broken" / "card.toml"
    path.parent.mkdir()
    path.write_text("name = [")
    return path


@pytest.mark.parametrize("content", [b"name = [", b"\xff\xfe", b'name = "broken"', None])
def test_a_damaged_card_hides_no_other_model(content: bytes | None, damaged: Path, caplog) -> None:
    damaged.unlink()
    damaged.mkdir() if content is None else damaged.write_bytes(content)
    for ask in (
        lambda: {"midface-s", "zoo-x2"} <= {card.name for card in meetmid.models.list()},
        lambda: meetmid.models.get("zoo-x2").name == "zoo-x2",
        lambda: get_family("zoo", (2,))[2].name == "zoo-x2",
    ):
        caplog.clear()
        assert ask()
        (message,) = warnings_of(caplog)
        assert str(damaged) in message
        assert "skipped a damaged model card" in message


def test_shipped_models_are_found_without_a_look_at_a_damaged_card(damaged: Path, caplog) -> None:
    assert meetmid.models.get("midface-s").name == "midface-s"
    assert set(get_family("edsr-face", (2, 4, 8))) == {2, 4, 8}
    assert warnings_of(caplog) == []


def test_a_damaged_model_asked_for_says_what_is_wrong(damaged: Path) -> None:
    for ask in (lambda: meetmid.models.get("broken"), lambda: get_family("broken", (2,)), lambda: read_card(damaged)):
        with pytest.raises(ModelError, match=r"broken.card\.toml is not valid TOML"):
            ask()
    with pytest.raises(ModelError, match=r"unknown model 'nobody'; known are .*zoo-x2"):
        meetmid.models.get("nobody")
    with pytest.raises(ModelError, match=r"hallucinator 'zoo' has no \[4\] x model; found .*zoo 2x"):
        get_family("zoo", (2, 4))


def test_a_damaged_model_can_be_added_anew(damaged: Path, tmp_path: Path, make_matcher) -> None:
    card = make_matcher(tmp_path / "made")
    meetmid.models.add(card.path, name="broken", size=[32, 32])
    assert meetmid.models.get("broken").contract.size == (32, 32)


def test_a_damaged_shipped_card_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shipped" / "a").mkdir(parents=True)
    (tmp_path / "shipped" / "a" / "card.toml").write_text("name = [")
    monkeypatch.setattr(registry, "_shipped_folder", lambda: tmp_path / "shipped")
    for ask in (meetmid.models.list, lambda: meetmid.models.get("x"), lambda: get_family("x", (2,))):
        with pytest.raises(ModelError, match=r"a.card\.toml is not valid TOML"):
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


@pytest.mark.parametrize("family", [None, "zoo"])
def test_the_family_is_in_the_card(family: str | None, tmp_path: Path, make_hallucinator) -> None:
    for scale in (2, 4):
        card = make_hallucinator(tmp_path / f"x{scale}", scale)
        added = meetmid.models.add(
            card.path, name=f"zoo-x{scale}", task="hallucinator", like="edsr", family=family, scale=scale
        )
        assert added.family == (family or f"zoo-x{scale}")
        assert f'family = "{added.family}"' in (added.path.parent / "card.toml").read_text()
    if family:
        assert {scale: card.name for scale, card in get_family("zoo", (4, 2)).items()} == {4: "zoo-x4", 2: "zoo-x2"}
    else:
        with pytest.raises(ModelError, match="hallucinator 'zoo' has no"):
            get_family("zoo", (2,))


def test_a_shipped_family_is_never_replaced(tmp_path: Path, make_hallucinator, caplog) -> None:
    for scale in (2, 3):
        card = make_hallucinator(tmp_path / f"x{scale}", scale)
        meetmid.models.add(card.path, name=f"mine-x{scale}", task="hallucinator", like="edsr", family="edsr-face", scale=scale)
    shipped = get_family("edsr-face", (2, 4))
    assert [card.name for card in shipped.values()] == ["edsr-face-x2", "edsr-face-x4"]
    found = get_family("edsr-face", (2, 3))
    assert [card.name for card in found.values()] == ["edsr-face-x2", "mine-x3"]
    (message,) = warnings_of(caplog)
    assert "mine-x2 is ignored: edsr-face-x2 is the 2x model of this family" in message
    assert get_family("mine-x2", (2,))[2].name == "mine-x2"


def test_no_more_cards_are_read_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(registry, "read_card", lambda path: read.append(path.parent.name) or read_card(path))
    get_family("edsr-face", (2,))
    assert read == ["edsr_face_x2"]
    read.clear()
    get_family("edsr-face", (8, 4))
    assert read == ["edsr_face_x2", "edsr_face_x4", "edsr_face_x8"]


def test_a_folder_given_by_its_path_is_read_as_a_whole(tmp_path: Path, make_hallucinator) -> None:
    for scale in (2, 4):
        make_hallucinator(tmp_path / "family" / f"x{scale}", scale)
    assert set(get_family(str(tmp_path / "family"), (4,))) == {4}
    assert get_family(str(tmp_path / "family" / "x2"), (2,))[2].contract.scale == 2
    (tmp_path / "family" / "x2" / "card.toml").write_text("name = [")
    with pytest.raises(ModelError, match=r"x2.card\.toml is not valid TOML"):
        get_family(str(tmp_path / "family"), (4,))


@pytest.mark.parametrize("options", [{"license": 3}, {"family": 3}, {"family": "a/b"}, {"family": ""}, {"family": "x.onnx"}])
def test_a_refused_model_replaces_none_that_works(options: dict, tmp_path: Path, make_matcher, own_model_folder: Path) -> None:
    card = make_matcher(tmp_path / "made")
    added = meetmid.models.add(card.path, name="mine", size=[32, 32])
    with pytest.raises(ModelError, match=r"a model family expects|expected a str under 'license'"):
        meetmid.models.add(card.path, name="mine", size=[32, 32], **options)
    assert [path.name for path in own_model_folder.iterdir()] == ["mine"]
    assert meetmid.models.get("mine") == added


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


@pytest.fixture
def pair(tmp_path: Path, make_matcher) -> Path:
    """A matcher whose card names another folder for the CPU."""
    for name, seed in (("whole", 0), ("less", 1)):
        make_matcher(tmp_path / name, name=name, seed=seed)
    path = tmp_path / "whole" / "card.toml"
    path.write_text(path.read_text() + '\n[variants]\ncpu = "../less"\n')
    return tmp_path / "whole"


def test_a_card_chooses_the_variant_of_a_device(pair: Path, face) -> None:
    options = {"preset": "plain", "matcher": pair, "device": "cpu", "faces": "crop"}
    pictures = [face(k, 40) for k in range(3)]
    with meetmid.Matcher(**options) as whole, meetmid.Matcher(**options, reduced=True) as less:
        assert (whole.card.name, less.card.name, less.config.matcher) == ("whole", "less", "less")
        assert less.network.network.card.path.parent.name == less.gallery_network.network.card.path.parent.name == "less"
        results = [matcher.match(pictures, pictures) for matcher in (whole, less)]
        assert [next(iter(found.models)) for found in results] == ["whole", "less"]
        assert np.abs(results[0].scores - results[1].scores).max() > 1e-3
        with pytest.raises(StoreError, match="enroll again"):  # a gallery of the one is not the other's
            less.match(pictures, whole.enroll(pictures))


def test_no_variant_is_no_silent_choice(pair: Path, make_matcher) -> None:
    card = read_card(pair / "card.toml")
    with pytest.raises(ModelError, match=r"'whole': its card names no variant of .* for cuda, only for cpu: leave"):
        reduced_model(card, "cuda")
    with pytest.raises(ModelError, match=r"'slimface-probe': .* no variant of .* for cpu: leave reduced out"):
        meetmid.Matcher(device="cpu", reduced=True)
    make_matcher(pair.parent / "less", name="less", size=40)
    with pytest.raises(ModelError, match="'less' expects another input or gives other templates"):
        reduced_model(card, "cpu")
    path = pair / "card.toml"
    path.write_text(path.read_text().replace('"../less"', "8"))
    with pytest.raises(ModelError, match=r"expected a folder under each of 'variants', got \['cpu'\] without"):
        read_card(path)


def test_the_device_that_is_meant_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(sessions, "import_onnxruntime", lambda: runtime)
    for gpu, device, kind in ((True, "auto", "cuda"), (False, "auto", "cpu"), (True, "cpu", "cpu"), (True, "cuda:1", "cuda")):
        monkeypatch.setattr(sessions, "nvidia_gpu_present", lambda gpu=gpu: gpu)
        assert sessions.kind_used(device) == kind
    with pytest.raises(DeviceError, match="offers only"):
        sessions.kind_used("openvino")


def test_the_shipped_variant_makes_the_templates_of_the_whole(face) -> None:
    pictures = [face(k, 112) for k in range(4)]
    templates = []
    for reduced in (False, True):
        with meetmid.Matcher("plain", matcher="midface-s", reduced=reduced, device="cpu", faces="crop") as matcher:
            templates.append(matcher.lift(pictures).pool.templates[:, 0, 0])
            assert matcher.card.name == ("midface-s-int8" if reduced else "midface-s")
    lengths = [np.linalg.norm(each, axis=1) for each in templates]
    cosines = (templates[0] * templates[1]).sum(axis=1) / (lengths[0] * lengths[1])
    assert cosines.min() > 0.97
    assert (templates[0] != templates[1]).all(axis=1).any()
