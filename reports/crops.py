"""Decodes pictures of a store, and finds the detail of one that is worth a closer look."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from jaxtyping import Float64
from PIL import Image

from reports.document import Box

_CROP_STEP = 12
"""Crops start and end at multiples of this: whole pixels also of inputs that are 2, 3 or 4 times smaller."""


_NOT_DECODED = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for content that is no picture, or not all of one."""


def decoded(content: bytes) -> Image.Image | None:
    """Return the picture, read to its end; None of one that is lost, whose content is empty, or damaged."""
    try:
        image: Image.Image = Image.open(BytesIO(content), formats=("PNG",))
        image.load()
    except _NOT_DECODED:
        return None
    return image


def busiest_box(png: bytes) -> Box | None:
    """Return the square, a third of the picture's side, in which it varies most; the first of equals.

    None of a picture that is too small, or that cannot be read.
    """
    picture = decoded(png)
    if picture is None:
        return None
    gray = np.asarray(picture.convert("L"), dtype=np.float64)
    height, width = gray.shape
    side = max(2 * _CROP_STEP, min(height, width) // 3 // _CROP_STEP * _CROP_STEP)
    if side >= min(height, width):
        return None
    sums, squares = (np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0))) for values in (gray, gray**2))
    tops, lefts = np.arange(0, height - side + 1, _CROP_STEP), np.arange(0, width - side + 1, _CROP_STEP)

    def over_boxes(table: Float64[np.ndarray, "Y X"]) -> Float64[np.ndarray, "B C"]:
        rows = table[tops + side] - table[tops]
        means: Float64[np.ndarray, "B C"] = (rows[:, lefts + side] - rows[:, lefts]) / side**2
        return means

    variance = over_boxes(squares) - over_boxes(sums) ** 2
    top, left = (int(i) for i in np.unravel_index(np.argmax(np.round(variance, 6)), variance.shape))
    y, x = int(tops[top]), int(lefts[left])
    return Box(left=x / width, top=y / height, right=(x + side) / width, bottom=(y + side) / height)
