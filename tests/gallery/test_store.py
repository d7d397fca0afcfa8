"""Enrolled galleries on disk and the crops in them."""

import hashlib
import io
import json
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from meetmid.errors import InputError, StoreError
from meetmid.gallery import crops as crops_module
from meetmid.gallery.crops import CropStore
from meetmid.gallery.store import Gallery


@pytest.fixture
def saved(small, face, tmp_path):
    with small() as matcher:
        gallery = matcher.enroll([face(1, 60), b"broken", [face(2, 40), face(3, 48)]], ids="abc", path=tmp_path / "in" / "g")
    return gallery, tmp_path / "in" / "g"


def test_round_trip_bit_for_bit(saved):
    gallery, path = saved
    back = Gallery.open(path)
    assert isinstance(back.pool.templates, np.memmap)
    for name in ("templates", "weights", "first"):
        assert np.array_equal(getattr(back.pool, name), getattr(gallery.pool, name))
    for name in ("ids", "status", "config", "matcher", "lr_shape", "layouts"):
        assert getattr(back, name) == getattr(gallery, name)
    assert len(back) == 3
    for k in range(4):
        assert np.array_equal(back.crops.crop(k), gallery.crops.crop(k))
    with pytest.raises(ValueError, match="read-only"):
        back.pool.templates[0] = 0


def test_only_the_owner_can_read_it(saved):
    _, path = saved
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    files = list(path.iterdir())
    kinds = ("templates.npy", "weights.npy", "crops.bin", "entries.json")
    shard = next(f.name for f in files if f.name.endswith("-templates.npy")).removesuffix("templates.npy")
    assert {f.name for f in files} == {"manifest.json", "lock", *(shard + kind for kind in kinds)}
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert [p.name for p in path.parent.iterdir()] == ["g"]


def test_a_gallery_is_replaced_but_nothing_else_is(saved, small, face, tmp_path):
    gallery, path = saved
    with small() as matcher:
        matcher.enroll([face(9, 48)], path=path, add="overwrite")
    assert len(Gallery.open(path)) == 1
    opened = Gallery.open(path)
    opened.save(path)
    assert np.array_equal(Gallery.open(path).pool.templates, opened.pool.templates)
    for name, files in (("empty", {}), ("full", {"a.txt": "keep"}), ("app", {"manifest.json": '{"name": "some web page"}'})):
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        with pytest.raises(StoreError, match="something else"):
            gallery.save(folder)
        assert {f.name: f.read_text() for f in folder.iterdir()} == files
    (tmp_path / "file").write_text("keep")
    with pytest.raises(StoreError, match="something else"):
        gallery.save(tmp_path / "file")
    with pytest.raises(StoreError, match="could not be written"):
        gallery.save(tmp_path / "file" / "below")


def test_galleries_of_another_matcher_or_configuration_are_refused(saved, small, face, make_matcher, tmp_path):
    gallery = Gallery.open(saved[1])
    other = make_matcher(tmp_path / "other", seed=3)
    with small(matcher=other) as matcher, pytest.raises(StoreError, match="two networks cannot be compared"):
        matcher.match(face(1, 20), gallery)
    for change, word in (({"seed": 1}, "seed"), ({"lr_size": 16}, "lr_size"), ({"work_size": 40}, "work_size")):
        with small(**change) as matcher, pytest.raises(StoreError, match=word):
            matcher.match(face(1, 20), gallery)
    probe_side = {"sigmas": (0.0, 0.7), "blur_at": "native", "fusion": ("S_max", "T_add"), "centering": "vector"}
    with small(**probe_side) as matcher:
        assert np.isfinite(matcher.match(face(1, 20), gallery).scores[0, [0, 2]]).all()


@pytest.mark.parametrize("options", [{}, {"portraits": "max"}, {"fusion": ("T_add", "T_add")}, {"select": "best"}], ids=str)
def test_templates_that_are_not_finite_are_told_of(small, face, tmp_path, options):
    with small(**options) as matcher:
        gallery = matcher.enroll([face(1, 60), face(2, 40)])
        gallery.pool.templates[1, 0, 0] = np.nan
        with pytest.raises(InputError, match="not finite"):
            matcher.match(face(1, 20), gallery)
        for stored in ("float32", "int8"):
            with pytest.raises(StoreError, match="not finite"):
                gallery.save(tmp_path / "g", stored=stored)


