"""Launches the dictionary's kernels, as operators that torch can trace."""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int32, UInt8
from torch import Tensor

from semanir.attention import packing
from semanir.attention.selection import kernels

ELEMENTS = 4096
"""Scores in the registers of one program of four warps: 32 a thread."""


def columns(tokens: int) -> int:
    """Return the width of a row in registers: a power of two of at least one block of bits."""
    return max(packing.BLOCK, 1 << (tokens - 1).bit_length())


def rows(tokens: int) -> int:
    """Return the rows of one program."""
    return max(1, ELEMENTS // columns(tokens))


def select(
    scores: Float32[Tensor, "W N N"],
    top_k: int,
    *,
    regions: UInt8[Tensor, "R N"] | None = None,
    exclude_self: bool = False,
) -> tuple[Int32[Tensor, "W N words"], Int32[Tensor, "W N"]]:
    """Return the bits of the kept keys and how many each row keeps; W is a multiple of R, N at most 4,096."""
    return _select(scores, regions, top_k, exclude_self)


def transpose(bits: Int32[Tensor, "W N words"]) -> Int32[Tensor, "W N words"]:
    """Return the same pairs with words along the queries: row j tells which queries keep key j."""
    return _transpose(bits)


@torch.library.custom_op(
    "semanir::select",
    mutates_args=(),
    schema="(Tensor scores, Tensor? regions, int top_k, bool exclude_self) -> (Tensor, Tensor)",
)
def _select(scores: Tensor, regions: Tensor | None, top_k: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    windows, tokens, _ = scores.shape
    bits, counts = _bits_and_counts(scores)
    if counts.numel():
        per_program = rows(tokens)
        kernels.select[(-(-windows * tokens // per_program),)](
            scores.contiguous(),
            scores if regions is None else regions.contiguous(),
            bits,
            counts,
            top_k,
            1 if regions is None else regions.shape[0],
            windows * tokens,
            N=tokens,
            COLUMNS=columns(tokens),
            ROWS=per_program,
            HAS_REGIONS=regions is not None,
            EXCLUDE_SELF=exclude_self,
            num_warps=4,
        )
    return bits, counts


@_select.register_fake
def _(scores: Tensor, regions: Tensor | None, top_k: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    return _bits_and_counts(scores)


def _bits_and_counts(scores: Tensor) -> tuple[Tensor, Tensor]:
    windows, tokens, _ = scores.shape
    bits = scores.new_empty(windows, tokens, packing.words(tokens), dtype=torch.int32)
    return bits, scores.new_empty(windows, tokens, dtype=torch.int32)


@torch.library.custom_op("semanir::transpose_bits", mutates_args=(), schema="(Tensor bits) -> Tensor")
def _transpose(bits: Tensor) -> Tensor:
    windows, tokens, _ = bits.shape
    turned = torch.empty_like(bits)
    if bits.numel():
        blocks = -(-tokens // packing.BLOCK)
        kernels.transpose[(windows * blocks * blocks,)](bits.contiguous(), turned, N=tokens, num_warps=4)
    return turned


@_transpose.register_fake
def _(bits: Tensor) -> Tensor:
    return torch.empty_like(bits)
