"""Which tokens of a shifted window may see each other, and how many pairs a dictionary keeps, without torch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import UInt8


@lru_cache(maxsize=256)
def region_ids(height: int, width: int, window: int, shift: int) -> UInt8[np.ndarray, "windows tokens"]:
    """Number the regions of a map that was rolled by `-shift` in both axes before it was cut into windows.

    Tokens of one window with different numbers come from opposite borders of the map and must not see each
    other (the region mask of Swin). Windows are in raster order; `height` and `width` are multiples of
    `window`. With `shift = 0` everything is region 0.
    """
    if height % window or width % window:
        raise ValueError(f"a {height}x{width} map cannot be cut into {window}x{window} windows; pad it first")
    ids = np.zeros((height, width), dtype=np.uint8)
    if shift:
        cuts = slice(0, -window), slice(-window, -shift), slice(-shift, None)
        for row, rows in enumerate(cuts):
            for column, columns in enumerate(cuts):
                ids[rows, columns] = 3 * row + column
    grid = ids.reshape(height // window, window, width // window, window)
    regions = grid.transpose(0, 2, 1, 3).reshape(-1, window * window)
    regions.flags.writeable = False
    return regions


@lru_cache(maxsize=4096)
def kept_pairs(height: int, width: int, window: int, shift: int, top_k: int, exclude_self: bool = False) -> int:
    """Count the query-key pairs that one head keeps over a whole map: every row keeps `min(k, admissible)`."""
    if height % window or width % window:
        raise ValueError(f"a {height}x{width} map cannot be cut into {window}x{window} windows; pad it first")
    # Only the last row and column of windows are split by the shift, each into the same two strips.
    whole, split = (window,), (window - shift, shift) if shift else (window,)
    rows, columns = height // window - 1, width // window - 1
    kinds = [(whole, whole, rows * columns), (whole, split, rows), (split, whole, columns), (split, split, 1)]
    total = 0
    for tall, wide, windows in kinds:
        for tokens in (high * broad for high in tall for broad in wide):
            total += windows * tokens * min(max(tokens - exclude_self, 1), top_k)
    return total
