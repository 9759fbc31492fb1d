"""demosaicnet (Gharbi et al., SIGGRAPH Asia 2016): joint demosaicking with the authors' weights for Bayer mosaics."""

from semanir.model import Model, Request

DEPTH = 15
"""Convolutions at half the resolution."""
WIDTH = 64
MARGIN = 2 * DEPTH + 1
"""Pixels that the unpadded convolutions take from each border: two for each at half the resolution, one at full."""


def _unsupported(request: Request) -> str | None:
    if request.holds != "mosaic":
        return "demosaicnet reads a Bayer mosaic; ask for demosaic with interpolation=none"
    return None


def convolutions() -> tuple[tuple[int, int], ...]:
    """Return channels in and out of every 3 x 3 convolution at half the resolution; the last makes two groups."""
    return ((4, WIDTH), *[(WIDTH, WIDTH)] * (DEPTH - 2), (WIDTH, 2 * WIDTH))


def padded_side(side: int) -> int:
    """Return the even side that a mosaic is mirrored to: the margin twice, and room for a shift of its phase."""
    return side + side % 2 + 2 * MARGIN + 2


def _flops(request: Request) -> dict[str, int]:
    height, width = (padded_side(side) // 2 for side in (request.height, request.width))
    total = 2 * 3 * 4 * 4 * height * width  # packing
    for inputs, outputs in convolutions():
        height, width = height - 2, width - 2
        total += 2 * 9 * inputs * outputs * height * width
    total += 2 * WIDTH * 12 * height * width  # residual
    total += 2 * 12 * 4 * height * width  # its enlargement
    height, width = 2 * height - 2, 2 * width - 2
    total += 2 * (9 * 6 * WIDTH + WIDTH * 3) * height * width
    return {"convolutions": request.batch * total}


def _parameters(request: Request) -> int:
    half = sum(9 * inputs * outputs + outputs for inputs, outputs in convolutions())
    ends = (4 * 3 * 4 + 4) + (12 * WIDTH + 12) + (12 * 4 + 3) + (9 * 6 * WIDTH + WIDTH) + (WIDTH * 3 + 3)
    return half + ends


MODEL = Model(
    summary="demosaicnet (SIGGRAPH Asia 2016): 15 convolutions on packed Bayer mosaics of any phase",
    module="semanir.models.demosaicnet.network",
    configurations=("",),
    uses=frozenset({"weights"}),
    unsupported=_unsupported,
    problems=lambda request: (),
    flops=_flops,
    parameters=_parameters,
    formats=(".pth",),
)
