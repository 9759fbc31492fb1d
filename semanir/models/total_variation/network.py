"""Total variation as a module, so that it stands in the same table as networks."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.model import Request


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> TotalVariation:
    """Build the module; it has no parameters and uses no attention."""
    return TotalVariation(float(request.configuration))


class TotalVariation(nn.Module):
    """The minimiser of half the squared distance to the input plus `weight` times the total variation."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Restore each image; the variation joins all channels."""
        from skimage.restoration import denoise_tv_chambolle

        given = image.float().permute(0, 2, 3, 1).cpu().numpy()
        restored = [
            denoise_tv_chambolle(one, weight=self.weight, channel_axis=-1)  # type: ignore[no-untyped-call]
            for one in given
        ]
        return torch.from_numpy(np.stack(restored)).permute(0, 3, 1, 2).to(image)
