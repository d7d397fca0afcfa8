"""A report in a real browser without a network: it is drawn whole, nothing is refused, and it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meetmid.reporting import save_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")


def browse(folder: Path, *arguments: str) -> str:
    """Run the browser on the report, offline; what it complained about."""
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", *arguments,
        (folder / "report.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line or "Refused" in line)


@pytest.fixture
def folder(small, probes, portraits, tmp_path: Path) -> Path:
    save_report(small().match(probes, portraits), tmp_path / "report.html", k=3)
    return tmp_path


def test_it_is_drawn_whole_and_nothing_is_refused(folder: Path) -> None:
    told = browse(folder, "--window-size=1200,4000", f"--screenshot={folder / 'seen.png'}")
    assert told == ""
    seen = np.asarray(Image.open(folder / "seen.png").convert("RGB")).astype(int)
    assert seen.shape[:2] == (4000, 1200)
    coloured = (seen.max(axis=2) - seen.min(axis=2)) > 40
    faces = coloured[:, :].sum()
    assert faces > 20_000, "the faces are not there"
    red = (np.abs(seen - (163, 0, 29)).max(axis=2) < 30).sum()
    assert red > 300, "the marks of synthetic pictures and warnings are not there"


def test_nothing_overflows_a_narrow_screen(folder: Path) -> None:
    browse(folder, "--window-size=500,3000", f"--screenshot={folder / 'narrow.png'}")
    seen = np.asarray(Image.open(folder / "narrow.png").convert("L"))
    assert seen.shape[1] == 500
    assert (seen[:, -4:] > 240).mean() > 0.97, "something is cut off at the right edge"


def test_it_prints(folder: Path) -> None:
    browse(folder, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'printed.pdf'}")
    printed = (folder / "printed.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) >= 2
