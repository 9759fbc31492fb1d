"""Bayer mosaics and their interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from harness import datasets
from harness.task import generator
from harness.tasks.demosaic import TASK, bayer_sites, bilinear, malvar

PATTERNS = ("rggb", "bggr", "grbg", "gbrg")
COFFEE = datasets.load("bundled", images=5, image_size=64)[4]


def degrade(image: np.ndarray, text: str) -> np.ndarray:
    setting = TASK.parse(text)
    return TASK.degrade(TASK.prepare_target(image, setting), setting, generator(0, "x"))


def test_a_pattern_is_read_row_by_row() -> None:
    assert bayer_sites("grbg", 2, 4).tolist() == [[1, 0, 1, 0], [2, 1, 2, 1]]


@pytest.mark.parametrize("interpolation", ["malvar", "bilinear"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_sampled_values_stay_exact(pattern: str, interpolation: str) -> None:
    degraded = np.round(255 * degrade(COFFEE.pixels, f"pattern={pattern},interpolation={interpolation}"))
    sites = bayer_sites(pattern, 64, 64)[..., None]
    assert np.array_equal(
        np.take_along_axis(degraded, sites, axis=-1), np.take_along_axis(COFFEE.pixels, sites, axis=-1)
    )


@pytest.mark.parametrize("interpolation", ["malvar", "bilinear"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_flat_colour_is_completed_without_error_by_bilinear_and_a_flat_gray_by_both(
    pattern: str, interpolation: str
) -> None:
    shade = (40, 90, 200) if interpolation == "bilinear" else (90, 90, 90)
    flat = np.full((9, 10, 3), shade, np.uint8)
    degraded = degrade(flat, f"pattern={pattern},interpolation={interpolation}")
    assert (np.round(255 * degraded) == shade).all()


def test_malvar_keeps_a_gray_ramp_away_from_the_border() -> None:
    ramp = np.add.outer(3.0 * np.arange(16), 5.0 * np.arange(16))
    completed = malvar(ramp, bayer_sites("rggb", 16, 16))
    assert np.allclose(completed[2:-2, 2:-2], ramp[2:-2, 2:-2, None])


def test_malvar_at_single_pixels_is_the_papers_formula() -> None:
    """The bilinear estimate plus a gain (1/2, 3/4) times the Laplacian of the known colour."""
    mosaic = np.random.default_rng(0).random((8, 8))
    sites = bayer_sites("rggb", 8, 8)
    completed, plain = malvar(mosaic, sites), bilinear(mosaic, sites)
    red = 4, 4
    red_laplacian = mosaic[4, 4] - (mosaic[2, 4] + mosaic[6, 4] + mosaic[4, 2] + mosaic[4, 6]) / 4
    assert completed[red][1] == pytest.approx(plain[red][1] + red_laplacian / 2)
    blue = 3, 3
    blue_laplacian = mosaic[3, 3] - (mosaic[1, 3] + mosaic[5, 3] + mosaic[3, 1] + mosaic[3, 5]) / 4
    assert completed[blue][0] == pytest.approx(plain[blue][0] + 3 / 4 * blue_laplacian)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_image_and_the_pattern_turns_the_result(turns: int) -> None:
    turned = {1: "gbrg", 2: "bggr", 3: "grbg"}[turns]  # rggb seen after quarter turns counter-clockwise
    upright = degrade(COFFEE.pixels, "pattern=rggb")
    assert np.array_equal(degrade(np.rot90(COFFEE.pixels, turns), f"pattern={turned}"), np.rot90(upright, turns))


def test_targets_are_cut_to_whole_tiles_and_judged_without_a_border_of_ten() -> None:
    setting = TASK.parse("default")
    assert TASK.prepare_target(COFFEE.pixels[:9, :11], setting).shape == (8, 10, 3)
    assert TASK.protocol(setting).id == "rgb-crop10-uint8"
