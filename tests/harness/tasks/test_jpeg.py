"""JPEG compression."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from harness import datasets
from harness.task import generator
from harness.tasks.jpeg import TASK

(CAT,) = datasets.load("bundled", images=1, image_size=96)


def compressed(text: str) -> tuple[np.ndarray, np.ndarray]:
    setting = TASK.parse(text)
    target = TASK.prepare_target(CAT.pixels, setting)
    return target, TASK.degrade(target, setting, generator(0, CAT.name))


def test_gray_is_y_of_rgb2ycbcr_on_8_bits() -> None:
    target, _ = compressed("default")
    red, green, blue = np.moveaxis(CAT.pixels.astype(np.float64), -1, 0)
    assert np.array_equal(target[..., 0], np.round(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255))


def test_colour_is_stored_with_half_the_chroma() -> None:
    target, degraded = compressed("quality=50,color=rgb")
    file = io.BytesIO()
    Image.fromarray(target).save(file, "JPEG", quality=50, subsampling="4:2:0")
    assert np.array_equal(np.round(degraded * 255), np.asarray(Image.open(file)))


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_a_16_bit_target_is_rounded_to_the_8_bits_that_jpeg_holds(color: str) -> None:
    setting = TASK.parse(f"color={color}")
    near = (CAT.pixels.astype(np.int64) * 257 + 100).clip(0, 65535).astype(np.uint16)
    assert np.array_equal(TASK.prepare_target(near, setting), TASK.prepare_target(CAT.pixels, setting))


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_a_higher_quality_is_nearer_to_the_target(color: str) -> None:
    errors = []
    for quality in (5, 10, 40, 95):
        target, degraded = compressed(f"quality={quality},color={color}")
        errors.append(np.mean((255.0 * degraded - target) ** 2))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 4 * errors[-1]
