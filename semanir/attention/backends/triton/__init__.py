"""Our Triton kernels: dense tiles with the dictionary as packed bits, online softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping

from semanir.attention.problem import ITEM_BYTES, Backend, DeviceKind, Flops, Problem

MAX_HEAD_DIM = 64
MAX_TOKENS = 4096


def _unsupported(problem: Problem) -> str | None:
    if problem.dtype == "float64":
        return "its accumulators are float32; float64 belongs to the reference"
    if problem.head_dim > MAX_HEAD_DIM:
        return f"head dimension {problem.head_dim} exceeds {MAX_HEAD_DIM}"
    if problem.tokens > MAX_TOKENS:
        return f"{problem.tokens} tokens in a window exceed {MAX_TOKENS}"
    return None


def _flops(problem: Problem) -> Flops:
    """Whole tiles are computed, and head dimensions round up to a power of two of at least 16."""
    pairs = problem.windows * padded_pairs(problem.tokens, ITEM_BYTES[problem.dtype])
    return Flops(
        spent=4 * problem.heads * pairs * padded_head_dim(problem.head_dim),
        useful=4 * problem.heads * problem.kept_pairs * problem.head_dim,
    )


def _extra_bytes(problem: Problem) -> int:
    """Scores live in registers; beside the output one float a row exists, and copies of rows that need padding."""
    copied = copies_rows(problem.head_dim, ITEM_BYTES[problem.dtype])
    per_row = 4 + (3 * padded_head_dim(problem.head_dim) * ITEM_BYTES[problem.dtype] if copied else 0)
    return problem.windows * problem.heads * problem.tokens * per_row


def _worker_env(device: DeviceKind) -> Mapping[str, str]:
    return {"TRITON_INTERPRET": "1"} if device == "cpu" else {}


def tile_sides(tokens: int, item_bytes: int) -> tuple[int, int]:
    """Return the queries and the keys of one forward tile: powers of two from 16 on.

    Float32 fills the registers twice as fast.
    """
    power = max(16, 1 << (tokens - 1).bit_length())
    return min(64, power), min(128 if item_bytes == 2 else 32, power)


def padded_pairs(tokens: int, item_bytes: int) -> int:
    """Count the pairs of a window with both sides rounded up to whole tiles."""
    queries, keys = tile_sides(tokens, item_bytes)
    return math.ceil(tokens / queries) * queries * math.ceil(tokens / keys) * keys


def copies_rows(head_dim: int, item_bytes: int) -> bool:
    """Rows are loaded 16 bytes at a time; heads that are no multiple of it are copied with padding."""
    return head_dim * item_bytes % 16 != 0


def padded_head_dim(head_dim: int) -> int:
    """The width that a tile gives a head; tensor cores want a power of two of at least 16."""
    return max(16, 1 << (head_dim - 1).bit_length())


BACKEND = Backend(
    summary="our Triton kernel over packed dictionary bits; on a CPU it runs in Triton's interpreter",
    module="semanir.attention.backends.triton.attend",
    needs=frozenset({"bits"}),
    backward_needs=frozenset({"column_bits"}),
    unsupported=_unsupported,
    flops=_flops,
    extra_bytes=_extra_bytes,
    speed_on=frozenset({"cuda"}),
    worker_env=_worker_env,
)
