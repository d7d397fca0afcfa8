"""Any input to RGB uint8 (H, W, 3): the only place where files are decoded and where colour order is decided."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Color
from meetmid.errors import ConfigError, InputError, TooLargeError

if TYPE_CHECKING:
    import PIL.Image

_log = logging.getLogger("meetmid")

Source: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[Any] | PIL.Image.Image"
"""One picture: a path, encoded bytes, a PIL image, or an array (H, W, 3) or (H, W) uint8."""

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded (a decompression bomb fits in a few kilobytes)."""

STRIP = 2**20
"""Pixels converted at a time."""

SUFFIXES = frozenset({
    ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
})
"""File name endings that a directory is searched for."""


@dataclass(frozen=True)
class Entry:
    """One row or column: a subject with one or several pictures; without any, ``problem`` says why."""

    id: str
    sources: tuple[Source, ...]
    problem: str = ""


def describe(source: Source) -> str:
    """How an error names a picture."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    if isinstance(source, np.ndarray):
        return f"array {source.shape} {source.dtype}"
    return f"PIL image {getattr(source, 'size', '')}"


def digest(source: Source) -> bytes:
    """32 bytes that change with the picture that a source gives: of a file its content, of one that cannot be read its name,
    without the folder it lies in."""
    made = hashlib.sha256()
    if isinstance(source, str | os.PathLike):
        try:
            made.update(Path(source).read_bytes())
        except OSError:
            made.update(b"unreadable " + os.fsencode(Path(source).name))
    elif isinstance(source, bytes):
        made.update(source)
    else:
        try:
            array = np.ascontiguousarray(source)
        except Exception:  # Pillow raises what its decoders raise, at times with addresses in it
            array = np.frombuffer(b"unreadable", np.uint8)
        made.update(f"{array.shape} {array.dtype} {getattr(source, 'mode', '')}".encode() + array.tobytes())
    return made.digest()


def load(source: Source, *, color: Color = "rgb", most: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode one picture of at most ``most`` pixels to RGB uint8 (H, W, 3).

    EXIF orientation is applied; grey, palette, CMYK and 16-bit files are converted (16-bit grey by value / 257; 16-bit colour
    as Pillow decodes it, to its high byte); transparent pixels are composed over black. ``color`` is the channel order of
    arrays and is ignored for everything else. Beside the result, decoding takes up to 8 bytes per pixel. Raises InputError
    naming the picture, what was expected and what was got, and ConfigError for another ``color``.
    """
    if color not in get_args(Color):
        raise ConfigError(f"color expects {' or '.join(map(repr, get_args(Color)))}, got {color!r}")
    if isinstance(source, np.ndarray):
        return _from_array(source, color)
    from PIL import Image, UnidentifiedImageError

    name = describe(source)
    try:
        if isinstance(source, Image.Image):
            return _from_pil(source.copy(), name, most)
        with _opened(source, name) as stream, Image.open(stream) as image:
            return _from_pil(image, name, most)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: expected a picture (JPEG, PNG, TIFF, WebP, ...), got something else") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: expected at most {MAX_PIXELS} pixels, got a decompression bomb") from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise InputError(f"{name}: expected a whole picture, got a damaged or truncated file ({error})") from error


def _opened(source: str | os.PathLike[str] | bytes, name: str) -> BinaryIO:
    try:
        return io.BytesIO(source) if isinstance(source, bytes) else open(os.fspath(source), "rb")
    except TypeError:
        raise InputError(
            f"a picture is a path, bytes, a PIL image or an array, got {type(source).__name__}"
        ) from None
    except OSError as error:
        raise InputError(f"{name}: expected a readable picture file, got {error.strerror or error}") from error


