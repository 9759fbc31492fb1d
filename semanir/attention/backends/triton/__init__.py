"""Our Triton kernels: dense tiles with the dictionary as packed bits, online softmax."""

from __future__ import annotations

from collections.abc import Mapping

from semanir.attention.backends.triton import tiles
from semanir.attention.problem import ITEM_BYTES, Backend, DeviceKind, Flops, Problem

MAX_TOKENS = 4096
TABLE_PARTS = 2
"""Parts in which the gradient of the scores is summed over the windows, and their sum, where N is large."""


def _unsupported(problem: Problem) -> str | None:
    if problem.dtype == "float64":
        return "its accumulators are float32; float64 belongs to the reference"
    widest = tiles.MAX_HEAD_DIM[ITEM_BYTES[problem.dtype]]
    if problem.head_dim > widest:
        return f"head dimension {problem.head_dim} exceeds {widest}, its limit in {problem.dtype}"
    if problem.tokens > MAX_TOKENS:
        return f"{problem.tokens} tokens in a window exceed {MAX_TOKENS}"
    return None


def _flops(problem: Problem) -> Flops:
    """Whole tiles are computed, and head dimensions round up to a power of two of at least 16."""
    return Flops(
        spent=tiles.spent(
            ("forward",),
            windows=problem.windows,
            heads=problem.heads,
            tokens=problem.tokens,
            head_dim=problem.head_dim,
            item_bytes=ITEM_BYTES[problem.dtype],
            sparse=problem.weighting == "sparse",
        ),
        useful=4 * problem.heads * problem.kept_pairs * problem.head_dim,
    )


def _extra_bytes(problem: Problem) -> int:
    """Scores live in registers; beside the output one float a row exists, and copies of rows that need padding.

    Gradients add a second float a row, a copy of the output's gradient, and the summed score gradients of the bias.
    """
    rows = problem.windows * problem.heads * problem.tokens
    copies = 3 + problem.needs_grad if tiles.copies_rows(problem.head_dim) else 0
    row = tiles.padded_head_dim(problem.head_dim) * ITEM_BYTES[problem.dtype]
    table = 4 * TABLE_PARTS * problem.heads * problem.tokens**2 if problem.needs_grad and problem.has_bias else 0
    return rows * (copies * row + 4 + 4 * problem.needs_grad) + table


def _worker_env(device: DeviceKind) -> Mapping[str, str]:
    return {"TRITON_INTERPRET": "1"} if device == "cpu" else {}


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
