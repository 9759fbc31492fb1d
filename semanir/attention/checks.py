"""What every way to attend refuses before it computes anything."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from semanir.attention import packing
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.problem import UNION_TILE, Packing
from semanir.attention.signature import Bias, Scale, Weighting


class AttentionError(ValueError):
    """An argument that no attention can take; the message names it, its value and the rule."""


def check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kept: KeyDictionary | None,
    bias: Bias | None,
    scale: Scale,
    weighting: Weighting,
) -> None:
    """Hold the arguments of `semanir.attention.signature.Attend` to its rules. Looks at no value of any tensor.

    Raises `AttentionError`.
    """
    if q.ndim != 4:
        raise AttentionError(f"q: shape {tuple(q.shape)}; it has four axes: windows, heads, tokens, head dimension")
    _, heads, tokens, head_dim = q.shape
    if not head_dim:
        raise AttentionError(f"q: shape {tuple(q.shape)}; a head needs at least one dimension")
    if not q.is_floating_point():
        raise AttentionError(f"q: dtype {q.dtype}; attention takes floating-point numbers")
    for name, x in (("k", k), ("v", v)):
        if x.shape != q.shape:
            raise AttentionError(f"{name}: shape {tuple(x.shape)}; it must be that of q, {tuple(q.shape)}")
        if x.dtype != q.dtype and not torch.is_autocast_enabled(q.device.type):  # autocast makes them alike later
            raise AttentionError(f"{name}: dtype {x.dtype}; it must be that of q, {q.dtype}")
    for name, x in (("q", q), ("k", k), ("v", v)):
        _check_device(name, x, q)
        if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
            raise AttentionError(
                f"{name}: strides {x.stride()} let elements share memory, so their gradients would too; "
                f"pass {name}.contiguous()"
            )
    if kept is not None:
        _check_dictionary(kept, q)
    if bias is not None:
        if math.isqrt(tokens) ** 2 != tokens:
            raise AttentionError(f"bias: {tokens} tokens are no square window, and offsets between them have no table")
        offsets = (2 * math.isqrt(tokens) - 1) ** 2
        if tuple(bias.index.shape) != (tokens, tokens):
            raise AttentionError(
                f"bias: index {tuple(bias.index.shape)}; windows of {tokens} tokens have {tokens}^2 pairs"
            )
        if tuple(bias.table.shape) != (offsets, heads):
            raise AttentionError(
                f"bias: table {tuple(bias.table.shape)}; {tokens} tokens and {heads} heads need ({offsets}, {heads})"
            )
        _check_device("bias", bias.table, q)
    if isinstance(scale, Tensor):
        if tuple(scale.shape) not in ((), (1,), (heads,)):
            raise AttentionError(f"scale: shape {tuple(scale.shape)}; one number, or one for each of {heads} heads")
        _check_device("scale", scale, q)
    elif not math.isfinite(scale):
        raise AttentionError(f"scale: {scale}; it must be a finite number")
    for factor in (weighting.softmax, weighting.relu_squared):
        if isinstance(factor, Tensor) and factor.ndim:
            raise AttentionError(f"weighting: a factor of shape {tuple(factor.shape)}; both are single numbers")


def _check_dictionary(kept: KeyDictionary, q: Tensor) -> None:
    windows, _, tokens, _ = q.shape
    if kept.tokens != tokens:
        raise AttentionError(f"kept: made for windows of {kept.tokens} tokens; q has {tokens}")
    if not 1 <= kept.top_k <= tokens:
        raise AttentionError(f"kept: top_k = {kept.top_k}; a row of {tokens} tokens keeps between 1 and {tokens} keys")
    for name in ("counts", *get_args(Packing)):
        packed = getattr(kept, name)
        if packed is None:
            continue
        _check_device(f"kept.{name}", packed, q)
        if packed.shape[0] != windows:
            raise AttentionError(f"kept.{name}: made for {packed.shape[0]} windows; q has {windows}")
        if name in ("bits", "column_bits") and tuple(packed.shape[1:]) != (tokens, packing.words(tokens)):
            raise AttentionError(
                f"kept.{name}: shape {tuple(packed.shape)}; {tokens} tokens take {packing.words(tokens)} words a row"
            )
    if kept.union is not None:
        expected = {
            "keys": (windows, -(-tokens // UNION_TILE), packing.words(tokens) * 32),
            "counts": (windows, -(-tokens // UNION_TILE)),
            "bits": (windows, tokens, packing.words(tokens)),
        }
        for name, shape in expected.items():
            part = getattr(kept.union, name)
            _check_device(f"kept.union.{name}", part, q)
            if tuple(part.shape) != shape:
                raise AttentionError(f"kept.union.{name}: shape {tuple(part.shape)}; lists for q have {shape}")


def _check_device(name: str, x: Tensor, q: Tensor) -> None:
    if x.device != q.device:
        raise AttentionError(f"{name}: on {x.device}; it must be where q is, on {q.device}")
