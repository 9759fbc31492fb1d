"""What torch compiles into one kernel: the scores' modifications and their mask."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

MAX_SHAPES = 256
"""Shapes compiled in one process; torch's own limit is 8, after which it raises."""


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    boolean: Tensor | None,
    blocks: tuple[Tensor, Tensor] | None,
    table: Tensor | None,
    window: int,
    scale: float,
) -> Tensor:
    """Attend to the kept keys. `blocks` are the counts and the indices of one block that covers all pairs."""
    tokens = q.shape[2]

    def kept(w: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return boolean[w, i, j]

    def biased(score: Tensor, w: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        # As `Bias.index`, computed: a load of it would take 8 bytes a pair.
        dy = i // window - j // window + window - 1
        dx = i % window - j % window + window - 1
        return score + table[dy * (2 * window - 1) + dx, h]

    mask = None
    if boolean is not None:
        mask = BlockMask.from_kv_blocks(
            *blocks,
            BLOCK_SIZE=-(-tokens // 128) * 128,
            mask_mod=kept,
            seq_lengths=(tokens, tokens),
        )
    return flex_attention(q, k, v, score_mod=None if table is None else biased, block_mask=mask, scale=scale)


@cache
def compiled() -> Callable[..., Tensor]:
    """Return `attention`, to be compiled at the first call of each shape and used again for every dictionary.

    Tests of the arithmetic alone replace this by `attention` itself, which torch computes without a fused kernel.
    """
    return torch.compile(attention, dynamic=False, fullgraph=True)
