"""The recipe that makes a matcher's variant in eight bits, on a small matcher and drawn faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export extra is not installed")
pytest.importorskip("torch", reason="the export extra is not installed")

from meetmid.models.recipes import eight_bits

from meetmid.runtime.cards import read_card
from meetmid.runtime.registry import reduced_model
from meetmid.runtime.sessions import Network


def test_the_variant_is_published_and_named_by_the_whole(tmp_path: Path, make_matcher, face, monkeypatch) -> None:
    whole = make_matcher(tmp_path / "small", name="small")
    text = whole.path.with_name("card.toml").read_text()
    whole.path.with_name("card.toml").write_text(text + '\n[figures]\npeople = "nobody"\n\n[presets]\nfast = {flip = true}\n')
    (tmp_path / "small_int8").mkdir()
    asked: list[tuple[str, object]] = []

    def cohort(data: Path, template: object, people: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        asked.append(("cohort", people))
        return [face(k, 20) for k in range(people)], [face(k, 112) for k in range(people)]

    def verification(data: Path, template: object, size: tuple, run: object, reduced: tuple) -> dict[str, str]:
        asked.append(("verification", (size, reduced)))
        return {"lfw_pairs": "some"}

    monkeypatch.setattr(eight_bits, "MODELS", tmp_path)
    monkeypatch.setattr(eight_bits, "PEOPLE", 6)
    monkeypatch.setattr(eight_bits, "cohort", cohort)
    monkeypatch.setattr(eight_bits, "verification", verification)
    monkeypatch.setattr(eight_bits, "add_means", lambda folder, data: asked.append(("means", folder)))
    monkeypatch.setattr("sys.argv", ["train.py", "--data", "nowhere"])
    eight_bits.main("small")

    assert asked == [("cohort", 12), ("verification", ((32, 32), (24, 16))), ("means", tmp_path / "small_int8")]
    less = reduced_model(read_card(tmp_path / "small" / "card.toml"), "cpu")
    less.verify()
    assert (less.name, less.contract, less.variants, less.presets) == ("small-int8", whole.contract, {}, {})
    assert less.facts["figures"] == {"people": "nobody", "lfw_pairs": "some"}
    assert 0.98 < less.facts["export"]["cosine_with_full"] < 1
    pictures = np.random.default_rng(0).random((5, 32, 32, 3)).astype(np.float32)
    ours, full = (Network(card, device="cpu").run(pictures) for card in (less, whole))
    assert not np.array_equal(ours, full)
    assert np.abs(ours - full).max() < 0.5 * np.abs(full).max()
