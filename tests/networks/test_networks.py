"""The PyTorch definitions: shapes, and agreement of what is shipped with onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes.training import cosine_rate, export, load_checkpoint, save_checkpoint  # noqa: E402

from meetmid.networks.edsr import EDSR  # noqa: E402
from meetmid.networks.midface import MidFace  # noqa: E402


def test_midface_gives_one_template_per_picture() -> None:
    model = MidFace().eval()
    with torch.no_grad():
        both, one = model(torch.rand(2, 3, 112, 112)), model(torch.zeros(1, 3, 112, 112))
    assert both.shape == (2, 256)
    assert one.shape == (1, 256)


def test_export_agrees_with_pytorch(tmp_path) -> None:  # type: ignore[no-untyped-def]
    facts = export(EDSR(2, 1, 4), torch.full((1, 3, 24, 24), 128.0), tmp_path / "m.onnx", {0: "n", 2: "h", 3: "w"})
    assert facts["parity"] < 1e-4
    assert facts["bytes"] == (tmp_path / "m.onnx").stat().st_size


def test_weights_stored_in_half_are_those_rounded_to_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import onnx
    import onnxruntime

    torch.manual_seed(0)
    model, x = torch.nn.Conv2d(3, 5, 3).eval(), torch.rand(2, 3, 9, 9)
    facts = export(model, torch.rand(1, 3, 9, 9), tmp_path / "m.onnx", {0: "n"}, half=True)
    assert 0 < facts["parity"] < 5e-3
    stored = onnx.load(str(tmp_path / "m.onnx")).graph.initializer
    assert {t.data_type for t in stored} == {onnx.TensorProto.FLOAT16}
    got = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"input": x.numpy()})[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
        np.testing.assert_allclose(got, model(x).numpy(), atol=1e-6)


def test_a_checkpoint_continues_where_it_stopped(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(model.parameters())
    assert load_checkpoint(tmp_path / "c.pt", model, optimiser) == 0
    save_checkpoint(tmp_path / "c.pt", 17, model, optimiser)
    other = torch.nn.Linear(2, 2)
    assert load_checkpoint(tmp_path / "c.pt", other, torch.optim.Adam(other.parameters())) == 17
    assert torch.equal(other.weight, model.weight)


def test_the_learning_rate_warms_up_and_anneals() -> None:
    rates = [cosine_rate(step, 1000, 1.0) for step in range(1000)]
    assert np.argmax(rates) in (199, 200)
    assert rates[0] < 0.01
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)
