from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from harness.contest.workload import SPARSE, Workload
from semanir.attention import dictionary
from semanir.attention.position import relative_index
from semanir.attention.signature import SOFTMAX, Bias

WINDOWS, HEADS, TOKENS, HEAD_DIM = 3, 2, 16, 8


@pytest.fixture
def make_workload() -> Callable[..., Workload]:
    def make(variant: str = "plain", dtype: torch.dtype = torch.float32) -> Workload:
        generator = torch.Generator().manual_seed(5)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(dtype)

        features = normal(WINDOWS, TOKENS, 12)
        q, k, v, grad_out = (normal(WINDOWS, HEADS, TOKENS, HEAD_DIM) for _ in range(4))
        bias = Bias(normal(49, HEADS), relative_index(4, torch.device("cpu"))) if variant == "bias" else None
        forms = ("boolean", "additive", "indices", "bits", "column_bits")
        return Workload(
            q=q,
            k=k,
            v=v,
            grad_out=grad_out,
            kept=dictionary.build(features, 5, forms=forms),
            bias=bias,
            scale=HEAD_DIM**-0.5,
            weighting=SPARSE if variant == "sparse" else SOFTMAX,
        )

    return make
