"""The PyTorch definitions: published parameter counts, shapes, and agreement of what is shipped with onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes.training import cosine_rate, export, load_checkpoint, save_checkpoint  # noqa: E402

from meetmid.networks.edsr import EDSR, RGB_MEAN  # noqa: E402
from meetmid.networks.midface import MidFace  # noqa: E402


@pytest.mark.parametrize(
    ("scale", "parameters"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571), (8, 1_665_283)]
)
def test_the_baseline_edsr_has_the_published_size(scale: int, parameters: int) -> None:
    model = EDSR(scale)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == 24


@pytest.mark.parametrize("size", [(8, 8), (29, 22), (24, 24)])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_edsr_enlarges_any_size(scale: int, size: tuple[int, int]) -> None:
    out = EDSR(scale, blocks=2, width=8)(torch.rand(3, 3, *size) * 255)
    assert out.shape == (3, 3, size[0] * scale, size[1] * scale)


def test_edsr_refuses_other_scales() -> None:
    with pytest.raises(ValueError, match="2, 3, 4 or 8, got 5"):
        EDSR(5)


def test_mean_shift_adds_what_it_subtracted() -> None:
    model = EDSR(2, blocks=1, width=4)
    x = torch.rand(2, 3, 9, 9) * 255
    mean = torch.tensor(RGB_MEAN).view(1, 3, 1, 1) * 255
    assert torch.allclose(model.sub_mean(x), x - mean, atol=1e-4)
    assert torch.allclose(model.add_mean(model.sub_mean(x)), x, atol=1e-4)


def test_state_dict_keys_are_those_of_edsr_pytorch() -> None:
    keys = set(EDSR(8, blocks=2, width=8).state_dict())
    assert {"head.0.weight", "body.0.body.0.weight", "body.0.body.2.bias", "body.2.weight", "tail.0.4.weight",
            "tail.1.weight", "sub_mean.weight", "add_mean.bias"} <= keys


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
