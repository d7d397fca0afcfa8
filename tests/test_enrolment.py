"""Enrolments into a file that are stopped and continued."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from meetmid import Gallery, enrolment
from meetmid.cli import commands, main
from meetmid.errors import Cancelled, ConfigError, InputError, StoreError


@pytest.fixture(autouse=True)
def commit_every_entry(monkeypatch):
    monkeypatch.setattr(enrolment, "COMMIT_SECONDS", 0.0)


@pytest.fixture
def portraits(face, tmp_path):
    """Nine entries: pictures, a group, a broken file."""
    from meetmid.sheets import save_png

    folder = tmp_path / "portraits"
    for k in range(7):
        save_png(folder / f"{k}.png", face(k, 40 + k))
    for k in range(2):
        save_png(folder / "group" / f"{k}.png", face(20 + k, 50))
    (folder / "8.png").write_bytes(b"broken")
    return folder


def stop_after(pictures):
    return lambda done, total, stage: done < pictures


def same(one, other):
    assert one.ids == other.ids
    assert one.status == other.status
    assert np.array_equal(one.pool.templates, other.pool.templates)
    assert np.array_equal(one.pool.weights, other.pool.weights)
    assert np.array_equal(one.pool.first, other.pool.first)
    crops = [[gallery.crops.crop(k) for k in range(len(gallery.crops))] for gallery in (one, other)]
    assert all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(*crops, strict=True))


@pytest.mark.parametrize("stops", [[1], [4], [3, 5, 9], [10]])
def test_stopped_and_continued_it_is_the_same_gallery(small, portraits, tmp_path, stops):
    path, seen = tmp_path / "g", []
    with small() as matcher:
        wanted = matcher.enroll(portraits)
        for stop in stops:
            with pytest.raises(Cancelled):
                matcher.enroll(portraits, path=path, progress=stop_after(stop))
            with pytest.raises(StoreError, match="the same command continues it"):
                Gallery.open(path)
        same(matcher.enroll(portraits, path=path, progress=lambda done, *_: seen.append(done)), wanted)
        assert seen[0] >= max(stops) - 2  # what was committed is not made again
        assert seen[-1] == 10
        same(Gallery.open(path), wanted)
        assert len([f for f in path.iterdir() if f.name.endswith("templates.npy")]) == 1
        again = []
        with pytest.raises(StoreError, match="there is a gallery already; 'append' and 'replace' of add"):
            matcher.enroll(portraits, path=path, progress=lambda done, *_: again.append(done))
        assert again == []
        same(Gallery.open(path), wanted)
        matcher.enroll(portraits, path=path, add="overwrite", progress=lambda done, *_: again.append(done))
        assert again[0] == 1  # a finished gallery is replaced, not continued


def test_what_was_there_stays_until_the_new_one_is_whole(small, portraits, face, tmp_path):
    path = tmp_path / "g"
    with small() as matcher:
        before = matcher.enroll([face(1, 60)], ids=["old"], path=path)
        with pytest.raises(Cancelled):
            matcher.enroll(portraits, path=path, add="overwrite", progress=stop_after(5))
        same(Gallery.open(path), before)
        with pytest.raises(StoreError, match="'overwrite' takes its place"):
            matcher.enroll(portraits, path=path, progress=lambda *_: pytest.fail("worked before it refused"))
        seen = []
        matcher.enroll(portraits, path=path, add="overwrite", progress=lambda done, *_: seen.append(done))
        assert seen[0] >= 4  # what was committed is not made again
        same(Gallery.open(path), matcher.enroll(portraits))


def test_only_the_same_pictures_and_settings_are_continued(small, portraits, face, tmp_path):
    from meetmid.sheets import save_png

    path = tmp_path / "g"
    with small() as matcher:
        with pytest.raises(Cancelled):
            matcher.enroll(portraits, path=path, progress=stop_after(6))
        save_png(portraits / "2.png", face(99, 44))
        seen = []
        made = matcher.enroll(portraits, path=path, progress=lambda done, *_: seen.append(done))
        same(made, matcher.enroll(portraits))
        assert seen[0] == 3
    with small(seed=1) as matcher, pytest.raises(Cancelled):
        matcher.enroll(portraits, path=path, add="overwrite", progress=stop_after(6))
    with small() as matcher:
        again = []
        made = matcher.enroll(portraits, path=path, add="overwrite", progress=lambda done, *_: again.append(done))
        same(made, matcher.enroll(portraits))
        assert again[0] == 1


KILLED = """
import os, signal, sys
from meetmid import Matcher