def test_damaged_manifests_are_refused(saved):
    _, path = saved
    manifest = path / "manifest.json"
    whole = json.loads(manifest.read_text())

    def refuse(text, match="."):
        manifest.write_text(text)
        with pytest.raises(StoreError, match=match):
            Gallery.open(path)

    refuse("no json")
    refuse("[]")
    refuse("")
    refuse(json.dumps({**whole, "format": "meetmid-gallery-1"}), "format")
    for key in whole:
        refuse(json.dumps({k: v for k, v in whole.items() if k != key}))
    body = json.loads(whole["body"])

    def sealed(changed):
        head = {key: whole[key] for key in ("format", "cipher", "salt")}
        text = json.dumps(changed)
        digest = hashlib.sha256((json.dumps(head, sort_keys=True) + text).encode()).hexdigest()
        return json.dumps({**head, "sha256": digest, "body": text})

    manifest.write_text(sealed(body))
    assert len(Gallery.open(path)) == 3
    refuse(json.dumps({**whole, "body": json.dumps({**body, "crops": False})}), "was changed")
    refuse(sealed({**body, "config": {**body["config"], "unknown": 1}}))
    refuse(sealed({**body, "config": {**body["config"], "pairing": "none"}}))
    refuse(sealed({**body, "stored": "float64"}))
    refuse(sealed({**body, "pattern": [3, 3, 25]}), "differ")
    refuse(sealed({**body, "shards": [{**body["shards"][0], "entries": 2}]}), "differ")
    for key in body.keys() - {"share"}:
        refuse(sealed({k: v for k, v in body.items() if k != key}))
    with pytest.raises(StoreError):
        Gallery.open(path / "nowhere")
    with pytest.raises(StoreError, match="mode"):
        Gallery.open(path, mode="w")


def test_every_changed_byte_is_detected(saved):
    _, path = saved
    rng = np.random.default_rng(0)
    for file in path.iterdir():
        content = file.read_bytes()
        if file.name == "lock":
            assert content == b""
            continue
        for position in {0, len(content) - 1, *rng.integers(0, len(content), 40).tolist()}:
            changed = bytearray(content)
            changed[position] ^= 1 << int(rng.integers(8))
            if file.name == "manifest.json" and bytes(changed).split() == content.split():
                continue  # only the indentation
            file.write_bytes(bytes(changed))
            with pytest.raises(StoreError):
                Gallery.open(path)
        for damaged in (content[:-1], content + b"0", b""):
            file.write_bytes(damaged)
            with pytest.raises(StoreError):
                Gallery.open(path, verify=False)
        file.write_bytes(content)
        assert len(Gallery.open(path)) == 3
    (path / file.name).unlink()
    with pytest.raises(StoreError):
        Gallery.open(path)


def test_without_crops_and_without_any_good_portrait(small, face, tmp_path):
    with small(keep_crops=False) as matcher:
        matcher.enroll([face(1, 40)], path=tmp_path / "bare")
    assert Gallery.open(tmp_path / "bare").crops is None
    with small() as matcher:
        matcher.enroll([b"broken"], path=tmp_path / "none")
        back = Gallery.open(tmp_path / "none")
        assert back.crops.crop(0) is None
        assert np.isnan(matcher.match(face(1, 20), back).scores).all()


def test_crops_are_kept_bit_for_bit(face):
    kept = [face(1, 30), None, face(2, 17)[:, :5], np.zeros((1, 1, 3), np.uint8)]
    store, fineness = CropStore(), (1, 2, 2, 1)
    for crop, fine in zip(kept, fineness, strict=True):
        store.append(crop, fine)
    again = (store, pickle.loads(pickle.dumps(store)), CropStore.unpack(*store.pack()))
    for one in again:
        assert len(one) == 4
        for k, crop in enumerate(kept):
            got = one.crop(k)
            assert got is None if crop is None else np.array_equal(got, crop)
            assert one.fine(k) == (1 if crop is None else fineness[k])
    assert cv2.imdecode(np.frombuffer(store.code(2), np.uint8), cv2.IMREAD_UNCHANGED).shape == (17, 5, 3)
    with Image.open(io.BytesIO(store.code(2))) as image:
        assert image.info["aspect"] == (2, 2)  # pixels per unit, whatever that is


def test_crops_spill_to_a_file_and_are_read_by_many_threads(monkeypatch):
    noise = [np.random.default_rng(k).integers(0, 256, (512, 512, 3), dtype=np.uint8) for k in range(24)]
    store = CropStore()
    for crop in noise:
        store.append(crop)
    assert sum(len(store.code(k)) for k in range(24)) > crops_module.IN_MEMORY
    assert store._file._rolled
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(store.crop, list(range(24)) * 2))
    assert all(np.array_equal(a, b) for a, b in zip(read, noise * 2, strict=True))
