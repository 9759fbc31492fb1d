"""torch's own scaled_dot_product_attention, with the dictionary as an additive mask."""

from semanir.attention.problem import ITEM_BYTES, Backend, Problem, dense_flops

MASK_ELEMENTS: dict[str, int] = {"cpu": 2**19, "cuda": 2**26}
"""With a position bias each head needs its own mask; so many elements of it exist at a time, one window at least.

On a CPU they fit its cache (measured); on CUDA they keep the device busy (128 MiB in half precision; not measured).
"""


def _unsupported(problem: Problem) -> str | None:
    if problem.weighting != "softmax":
        return "torch's fused attention knows the softmax alone, not AST's relu(s)^2 branch"
    return None


def _extra_bytes(problem: Problem) -> int:
    """A scaled copy of q, and what the fused kernel keeps; with a bias, the mask of a chunk and the chunks' outputs."""
    item = ITEM_BYTES[problem.dtype]
    queries = problem.windows * problem.heads * problem.tokens * problem.head_dim * item
    if not problem.has_bias:
        return queries + 2**20
    per_window = problem.heads * problem.tokens**2
    at_once = max(per_window, min(problem.windows * per_window, MASK_ELEMENTS[problem.device]))
    return 2 * queries + (2 * per_window + at_once) * item + 2**20


BACKEND = Backend(
    summary="torch's fused scaled_dot_product_attention with the dictionary as a float mask",
    module="semanir.attention.backends.sdpa.attend",
    needs=frozenset({"additive"}),
    unsupported=_unsupported,
    flops=dense_flops,
    extra_bytes=_extra_bytes,
)
