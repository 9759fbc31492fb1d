"""What one program of each kernel computes at a time, and what that costs; without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from semanir.attention.problem import UNION_TILE

Kernel = Literal[
    "forward",
    "forward_listed",
    "row_sums",
    "gradient_of_queries",
    "gradient_of_keys",
    "gradient_of_scores_over_windows",
]


@dataclass(frozen=True)
class Tile:
    """Queries and keys that one program holds at a time, and its warps."""

    queries: int
    keys: int
    warps: int = 4
    stages: int = 2


HALF: dict[Kernel, Tile] = {
    "forward": Tile(64, 128),
    "forward_listed": Tile(UNION_TILE, 128),
    "row_sums": Tile(64, 64),
    "gradient_of_queries": Tile(64, 64),
    "gradient_of_keys": Tile(64, 64),
    "gradient_of_scores_over_windows": Tile(128, 64, warps=8),
}
SINGLE: dict[Kernel, Tile] = {
    "forward": Tile(64, 32),
    "forward_listed": Tile(UNION_TILE, 32),
    "row_sums": Tile(64, 32),
    "gradient_of_queries": Tile(64, 32),
    "gradient_of_keys": Tile(32, 64),
    "gradient_of_scores_over_windows": Tile(64, 32),
}
WIDE: dict[Kernel, Tile] = {
    "forward": Tile(64, 64),
    "forward_listed": Tile(UNION_TILE, 64),
    "row_sums": Tile(64, 32),
    "gradient_of_queries": Tile(64, 32),
    "gradient_of_keys": Tile(64, 32),
    "gradient_of_scores_over_windows": Tile(64, 32),
}
"""By size of number, and for heads of more than 64 in half precision: chosen by static cost, so that no inner loop
spills on sm_80 and sm_90. No GPU has timed them. A listed tile has the queries that share a list."""

PRODUCTS: dict[Kernel, int] = {
    "forward": 2,
    "forward_listed": 2,
    "row_sums": 2,
    "gradient_of_queries": 3,
    "gradient_of_keys": 4,
    "gradient_of_scores_over_windows": 2,
}
"""Matrix products over all pairs in each kernel; the sparse weighting adds one to the forward."""


MAX_HEAD_DIM = {2: 128, 4: 64}
"""Widest head by bytes of a number."""


def tile(kernel: Kernel, tokens: int, head_dim: int, item_bytes: int) -> Tile:
    """Return the tile of a kernel for windows of `tokens`: sides are powers of two from 16 on."""
    table = SINGLE if item_bytes == 4 else HALF if head_dim <= 64 else WIDE
    chosen = table[kernel]
    if kernel == "forward_listed":
        return chosen
    most = max(16, 1 << (tokens - 1).bit_length())
    if max(chosen.queries, chosen.keys) <= most:
        return chosen
    return Tile(min(chosen.queries, most), min(chosen.keys, most))


def padded_head_dim(head_dim: int) -> int:
    """Return the width that a tile gives a head; tensor cores want a power of two of at least 16."""
    return max(16, 1 << (head_dim - 1).bit_length())


def copies_rows(head_dim: int) -> bool:
    """Tell whether rows are copied with padding first: only strides of 16 numbers let a GPU load 16 bytes at a time."""
    return head_dim % 16 != 0


def spent(
    kernels: tuple[Kernel, ...], *, windows: int, heads: int, tokens: int, head_dim: int, item_bytes: int, sparse: bool
) -> int:
    """Count the floating-point operations of some kernels: whole tiles are computed, dropped pairs included."""
    total = 0
    for kernel in kernels:
        chosen = tile(kernel, tokens, head_dim, item_bytes)
        pairs = _up(tokens, chosen.queries) * _up(tokens, chosen.keys)
        products = PRODUCTS[kernel] + (sparse and kernel.startswith("forward"))
        total += 2 * products * pairs * windows * heads * padded_head_dim(head_dim)
    return total


def spent_on_lists(counts: Iterable[int], *, heads: int, head_dim: int, item_bytes: int, sparse: bool) -> int:
    """Count the floating-point operations of a forward over union lists, one count of keys for each tile."""
    chosen = tile("forward_listed", UNION_TILE, head_dim, item_bytes)
    pairs = sum(chosen.queries * _up(count, chosen.keys) for count in counts)
    return 2 * (PRODUCTS["forward_listed"] + sparse) * pairs * heads * padded_head_dim(head_dim)


def table_span(window: int, tokens: int, chosen: Tile) -> int:
    """Return how many entries of the bias table a tile reads, rounded up to a power of two."""
    heights = (min(_rows_touched(side, window), tokens // window) for side in (chosen.queries, chosen.keys))
    entries = min(sum(heights) - 1, 2 * window - 1) * (2 * window - 1)
    return 1 << (entries - 1).bit_length()


def _rows_touched(side: int, window: int) -> int:
    """Rows of the window that `side` tokens reach, wherever a tile starts."""
    return side // window if side % window == 0 else (side - 1) // window + 2


def _up(tokens: int, side: int) -> int:
    return math.ceil(tokens / side) * side
