"""MATLAB's `imresize(image, scale)`: bicubic, with antialiasing where it shrinks, in double precision."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float64, Int64


def imresize(image: Float[np.ndarray, "H W C"], scale: float) -> Float64[np.ndarray, "h w C"]:
    """Resize both sides to `ceil(scale * side)`. Values are neither clipped nor rounded.

    Differs from the bicubic of Pillow and OpenCV: Keys' cubic has a = -1/2, the kernel is stretched by
    `1/scale` when it shrinks, and borders are mirrored with the edge pixel repeated.
    """
    resized = image.astype(np.float64)
    for axis in (0, 1):
        resized = _resize_axis(resized, axis, scale)
    return resized


def taps(side: int, scale: float) -> tuple[Int64[np.ndarray, "out P"], Float64[np.ndarray, "out P"]]:
    """Return for each output pixel of an axis the input pixels it reads and their weights, which sum to 1."""
    stretch = max(1.0, 1.0 / scale)
    width = 4.0 * stretch
    count = math.ceil(side * scale)
    # Centres of the output pixels in the input's coordinates, both from 1, as in MATLAB's `contributions`.
    centre = np.arange(1, count + 1) / scale + 0.5 * (1.0 - 1.0 / scale)
    first = np.floor(centre - width / 2.0)
    positions = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic((centre[:, None] - positions) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(side), np.arange(side)[::-1]])
    return mirrored[(positions.astype(np.int64) - 1) % (2 * side)], weights


def _resize_axis(values: Float64[np.ndarray, "H W C"], axis: int, scale: float) -> Float64[np.ndarray, "h w C"]:
    pixels, weights = taps(values.shape[axis], scale)
    shape = [1, 1, 1]
    shape[axis] = -1
    total = np.zeros(())
    for tap in range(pixels.shape[1]):
        total = total + values.take(pixels[:, tap], axis=axis) * weights[:, tap].reshape(shape)
    return total


def _cubic(x: Float64[np.ndarray, "out P"]) -> Float64[np.ndarray, "out P"]:
    """Keys 1981, eq. 15 with a = -1/2: the interpolation kernel, zero from |x| = 2."""
    r = np.abs(x)
    inner = 1.5 * r**3 - 2.5 * r**2 + 1.0
    outer = -0.5 * r**3 + 2.5 * r**2 - 4.0 * r + 2.0
    return np.where(r <= 1.0, inner, np.where(r <= 2.0, outer, 0.0))
