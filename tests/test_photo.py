"""Photos: every format a person may have, and every way in which a file can be none."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from celebbasis_ext.errors import UnreadableImage
from celebbasis_ext.files.photo import FORMATS, read_photo, readable_formats
from celebbasis_ext.types import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters() -> pillow.Image:
    """48 wide, 32 high: red, green / blue, white."""
    image = pillow.new("RGB", (48, 32), WHITE)
    image.paste(RED, (0, 0, 24, 16))
    image.paste(GREEN, (24, 0, 48, 16))
    image.paste(BLUE, (0, 16, 24, 32))
    return image


def written(image: pillow.Image, kind: str, **options: object) -> bytes:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def assert_quarters(photo: Image, tolerance: int = 0) -> None:
    assert photo.shape == (32, 48, 3) and photo.dtype == np.uint8
    assert photo.flags.writeable and photo.flags.c_contiguous
    for (y, x), colour in {(8, 12): RED, (8, 36): GREEN, (24, 12): BLUE, (24, 36): WHITE}.items():
        assert np.abs(photo[y, x].astype(int) - colour).max() <= tolerance


# --- formats


def needs(kind: str) -> None:
    """Skip where Pillow cannot write a format, which is how these tests come by their files."""
    readable_formats()
    if kind not in pillow.SAVE:
        pytest.skip(f"{kind} is not installed")


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(kind: str, tmp_path: Path) -> None:
    needs(kind)
    content = written(quarters(), kind)
    path = tmp_path / "Foto – 顔.bin"
    path.write_bytes(content)
    lossy = 12 if kind in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF") else 0
    assert_quarters(read_photo(content), lossy)
    assert np.array_equal(read_photo(path), read_photo(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_rotation_is_applied(orientation: int) -> None:
    undo = {
        2: pillow.Transpose.FLIP_LEFT_RIGHT,
        3: pillow.Transpose.ROTATE_180,
        4: pillow.Transpose.FLIP_TOP_BOTTOM,
        5: pillow.Transpose.TRANSPOSE,
        6: pillow.Transpose.ROTATE_90,
        7: pillow.Transpose.TRANSVERSE,
        8: pillow.Transpose.ROTATE_270,
    }
    stored = quarters().transpose(undo[orientation]) if orientation in undo else quarters()
    exif = pillow.Exif()
    exif[0x0112] = orientation
    assert_quarters(read_photo(written(stored, "JPEG", exif=exif, quality=95)), 12)
    assert_quarters(read_photo(written(stored, "PNG", exif=exif)))


@pytest.mark.parametrize("kind", ["MPO", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_rotation_is_applied_once_in_every_format(kind: str, orientation: int) -> None:
    """HEIC and AVIF have a rotation of their own beside the camera's."""
    needs(kind)
    undo = {3: pillow.Transpose.ROTATE_180, 6: pillow.Transpose.ROTATE_90, 8: pillow.Transpose.ROTATE_270}
    exif = pillow.Exif()
    exif[0x0112] = orientation
    stored = quarters().transpose(undo[orientation])
    # As bytes: from them pillow_heif writes the rotation where HEIC has it; what EXIF says is not valid there.
    assert_quarters(read_photo(written(stored, kind, exif=exif.tobytes(), quality=95)), 20)
    if kind == "TIFF":
        assert_quarters(read_photo(written(stored, kind, exif=exif.tobytes(), compression="tiff_lzw")))


