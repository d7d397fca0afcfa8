"""memory_limit bounds what the library itself allocates, however many templates, pictures of a group or crops there are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

LIMIT = 128 * 2**20
SCRIPT = """
import ctypes, gc, json, sys, threading
from pathlib import Path
import numpy as np
from meetmid.config import MatchConfig
from meetmid.gallery.store import Gallery
from meetmid.matcher import Matcher
from meetmid.runtime.cards import read_card

folder, job = Path(sys.argv[1]), json.loads(sys.argv[2])
config = MatchConfig(**{"faces": "crop", "work_size": 16, "scales": [], "paths": "none", **job["config"]})
options = {"matcher": read_card(folder / "matcher" / "card.toml"), "hallucinator": str(folder / "family")}
matcher = Matcher(config=config, device="cpu", threads=1, memory_limit=job["limit"], **options)


def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024


def side(seed, groups, pictures, sizes):
    rng = np.random.default_rng(seed)
    if sizes == ["photograph"]:
        paths = [folder / "deep.png", folder / "turned.jpg"]
        return paths * groups
    made = [rng.integers(0, 256, (sizes[k % len(sizes)],) * 2 + (3,), dtype=np.uint8) for k in range(groups * pictures)]
    return made if pictures == 1 else [made[k::groups] for k in range(groups)]


def run(probes, portraits):
    result = matcher.match(probes, portraits)
    assert np.isfinite(result.scores).all()
    if job.get("store"):
        gallery = matcher.enroll(portraits, path=folder / "gallery", add="overwrite")
        assert len(Gallery.open(folder / "gallery").crops) == len(gallery.crops)
        result.save(folder / "result.npz")
    return result


sizes = job["sizes"]
run(side(0, 4, 1, sizes), side(1, 4, 1, [job.get("portrait", 4)]))
probes, portraits = side(2, *job["probes"], sizes), side(3, *job["portraits"], [job.get("portrait", 4)])
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # what the first run has freed does not count for the second
level, peak, done = anonymous(), 0, threading.Event()


def watch():
    global peak
    while True:
        peak = max(peak, anonymous())
        if done.wait(0.002):
            return


watcher = threading.Thread(target=watch, daemon=True)  # an error is to end the process
watcher.start()
result = run(probes, portraits)
done.set()
watcher.join()
print(peak, level)
"""
D = 8192
JOBS = {
    # name: (job, template length, bytes that are made in all)
    "many probes": ({"config": {"centering": "none"}, "probes": [5900, 1], "portraits": [100, 1]}, D, 4 * D * 6000),
    "concatenated": (
        {"config": {"centering": "vector", "probe_rule": "T_concat", "gallery_rule": "T_concat"}, "probes": [5900, 1],
         "portraits": [100, 1]}, D, 4 * D * 6000,
    ),
    "added": (
        {"config": {"centering": "set", "probe_rule": "T_add", "gallery_rule": "T_add"}, "probes": [5900, 1],
         "portraits": [100, 1]}, D, 4 * D * 6000,
    ),
    "one large group": ({"config": {"centering": "none"}, "probes": [20, 1], "portraits": [2, 2900]}, D, 4 * D * 5800),
    "groups of unequal size": (
        {"config": {"centering": "vector", "portraits": "max"}, "probes": [2, 2900], "portraits": [20, 1]}, D, 4 * D * 5800,
    ),
    "the best hypothesis": (
        {"config": {"centering": "none", "select": "best"}, "probes": [2, 1950], "portraits": [2, 150]}, D, 4 * D * 4200,
    ),
    "a large matrix": (
        {"config": {"centering": "none", "probe_rule": "S_max", "order": "probe_first"}, "probes": [7000, 1],
         "portraits": [7000, 1]}, 8, 4 * 7000**2,
    ),
    "every probe size has its own gallery": (
        {"config": {"centering": "none", "scales": [2], "sigmas": [0.0], "lr_size": None, "keep_crops": True},
         "probes": [24, 1], "portraits": [220, 1], "sizes": list(range(8, 20))}, D, 12 * 4 * 2 * D * 220,
    ),
    "large native pictures": (
        {"config": {"centering": "none", "scales": [2, 4, 8], "sigmas": [k / 60 for k in range(61)], "lr_size": None,
                    "work_size": 512, "paths": [["disk"], ["gauss_noise", "downup"]]},
         "probes": [2, 1], "portraits": [3, 1], "sizes": [512], "portrait": 512}, 16, 4 * 3 * 61 * 512**2 * 4,
    ),
    "a large working size": (
        {"config": {"centering": "none", "scales": [8], "sigmas": [k / 15 for k in range(16)], "lr_size": 500,
                    "paths": "len<=1"}, "probes": [2, 1], "portraits": [2, 1], "sizes": [64], "portrait": 64},
        16, 4 * 3 * 16 * 500**2 * 3,
    ),
    "large photographs": (
        {"config": {"centering": "none"}, "probes": [1, 1], "portraits": [1, 1], "sizes": ["photograph"],
         "portrait": "photograph"}, 16, 8 * 2800 * 2900 * 3,
    ),
    "crops that are saved": (
        {"config": {"centering": "none", "work_size": 256, "keep_crops": True}, "probes": [350, 1], "portraits": [350, 1],
         "sizes": [256], "portrait": 256, "store": True}, 16, 2 * 350 * 256 * 256 * 3,
    ),
}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
@pytest.mark.parametrize("name", JOBS)
def test_the_peak_stays_below_the_limit(make_matcher, make_hallucinator, tmp_path, name):
    job, length, made = JOBS[name]
    make_matcher(tmp_path / "matcher", length=length, size=8)
    for scale in (2, 4, 8):
        make_hallucinator(tmp_path / "family" / f"x{scale}", scale)
    if job.get("portrait") == "photograph":
        Image.new("I;16", (2800, 2900), 30000).save(tmp_path / "deep.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (2900, 2800), (90, 120, 30)).save(tmp_path / "turned.jpg", exif=exif)
    arguments = [str(tmp_path), json.dumps({"limit": LIMIT, "sizes": [4], **job})]
    run = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    peak, level = (int(word) for word in run.stdout.split())
    assert peak > 0
    assert peak - level < LIMIT < made
