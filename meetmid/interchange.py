"""Files that other programs read too: tables as .csv, arrays as .npz; written whole or not at all."""

from __future__ import annotations

import csv
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRIES = 20


def move(aside: Path, path: Path) -> None:
    """Rename a file over another one, in one step; Windows refuses while somebody reads that, so it is tried for a second."""
    for left in reversed(range(TRIES)):
        try:
            os.replace(aside, path)
            return
        except PermissionError:
            if not left:
                raise
            time.sleep(1 / TRIES)


@contextmanager
def aside(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Where to write what takes the place of ``path`` once it is whole, with its mode, or, if ``private``, readable by its
    owner only; until then, and after an error, an older file stays. What is no file, such as a pipe, is written to as it is.
    Raises OSError where ``path`` may not be written."""
    target = path.resolve()
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if target.exists() and not target.is_file():
        yield target
        return
    new = target.with_name(f".{secrets.token_hex(8)}")
    try:
        if private:
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield new
        if not private and target.exists():
            shutil.copymode(target, new)
        move(new, target)
    finally:
        new.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str, *, private: bool = False) -> None:
    """Write a UTF-8 text as :func:`aside` says; raises OSError."""
    with aside(Path(path), private=private) as new:
        new.write_text(text, encoding="utf-8")


def write_rows(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, in UTF-8 but for the bytes of file names that are none, which stay as they are."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(rows)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; raises ValueError for another one, beside what numpy and zipfile raise for damages."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (ValueError, TypeError):  # numpy would advise to unpickle it, which runs what a stranger wrote
        raise ValueError("no arrays of an .npz file") from None
