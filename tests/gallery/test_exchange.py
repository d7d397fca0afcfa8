"""Galleries as single files."""

import json
import os
import stat

import numpy as np
import pytest
from portraits import gallery, versions

from meetmid.errors import StoreError
from meetmid.gallery import exchange
from meetmid.gallery.store import Gallery
from meetmid.presets import preset
from meetmid.templates.pool import TemplatePool

KINDS = (".npz", ".safetensors", ".parquet")
HELD = {"a": 1, "b": 3, "c": 2, "ä/ü": 5}


@pytest.fixture(params=KINDS)
def file(request, tmp_path):
    for package in {".safetensors": ["safetensors"], ".parquet": ["pyarrow"]}.get(request.param, []):
        pytest.importorskip(package, reason=f"the optional package {package} is not installed")
    return tmp_path / f"gallery{request.param}"


def test_round_trip(file, tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "ROWS", 2)
    wanted = gallery(HELD, sources=("s1", "s2", "s3", "s4"), dropped=3)
    wanted.export(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    found = Gallery.load(file)
    assert versions(found) == versions(wanted)
    for name in ("ids", "status", "config", "matcher", "lr_shape", "sources", "dropped"):
        assert getattr(found, name) == getattr(wanted, name)
    found.save(tmp_path / "store")
    stored = Gallery.open(tmp_path / "store")
    stored.export(file)  # replaces
    assert versions(Gallery.load(file)) == versions(wanted)


def test_an_id_that_is_no_unicode_is_kept_or_refused(file, tmp_path):
    wanted = gallery({"good": 3, os.fsdecode(b"bad\xff.jpg"): 1})
    if file.suffix != ".parquet":
        wanted.export(file)
        assert Gallery.load(file).ids == wanted.ids
        return
    file.write_text("older")
    told = r"holds Unicode alone, the id 'bad\\udcff.jpg' is none: \.npz and \.safetensors keep it$"
    with pytest.raises(StoreError, match=told):
        wanted.export(file)
    assert file.read_text() == "older"
    assert os.listdir(tmp_path) == [file.name]


def test_without_crops_and_without_entries(file):
    wanted = gallery(HELD, crops=None)
    wanted.export(file)
    found = Gallery.load(file)
    assert found.crops is None
    assert np.array_equal(found.pool.templates, wanted.pool.templates)
    gallery({"none": 3}).export(file)
    found = Gallery.load(file)
    assert found.ids == ("none",)
    assert found.pattern == wanted.pattern


def test_others_read_the_files(tmp_path):
    wanted = gallery(HELD)
    wanted.export(tmp_path / "g.npz")
    with np.load(tmp_path / "g.npz", allow_pickle=False) as data:
        assert np.array_equal(data["templates"], wanted.pool.templates)
        assert json.loads(str(data["meetmid"]))["ids"] == list(HELD)
    parquet = pytest.importorskip("pyarrow.parquet", reason="the optional package pyarrow is not installed")
    wanted.export(tmp_path / "g.parquet")
    table = parquet.read_table(tmp_path / "g.parquet").to_pydict()
    assert table["id"] == ["a", "c", "c", "ä/ü", "ä/ü"]
    assert np.array_equal(np.array(table["templates"], np.float32).ravel(), np.asarray(wanted.pool.templates).ravel())


def test_reordered_rows_are_refused(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the optional package pyarrow is not installed")
    gallery({"zoe": 1, "adam": 4}).export(tmp_path / "g.parquet")
    table = parquet.read_table(tmp_path / "g.parquet")
    parquet.write_table(table.sort_by("id"), tmp_path / "g.parquet")
    with pytest.raises(StoreError, match="reordered"):
        Gallery.load(tmp_path / "g.parquet")


@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_how_templates_are_stored_is_kept(file, tmp_path, stored):
    gallery(HELD).save(tmp_path / "g", stored=stored)
    wanted = Gallery.open(tmp_path / "g")
    wanted.export(file)
    found = Gallery.load(file)
    assert found.stored == stored
    assert versions(found) == versions(wanted)
    found.save(tmp_path / "h")
    again = Gallery.open(tmp_path / "h")
    assert again.stored == stored
    assert np.allclose(again.pool.templates, wanted.pool.templates, rtol=2e-7, atol=0)


def _changed(**changes):
    pool = gallery(HELD).pool
    return gallery(HELD, pool=TemplatePool(**{**vars(pool), **changes}))


@pytest.mark.parametrize(("made", "match"), [
    (lambda: _changed(templates=np.full((5, 1, 1, 8), np.nan, np.float32)), "not finite"),
    (lambda: _changed(templates=np.full((5, 1, 1, 8), np.inf, np.float32)), "not finite"),
    (lambda: _changed(weights=np.full((5, 1, 1), np.nan, np.float32)), "weights are"),
    (lambda: _changed(weights=np.full((5, 1, 1), -1, np.float32)), "weights are"),
    (lambda: _changed(first=np.array([0, 1, 1, 5, 5])), None),
    (lambda: _changed(first=np.array([0, 2, 1, 3, 5])), "differ"),
    (lambda: gallery(HELD, sources=("one", "two")), "differ"),
    (lambda: gallery(HELD, ids=("a", "a", "b", "c")), "twice"),
    (lambda: gallery(HELD, config=preset("fast")), "its configuration makes"),
], ids=range(9))
def test_what_no_enrolment_gives_is_refused(tmp_path, made, match):
    made().export(tmp_path / "g.npz")
    if match is None:
        assert len(Gallery.load(tmp_path / "g.npz")) == 4
    else:
        with pytest.raises(StoreError, match=match):
            Gallery.load(tmp_path / "g.npz")


def test_templates_that_take_no_part_may_be_anything(tmp_path):
    made = _changed(templates=np.full((5, 1, 1, 8), np.nan, np.float32), weights=np.zeros((5, 1, 1), np.float32))
    made.export(tmp_path / "g.npz")
    assert len(Gallery.load(tmp_path / "g.npz")) == 4


def test_damaged_and_strange_files_are_refused(file, tmp_path):
    gallery(HELD).export(file)
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"text"):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match="expected an exported gallery") as caught:
            Gallery.load(file)
        assert "pickle" not in str(caught.value)
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"ends in \.npz"):
        Gallery.load(tmp_path / "g.txt")
    with pytest.raises(StoreError, match=r"ends in \.npz"):
        gallery(HELD).export(tmp_path / "g.pkl")
    with pytest.raises(StoreError, match="could not be written"):
        gallery(HELD).export(tmp_path / "nowhere" / "g.npz")
    np.savez(tmp_path / "other.npz", meetmid=np.array('{"format": "something"}'))
    with pytest.raises(StoreError, match="format"):
        Gallery.load(tmp_path / "other.npz")
