"""MATLAB's bicubic reduction."""

from __future__ import annotations

import numpy as np
import pytest

from harness import datasets
from harness.task import generator
from harness.tasks.sr import TASK

(CAT,) = datasets.load("bundled", images=1, image_size=62)


@pytest.mark.parametrize(("scale", "side"), [(2, 62), (3, 60), (4, 60)])
def test_the_target_is_a_multiple_of_the_scale_and_the_input_that_much_smaller(scale: int, side: int) -> None:
    setting = TASK.parse(f"scale={scale}")
    target = TASK.prepare_target(CAT.pixels, setting)
    assert np.array_equal(target, CAT.pixels[:side, :side])
    degraded = TASK.degrade(target, setting, generator(0, CAT.name))
    assert degraded.shape == (side // scale, side // scale, 3)
    assert TASK.upscale(degraded, setting).shape == target.shape
    assert TASK.scale(setting) == scale


def test_a_network_gets_an_8_bit_input_and_the_bicubic_row_an_exact_one() -> None:
    rounded = 255.0 * TASK.degrade(CAT.pixels, TASK.parse("lr=uint8"), generator(0, CAT.name))
    exact = 255.0 * TASK.degrade(CAT.pixels, TASK.parse("lr=exact"), generator(0, CAT.name))
    assert np.allclose(rounded, np.round(rounded), atol=1e-4)
    assert np.abs(exact - np.round(exact)).mean() > 0.2
    assert np.abs(exact.clip(0, 255) - rounded).max() <= 0.5001


def test_networks_are_judged_on_luma_and_the_bicubic_row_on_8_bit_gray() -> None:
    assert TASK.protocol(TASK.parse("scale=3")).id == "y-crop3-uint8"
    assert TASK.protocol(TASK.parse("scale=3,color=gray")).id == "gray-crop3-uint8"
    assert TASK.channels(TASK.parse("color=gray")) == 1
