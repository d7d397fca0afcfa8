"""Ten people on both sides, and tiny real models; makes the helper beside these tests importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

import meetmid

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folders(tmp_path: Path, face, make_matcher, tiny_family: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """probes/ and gallery/ with ten faces each, three probes broken; the matcher "small" is registered."""
    monkeypatch.chdir(tmp_path)
    card = make_matcher(tmp_path / "made")
    meetmid.models.add(card.path, name="small", like="arcface", size=[32, 32], license="MIT")
    for side in ("probes", "gallery"):
        (tmp_path / side).mkdir()
        for k in range(10):
            picture = Image.fromarray(face(k, 20 if side == "probes" else 64)).convert("L")  # no status tells of its colours
            picture.convert("RGB").save(tmp_path / side / f"{k}.png")
    (tmp_path / "probes" / "2.png").write_bytes(b"this is no picture")
    (tmp_path / "probes" / "5.png").write_bytes((tmp_path / "probes" / "4.png").read_bytes()[:200])
    (tmp_path / "probes" / "7.png").write_bytes(b"")
    return tmp_path


@pytest.fixture
def generators(tiny_family: str) -> list[str]:
    return ["--hallucinator", tiny_family]
