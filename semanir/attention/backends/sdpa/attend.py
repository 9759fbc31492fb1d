"""Attention by torch's fused kernels; a position bias is added to the mask a chunk of windows at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend

from semanir.attention.backends.sdpa import MASK_ELEMENTS
from semanir.attention.checks import check
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.problem import Problem
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
    check(q, k, v, kept, bias, scale, weighting)
    if weighting.relu_squared is not None:
        raise ValueError("weighting: torch's fused attention knows the softmax alone; use 'mask' or 'gather'")
    if isinstance(scale, Tensor):
        q, scale = q * per_head(scale, q), 1.0
    mask_W1NN = None if kept is None else kept.form("additive").to(q.dtype)
    if bias is None:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_W1NN, scale=scale)
    bias_HNN = _dense(bias, q.dtype)
    if mask_W1NN is None:  # a mask of three axes would get the unfused kernel
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias_HNN.unsqueeze(0), scale=scale)

    learning = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v, bias_HNN))
    windows = max(1, q.shape[0])  # an empty batch is one empty chunk
    chunk = max(1, min(MASK_ELEMENTS[q.device.type] // bias_HNN.numel(), windows))
    # One buffer for all chunks: fresh pages would cost as much as the sum. A gradient needs each sum, though.
    sums_CHNN = None if learning else q.new_empty(chunk, *bias_HNN.shape)
    outs = []
    for part in (slice(w, w + chunk) for w in range(0, windows, chunk)):
        mask_c1NN = mask_W1NN[part]
        buffer = None if sums_CHNN is None else sums_CHNN[: mask_c1NN.shape[0]]
        mask = torch.add(mask_c1NN, bias_HNN, out=buffer)
        outs.append(functional.scaled_dot_product_attention(q[part], k[part], v[part], attn_mask=mask, scale=scale))
    return torch.cat(outs)


def kernel(problem: Problem) -> str:
    """Return which kernel torch takes for such a call on this machine: flash, efficient, cudnn or math.

    Asked of what `scaled_dot_product_attention` itself asks, about one window. `math` is unfused: it writes all
    scores to memory.
    """
    pairs = problem.tokens, problem.tokens
    masked = problem.has_bias or problem.kept_pairs < problem.windows * problem.tokens**2

    def like(*shape: int, learned: bool) -> Tensor:
        dtype = getattr(torch, problem.dtype)
        return torch.empty(1, *shape, dtype=dtype, device=problem.device, requires_grad=learned)

    q, k, v = (like(problem.heads, problem.tokens, problem.head_dim, learned=problem.needs_grad) for _ in range(3))
    heads, learned = (problem.heads, problem.needs_grad) if problem.has_bias else (1, False)
    mask = like(heads, *pairs, learned=learned) if masked else None
    with torch.set_grad_enabled(problem.needs_grad):
        choice = torch._fused_sdp_choice(q, k, v, mask, 0.0, False, scale=1.0)
    return SDPBackend(choice).name.partition("_")[0].lower()


def _dense(bias: Bias, dtype: torch.dtype) -> Float[Tensor, "H N N"]:
    """Look up every pair, head by head: contiguous, and on a CPU three times as fast as `Bias.dense`."""
    tokens = bias.index.shape[0]
    return bias.table.to(dtype).mT.contiguous().index_select(1, bias.index.flatten()).view(-1, tokens, tokens)
