"""Launches the dictionary's kernels, as operators that torch can trace."""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int32, Integer
from torch import Tensor, library
from triton.runtime.jit import JITFunction

from semanir.attention import packing, union
from semanir.attention.problem import UNION_TILE
from semanir.attention.selection import kernels
from semanir.attention.union import KeyUnion

ELEMENTS_OF_WARP = 1024
"""Scores in the registers of a warp: 32 a thread."""


def columns(tokens: int) -> int:
    """Return the width of a row in registers: a power of two of at least one block of bits."""
    return max(packing.BLOCK, 1 << (tokens - 1).bit_length())


def warps(tokens: int) -> int:
    """Return the warps of one program: one where a row fits, which then counts without a barrier."""
    return max(1, columns(tokens) // ELEMENTS_OF_WARP)


def rows(tokens: int) -> int:
    """Return the rows of one program: few, for each waits until the last of them is done."""
    if interpreted():
        return max(1, 4096 // columns(tokens))  # the interpreter pays for programs, hardly for their size
    return max(1, ELEMENTS_OF_WARP // 2 // columns(tokens))


def interpreted() -> bool:
    """True where Triton's interpreter stands in for a GPU, as the environment decided before triton's import."""
    return not isinstance(kernels.select, JITFunction)


def select(
    scores: Float32[Tensor, "W N N"],
    top_k: int,
    *,
    regions: Integer[Tensor, "R N"] | None = None,
    exclude_self: bool = False,
) -> tuple[Int32[Tensor, "W N words"], Int32[Tensor, "W N"]]:
    """Return the bits of the kept keys and how many each row keeps; W is a multiple of R, N at most 4,096."""
    return _select(scores, regions, top_k, exclude_self)


def transpose(bits: Int32[Tensor, "W N words"]) -> Int32[Tensor, "W N words"]:
    """Return the same pairs with words along the queries: row j tells which queries keep key j."""
    return _transpose(bits)


def unite(bits: Int32[Tensor, "W N words"], tokens: int) -> KeyUnion:
    """Return the union lists of these bits, as `semanir.attention.union.find` does."""
    return KeyUnion(*_unite(bits, tokens))


@library.custom_op(
    "semanir::select",
    mutates_args=(),
    schema="(Tensor scores, Tensor? regions, int top_k, bool exclude_self) -> (Tensor, Tensor)",
)
def _select(scores: Tensor, regions: Tensor | None, top_k: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    windows, tokens, _ = scores.shape
    bits, counts = _bits_and_counts(scores)
    if not counts.numel():
        return bits, counts
    per_program = rows(tokens)
    with torch.cuda.device_of(scores):  # Triton launches on the current device, whatever the tensors'
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
            num_warps=warps(tokens),
        )
    return bits, counts


@_select.register_fake
def _(scores: Tensor, regions: Tensor | None, top_k: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    return _bits_and_counts(scores)


def _bits_and_counts(scores: Tensor) -> tuple[Tensor, Tensor]:
    windows, tokens, _ = scores.shape
    bits = scores.new_empty(windows, tokens, packing.words(tokens), dtype=torch.int32)
    return bits, scores.new_empty(windows, tokens, dtype=torch.int32)


@library.custom_op("semanir::transpose_bits", mutates_args=(), schema="(Tensor bits) -> Tensor")
def _transpose(bits: Tensor) -> Tensor:
    windows, tokens, _ = bits.shape
    turned = bits.new_empty(bits.shape)
    if not bits.numel():
        return turned
    blocks = -(-tokens // packing.BLOCK)
    with torch.cuda.device_of(bits):
        kernels.transpose[(windows * blocks * blocks,)](bits.contiguous(), turned, N=tokens, num_warps=4)
    return turned


@_transpose.register_fake
def _(bits: Tensor) -> Tensor:
    return bits.new_empty(bits.shape)


@library.custom_op("semanir::unite", mutates_args=(), schema="(Tensor bits, int tokens) -> (Tensor, Tensor, Tensor)")
def _unite(bits: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    keys, counts, listed = _lists(bits, tokens)
    if not bits.numel():
        return keys, counts, listed
    windows, tiles, places = keys.shape
    bits, side = bits.contiguous(), union.patched_side(tokens)
    with torch.cuda.device_of(bits):
        kernels.unite[(windows * tiles,)](bits, keys, counts, N=tokens, SIDE=side, TILE=UNION_TILE, num_warps=4)
        # The lists of all tiles stand in memory before a second launch reads them.
        kernels.list_bits[(windows * tiles * (places // packing.BLOCK),)](
            bits, keys, counts, listed, N=tokens, SIDE=side, TILE=UNION_TILE, num_warps=4
        )
    return keys, counts, listed


@_unite.register_fake
def _(bits: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    return _lists(bits, tokens)


def _lists(bits: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    windows = bits.shape[0]
    tiles = -(-tokens // UNION_TILE)
    keys = bits.new_empty(windows, tiles, packing.words(tokens) * 32, dtype=torch.int16)
    return keys, bits.new_empty(windows, tiles), bits.new_empty(bits.shape)
