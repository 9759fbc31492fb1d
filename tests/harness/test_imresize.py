"""MATLAB's imresize, against facts of MATLAB and a direct sum."""

from __future__ import annotations

import numpy as np
import pytest

from harness import datasets
from harness.imresize import imresize, taps


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None, None] * np.ones((1, len(values), 1))


def test_enlarging_by_two_weighs_four_pixels_as_the_cubic_says() -> None:
    """Output 4 lies at 1.75 (from 0); Keys' kernel at 1.75, .75, .25, 1.25 is -3, 29, 111, -9 over 128."""
    pixels, weights = taps(8, 2.0)
    used = {int(pixel): weight * 128 for pixel, weight in zip(pixels[4], weights[4], strict=True) if weight}
    assert used == pytest.approx({0: -3, 1: 29, 2: 111, 3: -9})


def test_halving_weighs_eight_pixels_with_the_stretched_cubic() -> None:
    """The kernel at 1/4, 3/4, 5/4, 7/4 is 111, 29, -9, -3 over 128, halved by the stretch."""
    pixels, weights = taps(16, 0.5)
    used = {int(pixel): weight * 256 for pixel, weight in zip(pixels[4], weights[4], strict=True) if weight}
    assert used == pytest.approx({5: -3, 6: -9, 7: 29, 8: 111, 9: 111, 10: 29, 11: -9, 12: -3})


def test_the_first_pixel_reads_a_mirror_that_repeats_the_edge() -> None:
    """Halving 1..8: output 1 reads inputs 3 2 1 | 1 2 3 4 5 with -3 -9 29 111 111 29 -9 -3 over 256."""
    expected = (-3 * 3 - 9 * 2 + 29 * 1 + 111 * 1 + 111 * 2 + 29 * 3 - 9 * 4 - 3 * 5) / 256
    reduced = imresize(column(*range(1, 9)), 0.5)
    assert reduced[0, 0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2.0, 3.0, 4.0, 0.7])
def test_it_equals_a_direct_sum_over_all_pixels(scale: float) -> None:
    image = datasets.load("bundled", images=1, image_size=24)[0].pixels[:, :16].astype(np.float64)
    assert np.allclose(imresize(image, scale), direct(image, scale), atol=1e-9)


def test_a_side_that_does_not_divide_is_rounded_up() -> None:
    assert imresize(np.zeros((9, 10, 1)), 0.5).shape == (5, 5, 1)


def direct(image: np.ndarray, scale: float) -> np.ndarray:
    """Sum Keys' cubic over the mirrored plane, pixel by pixel, from the definition."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    def along_rows(values: np.ndarray) -> np.ndarray:
        side, shrink = len(values), min(scale, 1.0)
        rows = []
        for j in range(int(np.ceil(side * scale))):
            centre = (j + 0.5) / scale - 0.5
            total, norm = np.zeros(values.shape[1:]), 0.0
            for position in range(-side, 2 * side):
                weight = cubic(shrink * (centre - position))
                mirrored = -position - 1 if position < 0 else min(position, 2 * side - 1 - position)
                total, norm = total + weight * values[mirrored], norm + weight
            rows.append(total / norm)
        return np.stack(rows)

    return along_rows(along_rows(image).swapaxes(0, 1)).swapaxes(0, 1)
