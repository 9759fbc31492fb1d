"""Motion blur and the kernels that make it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve as scipy_convolve

from harness import datasets, motion
from harness.convolution import convolve
from harness.task import generator
from harness.tasks.deblur import TASK

CAT, MOTORCYCLE = datasets.load("bundled", images=2, image_size=64)


def degrade(image: datasets.Image, text: str, seed: int = 0) -> np.ndarray:
    return TASK.degrade(image.pixels, TASK.parse(text), generator(seed, image.name))


def test_a_horizontal_line_blurs_rows_alone() -> None:
    kernel = motion.kernel(motion.line(9.0, 0.0))
    middle = kernel.shape[0] // 2
    assert kernel[middle].sum() == pytest.approx(1.0)
    assert np.allclose(kernel, kernel[:, ::-1])
    assert np.count_nonzero(kernel[middle] > 0.05) == 9


def test_a_line_turned_by_a_right_angle_is_the_transposed_kernel() -> None:
    assert np.allclose(motion.kernel(motion.line(9.0, 90.0)), motion.kernel(motion.line(9.0, 0.0)).T)


def test_angles_run_counter_clockwise() -> None:
    kernel = motion.kernel(motion.line(9.0, 45.0))
    assert np.trace(kernel[:, ::-1]) > 3 * np.trace(kernel)  # from the lower left to the upper right


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [1.0, 15.0, 65.0])
def test_a_random_path_has_its_length_and_a_balanced_kernel(length: float, seed: int) -> None:
    path = motion.walk(length, generator(seed, "path"))
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() == pytest.approx(length)
    kernel = motion.kernel(path)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel.sum(axis=0) @ offsets == pytest.approx(0.0, abs=1e-9)
    assert kernel.sum(axis=1) @ offsets == pytest.approx(0.0, abs=1e-9)


def test_the_convolution_equals_scipys() -> None:
    image = CAT.pixels.astype(np.float64)
    kernel = motion.kernel(motion.walk(15.0, generator(3, "path")))
    assert np.allclose(convolve(image, kernel), scipy_convolve(image, kernel[..., None], mode="mirror"))


def test_a_longer_path_blurs_more() -> None:
    errors = [np.var(255.0 * degrade(MOTORCYCLE, f"length={length}") - MOTORCYCLE.pixels) for length in (3, 9, 27)]
    assert errors == sorted(errors)


def test_motion_differs_between_images_and_a_line_does_not() -> None:
    twin = datasets.Image(name="twin", pixels=CAT.pixels)
    assert not np.array_equal(degrade(CAT, "kernel=motion"), degrade(twin, "kernel=motion"))
    assert np.array_equal(degrade(CAT, "kernel=linear"), degrade(twin, "kernel=linear"))
