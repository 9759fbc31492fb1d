"""How an image is made comparable with its target before a metric looks at it: data, not code paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Float64

    from harness.channels import Bits

Channel = Literal["gray", "rgb", "y"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A convention for PSNR and SSIM. Unlike ids never share a column of a table."""

    channel: Channel
    """`y` is the unrounded luma of BT.601 (16..235), as published super-resolution networks use it."""
    crop: int = 0
    """Pixels cut from each border before judging."""
    rounding: Literal["uint8", "none"] = "uint8"
    """`uint8` clips to 0..255 and rounds first, to the steps of 1/257 that a 16-bit target has where it has them;
    `none` leaves the values as they are, for unclipped noise."""

    @property
    def id(self) -> str:
        """As in `y-crop2-uint8`; the SSIM window is the same everywhere: 11x11, sigma 1.5, valid region."""
        return f"{self.channel}-crop{self.crop}-{self.rounding}"

    def prepare(self, image: Float[np.ndarray, "H W C"], *, bits: Bits = 8) -> Float64[np.ndarray, "h w c"]:
        """Turn an image in units of one into float64 values on the scale of 0..255, ready for a metric.

        `bits` are the target's, for both images of a pair: each is rounded to the target's steps. Raises `ValueError`
        when the image holds NaN or infinity, when its channels are not what the protocol judges, and when the crop
        leaves nothing.
        """
        import numpy as np

        from harness.channels import PEAK, luma

        if not np.isfinite(image).all():
            raise ValueError("the image holds NaN or infinite values: nothing to judge")
        height, width, channels = image.shape
        if channels != (expected := 1 if self.channel == "gray" else 3):
            raise ValueError(f"protocol {self.id} judges {expected} channel(s); the image has {channels}")
        if min(height, width) <= 2 * self.crop:
            raise ValueError(f"a border of {self.crop} pixels leaves nothing of a {height}x{width} image")
        peak = PEAK[bits]
        values = image.astype(np.float64) * peak
        if self.rounding == "uint8":
            values = np.floor(np.clip(values, 0.0, peak) + 0.5)
        values /= peak / 255.0
        if self.channel == "y":
            values = luma(values)
        return values[self.crop : height - self.crop, self.crop : width - self.crop]
