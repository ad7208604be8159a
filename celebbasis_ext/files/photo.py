"""A photo as a person has it -> [h, w, 3]: upright, on white, eight bits, one frame."""

from __future__ import annotations

import importlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from celebbasis_ext.errors import UnreadableImage
from celebbasis_ext.types import Image

if TYPE_CHECKING:
    from PIL import Image as pillow

MAX_PIXELS: Final = 120_000_000
"""A small file can unpack to gigabytes; telephones' largest usual photos have 108 megapixels."""

MAX_SIDE: Final = 32_000
"""Pixels; OpenCV cannot warp pictures with longer sides."""

FORMATS: Final[tuple[str, ...]] = (
    "JPEG",
    "MPO",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "AVIF",
    "HEIF",
    "JPEG2000",
    "PPM",
)
"""What is read where Pillow can. Not all that Pillow can: for EPS it starts another program."""

_PLUGINS: Final = {"HEIF": ("pillow_heif", "register_heif_opener"), "AVIF": ("pillow_avif", None)}
"""Packages that teach Pillow a format, and what is to be called after the import; Pillow 11.3 knows AVIF itself."""

_HEIC: Final = "a HEIC photo: install the package pillow-heif"
_AVIF: Final = "an AVIF photo: install Pillow 11.3 or later, or the package pillow-avif-plugin"
_BRANDS: Final = {
    b"heic": _HEIC, b"heix": _HEIC, b"heim": _HEIC, b"heis": _HEIC, b"hevc": _HEIC, b"hevx": _HEIC, b"mif1": _HEIC,
    b"msf1": _HEIC, b"avif": _AVIF, b"avis": _AVIF,
}  # fmt: skip
"""What stands at the head of such files."""

_PLUGIN_LOCK: Final = threading.Lock()

_FRESH_COPY = "Copy or download it again, or choose another photo."
_SMALLER = "Make it smaller, or crop it to the face."
_OTHER_FILE = "Choose a photo in a common format, such as JPEG, PNG or WebP."


def read_photo(path: Path | bytes) -> Image:
    """Read a photo.

    The camera's rotation is applied, transparency becomes white, grey and CMYK become RGB, 16 bits become 8, and
    of an animation the first frame is taken.

    Args:
        path: The file, or its content.

    Returns:
        [h, w, 3] uint8, RGB.

    Raises:
        UnreadableImage: The file is missing, empty, damaged, no image, or has more than 120 megapixels.
    """
    from PIL import Image as pillow

    name = "The image" if isinstance(path, bytes) else f"The file {path.name}"
    source = _checked(path, name)
    formats = readable_formats()
    with _explained(name, source), _silent(), pillow.open(source, formats=formats) as image:
        _check_size(image.size, name)
        image.load()
        return _rgb(_upright(image))


def readable_formats() -> list[str]:
    """Which of `FORMATS` can be read here; plugins for Pillow are loaded where they are installed, once."""
    from PIL import Image as pillow

    pillow.init()
    with _PLUGIN_LOCK:
        for known in _PLUGINS.keys() - pillow.OPEN.keys():
            _load_plugin(*_PLUGINS[known])
    return [known for known in FORMATS if known in pillow.OPEN]


def _load_plugin(package: str, register: str | None) -> None:
    """Import a plugin; one that is not installed, or does not fit this system, leaves Pillow as it is."""
    try:
        module = importlib.import_module(package)
    except ImportError:
        return
    if register is not None:
        getattr(module, register)()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Pillow from warning of what is decided here: size, damaged EXIF data, odd palettes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _checked(path: Path | bytes, name: str) -> Path | io.BytesIO:
    """What Pillow opens: the path, or the content as a file.

    Raises:
        UnreadableImage: There is no such file, or it is empty.
    """
    if isinstance(path, bytes):
        if not path:
            raise UnreadableImage(f"{name} is empty (0 bytes).", _OTHER_FILE)
        return io.BytesIO(path)
    if path.is_dir():
        raise UnreadableImage(f"{path} is a folder, expected a file.", "Choose one photo in that folder.")
    if not path.is_file():
        raise UnreadableImage(f"{name} does not exist in the folder {path.parent}.", "Check the path.")
    if path.stat().st_size == 0:
        raise UnreadableImage(f"{name} is empty (0 bytes).", _OTHER_FILE)
    return path


@contextmanager
def _explained(name: str, source: Path | io.BytesIO) -> Iterator[None]:
    """Turn whatever Pillow raises into a sentence; its decoders raise nearly anything on damaged files."""
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"{name} is not an image that can be read here.", _other_reader(source)) from error
    except pillow.DecompressionBombError as error:
        raise UnreadableImage(
            f"{name} has far too many pixels, expected at most {MAX_PIXELS // 1_000_000} megapixels.", _SMALLER
        ) from error
    except PermissionError as error:
        raise UnreadableImage(f"{name} may not be opened.", "Check the file's permissions.") from error
    except Exception as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise UnreadableImage(f"{name} is damaged or cut short: {reason}.", _FRESH_COPY) from error


def _other_reader(source: Path | io.BytesIO) -> str:
    """What to do about a file that nobody here can read: telephones' own formats need a plugin for Pillow."""
    head = source.getvalue()[:12] if isinstance(source, io.BytesIO) else _head(source)
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return f"It is {_BRANDS[head[8:12]]}, or save the photo as JPEG."
    return _OTHER_FILE


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _check_size(size: tuple[int, int], name: str) -> None:
    """Refuse what would fill the memory.

    Args:
        size: Width and height in pixels, as the file's head states them.
        name: The photo's name, for the message.

    Raises:
        UnreadableImage: There are too many pixels.
    """
    width, height = size
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise UnreadableImage(
            f"{name} has {width} x {height} pixels, expected at most {MAX_PIXELS // 1_000_000} megapixels and"
            f" {MAX_SIDE} pixels on a side.",
            _SMALLER,
        )


def _upright(image: pillow.Image) -> pillow.Image:
    """Apply the camera's rotation; a photo whose EXIF data are damaged is still a photo.

    Args:
        image: Loaded. With that a TIFF is upright, and Pillow 9.5 would turn it once more.
    """
    from PIL import ImageOps

    if image.format == "TIFF":
        return image
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error):
        return image


def _rgb(image: pillow.Image) -> Image:
    """Any of Pillow's modes -> [h, w, 3] uint8, RGB.

    Args:
        image: Loaded and upright.
    """
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bits(image)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white(image.convert("RGBA"))
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _eight_bits(image: pillow.Image) -> Image:
    """Grey of more than eight bits -> [h, w] uint8. Pillow's own conversion would clip nearly all to white.

    Args:
        image: Mode "I;16", "I" (values in [0, 65535]) or "F" (values in [0, 1], else in [0, 255]).
    """
    values = np.asarray(image).astype(np.float32)
    if image.mode != "F":
        scale = 1 / 257
    elif values.max() <= 1.0:
        scale = 255.0
    else:
        scale = 1.0
    return np.asarray(np.clip(np.nan_to_num(values) * scale + 0.5, 0, 255), dtype=np.uint8)


def _over_white(image: pillow.Image) -> Image:
    """Mode "RGBA" -> [h, w, 3] uint8, RGB, as it looks on white paper."""
    from PIL import Image as pillow

    paper = pillow.new("RGBA", image.size, "white")
    return np.array(pillow.alpha_composite(paper, image).convert("RGB"), dtype=np.uint8)
