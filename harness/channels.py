"""Gray, colour, luma and depth of images, by the conventions under which published rows were measured.

An image is `uint8` or `uint16`, as its file is; everything below keeps the depth, and 8-bit values stay what they were.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt, UInt8

Bits = Literal[8, 16]

PEAK: dict[Bits, float] = {8: 255.0, 16: 65535.0}
"""The largest value of a depth. 65,535 is 257 times 255, so 8-bit values have an exact place among 16-bit ones."""

LUMA_BT601 = (65.481, 128.553, 24.966)
"""Weights of R, G, B (each 0..1) in the studio-range luma of BT.601, offset 16: MATLAB's `rgb2ycbcr`."""

GRAY_NTSC = (0.298936021293775, 0.587043074451121, 0.114020904255103)
"""Weights of R, G, B in MATLAB's `rgb2gray`: the first row of the inverse of its YIQ matrix."""


def bits_of(image: UInt[np.ndarray, "H W C"]) -> Bits:
    """Return the bits of a value: 8 or 16."""
    return 8 if image.dtype == np.uint8 else 16


def peak_of(image: UInt[np.ndarray, "H W C"]) -> float:
    """Return the largest value that an image of its depth can hold: 255 or 65535."""
    return PEAK[bits_of(image)]


def luma(rgb_255: Float[np.ndarray, "H W 3"]) -> Float64[np.ndarray, "H W 1"]:
    """Return the unrounded luma (16..235) of values in 0..255. Raises `ValueError` without three channels."""
    if rgb_255.shape[-1] != 3:
        raise ValueError(f"luma needs three channels; the image has {rgb_255.shape[-1]}")
    return _weigh(rgb_255, LUMA_BT601) / 255.0 + 16.0


def rounded(values: Float[np.ndarray, "H W C"], *, like: UInt[np.ndarray, "h w c"]) -> UInt[np.ndarray, "H W C"]:
    """Clip values to the range of another image and round halves up into its depth, as MATLAB's `uint8` does.

    numpy's own `round` goes to the even neighbour.
    """
    nearest: UInt[np.ndarray, "H W C"] = np.floor(np.clip(values, 0.0, peak_of(like)) + 0.5).astype(like.dtype)
    return nearest


def round_uint8(values_255: Float[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W C"]:
    """Clip values to 0..255 and round halves up."""
    return rounded(values_255, like=np.empty((0, 0, 0), np.uint8))


def to_8_bits(image: UInt[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W C"]:
    """Round to 8 bits; an 8-bit image stays as it is."""
    return image if image.dtype == np.uint8 else round_uint8(image * (255.0 / peak_of(image)))


def to_luma(image: UInt[np.ndarray, "H W C"]) -> UInt[np.ndarray, "H W 1"]:
    """Return Y of MATLAB's `rgb2ycbcr`, rounded to the image's depth; a gray image stays as it is."""
    if image.shape[-1] == 1:
        return image
    scale = peak_of(image) / 255.0
    return rounded(scale * luma(image / scale), like=image)


def to_gray(image: UInt[np.ndarray, "H W C"]) -> UInt[np.ndarray, "H W 1"]:
    """Return MATLAB's `rgb2gray`, which makes BSD68 of CBSD68, rounded to the image's depth; gray stays as it is."""
    return image if image.shape[-1] == 1 else rounded(_weigh(image.astype(np.float64), GRAY_NTSC), like=image)


def three_channels(image: UInt[np.ndarray, "H W C"]) -> UInt[np.ndarray, "H W 3"]:
    """Return a colour image; a gray one is repeated."""
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)


def units(image: UInt[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W C"]:
    """Return values in units of one. Float32 tells all 65,536 values of 16 bits apart."""
    return image.astype(np.float32) / np.float32(peak_of(image))


def _weigh(rgb: Float[np.ndarray, "H W 3"], weights: tuple[float, float, float]) -> Float64[np.ndarray, "H W 1"]:
    """Sum in one fixed order: a matrix product may round otherwise elsewhere, and 8 bits would show it."""
    red, green, blue = (rgb[..., channel, None].astype(np.float64) for channel in range(3))
    return weights[0] * red + weights[1] * green + weights[2] * blue
