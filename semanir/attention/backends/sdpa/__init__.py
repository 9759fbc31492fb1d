"""torch's own scaled_dot_product_attention, with the dictionary as an additive mask."""

from semanir.attention.problem import ITEM_BYTES, Backend, Problem, dense_flops

MASK_ELEMENTS = 2**22
"""With a position bias each head needs its own mask; so many elements of it exist at a time."""


def _unsupported(problem: Problem) -> str | None:
    if problem.weighting != "softmax":
        return "torch's fused attention knows the softmax alone, not AST's relu(s)^2 branch"
    return None


def _extra_bytes(problem: Problem) -> int:
    """Without a bias the fused kernels need next to nothing; with one, the masks of a chunk of windows."""
    per_window = problem.heads * problem.tokens**2
    at_once = max(per_window, min(problem.windows * per_window, MASK_ELEMENTS))
    return (2 * at_once * ITEM_BYTES[problem.dtype] if problem.has_bias else 0) + 2**20


BACKEND = Backend(
    summary="torch's fused scaled_dot_product_attention with the dictionary as a float mask",
    module="semanir.attention.backends.sdpa.attend",
    needs=frozenset({"additive"}),
    unsupported=_unsupported,
    flops=dense_flops,
    extra_bytes=_extra_bytes,
)