folder, path, key, add, last = sys.argv[1:]

def told(done, total, stage):
    print(done, flush=True)
    if done == int(last):
        os.kill(os.getpid(), signal.SIGKILL)

with Matcher("plain", matcher="midface-s", faces="crop", device="cpu", threads=1, progress=told) as matcher:
    matcher.enroll(folder, path=path, key=key or None, add=add or None)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process")
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_killed_process_is_continued_to_the_same_bytes(face, tmp_path, encrypted):
    from meetmid.sheets import save_png

    key = ""
    if encrypted:
        pytest.importorskip("cryptography", reason="the optional package cryptography is not installed")
        (tmp_path / "key").write_text("ab" * 32)
        key = str(tmp_path / "key")
    for k in range(12):
        save_png(tmp_path / ("first" if k < 9 else "more") / f"{k:02}.png", face(k, 40 + k))

    def run(folder, path, add="", last=-1):
        script = [sys.executable, "-c", KILLED, str(tmp_path / folder), str(tmp_path / path), key, add, str(last)]
        done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == (0 if last < 0 else -signal.SIGKILL), done.stderr
        return [int(line) for line in done.stdout.split()]

    def content(path):
        found = Gallery.open(tmp_path / path, key=key or None)
        arrays = [np.asarray(a).tobytes() for a in (found.pool.templates, found.pool.weights, *found.crops.pack())]
        return found.ids, found.status, arrays

    assert run("first", "whole") == list(range(1, 10))
    assert run("first", "killed", last=3) == [1, 2, 3]
    again = run("first", "killed", last=8)
    assert again[0] > 1  # what was committed is not made again
    with pytest.raises(StoreError, match="has not ended"):
        content("killed")
    assert run("first", "killed")[0] > again[0]
    before = content("whole")
    assert content("killed") == before
    assert run("more", "killed", "append", last=2) == [1, 2]
    assert content("killed") == before
    assert run("more", "killed", "append") == [2, 3]
    assert run("more", "whole", "append") == [1, 2, 3]
    assert content("killed") == content("whole")
    assert len(content("whole")[0]) == 12


def test_sources_of_every_kind_and_hints(small, portraits, face, tmp_path):
    import PIL.Image

    side = [face(3, 50), PIL.Image.fromarray(face(4, 50)), (portraits / "1.png").read_bytes(), [face(5, 50), face(6, 50)]]
    hints = ["crop", np.array([(5, 5, 40, 40)]), "crop", ["crop", np.array([(2, 2, 45, 45)])]]
    with small() as matcher:
        wanted = matcher.enroll(side, faces=hints)
        with pytest.raises(Cancelled):
            matcher.enroll(side, path=tmp_path / "g", faces=hints, progress=stop_after(4))
        same(matcher.enroll(side, path=tmp_path / "g", faces=hints), wanted)


def test_errors_raise_and_the_rest_is_kept(small, portraits, tmp_path):
    with small(errors="raise") as matcher:
        with pytest.raises(InputError, match=r"8\.png"):
            matcher.enroll(portraits, path=tmp_path / "g")
        (portraits / "8.png").unlink()
        seen = []
        matcher.enroll(portraits, path=tmp_path / "g", progress=lambda done, *_: seen.append(done))
        assert seen[0] == 8


