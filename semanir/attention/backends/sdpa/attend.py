"""Attention by torch's fused kernels; a position bias is added to the mask a chunk of windows at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from semanir.attention.backends.sdpa import MASK_ELEMENTS
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.signature import SOFTMAX, Bias, Scale, Weighting, per_head


def attend(
    q: Float[Tensor, "W H N D"],
    k: Float[Tensor, "W H N D"],
    v: Float[Tensor, "W H N D"],
    kept: KeyDictionary | None,
    *,
    bias: Bias | None = None,
    scale: Scale = 1.0,
    weighting: Weighting = SOFTMAX,
) -> Float[Tensor, "W H N D"]:
    """Follow `semanir.attention.signature.Attend`. Raises `ValueError` for a weighting other than the softmax."""
    if weighting.relu_squared is not None:
        raise ValueError("weighting: torch's fused attention knows the softmax alone; use 'mask' or 'gather'")
    mask_W1NN = None if kept is None else kept.form("additive").to(q.dtype)
    q = q * per_head(scale, q)
    if bias is None:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_W1NN, scale=1.0)
    bias_HNN = bias.dense().to(q.dtype)
    chunk = max(1, MASK_ELEMENTS // bias_HNN.numel())
    # A mask per window *and* head is as large as the score matrix: it never exists for all windows at once.
    return torch.cat(
        [
            functional.scaled_dot_product_attention(
                q[w : w + chunk],
                k[w : w + chunk],
                v[w : w + chunk],
                attn_mask=bias_HNN if mask_W1NN is None else mask_W1NN[w : w + chunk] + bias_HNN,
                scale=1.0,
            )
            for w in range(0, q.shape[0], chunk)
        ]
    )
