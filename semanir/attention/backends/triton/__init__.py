"""Our Triton kernels: dense tiles with the dictionary as packed bits, online softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping

from semanir.attention.problem import Backend, DeviceKind, Flops, Problem

MAX_HEAD_DIM = 64
MAX_TOKENS = 4096


def _unsupported(problem: Problem) -> str | None:
    if problem.needs_grad:
        return "its backward pass is not written yet; train with 'mask' or 'sdpa'"
    if problem.dtype == "float64":
        return "its accumulators are float32; float64 belongs to the reference"
    if problem.head_dim > MAX_HEAD_DIM:
        return f"head dimension {problem.head_dim} exceeds {MAX_HEAD_DIM}"
    if problem.tokens > MAX_TOKENS:
        return f"{problem.tokens} tokens in a window exceed {MAX_TOKENS}"
    return None


def _flops(problem: Problem) -> Flops:
    """Whole tiles are computed: tokens round up to a tile, head dimensions to a power of two of at least 16."""
    tile = tile_side(problem.tokens)
    padded = math.ceil(problem.tokens / tile) * tile
    head_dim = padded_head_dim(problem.head_dim)
    return Flops(
        spent=4 * problem.heads * problem.windows * padded**2 * head_dim,
        useful=4 * problem.heads * problem.kept_pairs * problem.head_dim,
    )


def _extra_bytes(problem: Problem) -> int:
    """Scores live in registers; beside the output only one float a head exists."""
    return 4 * problem.heads


def _worker_env(device: DeviceKind) -> Mapping[str, str]:
    return {"TRITON_INTERPRET": "1"} if device == "cpu" else {}


def tile_side(tokens: int) -> int:
    """Queries and keys of one tile: a power of two from 16 to 64."""
    return min(64, max(16, 1 << (tokens - 1).bit_length()))


def padded_head_dim(head_dim: int) -> int:
    """The width that a tile gives a head; tensor cores want a power of two of at least 16."""
    return max(16, 1 << (head_dim - 1).bit_length())


BACKEND = Backend(
    summary="our Triton kernel over packed dictionary bits; on a CPU it runs in Triton's interpreter",
    module="semanir.attention.backends.triton.attend",
    needs=frozenset({"bits"}),
    unsupported=_unsupported,
    flops=_flops,
    extra_bytes=_extra_bytes,
    speed_on=frozenset({"cuda"}),
    worker_env=_worker_env,
    differentiable=False,
)
