"""The kernels as operators of torch: traceable, differentiable, counted. The only place that registers them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, library
from torch.utils.flop_counter import register_flop_formula

from semanir.attention.backends.triton import launch, tiles
from semanir.attention.selection.launch import transpose
from semanir.attention.union import KeyUnion

INPUTS = (
    "Tensor q, Tensor k, Tensor v, Tensor? bits, Tensor? column_bits, Tensor? table, Tensor? scales, "
    "Tensor? factors, float scale, int window, int top_k"
)
UNION = "Tensor? union_keys=None, Tensor? union_counts=None, Tensor? union_bits=None"


@library.custom_op("semanir::attend", mutates_args=(), schema=f"({INPUTS}, {UNION}) -> (Tensor, Tensor)")
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bits: Tensor | None,
    column_bits: Tensor | None,
    table: Tensor | None,
    scales: Tensor | None,
    factors: Tensor | None,
    scale: float,
    window: int,
    top_k: int,
    union_keys: Tensor | None = None,
    union_counts: Tensor | None = None,
    union_bits: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the output `[W, H, N, D]` and the base-2 log-sum-exp `[W, H, N]`; see `launch.Call` for the arguments.

    `column_bits` serve the gradient alone, which visits all keys, and `top_k` the count of useful operations.
    """
    union = None
    if union_keys is not None and union_counts is not None and union_bits is not None:
        union = KeyUnion(union_keys, union_counts, union_bits)
    call = launch.Call(q, k, v, bits, table, scale if scales is None else scales, factors, window, union)
    with torch.cuda.device_of(q):  # Triton launches on the current device, whatever the tensors'
        return launch.attend(call)


@attend.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bits: Tensor | None,
    column_bits: Tensor | None,
    table: Tensor | None,
    scales: Tensor | None,
    factors: Tensor | None,
    scale: float,
    window: int,
    top_k: int,
    union_keys: Tensor | None = None,
    union_counts: Tensor | None = None,
    union_bits: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    return _like(q), q.new_empty(q.shape[:3], dtype=torch.float32)


@library.custom_op(
    "semanir::attend_backward",
    mutates_args=(),
    schema=f"({INPUTS}, Tensor grad_out, Tensor out, Tensor lse, bool table_too) -> (Tensor, Tensor, Tensor, Tensor[])",
)
def attend_backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bits: Tensor | None,
    column_bits: Tensor | None,
    table: Tensor | None,
    scales: Tensor | None,
    factors: Tensor | None,
    scale: float,
    window: int,
    top_k: int,
    grad_out: Tensor,
    out: Tensor,
    lse: Tensor,
    table_too: bool,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return the gradients of q, k and v, and of those of table, scales and factors that there are, in this order."""
    call = launch.Call(q, k, v, bits, table, scale if scales is None else scales, factors, window)
    with torch.cuda.device_of(q):
        if bits is not None and column_bits is None:
            column_bits = transpose(bits)
        found = launch.differentiate(call, grad_out, out, lse, column_bits, table=table_too)
    shared = [gradient for gradient in (found.table, found.scale, found.factors) if gradient is not None]
    return found.q, found.k, found.v, shared


@attend_backward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bits: Tensor | None,
    column_bits: Tensor | None,
    table: Tensor | None,
    scales: Tensor | None,
    factors: Tensor | None,
    scale: float,
    window: int,
    top_k: int,
    grad_out: Tensor,
    out: Tensor,
    lse: Tensor,
    table_too: bool,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    learned = (table if table_too else None, scales, factors)
    shared = [x.new_empty(x.shape, dtype=torch.float32) for x in learned if x is not None]
    return _like(q), _like(q), _like(q), shared


def _like(q: Tensor) -> Tensor:
    windows, heads, tokens, head_dim = q.shape
    return q.new_empty(windows, tokens, heads, head_dim).transpose(1, 2)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    tensors = inputs[:8]  # up to `factors`; after `top_k` come the union lists, which the gradient does not use
    ctx.scale, ctx.window, ctx.top_k = inputs[8:11]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, out, lse = ctx.saved_tensors
    table, scales, factors = tensors[5:]
    table_too = table is not None and ctx.needs_input_grad[5]
    grad_q, grad_k, grad_v, shared = attend_backward(
        *tensors, ctx.scale, ctx.window, ctx.top_k, grad_out, out, lse, table_too
    )
    rest = iter(shared)
    grad_table = next(rest).to(table.dtype) if table_too else None
    grad_scales = None if scales is None else next(rest)
    grad_factors = None if factors is None else next(rest)
    return grad_q, grad_k, grad_v, None, None, grad_table, grad_scales, grad_factors, *(None,) * 6


attend.register_autograd(_backward, setup_context=_save)


@register_flop_formula(torch.ops.semanir.attend, get_raw=True)
def _spent(q: Tensor, *args: Any, **kwargs: Any) -> int:
    factors, *union = args[6], *args[10:]
    if len(union) < 3 or union[1] is None:
        return _count(("forward",), q, factors=factors)
    _, heads, _, head_dim = q.shape
    return tiles.spent_on_lists(
        union[1].flatten().tolist(),
        heads=heads,
        head_dim=head_dim,
        item_bytes=q.element_size(),
        sparse=factors is not None,
    )


@register_flop_formula(torch.ops.semanir.attend_backward, get_raw=True)
def _spent_backward(q: Tensor, *args: Any, **kwargs: Any) -> int:
    factors, table_too = args[6], args[13]
    kernels: tuple[tiles.Kernel, ...] = ("gradient_of_queries", "gradient_of_keys")
    if factors is not None:
        kernels += ("row_sums",)
    if table_too:
        kernels += ("gradient_of_scores_over_windows",)
    return _count(kernels, q, factors=factors)


def _count(kernels: tuple[tiles.Kernel, ...], q: Tensor, *, factors: Tensor | None) -> int:
    windows, heads, tokens, head_dim = q.shape
    return tiles.spent(
        kernels,
        windows=windows,
        heads=heads,
        tokens=tokens,
        head_dim=head_dim,
        item_bytes=q.element_size(),
        sparse=factors is not None,
    )


def _useful(q: torch.Size, *args: Any, **kwargs: Any) -> int:
    windows, heads, tokens, head_dim = q
    return 4 * windows * heads * tokens * args[9] * head_dim


def _useful_backward(q: torch.Size, *args: Any, **kwargs: Any) -> int:
    return _useful(q, *args) * 5 // 2


USEFUL = {torch.ops.semanir.attend: _useful, torch.ops.semanir.attend_backward: _useful_backward}
"""`FlopCounterMode(custom_mapping=USEFUL)` counts kept pairs instead: k for every row (shifted windows keep fewer)."""
