"""Any input becomes RGB uint8 (H, W, 3), or an InputError that names the picture."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meetmid import images
from meetmid.errors import ConfigError, InputError
from meetmid.images import MAX_PIXELS, entries, load

PICTURE = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def png() -> bytes:
    return encoded(Image.fromarray(PICTURE))


# --- what is accepted -------------------------------------------------------------------------------------------------


def test_every_kind_of_input_gives_the_same_picture(tmp_path: Path, png: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png)
    for source in (path, str(path), png, Image.fromarray(PICTURE), PICTURE):
        found = load(source)
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, PICTURE)


def test_color_is_the_order_of_arrays_only(png: bytes) -> None:
    np.testing.assert_array_equal(load(PICTURE[..., ::-1], color="bgr"), PICTURE)
    np.testing.assert_array_equal(load(png, color="bgr"), PICTURE)
    np.testing.assert_array_equal(load(Image.fromarray(PICTURE), color="bgr"), PICTURE)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1)])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_grey_arrays_are_repeated(shape: tuple[int, ...], color: str) -> None:
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(load(grey.reshape(shape), color=color), np.dstack([grey] * 3))


def test_views_with_odd_strides_are_read_as_they_look() -> None:
    np.testing.assert_array_equal(load(PICTURE[::-1, ::2]), PICTURE[::-1, ::2].copy())


ORIENTED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: p.transpose(1, 0, 2)[::-1],
}
"""What the EXIF standard says of each orientation: the stored picture to the upright one."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = load(encoded(Image.fromarray(PICTURE), kind, exif=exif))
    np.testing.assert_array_equal(found, ORIENTED[orientation](PICTURE))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_divided_by_257(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 40000, 65407, 65535]], np.uint16)
    found = load(encoded(Image.fromarray(values), kind))
    np.testing.assert_array_equal(found[..., 0], np.floor(values / 257 + 0.5))
    assert (found == found[..., :1]).all()


def test_big_endian_tiff_is_the_same_picture() -> None:
    values = np.array([[0, 257, 40000, 65535]], ">u2")
    tags = {256: 4, 257: 1, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 8}
    fields = [struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items()]
    data = b"MM\0*" + struct.pack(">I", 16) + values.tobytes() + struct.pack(">H", len(tags)) + b"".join(fields) + bytes(4)
    np.testing.assert_array_equal(load(data)[..., 0], [[0, 1, 156, 255]])


def test_transparent_pixels_are_composed_over_black() -> None:
    alpha = np.array([[0, 64, 128, 191, 255]], np.uint8)
    color = np.full((1, 5, 3), (200, 100, 50), np.uint8)
    expected = color * (alpha[..., None] / 255.0)
    assert np.abs(load(Image.fromarray(np.dstack([color, alpha]))) - expected).max() <= 1
    grey = Image.fromarray(np.dstack([color[..., 0], alpha]))
    assert grey.mode == "LA"
    assert np.abs(load(grey) - expected[..., :1]).max() <= 1
    assert np.abs(load(grey.convert("La")) - expected[..., :1]).max() <= 2


def test_palettes_with_and_without_transparency() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250])
    np.testing.assert_array_equal(load(encoded(image))[0], [[250, 0, 0], [0, 250, 0], [0, 0, 250]])
    np.testing.assert_array_equal(load(encoded(image, transparency=1))[0], [[250, 0, 0], [0, 0, 0], [0, 0, 250]])
    np.testing.assert_array_equal(load(encoded(image, "GIF"))[0], [[250, 0, 0], [0, 250, 0], [0, 0, 250]])


def test_cmyk_one_bit_and_grey_files() -> None:
    cmyk = Image.fromarray(np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), "CMYK")
    np.testing.assert_array_equal(load(encoded(cmyk, "TIFF"))[0], [[255] * 3, [0, 255, 255], [0] * 3])
    bits = Image.fromarray(np.array([[True, False, True]]))
    assert bits.mode == "1"
    np.testing.assert_array_equal(load(encoded(bits))[0], [[255] * 3, [0] * 3, [255] * 3])
    np.testing.assert_array_equal(load(encoded(Image.fromarray(PICTURE[..., 0])))[..., 2], PICTURE[..., 0])


