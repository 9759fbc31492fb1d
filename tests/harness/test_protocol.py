"""The conventions under which PSNR and SSIM are taken."""

from __future__ import annotations

import numpy as np
import pytest

from harness.protocol import Protocol

RGB = Protocol(channel="rgb")


def colour(value: float, side: int = 12) -> np.ndarray:
    return np.full((side, side, 3), value, np.float32)


def test_an_id_names_channel_crop_and_rounding() -> None:
    assert Protocol(channel="y", crop=4).id == "y-crop4-uint8"
    assert Protocol(channel="gray", rounding="none").id == "gray-crop0-none"


@pytest.mark.parametrize(("value", "prepared"), [(-0.1, 0), (1.2, 255), (0.5, 128), (127.4 / 255, 127)])
def test_rounding_to_8_bits_clips_first_and_rounds_halves_up(value: float, prepared: int) -> None:
    assert (RGB.prepare(colour(value)) == prepared).all()


def test_without_rounding_noise_beyond_the_range_is_kept() -> None:
    values = Protocol(channel="rgb", rounding="none").prepare(colour(1.5))
    assert values.dtype == np.float64
    assert (values == 382.5).all()


def test_luma_runs_from_16_to_235_as_in_rgb2ycbcr() -> None:
    luma = Protocol(channel="y")
    assert luma.prepare(colour(0.0)) == pytest.approx(16.0)
    assert luma.prepare(colour(1.0)) == pytest.approx(235.0)
    red = np.zeros((12, 12, 3), np.float32)
    red[..., 0] = 1.0
    assert luma.prepare(red) == pytest.approx(16.0 + 65.481)


def test_luma_is_not_rounded_but_the_colours_below_it_are() -> None:
    luma = Protocol(channel="y").prepare(colour(100.3 / 255))
    assert luma == pytest.approx(16.0 + 219.0 * 100 / 255)


def test_the_crop_cuts_every_border() -> None:
    image = np.arange(12 * 14 * 3, dtype=np.float32).reshape(12, 14, 3) / 1000
    whole = Protocol(channel="rgb").prepare(image)
    assert np.array_equal(Protocol(channel="rgb", crop=3).prepare(image), whole[3:9, 3:11])


def test_a_crop_that_leaves_nothing_is_refused_with_the_size() -> None:
    with pytest.raises(ValueError, match="leaves nothing of a 12x12 image"):
        Protocol(channel="rgb", crop=6).prepare(colour(0.5))


@pytest.mark.parametrize("channel", ["gray", "y", "rgb"])
def test_an_image_with_other_channels_is_refused(channel: str) -> None:
    image = np.zeros((12, 12, 3 if channel == "gray" else 1), np.float32)
    with pytest.raises(ValueError, match=r"judges [13] channel"):
        Protocol(channel=channel).prepare(image)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    image = colour(0.5)
    image[3, 4, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        RGB.prepare(image)
