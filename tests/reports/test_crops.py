from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from reports.crops import busiest_box, decoded


def test_a_crop_is_the_square_that_varies_most() -> None:
    pixels = np.full((96, 120), 128, dtype=np.uint8)
    pixels[48:72, 84:108] = np.random.default_rng(0).integers(0, 256, (24, 24))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    box = busiest_box(file.getvalue())
    assert box is not None
    assert (box.left * 120, box.top * 96, box.right * 120, box.bottom * 96) == pytest.approx((84, 48, 108, 72))


def test_a_picture_too_small_to_crop_is_shown_whole() -> None:
    file = io.BytesIO()
    Image.new("L", (20, 20)).save(file, "PNG")
    assert busiest_box(file.getvalue()) is None


@pytest.mark.parametrize("damage", [lambda png: png[:60], lambda png: b"hello", lambda png: b""])
def test_a_damaged_picture_has_neither_pixels_nor_a_detail(damage: Callable[[bytes], bytes]) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96), dtype=np.uint8)).save(file, "PNG")
    assert decoded(file.getvalue()) is not None
    assert busiest_box(file.getvalue()) is not None
    assert decoded(damage(file.getvalue())) is None
    assert busiest_box(damage(file.getvalue())) is None


def test_every_beginning_of_a_picture_is_read_or_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12), dtype=np.uint8)).save(file, "PNG")
    content = file.getvalue()
    read = [decoded(content[:length]) is not None for length in range(len(content) + 1)]
    assert read == sorted(read)
    assert read[-1]
    assert not any(read[: len(content) - 40])