def test_what_is_wrong_with_a_photo_is_said_once(recwarn: pytest.WarningsRecorder) -> None:
    """Pillow warns of what `read_photo` decides; at the command line that would be a second voice."""
    read_photo(written(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish"))
    refused(png_head(60_000, 60_000))
    assert not recwarn.list


def test_damaged_exif_is_no_obstacle() -> None:
    content = written(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish", quality=95)
    assert_quarters(read_photo(content), 12)


@pytest.mark.parametrize("image", [pillow.new("RGBA", (4, 4), (9, 9, 9, 0)), pillow.new("LA", (4, 4), (9, 0))])
def test_transparency_becomes_white(image: pillow.Image) -> None:
    assert np.all(read_photo(written(image, "PNG")) == 255)


def test_half_transparent_red_is_pink() -> None:
    photo = read_photo(written(pillow.new("RGBA", (2, 2), (255, 0, 0, 128)), "PNG"))
    assert np.abs(photo[0, 0].astype(int) - [255, 127, 127]).max() <= 1


def test_palettes_with_and_without_transparency() -> None:
    assert_quarters(read_photo(written(quarters().convert("P", palette=pillow.Palette.ADAPTIVE), "PNG")))
    image = pillow.new("P", (3, 3), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    assert read_photo(written(image, "PNG"))[0, 0].tolist() == [200, 10, 20]
    assert read_photo(written(image, "PNG", transparency=1))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("mode", "value", "expected"), [("L", 77, 77), ("1", 1, 255)])
def test_grey(mode: str, value: int, expected: int) -> None:
    photo = read_photo(written(pillow.new(mode, (5, 3), value), "PNG"))
    assert photo.shape == (3, 5, 3) and np.all(photo == expected)


def test_cmyk() -> None:
    assert_quarters(read_photo(written(quarters().convert("CMYK"), "TIFF")))
    assert_quarters(read_photo(written(quarters().convert("CMYK"), "JPEG", quality=95)), 12)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    values = np.array([[0, 128 * 257], [10 * 257, 65535]], np.uint16)
    photo = read_photo(written(pillow.fromarray(values), kind))
    assert photo[..., 0].tolist() == [[0, 128], [10, 255]]
    assert np.array_equal(photo[..., 0], photo[..., 2])


def test_sixteen_bit_colour() -> None:
    """Pillow writes none, so the file is put together here."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + struct.pack(">6H", 65535, 0, 32896, 257, 514, 771) for _ in range(2))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert read_photo(content)[0].tolist() == [[255, 0, 128], [1, 2, 3]]


def test_sixteen_bit_tiff_in_colour() -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.array([[[65535, 0, 32896], [257, 514, 771]]], np.uint16)
    memory = io.BytesIO()
    tifffile.imwrite(memory, values, photometric="rgb")
    assert read_photo(memory.getvalue()).tolist() == [[[255, 0, 128], [1, 2, 3]]]


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF", "HEIF", "JPEG2000", "GIF"])
def test_transparency_becomes_white_in_every_format(kind: str) -> None:
    needs(kind)
    image = quarters().convert("RGBA")
    image.putalpha(0)
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.all(read_photo(written(image, kind, **options)) == 255)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "WEBP", "JPEG2000", "TIFF"])
def test_every_format_in_every_mode(kind: str, mode: str) -> None:
    needs(kind)
    grey = pillow.new("RGB", (16, 8), (255, 255, 255)).convert(mode)
    try:
        content = written(grey, kind)
    except (OSError, KeyError, ValueError):
        pytest.skip(f"{kind} has no mode {mode}")
    photo = read_photo(content)
    assert photo.shape == (8, 16, 3) and photo.min() >= 250


@pytest.mark.parametrize(("kind", "package"), [("HEIF", "pillow-heif"), ("AVIF", "pillow-avif-plugin")])
def test_what_a_telephones_photo_needs_is_named(kind: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody taught Pillow the format."""
    brand = {"HEIF": b"heic", "AVIF": b"avif"}[kind]
    readable_formats()
    monkeypatch.delitem(pillow.OPEN, kind, raising=False)
    monkeypatch.setattr("celebbasis_ext.files.photo._PLUGINS", {})
    error = refused(b"\0\0\0\x18ftyp" + brand + b"\0" * 40)
    assert package in error.hint


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_grey(top: float) -> None:
    values = np.array([[0.0, top / 2, top]], np.float32)
    photo = read_photo(written(pillow.fromarray(values), "TIFF"))
    assert np.abs(photo[0, :, 0].astype(int) - [0, 128, 255]).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    needs(kind)
    second = pillow.new("RGB", (48, 32), (9, 9, 9))
    options = {"lossless": True} if kind == "WEBP" else {}
    content = written(quarters(), kind, save_all=True, append_images=[second], duration=50, **options)
    assert_quarters(read_photo(content), 12 if kind == "AVIF" else 0)


# --- what is no photo


def refused(source: Path | bytes) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        read_photo(source)
    assert caught.value.message.endswith((".", ")")) or ": " in caught.value.message
    assert caught.value.hint
    return caught.value


def test_missing_files_and_folders(tmp_path: Path) -> None:
    error = refused(tmp_path / "absent.jpg")
    assert "absent.jpg" in error.message and str(tmp_path) in error.message
    assert "is a folder" in refused(tmp_path).message


def test_empty_files(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert "empty.jpg is empty" in refused(tmp_path / "empty.jpg").message
    assert "is empty" in refused(b"").message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_files_cut_short(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = written(pillow.fromarray(noise), kind)
    assert refused(content[: len(content) // 2]).message.startswith("The image ")


@pytest.mark.parametrize("content", [b"hello, this is text", b"%PDF-1.7 and so on", b"\0" * 500, b"\xff\xd8\xff"])
def test_files_that_are_no_image(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "no.jpg"
    path.write_bytes(content)
    assert "no.jpg" in refused(path).message


def test_postscript_is_not_run() -> None:
    """Pillow hands EPS to Ghostscript; a photo is never EPS."""
    assert "not an image" in refused(written(quarters(), "EPS")).message


def png_head(width: int, height: int) -> bytes:
    """A PNG of a few bytes that states any size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\1IDAT"


@pytest.mark.parametrize("size", [(12_001, 10_000), (20_000, 20_000), (60_000, 60_000), (32_001, 2)])
def test_gigantic_images_are_not_unpacked(size: tuple[int, int]) -> None:
    message = refused(png_head(*size)).message
    assert "pixels" in message and "damaged" not in message


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(written(quarters(), "PNG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert "may not be opened" in refused(path).message
