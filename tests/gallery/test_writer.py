"""Changing galleries on disk."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from portraits import LENGTH, gallery, versions

from meetmid.cli import main
from meetmid.errors import InputError, StoreError
from meetmid.gallery import shards
from meetmid.gallery.store import Gallery

FIRST = {"a": 1, "b": 2, "c": 3, "d": 4}


@pytest.fixture
def path(tmp_path):
    gallery(FIRST).save(tmp_path / "g")
    return tmp_path / "g"


def files(path):
    return {file.name for file in path.iterdir()}


def holds(path, expected):
    assert versions(Gallery.open(path)) == versions(gallery(expected))
    assert list(Gallery.open(path).ids) == list(expected)


def test_append_remove_replace_and_compact(path):
    with Gallery.open(path, "a") as writer:
        writer.append(gallery({"e": 5, "f": 8}))
        holds(path, {**FIRST, "e": 5, "f": 8})
        writer.remove(["b", "e"])
        holds(path, {"a": 1, "c": 3, "d": 4, "f": 8})
        writer.replace(gallery({"a": 11, "new": 7}))
        holds(path, {"c": 3, "d": 4, "f": 8, "a": 11, "new": 7})
        before = files(path)
        writer.compact()
        assert len(files(path) - before) == 4  # one shard is left
        holds(path, {"c": 3, "d": 4, "f": 8, "a": 11, "new": 7})
        again = files(path)
        writer.compact()
        assert files(path) == again  # nothing to do
        writer.remove(list("cdf"))
        writer.remove(["a", "new"])
        holds(path, {})
    assert len(Gallery.open(path)) == 0


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("arkc"), st.sets(st.sampled_from("abcdefgh"), min_size=1)), max_size=8))
def test_any_changes_leave_what_a_dictionary_would_hold(tmp_path_factory, changes):
    path, held = tmp_path_factory.mktemp("store") / "g", dict(FIRST)
    gallery(held).save(path)
    with Gallery.open(path, "a") as writer:
        for number, (kind, names) in enumerate(changes, 10):
            new = {name: number + k for k, name in enumerate(sorted(names))}
            if kind == "a" and not names & set(held):
                writer.append(gallery(new))
                held |= new
            elif kind == "r" and names <= set(held):
                writer.remove(names)
                held = {name: version for name, version in held.items() if name not in names}
            elif kind == "k":
                writer.replace(gallery(new))
                held = {name: version for name, version in held.items() if name not in names} | new
            elif kind == "c":
                writer.compact()
            else:
                with pytest.raises(InputError):
                    (writer.append if kind == "a" else writer.remove)(gallery(new) if kind == "a" else names)
            holds(path, held)


def test_galleries_of_many_shards_read_like_one(path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 256)
    monkeypatch.setattr("meetmid.gallery.writer.SHARD", 256)
    many = {f"n{k}": k for k in range(60)}
    gallery(many).save(path)
    assert sum(name.endswith("templates.npy") for name in files(path)) > 5
    holds(path, many)
    with Gallery.open(path, "a") as writer:
        writer.remove([f"n{k}" for k in range(0, 60, 7)])
        writer.compact()
    holds(path, {name: version for name, version in many.items() if version % 7})


def test_shards_are_bounded_by_their_crops_too(path, monkeypatch):
    many = {f"n{k}": 3 * k + 1 for k in range(60)}
    wanted, sizes = gallery(many), []
    limit = 5 * (4 * LENGTH + len(wanted.crops.code(0)))
    monkeypatch.setattr("meetmid.gallery.writer.SHARD", limit)
    wanted.save(path)
    holds(path, many)
    for name in files(path):
        if name.endswith("-templates.npy"):
            pictures = len(np.load(path / name))
            sizes.append(pictures * 4 * LENGTH + (path / name.replace("templates.npy", "crops.bin")).stat().st_size)
    assert limit // 2 < max(sizes) <= limit
    before = files(path)
    with Gallery.open(path, "a") as writer:
        writer.compact()
    assert files(path) == before  # full shards stay


def test_reordered_galleries_stay_in_whole_stretches(path):
    wanted = gallery({f"n{k}": k for k in range(50)})
    wanted.save(path)
    stored = Gallery.open(path)
    same = Gallery.merged([stored], stored.ids)
    assert len(same.pool.templates.spans) == 1  # not one for every entry
    assert len(same.crops._packed) == 1
    names = [f"n{k}" for k in np.random.default_rng(0).permutation(50)]
    gallery({"x": 1, "y": 2}).save(path.with_name("other"))
    both = Gallery.merged([Gallery.merged([stored, Gallery.open(path.with_name("other"))]), gallery({"z": 5})])
    assert len(both.crops._packed) == 3  # no file is read into memory
    assert versions(both) == versions(wanted) | versions(gallery({"x": 1, "y": 2, "z": 5}))
    for whole in (Gallery.merged([stored], names), Gallery.merged([wanted], names)):
        assert list(whole.ids) == names
        assert versions(whole) == versions(wanted)
        whole.save(path.with_name("h"))
        holds(path.with_name("h"), {name: int(name[1:]) for name in names})


@pytest.mark.parametrize("options", [
    {}, {"fusion": ("S_max", "T_add")}, {"fusion": ("T_concat", "T_concat")},
    {"fusion": ("T_add", "S_add"), "pairing": "same_scale"},
    {"portraits": "max"}, {"select": "best"}, {"order": "probe_first"}, {"centering": "vector"}, {"centering": "set"},
], ids=str)
def test_matches_with_many_shards_are_those_in_memory(small, face, tmp_path, monkeypatch, options):
    monkeypatch.setattr("meetmid.gallery.writer.SHARD", 1)
    portraits = [face(1, 60), [face(2, 40), face(3, 48)], b"broken", face(4, 50)]
    probes = [face(1, 20), face(4, 22)]
    with small(**options) as matcher:
        gallery = matcher.enroll(portraits)
        gallery.save(tmp_path / "g")
        stored = Gallery.open(tmp_path / "g")
        assert len(stored.pool.templates.shards) > 1
        one, other = (matcher.match(probes, side) for side in (gallery, stored))
        assert np.array_equal(one.scores, other.scores, equal_nan=True)
        told = [result.explain(0, 1) for result in (one, other)]
        assert str(told[0]) == str(told[1])
        assert np.array_equal(told[0].gallery_picture, told[1].gallery_picture)


def test_removed_bytes_are_gone_after_compact(path):
    secret = np.asarray(gallery({"b": 2}).pool.templates).tobytes()
    with Gallery.open(path, "a") as writer:
        assert any(secret in (path / name).read_bytes() for name in files(path))
        writer.remove(["b"])
        writer.compact()
    assert not any(secret in (path / name).read_bytes() for name in files(path))


def test_readers_keep_what_they_opened(path):
    reader = Gallery.open(path)
    expected = versions(reader)
    with Gallery.open(path, "a") as writer:
        writer.remove(["a", "c"])
        writer.append(gallery({"e": 5}))
        writer.compact()
    assert versions(reader) == expected
    holds(path, {"b": 2, "d": 4, "e": 5})


def test_readers_that_open_while_a_writer_compacts(path):
    stop, problems = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                found = Gallery.open(path)
                assert set(FIRST) <= set(found.ids)
                assert versions(found)["a"] == versions(gallery({"a": 1}))["a"]
            except Exception as error:
                problems.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    with Gallery.open(path, "a") as writer:
        for number in range(60):
            writer.append(gallery({"x": number}))
            writer.remove(["x"])
            writer.compact()
    stop.set()
    thread.join()
    assert not problems


def test_a_second_writer_is_refused(path):
    with Gallery.open(path, "a"):
        with pytest.raises(StoreError, match="another writer"):
            Gallery.open(path, "a")
        with pytest.raises(StoreError, match="another writer"):
            gallery(FIRST).save(path)
        script = "import sys, meetmid; meetmid.Gallery.open(sys.argv[1], mode='a')"
        other = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, timeout=120, cwd=path.parent
        )
        assert other.returncode != 0
        assert "another writer" in other.stderr
        holds(path, FIRST)
    Gallery.open(path, "a").close()


def test_a_closed_writer_writes_no_more(path):
    writer = Gallery.open(path, "a")
    writer.close()
    with Gallery.open(path, "a") as other:
        for change in (lambda: writer.append(gallery({"x": 1})), lambda: writer.remove(["a"]), writer.compact):
            with pytest.raises(StoreError, match="was closed"):
                change()
        other.append(gallery({"y": 2}))
    holds(path, {**FIRST, "y": 2})


def test_a_writer_closed_by_another_thread_lets_the_next_one_in(path):
    thread = threading.Thread(target=Gallery.open(path, "a").close)
    thread.start()
    thread.join()
    Gallery.open(path, "a").close()


def test_a_string_is_no_list_of_ids(path):
    with Gallery.open(path, "a") as writer, pytest.raises(InputError, match="got the string 'ab'"):
        writer.remove("ab")
    holds(path, FIRST)


def test_what_does_not_fit_is_refused_and_changes_nothing(path, tmp_path):
    before = {name: (path / name).read_bytes() for name in files(path)}
    with Gallery.open(path, "a") as writer:
        with pytest.raises(InputError, match=r"1 ids are in the gallery already, such as \['b'\]"):
            writer.append(gallery({"x": 1, "b": 5}))
        with pytest.raises(InputError, match=r"such as \['nobody'\]"):
            writer.remove(["a", "nobody"])
        with pytest.raises(StoreError, match="two networks"):
            writer.append(gallery({"x": 1}, matcher="b" * 64))
        with pytest.raises(StoreError, match="lr_shape"):
            writer.append(gallery({"x": 1}, lr_shape=(16, 16)))
        with pytest.raises(InputError, match="keeps crops"):
            writer.append(gallery({"x": 1}, crops=None))
    assert {name: (path / name).read_bytes() for name in files(path)} == before
    for stranger in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StoreError, match="expected an enrolled gallery"):
            Gallery.open(stranger, "a")
    with pytest.raises(StoreError, match="stored expects"):
        gallery(FIRST).save(path, stored="float64")


@pytest.mark.parametrize(("stored", "worst"), [("float32", 0.0), ("float16", 2**-11), ("int8", 0.5 / 127)])
def test_templates_stored_as(tmp_path, stored, worst):
    wanted = gallery({"a": 1, "b": 2, "c": 5})
    wanted.save(tmp_path / "g", stored=stored)
    with Gallery.open(tmp_path / "g", "a") as writer:
        writer.append(gallery({"d": 8}))
    found, both = Gallery.open(tmp_path / "g"), gallery({"a": 1, "b": 2, "c": 5, "d": 8})
    assert found.stored == stored
    exact = np.asarray(both.pool.templates)
    largest = np.abs(exact).max(axis=-1, keepdims=True)
    assert (np.abs(np.asarray(found.pool.templates) - exact) <= worst * largest * (1 + 1e-6)).all()
    found.save(tmp_path / "again")  # as it was stored, bit for bit
    again = Gallery.open(tmp_path / "again")
    assert again.stored == stored
    assert np.array_equal(again.pool.templates, found.pool.templates)
    with Gallery.open(tmp_path / "again", "a") as writer:
        writer.remove(["b"])
        writer.append(found.part(1, 2))
        writer.compact()
    merged = Gallery.merged([Gallery.open(tmp_path / "again")], found.ids)
    merged.save(tmp_path / "merged")
    assert versions(Gallery.open(tmp_path / "merged")) == versions(found)


def test_templates_beyond_float16_are_refused(tmp_path):
    wanted = gallery({"a": 1})
    wanted.pool.templates[0, 0, 0, 0] = 1e6
    with pytest.raises(StoreError, match="beyond the range of float16"):
        wanted.save(tmp_path / "g", stored="float16")
    wanted.save(tmp_path / "g")
    holds_it = Gallery.open(tmp_path / "g")
    assert holds_it.pool.templates[0, 0, 0, 0] == np.float32(1e6)


def test_an_interrupted_save_leaves_what_was_there(path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises((StoreError, OSError)):
        gallery({"x": 1}).save(path)
    monkeypatch.undo()
    holds(path, FIRST)
    gallery({"x": 1}).save(path)
    holds(path, {"x": 1})
    assert len(files(path)) == 6


def test_a_manifest_that_is_being_read_is_replaced_a_little_later(path, monkeypatch):
    replace, refusals = os.replace, [True] * 3

    def windows(*names):
        if refusals:
            raise PermissionError(refusals.pop())
        replace(*names)

    monkeypatch.setattr(os, "replace", windows)
    with Gallery.open(path, "a") as writer:
        writer.append(gallery({"e": 5}))
    assert not refusals
    holds(path, {**FIRST, "e": 5})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError))
    with Gallery.open(path, "a") as writer, pytest.raises(StoreError, match="could not be written"):
        writer.remove(["a"])
    holds(path, {**FIRST, "e": 5})


def test_what_was_not_erased_is_not_said_to_be(path, monkeypatch, capsys):
    unlink = Path.unlink

    def windows(file, *args, **options):
        if file.name == "shard-000001-templates.npy":
            raise PermissionError("in use")
        unlink(file, *args, **options)

    monkeypatch.setattr(Path, "unlink", windows)
    assert main(["gallery", "remove", str(path), "a", "b"]) == 0
    told = capsys.readouterr()
    assert "removed 2 entries" in told.out
    assert "erased their bytes" not in told.out
    assert "a reader has old files open" in told.err
    monkeypatch.undo()
    assert main(["gallery", "remove", str(path), "c"]) == 0
    assert "and erased their bytes" in capsys.readouterr().out
    assert len([name for name in files(path) if name.endswith("templates.npy")]) == 1


def test_what_is_no_gallery_is_called_so(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, got in (("folder", "a folder that holds none"), ("file", "a file"), ("none", "nothing of that name")):
        assert main(["gallery", "info", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err == f"meetmid: {tmp_path / name}: expected an enrolled gallery, got {got}\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked writers")
def test_killed_at_any_instant_the_last_commit_is_left(tmp_path):
    script = Path(__file__).with_name("killed_writer.py")
    done = subprocess.run([sys.executable, script, tmp_path / "g", "300"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads(done.stdout)
    assert sum(outcomes.values()) == 300
    assert min(outcomes.values()) > 10
