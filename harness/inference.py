"""How a network is applied to an image: whole, in overlapping tiles, averaged over flips and rotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from harness import tiles
from harness.record import Cell

# B images   c channels   h w input pixels   H W output pixels (scale * h, scale * w)

Restore = Callable[[Tensor], Tensor]
"""`B C h w` -> `B c H W`: a network, or one that is applied in one of the ways of this module."""


def restorer(network: Restore, cell: Cell, *, scale: int) -> Restore:
    """Return a network applied as its cell asks: `tile`, then `ensemble` around it."""
    restore = network
    if cell.tile is not None:
        grid, overlap = tiles.grid_of(cell.window), tiles.overlap_of(cell.tile)
        restore = partial(restore_tiled, restore, tile=cell.tile, overlap=overlap, scale=scale, multiple=grid)
    if cell.ensemble == "x8":
        restore = partial(restore_ensemble, restore)
    return restore


def restore_tiled(
    network: Restore,
    image: Float[Tensor, "B C h w"],
    *,
    tile: int,
    overlap: int,
    scale: int = 1,
    multiple: int = 1,
) -> Float[Tensor, "B c H W"]:
    """Restore square tiles of `tile` input pixels one at a time and blend them where they overlap.

    What two tiles share is at least `overlap` pixels wide. The quarter next to a tile's end is not taken from that
    tile, and the half between changes linearly from one tile to the other. So an operator that reaches at most
    `overlap // 4` input pixels, and does the same everywhere, gives exactly what it gives on the whole image.
    Tiles begin at multiples of `multiple`, so that what a network does in step with its grid (windows, folded
    pixels, a mosaic's phase) stays in step. An image that fits into a tile is passed whole. At any time there are,
    beside the input, one tile, one row of tiles and the output.

    Raises `ValueError` for an overlap under 16, a tile under twice its overlap, no room for a step of `multiple`,
    and a network that does not answer at `scale`.
    """
    if (reason := tiles.unsupported(tile, overlap, multiple)) is not None:
        raise ValueError(reason)
    height, width = image.shape[-2:]
    rows, columns = (tiles.spans(side, tile, overlap, multiple) for side in (height, width))

    def restored(top: int, bottom: int, left: int, right: int) -> Tensor:
        piece = network(image[..., top:bottom, left:right])
        expected = (scale * (bottom - top), scale * (right - left))
        if tuple(piece.shape[-2:]) != expected:
            found = "x".join(map(str, piece.shape[-2:]))
            raise ValueError(
                f"a tile of {bottom - top}x{right - left} pixels came back as {found}; scale {scale} makes it "
                f"{expected[0]}x{expected[1]}"
            )
        return piece

    def row(top: int, bottom: int) -> Tensor:
        pieces = ((scale * left, restored(top, bottom, left, right)) for left, right in columns)
        return _joined(pieces, scale * width, axis=-1)

    return _joined(((scale * top, row(top, bottom)) for top, bottom in rows), scale * height, axis=-2)


def restore_ensemble(network: Restore, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B c H W"]:
    """Return the mean over the eight flips and rotations of the input, each turned back (Timofte et al. 2016, `x8`).

    The sum is kept in float64. A Bayer mosaic changes its phase when it is turned: its network has to find it.
    """
    total: Tensor | None = None
    for mirrored in (False, True):
        for quarters in range(4):
            seen = torch.rot90(image.flip(-1) if mirrored else image, quarters, (-2, -1))
            restored = network(seen.contiguous())
            back = torch.rot90(restored, -quarters, (-2, -1)).to(torch.float64)
            back = back.flip(-1) if mirrored else back
            total = back if total is None else total + back
    assert total is not None
    return (total / 8).to(restored.dtype)


def _joined(pieces: Iterator[tuple[int, Tensor]], length: int, *, axis: int) -> Tensor:
    """Put pieces side by side, each given with its place along the axis, and blend what they share with those before.

    Equal values stay as they are, to the last bit, which a weighted sum would not grant.
    """
    _, first = next(pieces)
    if first.shape[axis] == length:
        return first
    shape = list(first.shape)
    shape[axis] = length
    joined = first.new_empty(shape)
    end = first.shape[axis]
    joined.narrow(axis, 0, end).copy_(first)
    for begin, piece in pieces:
        shared = end - begin
        guard = shared // 4
        ramp = shared - 2 * guard
        weight = (torch.arange(ramp, device=piece.device, dtype=piece.dtype) + 0.5) / ramp
        blended = joined.narrow(axis, begin + guard, ramp)
        blended.lerp_(piece.narrow(axis, guard, ramp), weight if axis == -1 else weight[:, None])
        fresh = piece.shape[axis] - (guard + ramp)
        joined.narrow(axis, begin + guard + ramp, fresh).copy_(piece.narrow(axis, guard + ramp, fresh))
        end = begin + piece.shape[axis]
    return joined
