"""Additive white Gaussian noise."""

from __future__ import annotations

import numpy as np
import pytest

from harness import datasets
from harness.task import generator
from harness.tasks.denoise import TASK

(CAT,) = datasets.load("bundled", images=1, image_size=128)


@pytest.mark.parametrize(("sigma", "psnr_db"), [(15, 24.61), (25, 20.17), (50, 14.15)])
def test_the_noise_has_the_asked_strength(sigma: int, psnr_db: float) -> None:
    setting = TASK.parse(f"sigma={sigma},color=rgb")
    noise = 255.0 * TASK.degrade(CAT.pixels, setting, generator(0, CAT.name)) - CAT.pixels
    assert 20 * np.log10(255 / noise.std()) == pytest.approx(psnr_db, abs=0.05)
    assert abs(noise.mean()) < 3 * sigma / np.sqrt(noise.size)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_blind_noise_has_the_strength_that_seed_and_name_draw_first(name: str) -> None:
    setting, randomness = TASK.parse("sigma=5..50,color=rgb"), generator(7, name)
    noise = 255.0 * TASK.degrade(CAT.pixels, TASK.draw(setting, randomness), randomness) - CAT.pixels
    assert noise.std() == pytest.approx(generator(7, name).uniform(5.0, 50.0), rel=0.02)


def test_sigma_counts_8_bit_steps_at_16_bits_too() -> None:
    setting, stored = TASK.parse("sigma=25,color=rgb"), CAT.pixels.astype(np.uint16) * 257
    plain, deep = (TASK.degrade(pixels, setting, generator(0, "x")) for pixels in (CAT.pixels, stored))
    assert np.allclose(plain, deep, rtol=0, atol=1e-6)


def test_noise_is_not_clipped() -> None:
    black = np.zeros((32, 32, 1), np.uint8)
    assert TASK.degrade(black, TASK.parse("sigma=25"), generator(0, "black")).min() < -0.1


def test_no_noise_leaves_the_image() -> None:
    setting = TASK.parse("sigma=0,color=rgb")
    degraded = TASK.degrade(CAT.pixels, setting, generator(0, CAT.name))
    assert np.array_equal(np.round(degraded * 255).astype(np.uint8), CAT.pixels)


def test_a_colour_photograph_becomes_gray_as_by_matlabs_rgb2gray() -> None:
    red, green, blue = np.moveaxis(CAT.pixels.astype(np.float64), -1, 0)
    gray = np.round(0.2989360 * red + 0.5870430 * green + 0.1140209 * blue)
    assert np.abs(TASK.prepare_target(CAT.pixels, TASK.parse("default"))[..., 0] - gray).max() == 0


def test_a_gray_photograph_is_repeated_for_colour() -> None:
    camera = datasets.load("bundled", images=3, image_size=32)[2].pixels
    target = TASK.prepare_target(camera, TASK.parse("color=rgb"))
    assert target.shape == (32, 32, 3)
    assert (target == camera).all()


def test_noisy_inputs_are_judged_unclipped_and_restored_ones_on_8_bits() -> None:
    setting = TASK.parse("default")
    assert TASK.protocol(setting).id == "gray-crop0-uint8"
    assert TASK.input_protocol is not None
    assert TASK.input_protocol(setting).id == "gray-crop0-none"
