"""Synthetic weather."""

from __future__ import annotations

import numpy as np
import pytest

from harness import datasets
from harness.task import generator
from harness.tasks.weather import TASK

CAT, MOTORCYCLE = datasets.load("bundled", images=2, image_size=96)
KINDS = ("rain", "snow", "haze", "raindrop")


def degrade(text: str, image: datasets.Image = MOTORCYCLE) -> np.ndarray:
    degraded = TASK.degrade(image.pixels, TASK.parse(text), generator(0, image.name))
    return np.asarray(np.round(255.0 * degraded), np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_no_weather_leaves_the_scene(kind: str) -> None:
    assert np.array_equal(degrade(f"kind={kind},amount=0"), MOTORCYCLE.pixels)


@pytest.mark.parametrize("kind", KINDS)
def test_more_weather_lies_farther_from_the_scene(kind: str) -> None:
    errors = [np.mean((degrade(f"kind={kind},amount={a}") - MOTORCYCLE.pixels) ** 2) for a in (5, 20, 60)]
    assert errors == sorted(errors)


def test_rain_only_adds_light() -> None:
    assert (degrade("kind=rain") >= MOTORCYCLE.pixels).all()


@pytest.mark.parametrize(
    ("kind", "amount"), [("rain", 10), ("rain,width=3,length=40", 10), ("snow", 10), ("raindrop", 10)]
)
def test_about_the_asked_share_of_the_pixels_is_covered(kind: str, amount: int) -> None:
    black = datasets.Image(name="black", pixels=np.zeros((256, 256, 3), np.uint8))
    covered = (degrade(f"kind={kind},amount={amount}", black) > 0).any(axis=-1).mean()
    assert amount / 200 < covered < 2.5 * amount / 100


def test_streaks_lean_as_the_angle_says() -> None:
    black = datasets.Image(name="black", pixels=np.zeros((96, 96, 3), np.uint8))
    rain = degrade("kind=rain,amount=3,length=21,angle=45", black)[..., 0]

    def along(shift: int) -> float:
        return float((rain[8:-8, 8:-8] * np.roll(rain, (-8, -shift), (0, 1))[8:-8, 8:-8]).sum())

    assert along(8) > 3 * along(-8)  # eight down and eight to the right lies on the same streak


def test_streaks_are_as_wide_and_as_bright_as_the_setting_says() -> None:
    black = datasets.Image(name="black", pixels=np.zeros((96, 96, 3), np.uint8))
    fine, wide = (degrade(f"kind=rain,amount=1,angle=0,width={width}", black)[..., 0] for width in (1, 5))
    assert [np.count_nonzero(row) for row in (fine[fine.any(axis=1)][0], wide[wide.any(axis=1)][0])] == [1, 5]
    assert degrade("kind=rain,amount=100,opacity=25", black).max() == pytest.approx(64, abs=1)


def test_haze_hides_contrast_and_keeps_the_order_of_brightness_in_a_row() -> None:
    hazy = degrade("kind=haze,amount=60")
    assert hazy.std() < 0.7 * MOTORCYCLE.pixels.std()
    assert hazy.mean() > MOTORCYCLE.pixels.mean()


def test_all_weather_is_judged_in_rgb_without_a_crop() -> None:
    assert TASK.protocol(TASK.parse("kind=snow")).id == "rgb-crop0-uint8"
