"""Bicubic enlargement as a module, so that it stands in the same table as networks."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.model import Request


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> Bicubic:
    """Build the module for the request's scale; it has no parameters and uses no attention."""
    return Bicubic(request.scale)


class Bicubic(nn.Module):
    """What `imresize(image, scale)` gives in MATLAB at a whole scale: each output pixel reads four of a row."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C H W"]:
        """Enlarge both sides in float64. Values may leave the input's range."""
        exact = image.double()
        rows, columns = (enlargement(side, self.scale).to(image.device) for side in image.shape[-2:])
        return (rows @ exact @ columns.T).to(image.dtype)


def enlargement(side: int, scale: int) -> Float64[Tensor, "out side"]:
    """Return the matrix that enlarges an axis; the border is mirrored with the edge pixel repeated."""
    out = torch.arange(side * scale)
    centre = (out.double() + 0.5) / scale - 0.5  # of the output pixel, in input pixels counted from 0
    nearest = torch.floor(centre).long()
    matrix = torch.zeros(side * scale, side, dtype=torch.float64)
    for tap in range(-1, 3):
        position = nearest + tap
        folded = position.remainder(2 * side)
        pixel = torch.minimum(folded, 2 * side - 1 - folded)
        matrix.index_put_((out, pixel), _cubic(centre - position), accumulate=True)
    return matrix


def _cubic(x: Float64[Tensor, " out"]) -> Float64[Tensor, " out"]:
    """Keys 1981, eq. 15 with a = -1/2: the interpolation kernel, zero from |x| = 2."""
    r = x.abs()
    inner = 1.5 * r**3 - 2.5 * r**2 + 1.0
    outer = -0.5 * r**3 + 2.5 * r**2 - 4.0 * r + 2.0
    return torch.where(r <= 1.0, inner, torch.where(r <= 2.0, outer, torch.zeros_like(r)))
