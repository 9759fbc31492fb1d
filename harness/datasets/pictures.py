"""One image file -> pixels of 8 or 16 bits, or a message that names the file, what is wrong and what would work."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt, UInt16

from harness.task import SMALLEST_SIDE

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageFile

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

BITS_PER_SAMPLE = 258
"""The TIFF tag of that name."""

PHOTOMETRIC = 262
"""The TIFF tag PhotometricInterpretation."""

WHITE_IS_ZERO = 0
"""Its value where black is the largest number."""

OTHER_BYTE = {f"{mode};16{order}": f"{mode};16{other}" for mode in ("RGB", "RGBA") for order, other in ("BL", "LB")}
OTHER_BYTE |= {f"{mode};16N": f"{mode};16{'B' if sys.byteorder == 'little' else 'L'}" for mode in ("RGB", "RGBA")}
"""How Pillow unpacks 16-bit colour, keeping the high bytes alone -> what keeps the low ones: the other order."""


class DatasetError(Exception):
    """A dataset or an image that cannot be used; the message names it and what would work."""


def read_image(file: Path) -> UInt[np.ndarray, "H W C"]:
    """Decode to uint8, or to uint16 what is stored so: turned as EXIF says, palettes expanded, opaque alpha dropped.

    Raises `DatasetError`. Refused are truncated files, more than 16 bits a channel and fractions, CMYK and other
    colour modes, pixels that one can see through, several pictures in a file, more pixels than Pillow takes for a
    photograph, and sides under 8.
    """
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # _refuse_bomb is stricter
            # From a path, Pillow maps a plain TIFF that EXIF turns with its sides swapped.
            with file.open("rb") as stream, PIL.Image.open(stream) as opened:
                _refuse_bomb(opened, file)
                frames = getattr(opened, "n_frames", 1)
                bits = _bits(opened, file)
                if bits not in (8, 16):
                    raise DatasetError(f"{file}: holds {bits} bits a channel; 8 and 16 are read, convert it first")
                if frames > 1 and opened.format != "MPO":  # a camera's JPEG may hold a preview beside the picture
                    raise DatasetError(f"{file}: holds {frames} pictures; save the one that is meant as its own file")
                pixels = _deep(opened, file) if bits == 16 else np.asarray(_converted(_upright(opened), file))
    except FileNotFoundError:
        raise DatasetError(f"{file}: there is no such file") from None
    except PIL.Image.DecompressionBombError as error:
        raise DatasetError(f"{file}: too many pixels to be a photograph ({error}); cut it first") from None
    except PIL.UnidentifiedImageError:
        raise DatasetError(f"{file}: empty or no image; remove it or copy it again") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DatasetError(f"{file}: cannot be decoded ({error}); copy it again if it is truncated") from None
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


def profile_of(file: Path) -> bytes:
    """Return the ICC profile, which says how the pixels of `read_image` are meant; empty where a file holds none."""
    import PIL.Image

    with PIL.Image.open(file) as opened:
        profile: bytes = opened.info.get("icc_profile") or b""
    return profile


def _refuse_bomb(image: PIL.Image.Image, file: Path) -> None:
    import PIL.Image

    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        size = f"{image.height}x{image.width}, more than {limit:,}"
        raise DatasetError(f"{file}: too many pixels to be a photograph ({size}); cut it first")


def _bits(image: PIL.ImageFile.ImageFile, file: Path) -> int:
    """Return bits a channel as stored; Pillow turns 16-bit RGB of PNG and TIFF into 8 bits without a word."""
    if image.mode in ("I", "F"):
        return 32
    if image.format == "PNG":
        with file.open("rb") as stream:  # IHDR: the depth follows signature, chunk head, width and height
            return max(8, stream.read(25)[24])
    if image.format == "TIFF":
        stored = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
        return max(8, *(stored if isinstance(stored, tuple) else (stored,)))
    return 8


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _deep(image: PIL.ImageFile.ImageFile, file: Path) -> UInt16[np.ndarray, "H W *C"]:
    """Return the values of a 16-bit picture, gray or colour, turned as EXIF says.

    Pillow keeps the higher byte of each value of colour, so such a file is decoded twice.
    """
    import PIL.Image

    if image.mode.startswith("I;16"):
        if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
            raise DatasetError(f"{file}: stores white as 0, which is not read at 16 bits; save it with black as 0")
        return np.asarray(_upright(image)).astype(np.uint16)
    if other := sorted({_unpacking(tile) for tile in image.tile} - OTHER_BYTE.keys()):
        raise DatasetError(f"{file}: 16 bits stored as '{other[0]}' are not read; save it as gray or RGB")
    high = np.asarray(_upright(image))
    with file.open("rb") as stream, PIL.Image.open(stream) as again:
        again.tile = [_with_low_bytes(tile) for tile in again.tile]
        low = np.asarray(_upright(again))
    values = high.astype(np.uint16) << 8 | low
    if image.mode == "RGBA" and (lowest := int(values[..., 3].min())) < 65535:
        raise DatasetError(_see_through(file, lowest))
    return values[..., :3]


def _unpacking(tile: PIL.ImageFile._Tile) -> str:
    """Return how Pillow unpacks a part of a file, as in `RGB;16B`."""
    return tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0])


def _with_low_bytes(tile: PIL.ImageFile._Tile) -> PIL.ImageFile._Tile:
    other = OTHER_BYTE[_unpacking(tile)]
    return tile._replace(args=other if isinstance(tile.args, str) else (other, *(tile.args or ())[1:]))


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
        raise DatasetError(_see_through(file, lowest))
    return image


def _see_through(file: Path, lowest: int) -> str:
    return f"{file}: has transparent pixels (alpha down to {lowest}); flatten it first"