def _from_pil(image: PIL.Image.Image, name: str, most: int) -> NDArray[np.uint8]:
    from PIL import ImageOps

    width, height = image.size
    if width == 0 or height == 0:
        raise InputError(f"{name}: expected a picture of at least 1 x 1 pixels, got {width} x {height}")
    if width * height > min(most, MAX_PIXELS):
        told = "" if most >= MAX_PIXELS else " (as memory_limit allows)"
        raise TooLargeError(f"{name}: expected at most {min(most, MAX_PIXELS)} pixels{told}, got {width} x {height}")
    ImageOps.exif_transpose(image, in_place=True)
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    step = max(1, STRIP // width)
    for top in range(0, height, step):  # in strips, so that no conversion needs a second picture
        strip = image.crop((0, top, width, min(top + step, height)))
        pixels[top : top + step] = _strip(strip, name, "transparency" in image.info)
    return pixels


def _strip(strip: PIL.Image.Image, name: str, transparency: bool) -> NDArray[np.uint8]:
    from PIL import Image

    if strip.mode == "F":
        raise InputError(f"{name}: expected 8 or 16 bits per channel, got 32-bit floating point")
    if strip.mode == "I" or strip.mode.startswith("I;16"):
        values = np.asarray(strip).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"{name}: expected 8 or 16 bits per channel, got values {values.min()}..{values.max()}")
        grey = ((values + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if strip.mode in ("RGBA", "LA", "PA", "La", "RGBa") or transparency:
        layer = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return np.asarray(strip.convert("RGB"), dtype=np.uint8)


def _from_array(array: NDArray[Any], color: Color) -> NDArray[np.uint8]:
    expected = "expected an array (H, W, 3) or (H, W) of uint8"
    if array.dtype != np.uint8:
        problem = f"{array.dtype}"
        if np.issubdtype(array.dtype, np.floating) and array.size and not np.isfinite(array).all():
            problem += " with NaN or infinite values"
        raise InputError(f"{expected}, got {array.shape} {problem}; convert it to 0..255 uint8 first")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise InputError(f"{expected}, got shape {array.shape}")
    if array.size == 0:
        raise InputError(f"{expected} of at least 1 x 1 pixels, got shape {array.shape}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise InputError(f"expected at most {MAX_PIXELS} pixels, got {array.shape}")
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array if color == "rgb" else array[..., ::-1])


def entries(side: Any, *, ids: Iterable[str] | None = None, what: str = "images") -> list[Entry]:
    """The entries of one side: one picture, a sequence or an iterator (a nested list is one subject), or a directory.

    A directory is listed in sorted order; each picture file (:data:`SUFFIXES`) is an entry and each sub-directory one subject;
    a warning is logged of what else lies there. Nothing is decoded yet. ``ids`` renames the entries. Raises InputError for an
    empty or unreadable side, for a set or a mapping, which have no order of their own, and for what holds no pictures.
    """
    found = _listed(side, what)
    if not found:
        raise InputError(f"{what}: expected at least one picture, got none in {side!r:.80}")
    if ids is None:
        return found
    names = [ids] if isinstance(ids, str) and len(found) == 1 else [str(name) for name in ids]
    if len(names) != len(found):
        raise InputError(f"ids: expected {len(found)} names, one per entry of {what}, got {len(names)}")
    if len(set(names)) != len(names):
        raise InputError("ids: expected distinct names, got some twice")
    return [replace(entry, id=name) for name, entry in zip(names, found, strict=True)]


def _listed(side: Any, what: str) -> list[Entry]:
    if isinstance(side, str | os.PathLike):
        path = Path(side)
        if os.path.isdir(path):
            return _directory(path)
        if not os.path.exists(path):
            raise InputError(f"{what}: expected a picture or a directory, {path} does not exist")
        return [Entry(path.name, (side,))]
    if isinstance(side, np.ndarray) and side.ndim == 4:
        return [Entry(str(index), (picture,)) for index, picture in enumerate(side)]
    if _is_many(side, what):
        return _distinct([_item(item, str(index), what) for index, item in enumerate(side)])
    is_picture = isinstance(side, bytes | bytearray | memoryview | np.ndarray) or hasattr(side, "getexif")
    if not is_picture and not hasattr(side, "read"):
        raise InputError(f"{what}: expected a path, bytes, a PIL image, an array or several of them, got {type(side).__name__}")
    return [Entry("0", (side,))]


def _is_many(item: Any, what: str) -> bool:
    """Whether ``item`` holds pictures rather than being one."""
    if isinstance(item, Set | Mapping):
        raise InputError(f"{what}: expected a list, which has an order, got a {type(item).__name__}")
    single = isinstance(item, str | bytes | bytearray | memoryview | np.ndarray) or hasattr(item, "__fspath__")
    return isinstance(item, Iterable) and not single and not hasattr(item, "read")


def _item(item: Any, index: str, what: str) -> Entry:
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        return _subject(path) if os.path.isdir(path) else Entry(path.name, (item,))
    if _is_many(item, what):
        sources = tuple(item)
        paths = [p for p in sources if isinstance(p, str | os.PathLike)]
        return Entry(Path(paths[0]).name if paths else index, sources)
    return Entry(index, (item,))


def _distinct(found: list[Entry]) -> list[Entry]:
    """File names as ids where they are distinct, else the full path, else the position."""
    by_path = [describe(e.sources[0]) if e.sources else e.id for e in found]
    for names in ([e.id for e in found], by_path, [str(k) for k in range(len(found))]):
        if len(set(names)) == len(names):
            return [replace(e, id=n) for n, e in zip(names, found, strict=True)]
    return found


def _directory(path: Path) -> list[Entry]:
    try:
        children = sorted(path.iterdir(), key=lambda p: p.name)
    except OSError as error:
        raise InputError(f"{path}: expected a readable directory, got {error.strerror or error}") from error
    found, others = list[Entry](), list[Path]()
    for child in children:
        if child.name.startswith("."):
            continue
        if child.is_dir():
            found.append(_subject(child))
        elif _may_be_picture(child):
            found.append(Entry(child.name, (child,)))
        else:
            others.append(child)
    _tell_left_out(path, others)
    return found


def _may_be_picture(path: Path) -> bool:
    """A file of a picture's name, or a broken link of one, which is to fail."""
    return path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists())  # a pipe would be waited for


def _tell_left_out(path: Path, others: list[Path]) -> None:
    if others:
        names = ", ".join(repr(other.name) for other in others[:3]) + (", ..." if others[3:] else "")
        _log.warning("%s: left out %d of what lies there, by name or kind no pictures: %s", path, len(others), names)


def _subject(path: Path) -> Entry:
    """The pictures of a sub-directory; one that cannot be read is recorded as a failure."""
    sources, others = list[Path](), list[Path]()
    try:
        for child in sorted(p for p in path.iterdir() if not p.name.startswith(".")):
            (sources if _may_be_picture(child) and not child.is_dir() else others).append(child)
    except OSError as error:
        return Entry(path.name, (), f"{path}: expected a readable directory, got {error.strerror or error}")
    _tell_left_out(path, others)
    return Entry(path.name, tuple(sources), "" if sources else f"{path}: expected at least one picture, got none")
