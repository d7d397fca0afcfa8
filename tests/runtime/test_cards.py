"""Cards: what is written is read back, and what is wrong is named. The common cases are in test_models.py."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.errors import ModelError
from meetmid.runtime.cards import Contract, ModelCard, make_contract, read_card, write_card

GOOD = {"name": "n", "task": "matcher", "file": "model.onnx", "sha256": "00", "license": "MIT", "contract": {}}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    TEXT, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.lists(st.integers(-9, 9)),
    st.lists(TEXT), st.dictionaries(TEXT, st.lists(TEXT)),
)


@given(st.dictionaries(TEXT, VALUES))
def test_any_table_survives(tmp_path_factory: pytest.TempPathFactory, table: dict) -> None:
    path = tmp_path_factory.getbasetemp() / "any-card.toml"
    write_card(path, {"x": 1, "table": table})
    assert tomllib.loads(path.read_text(encoding="utf-8"))["table"] == table


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    write_card(tmp_path / "card.toml", {"a": np.float64(1.5), "b": [np.float64(2.0)]})
    assert tomllib.loads((tmp_path / "card.toml").read_text()) == {"a": 1.5, "b": [2.0]}


@pytest.mark.parametrize("value", [None, {"a": None}, [{"b": b"x"}], b"x"])
def test_what_a_card_cannot_hold_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ModelError, match="a card holds strings, numbers, booleans, lists and tables, got"):
        write_card(tmp_path / "card.toml", {"table": {"key": value}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": 3}, "expected a str under 'family', got 3"),
        ({"summary": ["x"]}, "expected a str under 'summary'"),
        ({"gmac": "much"}, "expected a int or float under 'gmac', got 'much'"),
        ({"means": "means.npz"}, "expected a dict under 'means'"),
        ({"presets": "fast"}, "expected a dict under 'presets'"),
        ({"presets": {"fast": "len<=1"}}, r"expected fields of a configuration under each of 'presets', got \['fast'\]"),
        ({"contract": {"mean": 0.5}}, r"mean expects a value such as \(127.5, 127.5, 127.5\), got 0.5"),
        ({"contract": {"mean": [0.5, 0.5]}}, "mean expects a value such as"),
        ({"contract": {"std": ["a", "b", "c"]}}, "std expects a value such as"),
        ({"contract": {"size": [112.5, 112.5]}}, "size expects a value such as"),
        ({"contract": {"size": [112, -1]}}, r"size expects \(height, width\), or \(0, 0\) for any"),
        ({"contract": {"size": [0, 112]}}, r"size expects \(height, width\), or \(0, 0\) for any"),
        ({"contract": {"scale": "4"}}, "scale expects a value such as 1, got '4'"),
        ({"contract": {"scale": 0}}, "scale expects at least 1"),
        ({"contract": {"template_length": -1}}, "template_length at least 0"),
        ({"contract": {"template_length": True}}, "template_length expects a value such as 0, got True"),
        ({"contract": {"channels": ["rgb"]}}, "channels expects a value such as 'rgb'"),
        ({"contract": {"size": [0, 0]}}, r"needs a size \(height, width\) and an alignment"),
        ({"means": {"file": 3}}, "expected a file name under 'means', got 3"),
        ({"gmac": -1}, "multiply-adds under 'gmac', got -1"),
        ({"gmac": 10**400}, "multiply-adds under 'gmac', got 1000"),
        ({"contract": {"alignment": ""}}, r"needs a size \(height, width\) and an alignment"),
    ],
)
def test_wrong_values_are_refused_by_key(tmp_path: Path, change: dict, message: str) -> None:
    write_card(tmp_path / "card.toml", GOOD | change)
    with pytest.raises(ModelError, match=message):
        read_card(tmp_path / "card.toml")


@pytest.mark.parametrize("key", list(GOOD))
def test_missing_keys_are_named(tmp_path: Path, key: str) -> None:
    write_card(tmp_path / "card.toml", {k: v for k, v in GOOD.items() if k != key})
    with pytest.raises(ModelError, match=f"expected a .* under '{key}', got None"):
        read_card(tmp_path / "card.toml")


def test_a_card_that_is_not_text_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ModelError, match="is not valid TOML"):
        read_card(tmp_path / "card.toml")


def test_what_a_card_does_not_say_has_a_default(tmp_path: Path) -> None:
    write_card(tmp_path / "card.toml", GOOD | {"gmac": 1, "training": {"data": "x"}})
    card = read_card(tmp_path / "card.toml")
    assert card.contract == Contract()
    assert (card.family, card.summary, card.gmac, card.means) == ("n", "", 1.0, None)
    assert card.facts == {"training": {"data": "x"}}
    assert card.path == tmp_path / "model.onnx"
    assert card.reference_means() is None


def test_keywords_override_a_contract() -> None:
    base = Contract(channels="bgr", size=(96, 112))
    changed = make_contract({"mean": [0, 0, 0], "alignment": "arcface-96x112"}, base=base)
    assert changed == Contract(channels="bgr", size=(96, 112), mean=(0, 0, 0), alignment="arcface-96x112")


def test_a_task_is_checked_wherever_a_card_is_made(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="task expects one of"):
        ModelCard("n", "poet", tmp_path, "00", "MIT", Contract())  # type: ignore[arg-type]
