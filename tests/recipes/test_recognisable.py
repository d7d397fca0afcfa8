"""The second stage of EDSR-face: what it sees, what it is asked for, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes import identity, recognisable, super_resolution  # noqa: E402
from meetmid.models.recipes.training import restored  # noqa: E402

from meetmid.networks.edsr import EDSR  # noqa: E402
from meetmid.resize import resize, to_float  # noqa: E402

MIDFACE = Path(identity.__file__).parents[1] / "midface_s"


def test_captures_are_pictures_of_their_seed_that_resemble_the_face(face) -> None:
    sharp = to_float(face(1, 192))
    plain = resize(sharp, (24, 24))
    errors = []
    for seed in range(30):
        got = recognisable.caught(sharp, 24, np.random.default_rng(seed))
        assert got.shape == (24, 24, 3)
        assert got.dtype == np.float32
        assert np.array_equal(got, recognisable.caught(sharp, 24, np.random.default_rng(seed)))
        errors.append(np.abs(got - plain).mean())
    assert 0.0 < min(errors) < max(errors) < 0.2


def test_the_identity_loss_is_one_minus_the_cosine_of_templates(face) -> None:
    matcher = identity.load_matcher(MIDFACE)
    sharp = torch.from_numpy(np.stack([face(k, 192) for k in range(3)]).transpose(0, 3, 1, 2).astype(np.float32))
    assert float(recognisable.identity_loss(matcher, sharp, sharp)) == pytest.approx(0.0, abs=1e-5)
    made = torch.nn.functional.interpolate(sharp, size=(48, 48), mode="area")
    with torch.no_grad():
        a, b = (matcher(x / 127.5 - 1).numpy() for x in (made, sharp))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert float(recognisable.identity_loss(matcher, made, sharp)) == pytest.approx(1 - cosines.mean(), abs=1e-5)


def test_tuning_nears_the_truth_and_a_finished_run_is_read_back(face, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(recognisable, "frozen_matchers", lambda _: [identity.load_matcher(MIDFACE)])
    monkeypatch.setattr(recognisable, "BATCH", 2)
    crops = np.stack([face(k, 140) for k in range(3)])

    def tuned(steps: int, folder: str) -> EDSR:
        torch.manual_seed(0)
        return recognisable.tune(EDSR(2, 1, 8), crops, 16, tmp_path, tmp_path / folder, steps)

    def loss(model: EDSR) -> float:
        sharp = torch.from_numpy(crops[:, :128, :128].transpose(0, 3, 1, 2).astype(np.float32))
        low, high = (torch.nn.functional.interpolate(sharp, size=(s, s), mode="area") for s in (16, 32))
        with torch.no_grad():
            return float((model(low) - high).abs().mean())

    torch.manual_seed(0)
    assert loss(tuned(8, "whole")) < loss(EDSR(2, 1, 8))
    state = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 8
    again = tuned(8, "whole")
    assert all(torch.equal(again.state_dict()[k], v) for k, v in state["model"].items())


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_second_stage_can_begin_with_the_published_network(scale) -> None:
    path = Path(super_resolution.__file__).parents[1] / f"edsr_face_x{scale}" / "model.onnx"
    model = restored(EDSR(scale, super_resolution.BLOCKS, super_resolution.WIDTH), path).eval()
    x = torch.rand(2, 3, 24, 24) * 255
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        np.testing.assert_allclose(model(x).numpy(), session.run(None, {"input": x.numpy()})[0], atol=1e-2)
