"""Weights too large for one file lie beside the graph, and are vouched for like it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

from meetmid.errors import ModelError  # noqa: E402
from meetmid.export import export_onnx  # noqa: E402
from meetmid.networks.iresnet import IResNet  # noqa: E402
from meetmid.runtime.sessions import Network, check_contract  # noqa: E402


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_large_weights_have_a_file_of_their_own(tmp_path, monkeypatch, precision, face):
    network = IResNet((1, 1, 1, 1), (8, 12, 16, 24), 16).eval()
    torch.save(network.state_dict(), tmp_path / "x.pth")
    inside = export_onnx(tmp_path / "x.pth", tmp_path / "inside", precision=precision)
    monkeypatch.setattr("meetmid.exporting.graphs.EXTERNAL", 1000)
    beside = export_onnx(tmp_path / "x.pth", tmp_path / "beside", precision=precision)
    assert {p.name for p in (tmp_path / "inside").iterdir()} == {"model.onnx", "card.toml"}
    assert {p.name for p in (tmp_path / "beside").iterdir()} == {"model.onnx", "model.onnx.data", "card.toml"}
    picture = np.float32(face(1, 112))[None] / 255
    assert check_contract(beside) == 16
    assert np.array_equal(*(Network(card, device="cpu").run(picture) for card in (inside, beside)))
    data = tmp_path / "beside" / "model.onnx.data"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx\.data is not the file its card describes"):
        beside.verify()
    data.unlink()
    with pytest.raises(ModelError, match="got no file"):
        beside.verify()
