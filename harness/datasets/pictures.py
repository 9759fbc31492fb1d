"""One image file -> 8-bit pixels, or a message that names the file, what is wrong with it and what would work."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from harness.task import SMALLEST_SIDE

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

BITS_PER_SAMPLE = 258
"""The TIFF tag of that name."""


class DatasetError(Exception):
    """A dataset or an image that cannot be used; the message names it and what would work."""


def read_image(file: Path) -> UInt8[np.ndarray, "H W C"]:
    """Decode to 8 bits: turned as EXIF says, palettes expanded, opaque alpha dropped. Raises `DatasetError`.

    Refused are truncated files, other depths than 8 bits, CMYK and other colour modes, pixels that one can see
    through, several pictures in a file, more pixels than Pillow takes for a photograph, and sides under 8.
    """
    import PIL.Image
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # _refuse_bomb is stricter
            with PIL.Image.open(file) as opened:
                _refuse_bomb(opened, file)
                frames = getattr(opened, "n_frames", 1)
                bits = _bits(opened, file)
                opened.load()
                upright = ImageOps.exif_transpose(opened)
    except FileNotFoundError:
        raise DatasetError(f"{file}: there is no such file") from None
    except PIL.Image.DecompressionBombError as error:
        raise DatasetError(f"{file}: too many pixels to be a photograph ({error}); cut it first") from None
    except PIL.UnidentifiedImageError:
        raise DatasetError(f"{file}: empty or no image; remove it or copy it again") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DatasetError(f"{file}: cannot be decoded ({error}); copy it again if it is truncated") from None
    if bits != 8:
        raise DatasetError(f"{file}: holds {bits} bits a channel; only 8 are read for now, convert it first")
    if frames > 1 and upright.format != "MPO":  # what cameras write as JPEG holds a preview beside the picture
        raise DatasetError(f"{file}: holds {frames} pictures; save the one that is meant as a file of its own")
    pixels = np.asarray(_converted(upright, file))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise DatasetError(
            f"{file}: {height}x{width} pixels; every side needs at least {SMALLEST_SIDE}, remove or replace it"
        )
    return pixels


def size_of(file: Path) -> tuple[int, int]:
    """Return height and width as they will be read, without decoding the pixels. Raises `DatasetError`."""
    import PIL.Image

    try:
        with PIL.Image.open(file) as opened:
            width, height = opened.size
            turned = opened.getexif().get(0x0112, 1) >= 5
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DatasetError(f"{file}: cannot be decoded ({error}); remove it or copy it again") from None
    return (width, height) if turned else (height, width)


def _refuse_bomb(image: PIL.Image.Image, file: Path) -> None:
    import PIL.Image

    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        size = f"{image.height}x{image.width}, more than {limit:,}"
        raise DatasetError(f"{file}: too many pixels to be a photograph ({size}); cut it first")


def _bits(image: PIL.Image.Image, file: Path) -> int:
    """Return bits a channel as stored; Pillow turns 16-bit RGB of PNG and TIFF into 8 bits without a word."""
    if image.mode.startswith(("I", "F")):
        return 32 if image.mode in ("I", "F") else 16
    if image.format == "PNG":
        with file.open("rb") as stream:  # IHDR: the depth follows signature, chunk head, width and height
            return max(8, stream.read(25)[24])
    if image.format == "TIFF":
        stored = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
        return max(8, *(stored if isinstance(stored, tuple) else (stored,)))
    return 8


def _converted(image: PIL.Image.Image, file: Path) -> PIL.Image.Image:
    match image.mode:
        case "L" | "1":
            return image.convert("L")
        case "RGB":
            return image
        case "LA":
            return _opaque(image, file).convert("L")
        case "P" | "PA" | "RGBA":  # a palette with transparency warns unless it goes through RGBA
            return _opaque(image.convert("RGBA"), file).convert("RGB")
        case mode:
            raise DatasetError(f"{file}: colour mode {mode} is not read; convert it to gray or RGB first")


def _opaque(image: PIL.Image.Image, file: Path) -> PIL.Image.Image:
    """Return the image; what lies under transparent pixels is no part of a photograph."""
    lowest = int(np.asarray(image.getchannel("A")).min())
    if lowest < 255:
        raise DatasetError(f"{file}: has transparent pixels (alpha down to {lowest}); flatten it first")
    return image
