"""Attention by copying every query's kept keys and values beside each other."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from semanir.attention.checks import check
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
    """Follow `semanir.attention.signature.Attend`."""
    check(q, k, v, kept, bias, scale, weighting)
    windows, _, tokens, _ = q.shape
    if kept is None:
        indices_WNK = torch.arange(tokens, device=q.device).expand(windows, tokens, tokens)
        padding_WNK = None
    else:
        indices_WNK = kept.form("indices").long()
        top_k = indices_WNK.shape[-1]
        padding_WNK = torch.arange(top_k, device=q.device) >= kept.counts[..., None]
    keys_WHNKD = _per_query(k, indices_WNK)
    values_WHNKD = _per_query(v, indices_WNK)

    scores_WHNK = ((q * per_head(scale, q)).unsqueeze(-2) @ keys_WHNKD.mT).squeeze(-2)
    if bias is not None:
        offsets_WNK = bias.index.expand(windows, tokens, tokens).gather(-1, indices_WNK)
        scores_WHNK = scores_WHNK + bias.table[offsets_WNK].permute(0, 3, 1, 2).to(scores_WHNK.dtype)
    if padding_WNK is not None:
        scores_WHNK = scores_WHNK.masked_fill(padding_WNK.unsqueeze(1), float("-inf"))
    weights_WHNK = scores_WHNK.softmax(-1)
    if weighting.relu_squared is not None:
        squares_WHNK = torch.relu(scores_WHNK) ** 2
        weights_WHNK = weighting.softmax * weights_WHNK + weighting.relu_squared * squares_WHNK
    return (weights_WHNK.to(v.dtype).unsqueeze(-2) @ values_WHNKD).squeeze(-2)


def _per_query(features: Float[Tensor, "W H N D"], indices: Int[Tensor, "W N K"]) -> Float[Tensor, "W H N K D"]:
    windows, heads, _, head_dim = features.shape
    flat = indices.flatten(1)[:, None, :, None].expand(windows, heads, -1, head_dim)
    return features.gather(2, flat).unflatten(2, indices.shape[1:])
