"""Our Triton kernel with union lists: a tile of queries visits the keys that one of its queries keeps, no others."""

from __future__ import annotations

from dataclasses import replace

from semanir.attention.backends import triton
from semanir.attention.problem import UNION_TILE, Problem

LEAST_TOKENS = 1024
LEAST_KEYS_OF_ONE_KEPT = 16
"""Where lists leave out a quarter of the keys or more, as far as `experiments/unions` has looked."""


def _unsupported(problem: Problem) -> str | None:
    if problem.tokens < LEAST_TOKENS or LEAST_KEYS_OF_ONE_KEPT * problem.top_k > problem.tokens:
        return (
            f"a tile of {UNION_TILE} queries visits most keys at k = {problem.top_k} of {problem.tokens}: union lists "
            f"are for windows from {LEAST_TOKENS} tokens that keep 1 of {LEAST_KEYS_OF_ONE_KEPT} or fewer; take triton"
        )
    return triton.BACKEND.unsupported(problem)


BACKEND = replace(
    triton.BACKEND,
    summary="our Triton kernel, tiles of queries visiting the keys that one of them keeps: for few of many keys",
    module="semanir.attention.backends.triton_union.attend",
    needs=frozenset({"bits", "union"}),
    unsupported=_unsupported,
)
"""Its operations are at most those of `triton`, which `flops` tells: how many depends on the features."""