def test_the_first_picture_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ((255, 0, 0), (0, 0, 255))]
    found = load(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(found, np.full((3, 4, 3), (255, 0, 0)))


def test_a_pil_image_is_not_changed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(Image.fromarray(PICTURE), exif=exif)))
    load(image)
    assert image.size == (5, 7)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.full((4, 4, 3), np.nan), r"\(4, 4, 3\) float64 with NaN or infinite values"),
        (np.zeros((4, 4, 3), np.float32), "float32; convert it to 0..255 uint8"),
        (np.zeros((4, 4), np.uint16), "uint16"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4, 4), np.uint8), r"got shape \(4, 4, 4\)"),
        (np.zeros((4, 4, 2), np.uint8), r"got shape \(4, 4, 2\)"),
        (np.zeros(4, np.uint8), r"got shape \(4,\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"got shape \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"at least 1 x 1 pixels, got shape \(0, 4, 3\)"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), f"at most {MAX_PIXELS} pixels"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, got: str) -> None:
    with pytest.raises(InputError, match=got):
        load(array)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected a picture"),
        (b"this is no picture", "expected a picture"),
        (encoded(Image.fromarray(PICTURE))[:-30], "expected a whole picture, got a damaged or truncated file"),
        (encoded(Image.fromarray(np.zeros((64, 64, 3), np.uint8)), "JPEG")[:-200], "damaged or truncated"),
    ],
    ids=["empty", "text", "truncated PNG", "truncated JPEG"],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "probe7.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"probe7\.jpg: {expected}|probe7\.jpg: .*{expected}"):
        load(path)
    with pytest.raises(InputError, match=f"^{len(content)} bytes: "):
        load(content)


def test_a_broken_pil_image_is_an_input_error_too() -> None:
    lazy = Image.open(io.BytesIO(encoded(Image.fromarray(PICTURE))[:-30]))
    with pytest.raises(InputError, match=r"PIL image \(5, 7\): expected a whole picture"):
        load(lazy)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "AVIF"])
def test_no_damage_ever_raises_anything_else(kind: str) -> None:
    if kind == "AVIF":
        pytest.importorskip("PIL._avif", reason="this Pillow has no AVIF")
    data = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 20, 3), dtype=np.uint8)), kind)
    rng = np.random.default_rng(2)
    for _ in range(120):
        damaged = bytearray(data)
        for position in rng.integers(0, len(damaged), 3):
            damaged[position] = rng.integers(0, 256)
        with contextlib.suppress(InputError):
            assert load(bytes(damaged)).shape[2] == 3


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b""))
    assert path.stat().st_size < 20_000
    with pytest.raises(InputError, match=rf"bomb\.png: expected at most {MAX_PIXELS} pixels"):
        load(path)


def test_32_bit_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="32-bit floating point"):
        load(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))
    with pytest.raises(InputError, match=r"got values 0\.\.70000"):
        load(Image.fromarray(np.array([[0, 70_000]], np.int32)))


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: expected a readable picture file, got No such file"):
        load(tmp_path / "none.png")
    with pytest.raises(InputError, match="expected a readable picture file, got Is a directory"):
        load(tmp_path)
    with pytest.raises(InputError, match="expected"):
        load("nul\0.png")
    with pytest.raises(InputError, match="a picture is a path, bytes, a PIL image or an array, got int"):
        load(7)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user can read everything")
def test_files_and_folders_without_permission(tmp_path: Path, png: bytes) -> None:
    path = tmp_path / "people" / "a.png"
    path.parent.mkdir()
    path.write_bytes(png)
    path.chmod(0)
    with pytest.raises(InputError, match=r"a\.png: expected a readable picture file, got Permission denied"):
        load(path)
    path.parent.chmod(0)
    try:
        with pytest.raises(InputError, match="expected a readable directory"):
            entries(path.parent)
        assert entries(tmp_path)[0].sources == ()
        with pytest.raises(InputError):
            entries(path)
    finally:
        path.parent.chmod(0o700)


# --- sides ------------------------------------------------------------------------------------------------------------


def test_a_directory_is_sorted_and_a_sub_directory_is_one_subject(tmp_path: Path) -> None:
    names = "b.png a.JPG c.tiff notes.txt .hidden.png dan/2.png dan/1.png dan/.2.png dan/x.csv dan/deep/3.png eve/x.txt"
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    found = entries(tmp_path)
    assert [e.id for e in found] == ["a.JPG", "b.png", "c.tiff", "dan", "eve"]
    files = [[Path(str(source)).name for source in entry.sources] for entry in found]
    assert files == [["a.JPG"], ["b.png"], ["c.tiff"], ["1.png", "2.png"], []]
    assert [e.problem for e in found[:4]] == [""] * 4
    assert found[4].problem == f"{tmp_path / 'eve'}: expected at least one picture, got none"


