"""What is counted of unions and what its numbers are called, for who writes them and who reads them. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

Order = Literal["rows", "patches"]
"""How the tokens of a window are numbered before they are cut into tiles and blocks. `rows`: row by row, as our
kernels read them. `patches`: by Morton's curve, so that 64 tokens are a patch of 8 x 8 and 128 one of 8 x 16."""
Access = Literal["list", "blocks"]
"""How keys are visited. `list`: those that a query of the tile keeps are gathered, as many at a time as `keys` says.
`blocks`: blocks of `keys` consecutive keys are visited whole, and skipped where no query keeps a key of them."""
Statistic = Literal["mean", "q10", "q90"]
"""Over the windows of an image, each window being the mean of its tiles."""

QUERIES = (16, 32, 64, 128)
"""Queries of a tile: 16 are the least that tensor cores take; our forward takes 64 and one kernel of the gradients
128. The whole window is counted as well: one list for all of its tiles."""
ACCESSES: tuple[tuple[Access, int], ...] = (
    ("list", 1),
    ("list", 32),
    ("list", 128),
    ("blocks", 16),
    ("blocks", 32),
    ("blocks", 64),
    ("blocks", 128),
)
"""Our forward holds 32 keys at a time in single precision and 128 in half; a list of 1 is the bound of all lists."""

SHIFTED = "-shifted"
"""Ends the source of a dictionary whose windows are shifted."""
LOCAL = "local"
"""The rule that keeps the k nearest keys in space, ties to the lowest index; counted as the dictionaries are."""
RANDOM = "random"
"""k keys drawn for each query alone: the expectation. It has no lists of several keys at a time."""
TOKENS = "unions.tokens"
"""The measurement that holds N."""


@dataclass(frozen=True)
class Name:
    """The name of a measurement, as in `unions.2-shifted.rows.64.list.32.mean`."""

    source: str
    """Number of the dictionary in the order of use, with `SHIFTED` where its windows are; or `LOCAL` or `RANDOM`."""
    order: Order
    queries: int
    access: Access
    keys: int
    statistic: Statistic = "mean"

    def __str__(self) -> str:
        return f"unions.{self.source}.{self.order}.{self.queries}.{self.access}.{self.keys}.{self.statistic}"


def parse(text: str) -> Name | None:
    """Undo `str(name)`; None for another measurement."""
    head, *rest = text.split(".")
    if head != "unions" or len(rest) != 6:
        return None
    source, order, queries, access, keys, statistic = rest
    known = order in get_args(Order) and access in get_args(Access) and statistic in get_args(Statistic)
    if not (known and queries.isdecimal() and keys.isdecimal()):
        return None
    return Name(source, order, int(queries), access, int(keys), statistic)  # type: ignore[arg-type]


def tiles_of(tokens: int) -> tuple[int, ...]:
    """Return the queries of the tiles that are counted in a window of N tokens, the whole window last."""
    return (*(queries for queries in QUERIES if queries < tokens), tokens)


def random_share(tokens: int, top_k: int, *, queries: int, keys: int) -> float:
    """Return which share of the blocks of `keys` keys a tile of `queries` queries is expected to visit.

    Every query keeps `top_k` of N = `tokens` keys, drawn alike and alone: a query leaves a block of b keys alone with
    probability C(N - b, k) / C(N, k), which for single keys is 1 - k/N. Tiles and blocks at the end may be shorter.
    """
    shares = [
        1 - (math.comb(tokens - block, top_k) / math.comb(tokens, top_k)) ** tile
        for tile, block in product(_cut(tokens, queries), _cut(tokens, keys))
    ]
    return math.fsum(shares) / len(shares)


def _cut(length: int, piece: int) -> list[int]:
    return [min(piece, length - begin) for begin in range(0, length, piece)]
