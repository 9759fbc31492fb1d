"""Gray, colour and luma of 8-bit images, by the conventions under which published rows were measured."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

LUMA_BT601 = (65.481, 128.553, 24.966)
"""Weights of R, G, B (each 0..1) in the studio-range luma of BT.601, offset 16: MATLAB's `rgb2ycbcr`."""

GRAY_NTSC = (0.298936021293775, 0.587043074451121, 0.114020904255103)
"""Weights of R, G, B in MATLAB's `rgb2gray`: the first row of the inverse of its YIQ matrix."""


def luma(rgb_255: Float[np.ndarray, "H W 3"]) -> Float64[np.ndarray, "H W 1"]:
    """Return the unrounded luma (16..235) of values in 0..255. Raises `ValueError` without three channels."""
    if rgb_255.shape[-1] != 3:
        raise ValueError(f"luma needs three channels; the image has {rgb_255.shape[-1]}")
    return _weigh(rgb_255, LUMA_BT601) / 255.0 + 16.0


def round_uint8(values_255: Float[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W C"]:
    """Clip values to 0..255 and round halves up, as MATLAB's `uint8` does (numpy's `round` goes to even)."""
    rounded: UInt8[np.ndarray, "H W C"] = np.floor(np.clip(values_255, 0.0, 255.0) + 0.5).astype(np.uint8)
    return rounded


def luma_uint8(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W 1"]:
    """Return Y of MATLAB's `rgb2ycbcr` on 8 bits; a gray image stays as it is."""
    return image if image.shape[-1] == 1 else round_uint8(luma(image.astype(np.float64)))


def gray_uint8(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W 1"]:
    """Return MATLAB's `rgb2gray` on 8 bits, which makes BSD68 of CBSD68; a gray image stays as it is."""
    return image if image.shape[-1] == 1 else round_uint8(_weigh(image.astype(np.float64), GRAY_NTSC))


def three_channels(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W 3"]:
    """Return a colour image; a gray one is repeated."""
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)


def units(image: UInt8[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W C"]:
    """Return 8-bit values in units of one."""
    return image.astype(np.float32) / np.float32(255.0)


def _weigh(rgb: Float[np.ndarray, "H W 3"], weights: tuple[float, float, float]) -> Float64[np.ndarray, "H W 1"]:
    """Sum in one fixed order: a matrix product may round otherwise elsewhere, and 8 bits would show it."""
    red, green, blue = (rgb[..., channel, None].astype(np.float64) for channel in range(3))
    return weights[0] * red + weights[1] * green + weights[2] * blue
