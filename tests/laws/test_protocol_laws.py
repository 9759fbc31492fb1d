"""Laws of the protocols and of the two fidelities that they feed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio

from harness import fidelity
from harness.protocol import Protocol

sides = st.integers(16, 24)
seeds = st.integers(0, 2**32 - 1)
protocols = st.builds(
    Protocol,
    channel=st.sampled_from(["rgb", "y"]),
    crop=st.integers(0, 2),
    rounding=st.sampled_from(["uint8", "none"]),
)


def noise(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.2, 1.2, (height, width, channels)).astype(np.float32)


@given(protocols, seeds, sides, sides)
def test_a_prepared_image_is_float64_within_its_range_and_cropped(
    protocol: Protocol, seed: int, height: int, width: int
) -> None:
    prepared = protocol.prepare(noise(seed, height, width))
    channels = 3 if protocol.channel == "rgb" else 1
    assert prepared.dtype == np.float64
    assert prepared.shape == (height - 2 * protocol.crop, width - 2 * protocol.crop, channels)
    if protocol.rounding == "uint8":
        low, high = (16.0, 235.0) if protocol.channel == "y" else (0.0, 255.0)
        assert low - 1e-9 <= prepared.min() <= prepared.max() <= high + 1e-9


@given(arrays(np.uint8, (8, 9, 3)))
def test_8_bit_images_survive_the_way_through_units_of_one(pixels: np.ndarray) -> None:
    assert np.array_equal(Protocol(channel="rgb").prepare(pixels.astype(np.float32) / np.float32(255)), pixels)


@given(protocols, seeds, sides, sides)
def test_psnr_is_symmetric_and_that_of_skimage(protocol: Protocol, seed: int, height: int, width: int) -> None:
    first, second = (protocol.prepare(noise(seed + k, height, width)) for k in (0, 1))
    value = fidelity.psnr(first, second)
    assert value == fidelity.psnr(second, first)
    assert value == pytest.approx(peak_signal_noise_ratio(first, second, data_range=255))


@given(protocols, seeds, sides, sides)
def test_equal_images_get_the_cap_and_a_similarity_of_one(
    protocol: Protocol, seed: int, height: int, width: int
) -> None:
    image = protocol.prepare(noise(seed, height, width))
    assert fidelity.psnr(image, image) == fidelity.PSNR_CAP_DB
    assert fidelity.ssim(image, image) == pytest.approx(1.0)


@settings(max_examples=20)
@given(seeds, sides, sides)
def test_ssim_is_symmetric_and_at_most_one(seed: int, height: int, width: int) -> None:
    first, second = (255.0 * noise(seed + k, height, width).astype(np.float64) for k in (0, 1))
    value = fidelity.ssim(first, second)
    assert -1.0 <= value <= 1.0
    assert value == pytest.approx(fidelity.ssim(second, first))
