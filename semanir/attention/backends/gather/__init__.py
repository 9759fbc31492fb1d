"""Torch-Gather: the kept keys and values of every query, materialised."""

from semanir.attention.problem import ITEM_BYTES, Backend, Flops, Problem


def _unsupported(problem: Problem) -> str | None:
    return None


def _flops(problem: Problem) -> Flops:
    """Rows that keep fewer than k keys are padded to k, and the padding is computed."""
    pairs = problem.windows * problem.tokens * problem.top_k
    per_pair = 4 * problem.heads * problem.head_dim
    return Flops(spent=per_pair * pairs, useful=per_pair * problem.kept_pairs)


def _extra_bytes(problem: Problem) -> int:
    """A copy of K and of V a query, scores and weights, and 64-bit indices while gathering."""
    pairs = problem.windows * problem.heads * problem.tokens * problem.top_k
    return pairs * (2 * problem.head_dim + 2) * ITEM_BYTES[problem.dtype] + 8 * pairs


BACKEND = Backend(
    summary="kept keys and values copied per query, batched row products; the paper's Torch-Gather",
    module="semanir.attention.backends.gather.attend",
    needs=frozenset({"indices"}),
    unsupported=_unsupported,
    flops=_flops,
    extra_bytes=_extra_bytes,
)
