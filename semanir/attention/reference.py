"""The definition of key-semantic attention: float64, one query at a time. Slow on purpose; never a contender."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from semanir.attention.dictionary import KeyDictionary
from semanir.attention.signature import SOFTMAX, Bias, Scale, Weighting


def attend(
    q: Float[Tensor, "W H N D"],
    k: Float[Tensor, "W H N D"],
    v: Float[Tensor, "W H N D"],
    kept: KeyDictionary | None,
    *,
    bias: Bias | None = None,
    scale: Scale = 1.0,
    weighting: Weighting = SOFTMAX,
) -> Float64[Tensor, "W H N D"]:
    """Follow `semanir.attention.signature.Attend` in float64; differentiable, so gradients are defined as well.

    Reads the dictionary's `boolean` form.
    """
    windows, heads, tokens, _ = q.shape
    everything = torch.ones(windows, tokens, tokens, dtype=torch.bool, device=q.device)
    pairs_WNN = everything if kept is None else kept.form("boolean")
    scales_H = torch.as_tensor(scale, dtype=torch.float64, device=q.device).expand(heads)
    bias_HNN = None if bias is None else bias.dense().double()
    return torch.stack(
        [
            torch.stack(
                [
                    _one_head(
                        q[w, h].double(),
                        k[w, h].double(),
                        v[w, h].double(),
                        pairs_WNN[w],
                        None if bias_HNN is None else bias_HNN[h],
                        scales_H[h],
                        weighting,
                    )
                    for h in range(heads)
                ]
            )
            for w in range(windows)
        ]
    )


def _one_head(
    q: Float64[Tensor, "N D"],
    k: Float64[Tensor, "N D"],
    v: Float64[Tensor, "N D"],
    pairs: Bool[Tensor, "N N"],
    bias: Float64[Tensor, "N N"] | None,
    scale: Float64[Tensor, ""],
    weighting: Weighting,
) -> Float64[Tensor, "N D"]:
    rows = []
    for i in range(q.shape[0]):
        j = pairs[i].nonzero()[:, 0]
        s = scale * (k[j] @ q[i])
        if bias is not None:
            s = s + bias[i, j]
        a = weighting.softmax * torch.softmax(s, dim=0)
        if weighting.relu_squared is not None:
            a = a + weighting.relu_squared * torch.relu(s) ** 2
        rows.append(a @ v[j])
    return torch.stack(rows)
