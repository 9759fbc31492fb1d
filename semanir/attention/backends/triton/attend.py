"""Launches the Triton kernels: checks, strides and tiles; no arithmetic."""

from __future__ import annotations

import os

import torch
from jaxtyping import Float
from torch import Tensor

from semanir.attention.backends.triton import kernels, padded_head_dim, tile_side
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
) -> Float[Tensor, "W H N D"]:
    """Follow `semanir.attention.signature.Attend`, forward only.

    The output lies in memory as `[W, N, H, D]`, so that joining the heads again copies nothing. Raises
    `RuntimeError` on a CPU without Triton's interpreter, and where a gradient would be needed.
    """
    _refuse(q, k, v, bias, scale)
    windows, heads, tokens, head_dim = q.shape
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    out = torch.empty(windows, tokens, heads, head_dim, dtype=q.dtype, device=q.device).transpose(1, 2)
    if out.numel() == 0:
        return out
    tile = interpreted_tile_side(tokens) if interpreted() else tile_side(tokens)
    factors = (weighting.softmax, weighting.relu_squared or 0.0)
    softmax_factor, relu_squared_factor = (_on_device(factor, q) for factor in factors)
    kernels.forward[(windows * heads * -(-tokens // tile),)](
        q,
        k,
        v,
        out,
        q if kept is None else kept.form("bits"),
        q if bias is None else bias.table.contiguous(),
        _on_device(scale, q).expand(heads).contiguous(),
        softmax_factor,
        relu_squared_factor,
        *q.stride()[:3],
        *k.stride()[:3],
        *v.stride()[:3],
        *out.stride()[:3],
        heads,
        N=tokens,
        D=head_dim,
        DP=padded_head_dim(head_dim),
        WORDS=-(-tokens // 32),
        WINDOW=1 if bias is None else bias.window,
        TILE=tile,
        HAS_BITS=kept is not None,
        HAS_BIAS=bias is not None,
        SPARSE=weighting.relu_squared is not None,
        UPCAST=interpreted(),  # the interpreter holds bf16 as integers and would multiply those
        num_warps=4,
    )
    return out


def interpreted_tile_side(tokens: int) -> int:
    """The interpreter pays for each program and each loop, hardly for their size: whole windows up to 256 tokens."""
    return min(256, max(16, 1 << (tokens - 1).bit_length()))


def interpreted() -> bool:
    """True where Triton's interpreter stands in for a GPU; decided by the environment before triton's import."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _refuse(q: Tensor, k: Tensor, v: Tensor, bias: Bias | None, scale: Scale) -> None:
    if not q.is_cuda and not interpreted():
        raise RuntimeError(
            "q is on the CPU, where Triton compiles nothing; set TRITON_INTERPRET=1 before Python starts "
            "to run the kernel in Triton's interpreter, or use the backend 'sdpa'"
        )
    learned = (q, k, v, scale, bias.table if bias is not None else None)
    if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in learned):
        raise RuntimeError("the triton backend has no backward pass yet; train with 'mask' or 'sdpa'")


def _on_device(value: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32, device=like.device)
