"""Malvar, He and Cutler's filters as a module, so that they stand in the same table as networks."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.model import Request

# Malvar, He and Cutler 2004, "High-quality linear interpolation for demosaicing of Bayer-patterned color images",
# figure 2, in sixteenths: green at red or blue; a colour at a green pixel of its row; the same turned, for a green
# pixel of its column; red at blue and blue at red.
# fmt: off
BESIDE = [
    [0,  0,  1,  0, 0],
    [0, -2,  0, -2, 0],
    [-2, 8, 10,  8, -2],
    [0, -2,  0, -2, 0],
    [0,  0,  1,  0, 0]]
FILTERS = [
    [[0,  0, -2, 0, 0],
     [0,  0,  4, 0, 0],
     [-2, 4,  8, 4, -2],
     [0,  0,  4, 0, 0],
     [0,  0, -2, 0, 0]],
    BESIDE,
    [*map(list, zip(*BESIDE, strict=True))],
    [[0,  0, -3, 0, 0],
     [0,  4,  0, 4, 0],
     [-3, 0, 12, 0, -3],
     [0,  4,  0, 4, 0],
     [0,  0, -3, 0, 0]],
]
# fmt: on


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> Malvar:
    """Build the module; it has no parameters and uses no attention."""
    return Malvar()


class Malvar(nn.Module):
    """Completes a mosaic of any Bayer phase, which it reads off the pixels that are not zero."""

    def forward(self, mosaic: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 h w"]:
        """Keep the samples and filter the rest in float64; borders are mirrored. Values may leave 0..1."""
        return torch.stack([_complete(one) for one in mosaic.double()]).to(mosaic.dtype)


def _complete(mosaic: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    sampled = sites(mosaic)
    filters = torch.tensor(FILTERS, dtype=mosaic.dtype, device=mosaic.device)[:, None] / 16.0
    flat = F.pad(mosaic.sum(0, keepdim=True)[None], (2, 2, 2, 2), mode="reflect")
    green_at_colour, beside, above, across = F.conv2d(flat, filters)[0]
    planes = []
    for channel in range(3):
        if channel == 1:
            elsewhere = green_at_colour
        else:
            in_its_row = sampled[channel].any(dim=1, keepdim=True)
            elsewhere = torch.where(sampled[1], torch.where(in_its_row, beside, above), across)
        planes.append(torch.where(sampled[channel], mosaic[channel], elsewhere))
    return torch.stack(planes)


def sites(mosaic: Float[Tensor, "3 h w"]) -> Bool[Tensor, "3 h w"]:
    """Return which channel each pixel samples: of the four Bayer phases, the one that explains most light."""
    height, width = mosaic.shape[-2:]
    best, most = None, -1.0
    for red_y, red_x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        y = (torch.arange(height, device=mosaic.device) % 2 == red_y)[:, None]
        x = (torch.arange(width, device=mosaic.device) % 2 == red_x)[None]
        phase = torch.stack([y & x, y ^ x, ~y & ~x])
        light = float((mosaic * phase).sum())
        if light > most:
            best, most = phase, light
    assert best is not None
    return best