def test_stored_and_encrypted(small, portraits, tmp_path):
    pytest.importorskip("cryptography", reason="the optional package cryptography is not installed")
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    with small() as matcher:
        exact = matcher.enroll(portraits)
        made = matcher.enroll(portraits, path=tmp_path / "g", stored="int8", key=key)
        assert made.stored == "int8"
        scores, wanted = matcher.match(portraits, made), matcher.match(portraits, exact)
        assert np.allclose(scores.scores, wanted.scores, atol=0.02, equal_nan=True)
        assert not np.array_equal(scores.scores, wanted.scores, equal_nan=True)
        assert any("stored as int8" in warning for warning in scores.warnings)
        assert not any("stored" in warning for warning in wanted.warnings)


def test_another_detector_of_the_same_name_is_not_continued(small, portraits, tmp_path, monkeypatch):
    path, model = tmp_path / "g", tmp_path / "yunet.onnx"
    monkeypatch.setattr("meetmid.faces.detection.YuNet.detect", lambda *_: [])
    starts = []
    for content, faces, stop in ((b"one", "detect", 6), (b"one", "detect", 8), (b"two", "detect", 6), (b"two", "crop", 6),
                                 (b"three", "crop", 8)):
        model.write_bytes(content)
        seen = []

        def note(done, *_, seen=seen, stop=stop):
            seen.append(done)
            return done < stop

        with small(detector=f"yunet:{model}", faces=faces) as matcher, pytest.raises(Cancelled):
            matcher.enroll(portraits, path=path, progress=note)
        starts.append(seen[0])
    assert starts[0] == starts[2] == starts[3] == 1
    assert min(starts[1], starts[4]) > 1  # where no detector is asked, it does not matter


def test_an_encrypted_enrolment_is_never_continued_or_dropped_without_its_key(small, portraits, tmp_path):
    pytest.importorskip("cryptography", reason="the optional package cryptography is not installed")
    key, path = tmp_path / "key", tmp_path / "g"
    key.write_text("ab" * 32)
    with small() as matcher:
        with pytest.raises(Cancelled):
            matcher.enroll(portraits, path=path, key=key, progress=stop_after(6))
        kept = sorted(file.name for file in path.iterdir())
        with pytest.raises(StoreError, match="continue it with its own key"):
            matcher.enroll(portraits, path=path)
        assert sorted(file.name for file in path.iterdir()) == kept
        seen = []
        matcher.enroll(portraits, path=path, key=key, progress=lambda done, *_: seen.append(done))
        assert seen[0] > 1


def test_adding_is_continued_and_shows_at_once(small, portraits, face, tmp_path):
    from meetmid.sheets import save_png

    path = tmp_path / "g"
    base = [face(50, 48), [face(51, 40), face(52, 44)], face(53, 40)]
    with small() as matcher:
        before = matcher.enroll(base, ids=["x", "group", "z"], path=path)
        wanted = matcher.enroll(portraits)
        with pytest.raises(InputError, match=r"1 ids are in the gallery already, such as \['group'\]"):
            matcher.enroll(portraits, path=path, add="append", progress=lambda *_: pytest.fail("worked before it refused"))
        for stop in (3, 6):
            with pytest.raises(Cancelled):
                matcher.enroll(portraits, path=path, add="replace", progress=stop_after(stop))
            same(Gallery.open(path), before)
        seen = []
        made = matcher.enroll(portraits, path=path, add="replace", progress=lambda done, *_: seen.append(done))
        assert seen[0] >= 4
        same(made, wanted)
        whole = Gallery.open(path)
        assert whole.ids == ("x", "z", *wanted.ids)
        same(whole.part(2, len(whole)), wanted)
        same(whole.part(0, 1), before.part(0, 1))
        with pytest.raises(Cancelled):
            matcher.enroll([face(60 + k, 40) for k in range(4)], path=path, add="append", progress=stop_after(3))
        same(Gallery.open(path), whole)
        save_png(tmp_path / "more" / "9.png", face(9, 40))
        same(matcher.enroll(tmp_path / "more", path=path, add="append"), matcher.enroll(tmp_path / "more"))
        assert Gallery.open(path).ids == (*whole.ids, "9.png")


