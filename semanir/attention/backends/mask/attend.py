"""Attention by the whole score matrix, masked before the softmax."""

from __future__ import annotations

import torch
from jaxtyping import Float
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
    scores_WHNN = (q * per_head(scale, q)) @ k.mT
    # In place, and the mask as a sum: a gradient passes a sum untouched, and dropped pairs have none anyway.
    if bias is not None:
        scores_WHNN += bias.dense()
    if kept is not None:
        scores_WHNN += kept.form("additive")
    weights_WHNN = scores_WHNN.softmax(-1)
    if weighting.relu_squared is not None:
        squares_WHNN = torch.relu(scores_WHNN) ** 2
        weights_WHNN = weighting.softmax * weights_WHNN + weighting.relu_squared * squares_WHNN
    return weights_WHNN.to(v.dtype) @ v
