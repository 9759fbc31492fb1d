from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from reports.crops import busiest_box


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
