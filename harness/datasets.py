"""Names -> clean images: scikit-image's bundled photographs, and the folders below the data root."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from harness.catalog import suggest
from harness.task import SMALLEST_SIDE

if TYPE_CHECKING:
    import PIL.Image

BUNDLED = "bundled"
"""The dataset that is always there: photographs inside scikit-image's wheel, the richest in texture first."""

BUNDLED_FILES = (
    "chelsea.png",
    "motorcycle_left.png",
    "camera.png",
    "astronaut.png",
    "coffee.png",
    "rocket.jpg",
)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


class DatasetError(Exception):
    """A dataset or an image that cannot be used; the message names it and what would work."""


@dataclass(frozen=True)
class Image:
    """One clean image."""

    name: str
    """The file's name without its suffix, unique in its dataset."""
    pixels: UInt8[np.ndarray, "H W C"]
    """8-bit values; C is 1 for gray files and 3 for all others."""


def data_root() -> Path:
    """Return the folder that holds `test/<Name>`: `SEMANIR_DATA`, else the user's data directory."""
    if given := os.environ.get("SEMANIR_DATA"):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("semanir-bench"))


def names() -> list[str]:
    """All datasets that are here: `bundled`, then the folders of the data root in alphabetical order."""
    return [BUNDLED, *sorted(_folders(), key=str.casefold)]


def resolve(name: str) -> str:
    """Return a dataset's own spelling; names match without regard to case. Raises `DatasetError`."""
    known = names()
    if name in known:
        return name
    for candidate in known:
        if candidate.casefold() == name.casefold():
            return candidate
    raise DatasetError(unknown(name))


def unknown(name: str) -> str:
    """Say that a dataset is not here, which one is near, and where more are looked for."""
    known = names()
    return f"no dataset '{name}'.{suggest(name, known)} It has: {', '.join(known)}. {_where()}"


def load(name: str, *, images: int | None = None, image_size: int | None = None) -> tuple[Image, ...]:
    """Read the first `images` images (None: all) in natural order of their names, `2` before `10`.

    `image_size` cuts the centred square of that side in pixels. Raises `DatasetError` when the dataset is not
    here or has fewer images, and when an image is unreadable or smaller than asked.
    """
    own_name = resolve(name)
    if own_name == BUNDLED:
        files = [bundled_folder() / file for file in BUNDLED_FILES]
    else:
        files = _image_files(_folders()[own_name])
    if images is not None and images > len(files):
        raise DatasetError(f"{own_name} holds {len(files)} images and {images} were asked for; ask for fewer")
    read = tuple(Image(name=file.stem, pixels=read_image(file)) for file in files[:images])
    return tuple(Image(name=image.name, pixels=_centre(image, image_size)) for image in read)


def bundled_folder() -> Path:
    """Return the folder of scikit-image's own pictures without importing it. Raises `DatasetError`."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError("scikit-image, which carries the bundled photographs, is missing; reinstall the project")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_image(file: Path) -> UInt8[np.ndarray, "H W C"]:
    """Decode to 8 bits: turned as EXIF says, palettes expanded, alpha dropped. Raises `DatasetError`."""
    import PIL.Image
    from PIL import ImageOps

    try:
        with PIL.Image.open(file) as opened:
            opened.load()
            bits = _bits(opened, file)
            upright = ImageOps.exif_transpose(opened)
    except FileNotFoundError:
        raise DatasetError(f"{file}: there is no such file") from None
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise DatasetError(f"{file}: too many pixels to be a photograph ({error}); cut it first") from None
    except PIL.UnidentifiedImageError:
        raise DatasetError(f"{file}: empty or no image; remove it or copy it again") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DatasetError(f"{file}: cannot be decoded ({error}); copy it again if it is truncated") from None
    if bits != 8:
        raise DatasetError(f"{file}: holds {bits} bits a channel; only 8 are read for now, convert it first")
    match upright.mode:
        case "L" | "LA" | "1":
            converted = upright.convert("L")
        case "RGB":
            converted = upright
        case "P" | "PA" | "RGBA":  # a palette with transparency warns unless it goes through RGBA
            converted = upright.convert("RGBA").convert("RGB")
        case mode:
            raise DatasetError(f"{file}: colour mode {mode} is not read; convert it to gray or RGB first")
    pixels = np.asarray(converted)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise DatasetError(f"{file}: {height}x{width} pixels; every side needs at least {SMALLEST_SIDE}")
    return pixels


def _bits(image: PIL.Image.Image, file: Path) -> int:
    """Return bits a channel as stored; Pillow turns a 16-bit RGB PNG into 8 bits without a word."""
    if image.mode.startswith(("I", "F")):
        return 32 if image.mode in ("I", "F") else 16
    if image.format == "PNG":
        with file.open("rb") as stream:  # IHDR: the depth follows signature, chunk head, width and height
            return max(8, stream.read(25)[24])
    return 8


def _centre(image: Image, side: int | None) -> UInt8[np.ndarray, "h w C"]:
    height, width = image.pixels.shape[:2]
    if side is None:
        return image.pixels
    if side > min(height, width):
        limit = min(height, width)
        raise DatasetError(f"{image.name} has {height}x{width} pixels: image_size {side} does not fit; at most {limit}")
    top, left = (height - side) // 2, (width - side) // 2
    return image.pixels[top : top + side, left : left + side]


def _folders() -> dict[str, Path]:
    """Return the datasets below the root: folders that hold images, or a folder `gt` of them."""
    root = data_root() / "test"
    found = sorted(root.iterdir()) if root.is_dir() else []
    return {folder.name: folder for folder in found if folder.is_dir() and _clean_images(folder)}


def _clean_images(folder: Path) -> list[Path]:
    """Return the image files of a dataset in natural order: those in `gt/` where it exists."""
    clean = folder / "gt" if (folder / "gt").is_dir() else folder
    files = [
        file
        for file in clean.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    return sorted(files, key=lambda file: (_natural(file.stem), file.name))


def _image_files(folder: Path) -> list[Path]:
    files = _clean_images(folder)
    by_name: dict[str, Path] = {}
    for file in files:
        if (other := by_name.setdefault(file.stem, file)) is not file:
            raise DatasetError(f"{file}: {other.name} has the same name; rename one of them")
    return files


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def _where() -> str:
    root = data_root()
    if (root / "test").is_dir():
        return f"More are looked for as folders of images in {root / 'test'}"
    if os.environ.get("SEMANIR_DATA"):
        return f"SEMANIR_DATA is {root}, which has no folder 'test'; put images in <SEMANIR_DATA>/test/<Name>"
    return "To use your own, set SEMANIR_DATA to a folder that holds images in test/<Name>"