def test_what_a_directory_holds_beside_pictures_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "b.heic", "c.tga", "d.txt", "e", ".f", "dan/1.png", "dan/deep/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    assert [e.id for e in entries(tmp_path)] == ["a.png", "dan", "gone.png"]
    assert caplog.messages == [
        f"{tmp_path / 'dan'}: left out 1 of what lies there, by name or kind no pictures: 'deep'",
        f"{tmp_path}: left out 4 of what lies there, by name or kind no pictures: 'b.heic', 'c.tga', 'd.txt', ...",
    ]
    caplog.clear()
    entries(tmp_path / "a.png")
    assert caplog.messages == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "dan").mkdir()
    for folder in (tmp_path, tmp_path / "dan"):
        (folder / "a.png").touch()
        os.mkfifo(folder / "pipe.jpg")
    assert [[Path(str(s)).name for s in e.sources] for e in entries(tmp_path)] == [["a.png"], ["a.png"]]
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("side", [None, 5, object()])
def test_what_is_no_side_is_refused(side: object) -> None:
    with pytest.raises(InputError, match=f"probe: expected a path, bytes, a PIL image, an array .* got {type(side).__name__}"):
        entries(side, what="probe")


@pytest.mark.parametrize("color", ["RGB", "xyz", None])
def test_other_colour_orders_are_refused(color: str, png: bytes) -> None:
    for source in (np.zeros((2, 2, 3), np.uint8), png):
        with pytest.raises(ConfigError, match=f"color expects 'rgb' or 'bgr', got {color!r}"):
            load(source, color=color)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "I;16", "1"])
def test_strips_change_nothing(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (23, 17, 4), dtype=np.uint8)
    image = Image.fromarray(noise, "RGBA").convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    whole = load(image)
    monkeypatch.setattr("meetmid.images.STRIP", 40)
    assert np.array_equal(load(image), whole)


def test_the_bound_on_pixels_is_told(tmp_path: Path, png: bytes) -> None:
    width, height = Image.open(io.BytesIO(png)).size
    assert load(png, most=width * height).shape == (height, width, 3)
    told = rf"at most {width * height - 1} pixels \(as memory_limit allows\), got {width} x {height}"
    with pytest.raises(InputError, match=told):
        load(png, most=width * height - 1)


@pytest.mark.parametrize("side", [[], ()])
def test_an_empty_side_is_refused(side: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="probe: expected at least one picture, got none in"):
        entries(side, what="probe")
    with pytest.raises(InputError, match="probe: expected at least one picture, got none in"):
        entries(tmp_path, what="probe")


def test_a_side_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="gallery: expected a picture or a directory, nowhere does not exist"):
        entries("nowhere", what="gallery")
    with pytest.raises(InputError, match="does not exist"):
        entries("x" * 5000)


def test_one_picture_is_one_entry(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png)
    assert [e.id for e in entries(tmp_path / "a.png")] == ["a.png"]
    for source in (png, PICTURE, Image.fromarray(PICTURE)):
        (entry,) = entries(source)
        assert (entry.id, len(entry.sources)) == ("0", 1)
    assert [e.id for e in entries(np.stack([PICTURE, PICTURE]))] == ["0", "1"]


def test_lists_groups_and_folders_in_a_list(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.png").write_bytes(png)
    (tmp_path / "bob.png").write_bytes(png)
    found = entries([tmp_path / "ann", str(tmp_path / "bob.png"), [PICTURE, PICTURE], [tmp_path / "bo.png", PICTURE], png])
    assert [e.id for e in found] == ["ann", "bob.png", "2", "bo.png", "4"]
    assert [len(e.sources) for e in found] == [1, 1, 2, 2, 1]
    assert entries(["x" * 5000, PICTURE])[0].sources == ("x" * 5000,)


def test_equal_file_names_become_paths(tmp_path: Path) -> None:
    paths = [tmp_path / "1" / "a.png", tmp_path / "2" / "a.png"]
    assert [e.id for e in entries(paths)] == [str(p) for p in paths]
    assert [e.id for e in entries([paths[0], paths[0]])] == ["0", "1"]


def test_ids_rename_and_are_checked() -> None:
    pair = [PICTURE, PICTURE]
    assert [e.id for e in entries(pair, ids=["x", "y"])] == ["x", "y"]
    with pytest.raises(InputError, match="expected 2 names, one per entry of gallery, got 3"):
        entries(pair, ids=["x", "y", "z"], what="gallery")
    for twice in (["x", "x"], ["1", 1]):
        with pytest.raises(InputError, match="expected distinct names"):
            entries(pair, ids=twice)


def test_every_ending_is_one_that_pillow_knows() -> None:
    assert set(Image.registered_extensions()) >= images.SUFFIXES - {".avif"}
