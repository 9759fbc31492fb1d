"""How a restored image is made comparable with its target before a metric looks at it: data, not code paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Float64

Channel = Literal["gray", "rgb", "y"]

LUMA_BT601 = (65.481, 128.553, 24.966)
"""Weights of R, G, B (each 0..1) in the studio-range luma of BT.601, offset 16."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A convention for PSNR and SSIM. Unlike ids never share a column of a table."""

    channel: Channel
    """`y` is the unrounded luma of BT.601 (16..235), as published super-resolution networks use it."""
    crop: int = 0
    """Pixels cut from each border before judging."""
    rounding: Literal["uint8", "none"] = "uint8"
    """`uint8` clips to 0..255 and rounds first; `none` only clips."""

    @property
    def id(self) -> str:
        """As in `y-crop2-uint8`; the SSIM window is the same everywhere: 11x11, sigma 1.5, valid region."""
        return f"{self.channel}-crop{self.crop}-{self.rounding}"

    def prepare(self, image: Float[np.ndarray, "H W C"]) -> Float64[np.ndarray, "h w c"]:
        """Turn an image in units of one into float64 values in 0..255, ready for a metric.

        Raises `ValueError` when the crop leaves nothing, or when luma is asked of a gray image.
        """
        import numpy as np

        values = np.clip(image.astype(np.float64) * 255.0, 0.0, 255.0)
        if self.rounding == "uint8":
            values = np.floor(values + 0.5)
        if self.channel == "y":
            if values.shape[-1] != 3:
                raise ValueError(f"luma needs three channels; the image has {values.shape[-1]}")
            values = values @ (np.asarray(LUMA_BT601)[:, None] / 255.0) + 16.0
        height, width = values.shape[:2]
        if min(height, width) <= 2 * self.crop:
            raise ValueError(f"a border of {self.crop} pixels leaves nothing of a {height}x{width} image")
        return values[self.crop : height - self.crop, self.crop : width - self.crop]
