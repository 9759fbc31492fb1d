"""Torch-Mask: the full score matrix, with dropped pairs at -inf before the softmax."""

from semanir.attention.problem import ITEM_BYTES, Backend, Problem, dense_flops


def _unsupported(problem: Problem) -> str | None:
    return None


def _extra_bytes(problem: Problem) -> int:
    """Scores and weights: all pairs of all heads, at the same time."""
    pairs = problem.windows * problem.heads * problem.tokens**2
    return pairs * 2 * ITEM_BYTES[problem.dtype]


BACKEND = Backend(
    summary="dense scores in torch, -inf added where pairs are dropped; the paper's Torch-Mask",
    module="semanir.attention.backends.mask.attend",
    needs=frozenset({"additive"}),
    unsupported=_unsupported,
    flops=dense_flops,
    extra_bytes=_extra_bytes,
)
