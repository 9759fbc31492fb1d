"""Where the overlapping tiles of an image lie, for whoever restores them and whoever forecasts what that takes."""

from __future__ import annotations

OVERLAP_SHARE = 4
"""Neighbouring tiles share this part of their side: a quarter."""
LEAST_OVERLAP = 16
"""Input pixels that they share at least, so a tile has at least twice as many."""
GRID = 16
"""Input pixels: tiles begin at multiples where a cell names no window. Windows of 8 tokens, of one or two pixels
each, folded pixels and the phase of a mosaic then lie in a tile as they lie in the whole image."""


def overlap_of(tile: int) -> int:
    """Return the input pixels that neighbouring tiles of this side share at least: a quarter, and 16 or more."""
    return max(LEAST_OVERLAP, tile // OVERLAP_SHARE)


def grid_of(window: int | None) -> int:
    """Return what tiles begin at multiples of: a token is one pixel or two, and twice the window holds both whole."""
    return 2 * window if window else GRID


def unsupported(tile: int, overlap: int, multiple: int) -> str | None:
    """Return why tiles of this side cannot overlap so and begin at these multiples, with the remedy, or None."""
    if overlap < LEAST_OVERLAP:
        return f"tiles overlap by {overlap} pixels; seams need at least {LEAST_OVERLAP} to disappear"
    if tile < 2 * overlap:
        return f"a tile of {tile} pixels is under twice its overlap of {overlap}; take at least {2 * overlap}"
    if tile - overlap < multiple:
        least = overlap + multiple
        return (
            f"tiles of {tile} pixels that overlap by {overlap} cannot begin at multiples of {multiple}; "
            f"take at least {least}"
        )
    return None


def spans(side: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """Return begin and end of tiles that cover an axis, spread evenly; the last one may end early, at the border."""
    if side <= tile:
        return [(0, side)]
    last = -(-(side - tile) // multiple)  # in steps of `multiple`, as all below
    longest_step = (tile - overlap) // multiple
    intervals = -(-last // longest_step)
    begins = [multiple * (index * last // intervals) for index in range(intervals + 1)]
    return [(begin, min(begin + tile, side)) for begin in begins]