def test_an_addition_that_another_change_overtook_is_begun_anew(small, portraits, face, tmp_path):
    path = tmp_path / "g"
    with small() as matcher:
        matcher.enroll([face(50, 48), face(51, 40)], ids=["x", "y"], path=path)
        with pytest.raises(Cancelled):
            matcher.enroll(portraits, path=path, add="append", progress=stop_after(6))
        pending, names = (path / "pending.json").read_bytes(), {file.name for file in path.iterdir()}
        with Gallery.open(path, "a") as writer, pytest.raises(InputError):
            writer.remove(["nobody"])
        assert {file.name for file in path.iterdir()} == names  # nothing is given up for a change that failed
        with Gallery.open(path, "a") as writer:
            writer.append(matcher.enroll([face(54, 40)], ids=["w"]))
            writer.remove(["x"])
            assert not (path / "pending.json").exists()
        (path / "pending.json").write_bytes(pending)  # as if killed between the two
        seen = []
        matcher.enroll(portraits, path=path, add="append", progress=lambda done, *_: seen.append(done))
        assert seen[0] == 1
        assert Gallery.open(path).ids == ("y", "w", *(matcher.enroll(portraits)).ids)


def test_what_cannot_be_added_is_told_before_the_work(small, make_matcher, portraits, face, tmp_path):
    pytest.importorskip("cryptography", reason="the optional package cryptography is not installed")
    key, path = tmp_path / "key", tmp_path / "g"
    key.write_text("ab" * 32)
    with small() as matcher:
        matcher.enroll([face(50, 48)], path=path, key=key, stored="int8")
    other, refused = make_matcher(tmp_path / "other", seed=3), {"progress": lambda *_: pytest.fail("worked before it refused")}
    for options, changes, match in (
        ({}, {}, "encrypted: give key"), ({"matcher": other}, {"key": key}, "two networks"),
        ({"seed": 1}, {"key": key}, "seed"),
        ({}, {"key": key, "stored": "float16"}, "is stored as int8"), ({"keep_crops": False}, {"key": key}, "keeps crops"),
    ):
        with small(**options) as matcher, pytest.raises((StoreError, InputError), match=match):
            matcher.enroll(portraits, path=path, add="append", **changes, **refused)
    with small() as matcher:
        for wrong in ({"add": "both", "path": path}, {"add": "append"}, {"add": "append", "path": path, "part": (1, 2)}):
            with pytest.raises(ConfigError, match="add expects"):
                matcher.enroll(portraits, **wrong)
        for unkept in ({"key": key}, {"stored": "int8"}):
            with pytest.raises(ConfigError, match=f"{next(iter(unkept))} expects the path of a gallery"):
                matcher.enroll(portraits, **unkept)
        matcher.enroll(portraits, path=path, add="append", key=key)
    assert Gallery.open(path, key=key).stored == "int8"
    assert len(Gallery.open(path, key=key)) == 10


def test_an_encrypted_gallery_is_searched_at_the_command_line(tiny, portraits, tmp_path, capsys):
    pytest.importorskip("cryptography", reason="the optional package cryptography is not installed")
    key, store, probe = tmp_path / "key", str(tmp_path / "g"), str(portraits / "1.png")
    key.write_text("ab" * 32)
    model = ["--matcher", str(tiny.path), "--preset", "plain", "--faces", "crop", "--centering", "none"]
    assert main(["enroll", str(portraits), store, *model, "--key", str(key)]) == 1
    for command in (["match", probe, store], ["identify", probe, store], ["plan", probe, store]):
        assert main([*command, *model]) == 2
        assert "encrypted: give key=FILE (--key FILE)" in capsys.readouterr().err
        assert main([*command, *model, "--key", str(key)]) == (0 if command[0] == "plan" else 1)
        assert "1.png: 1.png 1.0000" in capsys.readouterr().out or command[0] == "plan"
        assert main([command[0], probe, str(portraits), *model, "--key", str(key)]) == 2
        assert "--key expects an enrolled gallery" in capsys.readouterr().err


