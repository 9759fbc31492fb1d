"""Union lists: for each tile of queries the keys that at least one of them keeps, so that a kernel visits no others.

Neighbouring queries keep many keys in common. How many is a matter of the features, of k and of the window:
`experiments/unions` measures the share of a window's keys that a tile visits. Shapes: W windows, N tokens in a window,
T tiles of queries, L places in a list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int16, Int32, Int64
from torch import Tensor
from torch.nn import functional

from semanir.attention import packing
from semanir.attention.problem import PATCH, SCORE_ELEMENTS, UNION_TILE


@dataclass(frozen=True)
class KeyUnion:
    """The lists of all tiles, and which of its tile's list each query keeps. Places from `counts` on are padding."""

    keys: Int16[Tensor, "W T L"]
    """Ascending; zeros from `counts` on. L is N rounded up to whole blocks of bits."""
    counts: Int32[Tensor, "W T"]
    """Keys that each tile visits."""
    bits: Int32[Tensor, "W N words"]
    """One bit for each place of the list of a query's tile, packed as `semanir.attention.packing` packs keys."""

    def boolean(self) -> Bool[Tensor, "W N N"]:
        """Return the pairs that are kept, as the dictionary knows them."""
        windows, tokens, _ = self.bits.shape
        places = self.keys.shape[-1]
        of_tile = tile_of_tokens(tokens, self.bits.device)
        kept = packing.boolean(self.bits, places)
        keys = self.keys[:, of_tile].long()
        # Padding names key 0 and keeps nothing: sums leave it out, whatever comes first.
        return (
            torch.zeros(windows, tokens, tokens, dtype=torch.int32, device=kept.device).scatter_add_(
                -1, keys, kept.to(torch.int32)
            )
            == 1
        )


def patched_side(tokens: int) -> int:
    """Return the side of a window whose tiles are patches of 8 x 8; 0 where they are runs of 64 tokens in rows."""
    side = math.isqrt(tokens)
    return side if side * side == tokens and side % PATCH == 0 else 0


def order(tokens: int, device: torch.device) -> Int64[Tensor, " N"]:
    """Return the tokens tile by tile."""
    numbers = torch.arange(tokens, device=device)
    across = patched_side(tokens) // PATCH
    if not across:
        return numbers
    return numbers.view(across, PATCH, across, PATCH).transpose(1, 2).flatten()


def tile_of_tokens(tokens: int, device: torch.device) -> Int64[Tensor, " N"]:
    """Return the number of the tile that each token is a query of."""
    places = torch.empty(tokens, dtype=torch.int64, device=device)
    places[order(tokens, device)] = torch.arange(tokens, device=device)
    return places // UNION_TILE


def find(bits: Int32[Tensor, "W N words"], tokens: int) -> KeyUnion:
    """Find the lists of a dictionary by torch; the windows go through in parts, as they do when it is built."""
    at_once = max(1, SCORE_ELEMENTS // tokens**2)
    parts = [_find(packing.boolean(part, tokens)) for part in bits.split(at_once)]
    return KeyUnion(
        torch.cat([part.keys for part in parts]),
        torch.cat([part.counts for part in parts]),
        torch.cat([part.bits for part in parts]),
    )


def _find(kept: Bool[Tensor, "W N N"]) -> KeyUnion:
    _, tokens, _ = kept.shape
    ordered = order(tokens, kept.device)
    tiles = functional.pad(kept[:, ordered], (0, 0, 0, -tokens % UNION_TILE)).unflatten(1, (-1, UNION_TILE))
    visited = tiles.any(2)
    counts = visited.sum(-1, dtype=torch.int32)
    keys = visited.int().argsort(dim=-1, descending=True, stable=True)
    listed = torch.arange(tokens, device=kept.device) < counts[..., None]
    keys = keys.masked_fill(~listed, 0)
    of_rows = tiles.gather(-1, keys[:, :, None].expand(-1, -1, UNION_TILE, -1)) & listed[:, :, None]
    back = torch.empty_like(ordered)
    back[ordered] = torch.arange(tokens, device=kept.device)
    return KeyUnion(
        keys=functional.pad(keys, (0, -tokens % packing.BLOCK)).to(torch.int16),
        counts=counts,
        bits=packing.bits(of_rows.flatten(1, 2)[:, back]),
    )
