"""Complete the colours of a Bayer mosaic, which the network receives interpolated unless it asks for the mosaic."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt

from harness.channels import rounded, three_channels, units
from harness.convolution import convolve
from harness.protocol import Protocol
from harness.task import Setting, Task

# Malvar, He and Cutler 2004, "High-quality linear interpolation for demosaicing of Bayer-patterned color
# images", figure 2, in sixteenths. Each filter reads the mosaic around the pixel whose colour is wanted.
# fmt: off
GREEN_AT_COLOUR = np.array([
    [ 0,  0, -2,  0,  0],
    [ 0,  0,  4,  0,  0],
    [-2,  4,  8,  4, -2],
    [ 0,  0,  4,  0,  0],
    [ 0,  0, -2,  0,  0]]) / 16.0
COLOUR_AT_GREEN_OF_ITS_ROW = np.array([
    [ 0,  0,  1,  0,  0],
    [ 0, -2,  0, -2,  0],
    [-2,  8, 10,  8, -2],
    [ 0, -2,  0, -2,  0],
    [ 0,  0,  1,  0,  0]]) / 16.0
RED_AT_BLUE = np.array([
    [ 0,  0, -3,  0,  0],
    [ 0,  4,  0,  4,  0],
    [-3,  0, 12,  0, -3],
    [ 0,  4,  0,  4,  0],
    [ 0,  0, -3,  0,  0]]) / 16.0
# fmt: on

GREEN_BILINEAR = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4.0
COLOUR_BILINEAR = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4.0

RED, GREEN, BLUE = 0, 1, 2


def _target(image: UInt[np.ndarray, "H W c"], setting: Setting) -> UInt[np.ndarray, "h w 3"]:
    """Cut to whole 2x2 tiles of the pattern."""
    height, width = image.shape[:2]
    return three_channels(image)[: height // 2 * 2, : width // 2 * 2]


def _degrade(
    target: UInt[np.ndarray, "H W 3"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "H W 3"]:
    """Sample one colour a pixel and interpolate the others on the target's depth; the sampled values stay exact.

    With `interpolation=none` the others are 0: what networks get that were made for mosaics.
    """
    sites = bayer_sites(str(setting["pattern"]), *target.shape[:2])
    mosaic = np.take_along_axis(target, sites[..., None], axis=-1)[..., 0].astype(np.float64)
    interpolate = {"malvar": malvar, "bilinear": bilinear, "none": masked}[str(setting["interpolation"])]
    return units(rounded(interpolate(mosaic, sites), like=target))


def bayer_sites(pattern: str, height: int, width: int) -> Int64[np.ndarray, "H W"]:
    """Return the channel (0 red, 1 green, 2 blue) that each pixel samples; `rggb` reads a tile row by row."""
    tile = np.array(["rgb".index(letter) for letter in pattern]).reshape(2, 2)
    return np.tile(tile, (-(-height // 2), -(-width // 2)))[:height, :width]


def malvar(mosaic: Float64[np.ndarray, "H W"], sites: Int64[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W 3"]:
    """Interpolate by Malvar, He and Cutler's linear filters; the result is not clipped."""

    def filtered(weights: Float64[np.ndarray, "5 5"]) -> Float64[np.ndarray, "H W"]:
        return convolve(mosaic[..., None], weights)[..., 0]

    beside = filtered(COLOUR_AT_GREEN_OF_ITS_ROW)
    above = filtered(COLOUR_AT_GREEN_OF_ITS_ROW.T)
    across = filtered(RED_AT_BLUE)

    def colour(channel: int) -> Float64[np.ndarray, "H W"]:
        in_its_row = (sites == channel).any(axis=1)[:, None]
        at_green = np.where(in_its_row, beside, above)
        return np.where(sites == channel, mosaic, np.where(sites == GREEN, at_green, across))

    green = np.where(sites == GREEN, mosaic, filtered(GREEN_AT_COLOUR))
    return np.stack([colour(RED), green, colour(BLUE)], axis=-1)


def masked(mosaic: Float64[np.ndarray, "H W"], sites: Int64[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W 3"]:
    """Put each sample into its channel, and zeros elsewhere."""
    return np.where(sites[..., None] == np.arange(3), mosaic[..., None], 0.0)


def bilinear(mosaic: Float64[np.ndarray, "H W"], sites: Int64[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W 3"]:
    """Interpolate each channel from its nearest samples alone."""
    weights = {RED: COLOUR_BILINEAR, GREEN: GREEN_BILINEAR, BLUE: COLOUR_BILINEAR}
    planes = [convolve(np.where(sites == c, mosaic, 0.0)[..., None], weights[c]) for c in (RED, GREEN, BLUE)]
    return np.concatenate(planes, axis=-1)


TASK = Task(
    summary="Bayer mosaic, handed over interpolated (Malvar-He-Cutler, bilinear) or as it is (none)",
    defaults={"pattern": "rggb", "interpolation": "malvar"},
    rules={"pattern": ("rggb", "bggr", "grbg", "gbrg"), "interpolation": ("malvar", "bilinear", "none")},
    channels=lambda setting: 3,
    scale=lambda setting: 1,
    protocol=lambda setting: Protocol(channel="rgb", crop=10),
    prepare_target=_target,
    degrade=_degrade,
    holds=lambda setting: "mosaic" if setting["interpolation"] == "none" else "image",
)
