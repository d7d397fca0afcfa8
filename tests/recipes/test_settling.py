"""The last layer of the probe network: the fit finds a turn that was made, and the fold is exact."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from meetmid.models.recipes.settling import fitted, fold, runner  # noqa: E402
from meetmid.models.recipes.training import export, restored  # noqa: E402

from meetmid.networks.slimface import SlimFace  # noqa: E402


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_templates_are_turned_and_shifted_as_said() -> None:
    torch.manual_seed(0)
    model = SlimFace(16).eval()
    turn, shift = 0.3 * torch.randn(16, 16), torch.randn(16)
    x = torch.randn(3, 3, 128, 128)
    with torch.no_grad():
        before = model(x)
        after = fold(model, turn, shift)(x)
    np.testing.assert_allclose(after, [t + turn @ t + shift for t in before], rtol=1e-3, atol=1e-3)


def test_published_weights_come_back(tmp_path) -> None:
    torch.manual_seed(1)
    model, other = SlimFace().eval(), SlimFace().eval()
    path = tmp_path / "model.onnx"
    export(model, torch.zeros(1, 3, 128, 128), path, {0: "batch"})
    restored(other, path)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    x = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        np.testing.assert_allclose(runner(path, 1)(x), model(x), rtol=1e-3, atol=1e-4)


def test_the_fit_brings_far_templates_to_their_own_sharp_ones() -> None:
    rng = np.random.default_rng(2)
    near = rng.normal(size=(200, 12)).astype(np.float32)
    near[1] = near[0]  # one person twice: no contrast
    spread = np.linspace(0.1, 2.0, 12)  # sizes of directions that a cosine should not go by
    far = np.stack([unit(near) * spread + 1.0 + 0.1 * rng.normal(size=near.shape) for _ in range(3)]).astype(np.float32)
    turn, shift = (t.numpy() for t in fitted(far, near, steps=200, sharpness=20.0, alike=0.99, batch=64))

    def first(rows):
        scores = unit(rows) @ unit(near).T
        return float((scores[2:].argmax(axis=1) == np.arange(2, 200)).mean())

    assert first(far[0] + far[0] @ turn.T + shift) > first(far[0]) + 0.2
    again = fitted(far, near, steps=200, sharpness=20.0, alike=0.99, batch=64)
    assert np.array_equal(again[0], turn)
    assert np.isfinite(turn).all()
