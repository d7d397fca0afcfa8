"""Downloads from a real server on this machine: resumed, checked, and never made unasked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import meetmid
from meetmid.errors import Cancelled, ModelError
from meetmid.faces import detection
from meetmid.runtime import downloads, registry
from meetmid.runtime.downloads import PUBLISHED, PublishedModel, fetch

CONTENT = bytes(range(256)) * 4096


class Server(ThreadingHTTPServer):
    """Serves ``content``; ``cut`` ends an answer after so many bytes, ``ranges`` is whether it can resume."""

    content = CONTENT
    cut: int | None = None
    ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.server.content) - 1}/{len(self.server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.server.cut is None else body[: self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def model(server: Server) -> PublishedModel:
    url = f"http://127.0.0.1:{server.server_address[1]}/model.onnx"
    digest = hashlib.sha256(CONTENT).hexdigest()
    return PublishedModel("thing", "matcher", url, len(CONTENT), digest, "MIT", "arcface", "a thing")


def test_a_file_is_fetched_once(server: Server, model: PublishedModel, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    path = fetch(model, tmp_path / "new", lambda *step: told.append(step))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT), "download thing")
    assert fetch(model, tmp_path / "new") == path
    assert server.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == ["thing.onnx"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(server: Server, model: PublishedModel, tmp_path: Path, ranges: bool) -> None:
    server.cut, server.ranges = 300_000, ranges
    with pytest.raises(ModelError, match=r"could not be downloaded.*300000 bytes are kept.*save it as"):
        fetch(model, tmp_path)
    assert not (tmp_path / "thing.onnx").exists()
    server.cut = None
    assert fetch(model, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]


def test_another_file_is_refused_and_deleted(server: Server, model: PublishedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"another file than expected.*it was deleted"):
        fetch(replace(model, sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.content = CONTENT + b"more"
    with pytest.raises(ModelError, match="another file than expected"):
        fetch(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_fetched_anew(server: Server, model: PublishedModel, tmp_path: Path) -> None:
    (tmp_path / "thing.onnx").write_bytes(b"damaged")
    assert fetch(model, tmp_path).read_bytes() == CONTENT


def test_cancelling_keeps_what_came(server: Server, model: PublishedModel, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        fetch(model, tmp_path, lambda done, total, stage: done < 400_000)
    assert 0 < (tmp_path / "thing.part").stat().st_size < len(CONTENT)
    assert fetch(model, tmp_path).read_bytes() == CONTENT


def test_offline_says_what_to_do(server: Server, model: PublishedModel, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEETMID_OFFLINE", "1")
    with pytest.raises(ModelError, match=rf"MEETMID_OFFLINE is set: fetch {model.url} elsewhere and save it as"):
        fetch(model, tmp_path)
    assert server.asked == []
    (tmp_path / "thing.onnx").write_bytes(CONTENT)
    assert fetch(model, tmp_path).read_bytes() == CONTENT


def test_an_unreachable_server_is_a_model_error(model: PublishedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="could not be downloaded"):
        fetch(replace(model, url="http://127.0.0.1:9/model.onnx"), tmp_path)


def test_a_named_matcher_is_fetched_and_matches(server: Server, make_matcher, tmp_path: Path, monkeypatch, face) -> None:
    card = make_matcher(tmp_path / "made", size=112, length=128)
    server.content = card.path.read_bytes()
    url = f"http://127.0.0.1:{server.server_address[1]}/sface.onnx"
    own = replace(PUBLISHED["sface"], url=url, size=len(server.content), sha256=card.sha256)
    monkeypatch.setitem(PUBLISHED, "sface", own)
    with meetmid.Matcher("plain", matcher="sface", faces="crop", centering="none", device="cpu") as matcher:
        assert matcher.match([face(0, 60)], [face(1, 60)]).scores.shape == (1, 1)
        assert (matcher.card.license, matcher.card.contract.channels) == ("Apache-2.0", "bgr")
    assert registry.get_model("sface").sha256 == card.sha256
    assert server.asked == [None]


def test_the_published_detector_is_fetched_when_named(server: Server, data: Path, monkeypatch) -> None:
    path = data / "weights" / "face_detection_yunet_2023mar.onnx"
    server.content = path.read_bytes()
    url = f"http://127.0.0.1:{server.server_address[1]}/yunet.onnx"
    monkeypatch.setitem(PUBLISHED, "yunet", replace(PUBLISHED["yunet"], url=url))
    found = detection.open_detector("yunet")
    assert isinstance(found, detection.YuNet)
    assert len(server.asked) == 1


def test_nothing_is_fetched_unasked(monkeypatch) -> None:
    monkeypatch.setattr(downloads.urllib.request, "urlopen", lambda *_, **__: pytest.fail("a download was made"))
    meetmid.models.list()
    with pytest.raises(ModelError, match=r"unknown model 'nothing'.*sface \(fetched when named\)"):
        registry.get_model("nothing")
