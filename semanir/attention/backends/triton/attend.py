"""Attention by our Triton kernels, forward and backward."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from semanir.attention.backends.triton import launch, operators
from semanir.attention.checks import check
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
    """Follow `semanir.attention.signature.Attend`.

    The output lies in memory as `[W, N, H, D]`, so that joining the heads again copies nothing. Where gradients are
    wanted, a dictionary with the form `column_bits` saves transposing its bits in every layer. With the sparse
    weighting in float16, scores above 255 overflow in their square. Raises `RuntimeError` on a CPU without Triton's
    interpreter.
    """
    return visit(q, k, v, kept, bias=bias, scale=scale, weighting=weighting, listed=False)


def visit(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kept: KeyDictionary | None,
    *,
    bias: Bias | None,
    scale: Scale,
    weighting: Weighting,
    listed: bool,
) -> Tensor:
    """Attend like `attend`; `listed` lets each tile of queries visit the keys of its union list alone."""
    if not q.is_cuda and not launch.interpreted():
        raise RuntimeError(
            "q is on the CPU, where Triton compiles nothing; set TRITON_INTERPRET=1 before Python starts "
            "to run the kernel in Triton's interpreter, or use the backend 'sdpa'"
        )
    if torch.is_autocast_enabled(q.device.type):
        low = torch.get_autocast_dtype(q.device.type)
        q, k, v = q.to(low), k.to(low), v.to(low)
    check(q, k, v, kept, bias, scale, weighting)
    union = kept.lists() if listed and kept is not None else None
    factors = None
    if weighting.relu_squared is not None:
        factors = torch.stack([_on_device(factor, q) for factor in (weighting.softmax, weighting.relu_squared)])
    out, _ = operators.attend(
        q,
        k,
        v,
        None if kept is None else kept.form("bits"),
        None if kept is None else kept.column_bits,
        None if bias is None else bias.table,
        _on_device(scale, q).expand(q.shape[1]).contiguous() if isinstance(scale, Tensor) else None,
        factors,
        0.0 if isinstance(scale, Tensor) else float(scale),
        1 if bias is None else bias.window,
        q.shape[2] if kept is None else kept.top_k,
        *((None, None, None) if union is None else (union.keys, union.counts, union.bits)),
    )
    return out


def _on_device(value: float | Tensor, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(like.device, torch.float32)
    return torch.full((), value, dtype=torch.float32, device=like.device)
