"""The packings of a dictionary: one set of kept pairs, in the form that each way to attend reads fastest.

Shapes: W windows, N tokens in a window, K keys asked for.

**Bits.** A row's keys lie in blocks of `BLOCK` = 128, a block in 4 words of 32 bits: bit `2 c + e` of word `t`
stands for key `8 c + 2 t + e` of the block. This is the order in which the four neighbouring threads of a tensor
core's fragment hold the columns of a row (PTX ISA, accumulators of `mma` and `wgmma`), so each of them needs one word
of the four and no shuffle. Keys past N have zero bits.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int32, Integer
from torch import Tensor
from torch.nn import functional

BLOCK = 128
"""Keys of one block of bits."""


def words(tokens: int | torch.SymInt) -> int | torch.SymInt:
    """Words of 32 bits that one row of bits takes: four for every block begun. Symbolic while torch traces."""
    return 4 * -(-tokens // BLOCK)


def additive(kept: Bool[Tensor, "W N N"], dtype: torch.dtype) -> Float[Tensor, "W 1 N N"]:
    """Return 0 where kept and -inf elsewhere, ready to be added to the scores of all heads."""
    zeros = torch.zeros(kept.shape, dtype=dtype, device=kept.device)
    return zeros.masked_fill_(~kept, float("-inf")).unsqueeze(1)


def indices(kept: Bool[Tensor, "W N N"], top_k: int) -> Integer[Tensor, "W N K"]:
    """Return each row's keys in ascending order, int16 up to 32,768 tokens; rows with fewer than K end in zeros."""
    windows, tokens, _ = kept.shape
    narrow = torch.int16 if tokens <= 2**15 else torch.int32
    # Each kept pair goes to the place that its rank in the row names; rows with fewer than K leave zeros behind.
    place = kept.cumsum(-1, dtype=torch.int32) - 1
    w, i, j = kept.nonzero(as_tuple=True)
    listed = torch.zeros(windows, tokens, top_k, dtype=narrow, device=kept.device)
    listed[w, i, place[w, i, j]] = j.to(narrow)
    return listed


def listed(indices: Integer[Tensor, "W N K"], valid: Bool[Tensor, "W N K"], tokens: int) -> Bool[Tensor, "W N N"]:
    """Undo `indices`; entries that are not valid are padding."""
    windows, rows, _ = indices.shape
    counts = torch.zeros(windows, rows, tokens, dtype=torch.int32, device=indices.device)
    return counts.scatter_add_(-1, indices.long(), valid.to(torch.int32)) == 1


def bits(kept: Bool[Tensor, "W N M"]) -> Int32[Tensor, "W N words"]:
    """Pack the last axis. The transposed set, `bits(kept.mT)`, is what the gradients of keys and values read."""
    blocks = functional.pad(kept, (0, -kept.shape[-1] % BLOCK)).unflatten(-1, (-1, 16, 4, 2))
    bit = torch.arange(32, dtype=torch.int32, device=kept.device)
    # Distinct powers of two add up to their union; the 32nd is int32's sign bit.
    values = blocks.transpose(-3, -2).flatten(-2).to(torch.int32) << bit
    return values.sum(-1, dtype=torch.int32).flatten(-2)


def boolean(packed: Int32[Tensor, "W N words"], tokens: int) -> Bool[Tensor, "W N M"]:
    """Undo `bits` for rows of `tokens` keys."""
    bit = torch.arange(32, dtype=torch.int32, device=packed.device)
    ones = (packed.unsqueeze(-1) >> bit & 1).bool()
    blocks = ones.unflatten(-2, (-1, 4)).unflatten(-1, (16, 2)).transpose(-3, -2)
    return blocks.flatten(-4)[..., :tokens]
