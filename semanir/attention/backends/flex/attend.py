"""Attention by torch's FlexAttention (https://arxiv.org/abs/2412.05496), compiled."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch._dynamo
from jaxtyping import Float, Int32
from torch import Tensor

from semanir.attention.backends.flex import missing_compiler
from semanir.attention.backends.flex.kernels import MAX_SHAPES, compiled
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
    """Follow `semanir.attention.signature.Attend`.

    The first call of a shape compiles, which takes seconds; another number of windows above one is no other shape,
    other strides are. On CUDA the gradient of a bias table is summed by
    atomics (pytorch #137452), so its last bits differ from run to run; on a CPU there are no gradients. Raises
    `ValueError` for a weighting other than the softmax and `RuntimeError` where a CPU has no C++ compiler or
    gradients are asked of it.
    """
    check(q, k, v, kept, bias, scale, weighting)
    if weighting.relu_squared is not None:
        raise ValueError("weighting: FlexAttention knows the softmax alone; use 'mask' or 'gather'")
    if not q.is_cuda:
        _check_cpu(q, k, v, *([] if bias is None else [bias.table]))
    if q.shape[0] == 0:
        return torch.empty_like(q)
    if isinstance(scale, Tensor):
        # Not in the modification of the scores: there each head's gradient would be one address for all atomics.
        q, scale = q * per_head(scale, q), 1.0
    boolean = None if kept is None else kept.form("boolean")
    if q.shape[0] > 1:  # torch compiles for one window apart
        for x in (q, k, v, *([] if boolean is None else [boolean])):
            torch._dynamo.maybe_mark_dynamic(x, 0)
    # At each call, because compiling happens there and the limit is not ours to change for others.
    with torch._dynamo.config.patch(recompile_limit=MAX_SHAPES):
        out: Tensor = compiled()(
            q,
            k,
            v,
            boolean,
            None if boolean is None else _one_block(q.device),
            None if bias is None else bias.table,
            1 if bias is None else bias.window,
            float(scale),
        )
    return out


@lru_cache(maxsize=8)
@torch.inference_mode(mode=False)
def _one_block(device: torch.device) -> tuple[Int32[Tensor, "1 1 1"], Int32[Tensor, "1 1 1 1"]]:
    """Count and index of a single block, to be masked pair by pair: no tile of a dictionary is empty in practice."""
    return (
        torch.ones(1, 1, 1, dtype=torch.int32, device=device),
        torch.zeros(1, 1, 1, 1, dtype=torch.int32, device=device),
    )


def _check_cpu(*inputs: Tensor) -> None:
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        raise RuntimeError("FlexAttention has no backward pass on a CPU; train with 'mask' or 'sdpa'")
    if (reason := missing_compiler()) is not None:
        raise RuntimeError(reason)
