"""Encryption at rest."""

import os

import numpy as np
import pytest
from portraits import gallery, versions

from meetmid.cli import main
from meetmid.errors import StoreError
from meetmid.gallery import vault
from meetmid.gallery.store import Gallery

FIRST = {"a": 1, "b": 2, "c": 3, "d": 4}

pytest.importorskip("cryptography", reason="the optional package cryptography is not installed")


def everything(path):
    return b"".join((path / name).read_bytes() for name in sorted(os.listdir(path)))


@pytest.fixture
def key(tmp_path):
    file = tmp_path / "key"
    file.write_text(os.urandom(32).hex() + "\n")
    return file


def test_round_trip_and_changes(tmp_path, key, monkeypatch):
    path = tmp_path / "g"
    gallery(FIRST).save(path, key=key)
    assert versions(Gallery.open(path, key=key)) == versions(gallery(FIRST))
    with Gallery.open(path, "a", key=key) as writer:
        writer.append(gallery({"e": 5}))
        writer.remove(["a"])
        writer.compact()
    monkeypatch.setenv("MEETMID_KEY_FILE", str(key))
    assert Gallery.open(path).ids == ("b", "c", "d", "e")
    monkeypatch.delenv("MEETMID_KEY_FILE")
    monkeypatch.setenv("MEETMID_KEY", key.read_text().strip())
    assert Gallery.open(path).ids == ("b", "c", "d", "e")
    gallery(FIRST).save(tmp_path / "other")
    assert b"AES" in (tmp_path / "other" / "manifest.json").read_bytes()


def test_nothing_readable_is_left_in_the_files(tmp_path, key):
    held = {"Grace Hopper": 2, "Alan Turing": 5}
    gallery(held).save(tmp_path / "g", key=key)
    whole = everything(tmp_path / "g")
    for secret in (b"Grace", b"plain", b"a" * 64, np.asarray(gallery(held).pool.templates).tobytes()[:16], b"PNG"):
        assert secret not in whole
    again = everything(tmp_path / "g")
    gallery(held).save(tmp_path / "g", key=key)
    assert everything(tmp_path / "g") != again  # other nonces


def test_wrong_and_missing_keys(tmp_path, key):
    path, other = tmp_path / "g", tmp_path / "other"
    gallery(FIRST).save(path, key=key)
    with pytest.raises(StoreError, match=r"encrypted: give key=FILE"):
        Gallery.open(path)
    other.write_bytes(os.urandom(32))
    with pytest.raises(StoreError, match="another key"):
        Gallery.open(path, key=other)
    other.write_text("short")
    with pytest.raises(StoreError, match="64 hexadecimal digits"):
        Gallery.open(path, key=other)
    with pytest.raises(StoreError, match="cannot be read"):
        Gallery.open(path, key=tmp_path / "nowhere")
    with pytest.raises(StoreError, match="encrypted"):
        gallery(FIRST).save(path)  # never silently replaced by an open one
    gallery(FIRST).save(tmp_path / "open")
    with pytest.raises(StoreError, match="not encrypted"):
        Gallery.open(tmp_path / "open", key=key)
    gallery(FIRST).save(tmp_path / "open", key=key)
    assert Gallery.open(tmp_path / "open", key=key).ids == tuple(FIRST)


