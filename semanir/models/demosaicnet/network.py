"""demosaicnet's modules, named as the published state names them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.checkpoints import check, read_state
from semanir.model import Request
from semanir.models.demosaicnet import MARGIN, WIDTH, convolutions, padded_side

RED_SITE = (0, 1)
"""Row and column of red in the 2 x 2 tile that the published weights pack: green red, blue green."""


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> DemosaicNet:
    """Build the network; it uses no attention."""
    return DemosaicNet()


def read(network: nn.Module, file: Path) -> None:
    """Load the published `bayer.pth`. Raises `CheckpointError`, and then changes nothing."""
    state = read_state(file)
    check(network.state_dict(), state, file)
    network.load_state_dict(state)


class DemosaicNet(nn.Module):
    """Filters at half the resolution, where a tile's four samples are channels, then one layer at full resolution.

    The convolutions are unpadded, so the mosaic is mirrored outwards first; the mirror stands on the edge pixels
    and so keeps the phase. Other phases than the trained one are shifted by a pixel.
    """

    def __init__(self) -> None:
        super().__init__()
        half: OrderedDict[str, nn.Module] = OrderedDict(pack_mosaic=nn.Conv2d(3, 4, 2, stride=2))
        for number, (inputs, outputs) in enumerate(convolutions(), start=1):
            half[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3)
            half[f"relu{number}"] = nn.ReLU()
        self.main_processor = nn.Sequential(half)
        self.residual_predictor = nn.Conv2d(WIDTH, 12, 1)
        self.upsampler = nn.ConvTranspose2d(12, 3, 2, stride=2, groups=3)
        full: OrderedDict[str, nn.Module] = OrderedDict(post_conv=nn.Conv2d(6, WIDTH, 3))
        full["post_relu"] = nn.ReLU()
        full["output"] = nn.Conv2d(WIDTH, 3, 1)
        self.fullres_processor = nn.Sequential(full)

    def forward(self, mosaic: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 h w"]:
        """Complete a mosaic that holds zeros where a channel was not sampled, of any phase and size from 2 x 2."""
        height, width = mosaic.shape[-2:]
        top, left = (
            MARGIN + (MARGIN + red - wanted) % 2 for red, wanted in zip(red_site(mosaic), RED_SITE, strict=True)
        )
        rows, columns = (_mirrored(side, before) for side, before in ((height, top), (width, left)))
        padded = mosaic[:, :, rows.to(mosaic.device)][..., columns.to(mosaic.device)]
        top, left = top - MARGIN, left - MARGIN
        return self._unpadded(padded)[..., top : top + height, left : left + width]

    def _unpadded(self, mosaic: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
        filters, masks = self.main_processor(mosaic).chunk(2, dim=1)
        residual = self.upsampler(self.residual_predictor(filters * masks))
        border = MARGIN - 1
        inner = mosaic[..., border:-border, border:-border]
        return self.fullres_processor(torch.cat([inner, residual], dim=1))


def red_site(mosaic: Float[Tensor, "B 3 h w"]) -> tuple[int, int]:
    """Return row and column of red in the mosaic's 2 x 2 tile: where red and, diagonally, blue hold most light."""
    light = {
        (row, column): float(mosaic[:, 0, row::2, column::2].sum() + mosaic[:, 2, 1 - row :: 2, 1 - column :: 2].sum())
        for row in (0, 1)
        for column in (0, 1)
    }
    return max(light, key=lambda site: light[site])


def _mirrored(side: int, before: int) -> Int64[Tensor, " padded"]:
    """Return the pixels of an axis with `before` mirrored ones in front, and the others behind."""
    position = torch.arange(-before, padded_side(side) - before).remainder(2 * (side - 1))
    return torch.minimum(position, 2 * (side - 1) - position)
