"""Files that other programs read: whole or not at all, names byte by byte, nothing unpickled."""

import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from meetmid.cli.tables import save_rows
from meetmid.evaluation import Calibration
from meetmid.interchange import aside, read_arrays, write_rows
from meetmid.sheets import save_png
from meetmid.templates.centering import ReferenceMeans


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("older")

    def write(text, error):
        with aside(path) as new:
            new.write_text(text)
            assert path.read_text() == "older"
            if error is not None:
                raise error

    with pytest.raises(KeyboardInterrupt):
        write("half", KeyboardInterrupt())
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["x.csv"]
    write("whole", None)
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["x.csv"]


MEANS = ReferenceMeans("matcher", (1,), *np.zeros((2, 1, 4), np.float32), {})
SAVERS = [
    MEANS.save,
    Calibration("logistic", 10, 10, slope=1.0).save,
    lambda path: save_png(path, np.zeros((4, 4, 3), np.uint8)),
    lambda path: save_rows(str(path), [{"figure": "rank-1", "value": 1.0}]),
]


@pytest.mark.parametrize("save", SAVERS)
def test_everything_that_is_saved_is_written_aside(tmp_path, monkeypatch, save):
    path = tmp_path / "x"
    path.write_text("older")
    with monkeypatch.context() as full:
        full.setattr("meetmid.interchange.move", lambda new, old: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            save(path)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["x"]
    save(path)
    assert path.read_bytes() != b"older"


def test_a_file_that_is_replaced_keeps_its_mode_and_its_place(tmp_path):
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("older")
    there.chmod(0o600)
    link.symlink_to(there)
    with aside(link) as new:
        new.write_text("whole")
    assert link.is_symlink()
    assert there.read_text() == "whole"
    assert stat.S_IMODE(there.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anything")
def test_a_protected_file_stays(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("older")
    path.chmod(0o400)
    with pytest.raises(PermissionError, match=r"x\.csv"), aside(path) as new:
        new.write_text("newer")
    assert path.read_text() == "older"


def test_a_protected_file_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text("older")
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(PermissionError, match=r"x\.csv"), aside(path) as new:
        new.write_text("newer")
    assert path.read_text() == "older"


def test_a_missing_folder_is_named_by_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.x\.csv'$"), aside(tmp_path / "no" / "x.csv"):
        pytest.fail("there is nowhere to write")


def test_long_names_and_many_writers_of_one_file(tmp_path):
    path = tmp_path / ("x" * 251 + ".csv")

    def write(k):
        with aside(path) as new:
            new.write_text(str(k) * 1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(9)))
    assert path.read_text() in {str(k) * 1000 for k in range(9)}
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with aside(tmp_path / "pipe") as new:
        assert new == tmp_path / "pipe"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_rows_keep_the_bytes_of_names(tmp_path):
    write_rows(tmp_path / "x.csv", [["ä", 1.5], [os.fsdecode(b"bad\xff"), ""]])
    assert (tmp_path / "x.csv").read_bytes() == "ä,1.5\r\n".encode() + b"bad\xff,\r\n"


def test_nothing_is_unpickled_nor_advised_to_be(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(3))
    assert read_arrays(path)["a"].tolist() == [0, 1, 2]
    np.savez(path, a=np.array([{}], object))
    objects = path.read_bytes()
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    for content in (objects, path.read_bytes(), pickle.dumps([1]), b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^no arrays of an \.npz file$") as caught:
            read_arrays(path)
        assert caught.value.__suppress_context__
