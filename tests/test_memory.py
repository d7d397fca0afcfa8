"""memory_limit bounds what the library itself allocates, however many templates there are."""

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 128 * 2**20
SCRIPT = """
import sys, threading
from pathlib import Path
import numpy as np
from meetmid.config import MatchConfig
from meetmid.matcher import Matcher
from meetmid.runtime.cards import read_card

folder, limit, rules = Path(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:5])
config = MatchConfig(
    scales=(), centering=sys.argv[5], faces="crop", work_size=16, probe_rule=rules[0], gallery_rule=rules[1], keep_crops=True
)
options = {"matcher": read_card(folder / "card.toml"), "device": "cpu", "threads": 1, "memory_limit": limit}
matcher = Matcher(config=config, **options)


def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024


def pictures(first, count):
    noise = np.random.default_rng(first).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [noise[k] for k in range(count)]


matcher.match(pictures(0, 12), pictures(1, 12))
probes, portraits = pictures(2, 5900), pictures(3, 100)
level, peak, done = anonymous(), 0, threading.Event()


def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, anonymous())


watcher = threading.Thread(target=watch)
watcher.start()
result = matcher.match(probes, portraits)
done.set()
watcher.join()
templates = 4 * matcher.network.length * (len(probes) + len(portraits))
assert np.isfinite(result.scores).all()
print(peak - level, templates)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
@pytest.mark.parametrize(("rules", "centering"), [
    (("S_add", "S_max"), "none"), (("T_concat", "T_concat"), "vector"), (("T_add", "T_add"), "set"),
])
def test_the_peak_stays_below_the_limit(make_matcher, tmp_path, rules, centering):
    make_matcher(tmp_path / "long", length=8192, size=8)
    arguments = [str(tmp_path / "long"), str(LIMIT), *rules, centering]
    run = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=True, capture_output=True, text=True)
    peak, templates = map(int, run.stdout.split())
    assert templates > 1.4 * LIMIT
    assert 0 < peak < LIMIT