def test_the_key_is_changed(tmp_path, key, monkeypatch):
    path, other, strange = tmp_path / "g", tmp_path / "other", tmp_path / "strange"
    other.write_text(os.urandom(32).hex())
    strange.write_text(os.urandom(32).hex())
    monkeypatch.setattr("meetmid.gallery.writer.SHARD", 100)
    gallery(FIRST).save(path, key=key, stored="int8")
    wanted = versions(Gallery.open(path, key=key))
    with Gallery.open(path, "a", key=key) as writer:
        writer.remove(["a"])
        assert writer.rekey(other)
        wanted.pop("a")
        writer.append(gallery({"e": 6}))
    found = Gallery.open(path, key=other)
    assert found.stored == "int8"
    assert versions(found.part(0, 3)) == wanted
    assert found.ids == ("b", "c", "d", "e")
    with pytest.raises(StoreError, match=f"another key than that of key file {key}"):
        Gallery.open(path, key=key)
    assert main(["gallery", "rekey", str(path), "--key", str(strange), "--new-key", str(key)]) == 2
    assert main(["gallery", "rekey", str(path), "--key", str(other), "--new-key", str(tmp_path / "nowhere")]) == 2
    assert main(["gallery", "rekey", str(path), "--key", str(other)]) == 2
    assert main(["gallery", "info", str(path), "--key", str(other), "--new-key", str(key)]) == 2
    assert Gallery.open(path, key=other).ids == ("b", "c", "d", "e")
    assert main(["gallery", "rekey", str(path), "--key", str(other), "--new-key", str(key)]) == 0
    assert versions(Gallery.open(path, key=key)) == versions(found)
    gallery(FIRST).save(tmp_path / "open")
    assert main(["gallery", "rekey", str(tmp_path / "open"), "--new-key", str(key)]) == 0
    assert versions(Gallery.open(tmp_path / "open", key=key)) == versions(gallery(FIRST))
    assert b"plain" not in everything(tmp_path / "open")


def test_a_change_of_key_that_fails_changes_nothing(tmp_path, key, monkeypatch):
    path, other = tmp_path / "g", tmp_path / "other"
    other.write_text(os.urandom(32).hex())
    gallery(FIRST).save(path, key=key)
    before = sorted(os.listdir(path))
    with Gallery.open(path, "a", key=key) as writer:
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(StoreError, match="no space left"):
            writer.rekey(other)
        monkeypatch.undo()
        writer.append(gallery({"e": 5}))
        writer.compact()
    assert versions(Gallery.open(path, key=key)) == versions(gallery(FIRST | {"e": 5}))
    assert len(os.listdir(path)) == len(before)


def test_wrong_keys_are_told_from_missing_ones(tmp_path, key, monkeypatch):
    path, other = tmp_path / "g", tmp_path / "other"
    other.write_text(os.urandom(32).hex())
    gallery(FIRST).save(path, key=key)
    for change in (lambda: Gallery.open(path, key=other), lambda: gallery(FIRST).save(path, key=other),
                   lambda: Gallery.open(path, "a", key=other)):
        with pytest.raises(StoreError, match=f"another key than that of key file {other};"):
            change()
    monkeypatch.setenv("MEETMID_KEY_FILE", str(other))
    with pytest.raises(StoreError, match=r"key file .*other \(MEETMID_KEY_FILE\)"):
        gallery(FIRST).save(path)
    monkeypatch.delenv("MEETMID_KEY_FILE")
    monkeypatch.setenv("MEETMID_KEY", "0" * 64)
    with pytest.raises(StoreError, match="than that of MEETMID_KEY;"):
        Gallery.open(path)


def test_files_cannot_be_exchanged_or_changed(tmp_path, key):
    gallery(FIRST).save(tmp_path / "g", key=key)
    salt = os.urandom(16)
    one, two = vault.Vault.of(key, salt), vault.Vault.of(key, os.urandom(16))
    sealed = one.seal(b"templates", "first")
    assert one.open(sealed, "first") == b"templates"
    assert vault.Vault.of(key, salt).open(sealed, "first") == b"templates"
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for opener, data, name in ((one, sealed, "second"), (two, sealed, "first"), (one, changed, "first"), (one, b"", "")):
        with pytest.raises(StoreError, match="cannot be decrypted"):
            opener.open(data, name)


def test_what_is_too_long_to_encrypt_is_refused_in_words(key, monkeypatch):
    class Short:
        def encrypt(self, *_):
            raise OverflowError("Data or associated data too long. Max 2**31 - 1 bytes")

    monkeypatch.setattr(vault.Vault, "_cipher", lambda self: Short())
    with pytest.raises(StoreError, match="2 GiB or more cannot be encrypted"):
        vault.Vault.of(key, b"salt").seal(b"x", "first")


def test_the_package_is_asked_for(tmp_path, key, monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(StoreError, match=r"meetmid\[store\]"):
        gallery(FIRST).save(tmp_path / "g", key=key)
