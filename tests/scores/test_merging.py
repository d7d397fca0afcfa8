"""Parts of a fusion that several processes find, against the whole."""

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meetmid
from meetmid.errors import ConfigError, InputError
from meetmid.scores.merging import Maxima, Sums, maxima, sums


def sides(seed, p=3, g=4, s=2, m=3, n=11, d=16):
    rng = np.random.default_rng(seed)
    probes, gallery = (rng.standard_normal((e, s, h, d), np.float32) for e, h in ((p, m), (g, n)))
    gallery[:, :, n // 2] = gallery[:, :, 0]  # equal ones
    weights = rng.integers(0, 2, (g, s, n))
    return probes, gallery, rng.integers(0, 3, (p, s, m)), weights


@settings(max_examples=40)
@given(st.integers(0, 999), st.lists(st.integers(1, 10), max_size=3, unique=True), st.sampled_from(["all", "same_scale"]),
       st.randoms())
def test_any_split_merged_in_any_order_is_the_whole(seed, cuts, pairing, rng):
    probes, gallery, probe_weights, gallery_weights = sides(seed)
    bounds = [0, *sorted(cuts), 11]
    options = {"pairing": pairing, "probe_weights": probe_weights}
    parts = [
        maxima(probes, gallery[:, :, a:b], first=a, total=11, gallery_weights=gallery_weights[:, :, a:b], **options)
        for a, b in pairwise(bounds)
    ]
    while len(parts) > 1:
        one, other = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(one.merged(other))
    (found,) = parts
    for rule in ("S_add", "S_max"):
        whole = meetmid.fuse(
            probes, gallery, probe=rule, gallery="S_max", gallery_weights=gallery_weights, add="sum", detail=True, **options
        )
        assert np.array_equal(found.scores(rule, weights=probe_weights), whole.scores, equal_nan=True)
        met = whole.winners >= 0
        assert np.array_equal(found.winners[met], whole.winners[met])
        assert (found.values[~met] == -np.inf).all()
    mean = meetmid.fuse(
        probes, gallery, probe="S_add", gallery="S_max", gallery_weights=gallery_weights, add="mean", **options
    )
    assert np.array_equal(found.scores(weights=probe_weights, mean=True), mean, equal_nan=True)


PART = """
import sys
import numpy as np
from meetmid.scores.merging import maxima
source, out, first, last = sys.argv[1:]
with np.load(source) as data:
    found = maxima(data["p"], data["g"][:, :, int(first) : int(last)], first=int(first), total=11, threads=1)
np.savez(out, values=found.values, winners=found.winners)
"""


def test_two_processes_merge_to_the_same_bits(tmp_path):
    probes, gallery, *_ = sides(5)
    np.savez(tmp_path / "sides.npz", p=probes, g=gallery)
    jobs = [(tmp_path / "a.npz", "0", "4"), (tmp_path / "b.npz", "4", "11")]
    runs = [subprocess.Popen([sys.executable, "-c", PART, tmp_path / "sides.npz", *job], cwd=tmp_path) for job in jobs]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    parts = [Maxima(data["values"], data["winners"]) for data in (np.load(job[0]) for job in jobs)]
    assert np.array_equal(parts[1].merged(parts[0]).scores(), meetmid.fuse(probes, gallery))


def test_what_does_not_fit_is_refused():
    probes, gallery, *_ = sides(0)
    part = maxima(probes, gallery)
    assert isinstance(part, Maxima)
    with pytest.raises(InputError, match="same probes and portraits"):
        part.merged(maxima(probes[:2], gallery))
    with pytest.raises(InputError, match="within 12"):
        maxima(probes, gallery, first=5, total=12)
    with pytest.raises(InputError, match="same scales"):
        maxima(probes, gallery[:, :1])
    with pytest.raises(ConfigError, match="rule"):
        part.scores("T_add")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_fuses_alone(tmp_path):
    script = (
        "import os, numpy as np, meetmid\n"
        "rng = np.random.default_rng(0)\n"
        "p, g = (rng.standard_normal((4, 1, 40, 64), np.float32) for _ in range(2))\n"
        "wanted = meetmid.fuse(p, g, threads=3)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if np.array_equal(meetmid.fuse(p, g, threads=3), wanted) else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=120, cwd=tmp_path).returncode == 0


@settings(max_examples=40)
@given(st.integers(0, 999), st.lists(st.integers(1, 10), max_size=3, unique=True), st.sampled_from(["T_add", "S_add"]),
       st.sampled_from(["T_add", "S_max", "S_add"]), st.booleans(), st.randoms())
def test_any_split_of_sums_is_the_whole(seed, cuts, gallery_rule, rule, mean, rng):
    probes, gallery, probe_weights, gallery_weights = sides(seed)
    gallery_weights = gallery_weights * np.linspace(0.3, 2, 11)
    bounds = [0, *sorted(cuts), 11]
    parts = [
        sums(gallery[:, :, a:b], gallery_rule, gallery_weights=gallery_weights[:, :, a:b]) for a, b in pairwise(bounds)
    ]
    while len(parts) > 1:
        one, other = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(one.merged(other))
    whole = sums(gallery, gallery_rule, gallery_weights=gallery_weights)
    assert np.array_equal(parts[0].total, whole.total)
    assert np.array_equal(parts[0].count, whole.count)
    rows = gallery.astype(np.float64)
    if gallery_rule == "S_add":
        rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    np.testing.assert_allclose(whole.total / 2**40, (rows * gallery_weights[..., None]).sum(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(whole.count / 2**40, gallery_weights.sum(axis=(1, 2)), atol=1e-10)
    want = meetmid.fuse(
        probes, gallery, probe=rule, gallery=gallery_rule, probe_weights=probe_weights, gallery_weights=gallery_weights,
        add="mean" if mean else "sum",
    )
    got = parts[0].scores(probes, rule, probe_weights=probe_weights, mean=mean)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
    assert np.array_equal(got, whole.scores(probes, rule, probe_weights=probe_weights, mean=mean), equal_nan=True)


SUM = """
import sys
import numpy as np
from meetmid.scores.merging import sums
source, out, first, last = sys.argv[1:]
with np.load(source) as data:
    found = sums(data["g"][:, :, int(first) : int(last)], "S_add")
np.savez(out, total=found.total, count=found.count)
"""


def test_two_processes_add_up_to_the_same_bits(tmp_path):
    probes, gallery, *_ = sides(6)
    np.savez(tmp_path / "sides.npz", g=gallery)
    jobs = [(tmp_path / "a.npz", "0", "4"), (tmp_path / "b.npz", "4", "11")]
    runs = [subprocess.Popen([sys.executable, "-c", SUM, tmp_path / "sides.npz", *job], cwd=tmp_path) for job in jobs]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    parts = [Sums("S_add", data["total"], data["count"]) for data in (np.load(job[0]) for job in jobs)]
    whole = sums(gallery, "S_add")
    for merged in (parts[0].merged(parts[1]), parts[1].merged(parts[0])):
        assert np.array_equal(merged.total, whole.total)
        assert np.array_equal(merged.scores(probes), whole.scores(probes))


def test_units_are_added_as_they_are_and_blocks_change_nothing(monkeypatch):
    _, gallery, _, weights = sides(3, n=40)
    units = gallery / np.linalg.norm(gallery, axis=-1, keepdims=True)
    one, other = sums(units, "S_add", unit=True, gallery_weights=weights), sums(units, "S_add", gallery_weights=weights)
    np.testing.assert_allclose(one.total, other.total, atol=2**40 * 1e-6)
    monkeypatch.setattr("meetmid.scores.merging.BLOCK", 8 * 16 * 7)  # entries are cut
    again = sums(units, "S_add", unit=True, gallery_weights=weights)
    assert np.array_equal(again.total, one.total)
    assert np.array_equal(again.count, one.count)


def test_sums_that_do_not_fit_are_refused():
    probes, gallery, *_ = sides(0)
    part = sums(gallery)
    for wrong in (sums(gallery[:2]), sums(gallery, "S_add")):
        with pytest.raises(InputError, match="the same portraits and rule"):
            part.merged(wrong)
    with pytest.raises(InputError, match="sums expect finite values of at most 2097152, got 1e\\+07"):
        sums(np.full((1, 1, 1, 16), 1e7, np.float32))
    for value, count in ((2**21, 4), (2**20, 8), (2**19, 64)):  # whose steps wrap in 64 bits
        with pytest.raises(InputError, match="sums expect values of at most 2097152"):
            sums(np.full((1, 1, count, 16), value, np.float32))
    most = sums(np.full((1, 1, 1, 16), 2**21, np.float32))
    with pytest.raises(InputError, match="sums expect values of at most 2097152"):
        most.merged(most)
    half = sums(np.full((1, 1, 3, 16), 5e5, np.float32))
    with pytest.raises(InputError, match=r"sums expect values of at most 2097152, got 3e\+06"):
        half.merged(half)
    with pytest.raises(InputError, match="finite"):
        sums(np.full((1, 1, 1, 16), np.nan, np.float32))
    with pytest.raises(InputError, match="templates of one length, got 8 and 16"):
        part.scores(probes[..., :8])
    for call in (lambda: sums(gallery, "S_max"), lambda: part.scores(probes, "T_concat")):
        with pytest.raises(ConfigError, match="rule expects"):
            call()
