"""FlexAttention: torch generates a fused kernel around the dictionary's mask and the position bias."""

from __future__ import annotations

import os
import shutil
import sys

from semanir.attention.problem import ITEM_BYTES, Backend, Problem, dense_flops

MIN_CUDA_HEAD_DIM = 16
"""Its Triton template takes no narrower head."""
CPU_TILE = 64 * 512
"""Scores of a tile that the C++ template holds for each thread."""


def _unsupported(problem: Problem) -> str | None:
    if problem.weighting != "softmax":
        return "FlexAttention modifies scores before one softmax; AST's relu(s)^2 branch has no normaliser"
    if problem.dtype == "float64":
        return "FlexAttention computes in float32 and takes float32, float16 and bfloat16"
    if problem.device == "cpu":
        return "FlexAttention has no backward pass on a CPU" if problem.needs_grad else missing_compiler()
    if problem.head_dim < MIN_CUDA_HEAD_DIM:
        return f"FlexAttention on CUDA wants heads of at least {MIN_CUDA_HEAD_DIM} channels, not {problem.head_dim}"
    return None


def missing_compiler() -> str | None:
    """Return why torch cannot compile C++ here, or None: it calls `$CXX`, by default g++ (clang++ on macOS)."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler):
        return None
    return f"torch compiles FlexAttention with a C++ compiler, and there is no '{compiler}' here; install it or set CXX"


def _extra_bytes(problem: Problem) -> int:
    """Scores live in registers or in a tile a thread; beside them a scaled copy of q and a float a row.

    What torch's compiler takes at the first call of a shape (some 100 MiB of the process) is not counted.
    """
    rows = problem.windows * problem.heads * problem.tokens
    tile = 4 * CPU_TILE * (os.cpu_count() or 1) if problem.device == "cpu" else 0
    return rows * (problem.head_dim * ITEM_BYTES[problem.dtype] + 4) + tile


BACKEND = Backend(
    summary="torch's FlexAttention, compiled, with the dictionary as mask; its first call of a shape takes seconds",
    module="semanir.attention.backends.flex.attend",
    needs=frozenset({"boolean"}),
    unsupported=_unsupported,
    flops=dense_flops,
    extra_bytes=_extra_bytes,
)
