"""A convolution with mirrored borders whose sum is the same on every machine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64


def convolve(image: Float[np.ndarray, "H W C"], weights: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "H W C"]:
    """Convolve every channel with a kernel of odd sides; the image may be smaller than the kernel.

    Borders are mirrored without repeating the edge pixel, which keeps the phase of a Bayer mosaic. Only
    non-zero weights are visited (a motion path is sparse), in one fixed order that no library chooses.
    """
    flipped = weights[::-1, ::-1]
    height, width = image.shape[:2]
    margins = [(side // 2, side // 2) for side in weights.shape]
    padded = np.pad(image.astype(np.float64), (*margins, (0, 0)), mode="reflect")
    total = np.zeros(image.shape)
    for y, x in np.argwhere(flipped):
        total += flipped[y, x] * padded[y : y + height, x : x + width]
    return total
