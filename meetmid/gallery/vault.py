"""Encryption at rest: AES-256-GCM of the well-kept package cryptography, with keys from a file or the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meetmid.errors import StoreError
from meetmid.gallery.files import optional

CIPHER = "AES-256-GCM"
NONCE = 12
KEY_BYTES = 32


@dataclass(frozen=True)
class Vault:
    """Seals and opens the files of one store; ``secret`` is the store's own key, derived from the owner's and the store's salt
    (HKDF-SHA256, RFC 5869), so that nonces of two stores never meet under one key."""

    secret: bytes

    @classmethod
    def of(cls, key: str | os.PathLike[str] | None, salt: bytes) -> Vault:
        """The vault of a store of this salt; ``key`` as in :func:`find_key`, which must find one. Raises StoreError."""
        master = find_key(key)
        if master is None:
            raise StoreError("the gallery is encrypted: give key=FILE (--key FILE), or set MEETMID_KEY_FILE or MEETMID_KEY")
        hkdf, hashes = optional("cryptography.hazmat.primitives.kdf.hkdf"), optional("cryptography.hazmat.primitives.hashes")
        derived = hkdf.HKDF(hashes.SHA256(), KEY_BYTES, salt, b"meetmid gallery")
        return cls(bytes(derived.derive(master)))

    def seal(self, data: bytes, name: str) -> bytes:
        """A random nonce and the ciphertext, which opens under the same ``name`` only. Raises StoreError for 2 GiB or more."""
        nonce = os.urandom(NONCE)
        try:
            return nonce + bytes(self._cipher().encrypt(nonce, data, name.encode()))
        except OverflowError as error:
            raise StoreError(f"{name}: an entry of 2 GiB or more cannot be encrypted; give it fewer pictures") from error

    def open(self, data: bytes, name: str) -> bytes:
        """The inverse of :meth:`seal`; raises StoreError for a wrong key or changed data."""
        try:
            return bytes(self._cipher().decrypt(data[:NONCE], data[NONCE:], name.encode()))
        except (optional("cryptography.exceptions").InvalidTag, ValueError) as error:
            raise StoreError(f"{name} cannot be decrypted: another key, or its bytes were changed") from error

    def _cipher(self) -> Any:
        return optional("cryptography.hazmat.primitives.ciphers.aead").AESGCM(self.secret)


def find_key(key: str | os.PathLike[str] | None) -> bytes | None:
    """The owner's 32 bytes: from the file ``key``, else from the file that ``MEETMID_KEY_FILE`` names, else from
    ``MEETMID_KEY`` (64 hexadecimal digits; a file may hold them too, or the 32 bytes themselves); None where there is none.
    Raises StoreError."""
    named = key if key is not None else os.environ.get("MEETMID_KEY_FILE") or None
    if named is None:
        text = os.environ.get("MEETMID_KEY", "")
        return _decoded(text.encode(), "MEETMID_KEY") if text else None
    try:
        return _decoded(Path(named).read_bytes(), f"key file {named}")
    except OSError as error:
        raise StoreError(f"key file {named} cannot be read: {error}") from error


def key_name(key: str | os.PathLike[str] | None) -> str:
    """Where :func:`find_key` looks."""
    if key is not None:
        return f"key file {os.fspath(key)}"
    named = os.environ.get("MEETMID_KEY_FILE")
    return f"key file {named} (MEETMID_KEY_FILE)" if named else "MEETMID_KEY"


def _decoded(content: bytes, what: str) -> bytes:
    if len(content) == KEY_BYTES:
        return content
    try:
        found = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        found = b""
    if len(found) != KEY_BYTES:
        raise StoreError(
            f"{what} expects 32 bytes or 64 hexadecimal digits; make one with: "
            f"python -c \"import secrets; print(secrets.token_hex(32))\""
        )
    return found