def test_at_the_command_line(small, tiny, tiny_family, portraits, face, tmp_path, capsys, monkeypatch):
    from meetmid.sheets import save_png

    class Interrupting:
        def __init__(self, **_):
            pass

        def __call__(self, done, total, stage):
            if done == 5:
                raise KeyboardInterrupt

    store, model = str(tmp_path / "g"), ["--matcher", str(tiny.path), "--preset", "plain", "--faces", "crop"]
    enroll = ["enroll", str(portraits), store, *model]
    with monkeypatch.context() as patch:
        patch.setattr("meetmid.cli.matching.Bar", Interrupting)
        assert main(enroll) == commands.CANCELLED
    assert "the same command continues" in capsys.readouterr().err
    assert main(["gallery", "info", store]) == 2
    assert "has not ended" in capsys.readouterr().err
    assert main(["match", store, store, *model]) == 2
    assert main(enroll) == 1
    assert "enrolled 8 of 9" in capsys.readouterr().out
    save_png(tmp_path / "more" / "9.png", face(9, 40))
    with monkeypatch.context() as patch:
        patch.setattr("meetmid.cli.matching.Bar", lambda **_: lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["enroll", str(tmp_path / "more"), store, "--append", *model]) == commands.CANCELLED
    assert "the same command continues" in capsys.readouterr().err
    assert main(["gallery", "verify", store]) == 0
    assert "all 9 entries" in capsys.readouterr().out
    assert main(["enroll", str(tmp_path / "more"), store, "--append", *model]) == 0
    assert "enrolled 1 of 1" in capsys.readouterr().out
    assert main(["enroll", str(tmp_path / "more"), store, "--append", *model]) == 2
    assert "replace them (replace(), --replace) instead" in capsys.readouterr().err
    assert main(["enroll", str(tmp_path / "more"), store, *model]) == 2
    assert "there is a gallery already" in capsys.readouterr().err
    assert main(["enroll", str(tmp_path / "more"), store, "--replace", *model]) == 0
    assert main(["gallery", "info", store]) == 0
    assert "entries        10 (9 with templates)" in capsys.readouterr().out
    assert main(["gallery", "export", store, str(tmp_path / "g.npz")]) == 0
    assert main(["gallery", "remove", store, "0.png", "group"]) == 0
    assert main(["gallery", "remove", store, "0.png"]) == 2
    assert main(["gallery", "verify", store]) == 0
    assert "all 8 entries" in capsys.readouterr().out
    assert main(["gallery", "compact", store]) == 0
    assert main(["gallery", "import", str(tmp_path / "h"), str(tmp_path / "g.npz")]) == 0
    assert len(Gallery.open(tmp_path / "h")) == 10
    assert main(["gallery", "remove", store, "1.png", "--overwrite"]) == 2
    assert "--overwrite is for merge and import, not for remove" in capsys.readouterr().err
    for takes in (["import", store, str(tmp_path / "g.npz")], ["merge", store, str(tmp_path / "h")]):
        assert main(["gallery", *takes]) == 2
        assert "there is a gallery already; --overwrite takes its place" in capsys.readouterr().err
    assert len(Gallery.open(store)) == 8
    assert main(["gallery", "import", store, str(tmp_path / "g.npz"), "--overwrite"]) == 0
    assert len(Gallery.open(store)) == 10
    assert main(["enroll", str(tmp_path / "more"), store, "--overwrite", *model]) == 0
    assert Gallery.open(store).ids == ("9.png",)
    for wrong in (["export", store], ["remove", store], ["info", store, "x"], ["export", store, "x.txt"]):
        assert main(["gallery", *wrong]) == 2
