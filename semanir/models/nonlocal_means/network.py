"""Non-local means as a module, so that it stands in the same table as networks."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.model import Request


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> NonLocalMeans:
    """Build the module; it has no parameters and uses no attention."""
    return NonLocalMeans()


class NonLocalMeans(nn.Module):
    """Patches of 5 x 5, searched 6 pixels around, filter strength 0.6 sigma, scikit-image's fast mode."""

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Restore each image with the noise level that scikit-image estimates from it."""
        restored = [_restore(one.permute(1, 2, 0).cpu().numpy()) for one in image.float()]
        return torch.from_numpy(np.stack(restored)).permute(0, 3, 1, 2).to(image)


def _restore(image: Float[np.ndarray, "h w C"]) -> Float[np.ndarray, "h w C"]:
    from skimage.restoration import denoise_nl_means

    sigma = noise_level(image)
    restored = denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )
    return restored.reshape(image.shape)  # scikit-image drops the channel axis of gray images


def noise_level(image: Float[np.ndarray, "h w C"]) -> float:
    """Estimate the standard deviation of white noise, in the image's units, from what no smooth image has.

    The response to the difference of two Laplacians (Immerkaer, CVIU 1996) has 6 times the noise's deviation; its
    median absolute value, over 0.6745 for a normal distribution, hardly sees edges. An image without noise gives 0.
    """
    from scipy.ndimage import convolve

    mask = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0])[..., None]
    return float(np.median(np.abs(convolve(image.astype(np.float64), mask))) / (0.6745 * 6))
