"""Tiles, strides and grids of the attention kernels; no arithmetic.

Every function takes the tensors of `semanir.attention.backends.triton.operators` as they come, and allocates what
it returns. Outputs and gradients lie in memory as `[W, N, H, D]`, so that joining the heads copies nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from triton.runtime.jit import JITFunction

from semanir.attention.backends.triton import tiles
from semanir.attention.backends.triton.kernels import backward, forward
from semanir.attention.problem import UNION_TILE
from semanir.attention.signature import Scale
from semanir.attention.union import KeyUnion, patched_side

LOG2E = math.log2(math.e)
PARTS = 64
"""Tiles of summed score gradients that are wanted, over all heads, to fill a GPU; fewer parts take less memory."""


def tile(kernel: tiles.Kernel, tokens: int, head_dim: int, item_bytes: int) -> tiles.Tile:
    """Return the tile of a kernel; the interpreter pays for programs and loops, hardly for their size."""
    if interpreted():
        side = min(256, max(16, 1 << (tokens - 1).bit_length()))
        return tiles.Tile(UNION_TILE if kernel == "forward_listed" else side, side)
    return tiles.tile(kernel, tokens, head_dim, item_bytes)


def interpreted() -> bool:
    """True where Triton's interpreter stands in for a GPU, as the environment decided before triton's import."""
    return not isinstance(forward.forward, JITFunction)


@dataclass(frozen=True)
class Call:
    """The tensors of one attention, ready for the kernels."""

    q: Tensor
    k: Tensor
    v: Tensor
    bits: Tensor | None
    table: Tensor | None
    """`[R, H]`, as the network learns it."""
    scale: Scale
    """A number, or float32 `[H]`."""
    factors: Tensor | None
    """The two factors of the sparse weighting, float32."""
    window: int
    """Side of the window in tokens where there is a table; else 1."""
    union: KeyUnion | None = None
    """The keys that each tile of queries visits in the forward; None visits all."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """W, H, N, D."""
        windows, heads, tokens, head_dim = self.q.shape
        return windows, heads, tokens, head_dim

    def empty(self) -> Tensor:
        """Allocate an output or a gradient: `[W, H, N, D]` over memory that is `[W, N, H, D]`."""
        windows, heads, tokens, head_dim = self.shape
        return self.q.new_empty(windows, tokens, heads, head_dim).transpose(1, 2)

    def per_row(self) -> Tensor:
        """Allocate one float32 for each query of each head."""
        windows, heads, tokens, _ = self.shape
        return self.q.new_empty(windows, heads, tokens, dtype=torch.float32)

    def aligned(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v with rows that a GPU loads 16 bytes at a time; copies only those that are not."""
        return aligned_rows(self.q), aligned_rows(self.k), aligned_rows(self.v)

    def tables(self) -> Tensor:
        """Return the bias by head, `[H, R]` in units of ln 2; anything without a bias, for nothing reads it."""
        return self.q if self.table is None else (self.table.float() * LOG2E).mT.contiguous()

    def scales(self) -> tuple[Tensor, float]:
        """Return the scale as the kernels take it: a pointer, read with HAS_SCALES, and a number."""
        return (self.scale.contiguous(), 0.0) if isinstance(self.scale, Tensor) else (self.q, float(self.scale))

    def words(self) -> Tensor:
        """Return the bits as the kernels count through them; anything without a dictionary."""
        return self.q if self.bits is None else self.bits.contiguous()

    def visited(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forward's bits, its lists and their lengths; without lists, the bits of all keys and anything."""
        if self.union is None:
            return self.words(), self.q, self.q
        return self.union.bits.contiguous(), self.union.keys.contiguous(), self.union.counts.contiguous()

    def both_factors(self) -> Tensor:
        """Return the factors of the sparse weighting; anything without one."""
        return self.q if self.factors is None else self.factors.contiguous()

    def constants(self, kernel: tiles.Kernel) -> dict[str, Any]:
        """Return what is compiled into a kernel, and its tile."""
        _, _, tokens, head_dim = self.shape
        chosen = tile(kernel, tokens, head_dim, self.q.element_size())
        return {
            "N": tokens,
            "D": head_dim,
            "D_LOADED": tiles.padded_head_dim(head_dim) if tiles.copies_rows(head_dim) else head_dim,
            "DP": tiles.padded_head_dim(head_dim),
            "WINDOW": self.window,
            "QUERIES": chosen.queries,
            "KEYS": chosen.keys,
            "SPAN": tiles.table_span(self.window, tokens, chosen),
            "HAS_BITS": self.bits is not None,
            "HAS_SCALES": isinstance(self.scale, Tensor),
            "PRECISION": precision(self.q.dtype),
            "UPCAST": interpreted(),  # the interpreter holds bf16 as integers and would multiply those
            "num_warps": chosen.warps,
            "num_stages": chosen.stages,
        }


def precision(dtype: torch.dtype) -> str:
    """Return how tensor cores multiply: float32 in three TF32 products, whose error is float32's own."""
    return "tf32x3" if dtype == torch.float32 and not interpreted() else "ieee"


def aligned_rows(x: Tensor) -> Tensor:
    """Return `x` itself, or a copy with zeros beside its rows, so that a GPU loads them 16 bytes at a time.

    Copied are also rows with gaps, and views whose rows lie 2^31 numbers apart: kernels count those in 32 bits.
    """
    head_dim = x.shape[-1]
    if tiles.copies_rows(head_dim):
        return functional.pad(x.contiguous(), (0, tiles.padded_head_dim(head_dim) - head_dim))
    return x if x.stride(-1) == 1 and x.stride(2) * x.shape[2] < 2**31 else x.contiguous()


def attend(call: Call) -> tuple[Tensor, Tensor]:
    """Return the output and the log-sum-exp of every row, base 2, float32 `[W, H, N]`."""
    windows, heads, tokens, _ = call.shape
    out, lse = call.empty(), call.per_row()
    if not out.numel():
        return out, lse
    q, k, v = call.aligned()
    scales, scale = call.scales()
    constants = call.constants("forward" if call.union is None else "forward_listed")
    bits, lists, counts = call.visited()
    forward.forward[(windows * heads * -(-tokens // constants["QUERIES"]),)](
        q,
        k,
        v,
        out,
        lse,
        bits,
        call.tables(),
        scales,
        call.both_factors(),
        lists,
        counts,
        scale,
        *q.stride()[:3],
        *k.stride()[:3],
        *v.stride()[:3],
        *out.stride()[:3],
        heads,
        HAS_BIAS=call.table is not None,
        SPARSE=call.factors is not None,
        LISTED=call.union is not None,
        SIDE=patched_side(tokens) if call.union is not None else 0,
        **constants,
    )
    return out, lse


@dataclass(frozen=True)
class Gradients:
    """Gradients of one attention; those of what it did not have are None."""

    q: Tensor
    k: Tensor
    v: Tensor
    table: Tensor | None
    scale: Tensor | None
    factors: Tensor | None


def differentiate(
    call: Call, grad_out: Tensor, out: Tensor, lse: Tensor, column_bits: Tensor | None, *, table: bool
) -> Gradients:
    """Return all gradients; `table` asks for the bias table's, which costs as much as another forward."""
    windows, heads, tokens, _ = call.shape
    grad_q, grad_k, grad_v = call.empty(), call.empty(), call.empty()
    if not out.numel():
        return _nothing(call, grad_q, grad_k, grad_v, table=table)
    q, k, v = call.aligned()
    grad_out = aligned_rows(grad_out)
    delta = call.per_row()
    bits = call.words()
    factors = call.both_factors()
    tables = call.tables()
    scales, scale = call.scales()
    has_bias, sparse = call.table is not None, call.factors is not None
    inputs = (*q.stride()[:3], *k.stride()[:3], *v.stride()[:3])

    squares = None
    if sparse:
        squares = call.per_row()
        constants = call.constants("row_sums")
        backward.row_sums[(windows * heads * -(-tokens // constants["QUERIES"]),)](
            q,
            k,
            v,
            grad_out,
            lse,
            delta,
            squares,
            bits,
            tables,
            scales,
            scale,
            *inputs,
            *grad_out.stride()[:3],
            heads,
            HAS_BIAS=has_bias,
            **constants,
        )

    constants = call.constants("gradient_of_queries")
    programs = windows * heads * -(-tokens // constants["QUERIES"])
    grad_scales = q.new_empty(programs // heads, heads, dtype=torch.float32)
    backward.gradient_of_queries[(programs,)](
        q,
        k,
        v,
        out,
        grad_out,
        lse,
        delta,
        grad_q,
        grad_scales,
        bits,
        tables,
        scales,
        factors,
        scale,
        *inputs,
        *out.stride()[:3],
        *grad_out.stride()[:3],
        heads,
        HAS_BIAS=has_bias,
        SPARSE=sparse,
        **constants,
    )

    constants = call.constants("gradient_of_keys")
    backward.gradient_of_keys[(windows * heads * -(-tokens // constants["KEYS"]),)](
        q,
        k,
        v,
        grad_out,
        lse,
        delta,
        grad_k,
        grad_v,
        q if column_bits is None else column_bits.contiguous(),
        tables,
        scales,
        factors,
        scale,
        *inputs,
        *grad_out.stride()[:3],
        heads,
        HAS_BIAS=has_bias,
        SPARSE=sparse,
        **constants,
    )
    return Gradients(
        grad_q,
        grad_k,
        grad_v,
        _differentiate_table(call, (q, k, v), grad_out, lse, delta, tables) if table and has_bias else None,
        grad_scales.sum(0) if isinstance(call.scale, Tensor) else None,
        None if squares is None else torch.stack([delta.sum(), squares.sum()]),
    )


def _differentiate_table(
    call: Call, aligned: tuple[Tensor, Tensor, Tensor], grad_out: Tensor, lse: Tensor, delta: Tensor, tables: Tensor
) -> Tensor:
    windows, heads, tokens, _ = call.shape
    q, k, v = aligned
    scales, scale = call.scales()
    constants = call.constants("gradient_of_scores_over_windows")
    tiles = -(-tokens // constants["QUERIES"]) * -(-tokens // constants["KEYS"])
    parts = max(1, min(windows, PARTS // tiles))
    per_part = -(-windows // parts)
    parts = -(-windows // per_part)
    grad_scores = q.new_empty(parts, heads, tokens, tokens, dtype=torch.float32)
    backward.gradient_of_scores_over_windows[(parts * heads * tiles,)](
        q,
        k,
        v,
        grad_out,
        lse,
        delta,
        grad_scores,
        call.words(),
        tables,
        scales,
        call.both_factors(),
        scale,
        *q.stride()[:3],
        *k.stride()[:3],
        *v.stride()[:3],
        *grad_out.stride()[:3],
        heads,
        windows,
        per_part,
        SPARSE=call.factors is not None,
        **constants,
    )
    grad_scores = grad_scores.sum(0)
    grad_table = q.new_empty((2 * call.window - 1) ** 2, heads, dtype=torch.float32)
    offsets = 128
    backward.gradient_of_table[(-(-grad_table.shape[0] // offsets) * heads,)](
        grad_scores,
        grad_table,
        heads,
        N=tokens,
        WINDOW=call.window,
        OFFSETS=offsets,
        QUERIES=16,
        num_warps=4,
    )
    return grad_table


def _nothing(call: Call, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, *, table: bool) -> Gradients:
    """An empty batch tells nothing about what all windows share."""

    def zeros(like: Tensor) -> Tensor:
        return like.new_zeros(like.shape, dtype=torch.float32)

    return Gradients(
        grad_q,
        grad_k,
        grad_v,
        zeros(call.table) if table and call.table is not None else None,
        zeros(call.scale) if isinstance(call.scale, Tensor) else None,
        None if call.factors is None else zeros(call.factors),
    )
