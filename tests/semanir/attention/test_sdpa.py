from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.catalogs import BACKENDS
from semanir.attention.problem import Problem
from tests.semanir.attention.cases import Case

SDPA = BACKENDS["sdpa"]
CASE = Case("widths_of_semanir", head_dim=30)


class Seen(TorchDispatchMode):
    """Keeps the names of the operators that a call reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


def problem_of(case: Case, *, needs_grad: bool) -> Problem:
    tokens = case.window**2
    kept = case.kept()
    return Problem(
        device="cpu",
        dtype="float32",
        windows=case.windows,
        heads=case.heads,
        tokens=tokens,
        top_k=case.top_k or tokens,
        kept_pairs=case.windows * tokens**2 if kept is None else int(kept.counts.sum()),
        head_dim=case.head_dim,
        has_bias=case.bias,
        needs_grad=needs_grad,
    )


@pytest.mark.parametrize("learned", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("bias", [False, True], ids=["no_bias", "bias"])
@pytest.mark.parametrize("top_k", [16, None])
def test_the_kernel_that_sdpa_names_is_the_one_that_runs(top_k: int | None, bias: bool, learned: bool) -> None:
    case = replace(CASE, top_k=top_k, bias=bias)
    inputs = [x.requires_grad_(learned) for x in case.inputs()]
    options = case.options()
    if bias:
        options["bias"].table.requires_grad_(learned)
    with torch.set_grad_enabled(learned), Seen() as seen:
        SDPA.load()(*inputs, case.kept(), **options)
    flash = any("scaled_dot_product_flash_attention" in name for name in seen.names)
    assert SDPA.kernel(problem_of(case, needs_grad=learned)) == ("flash" if flash else "math")
    assert flash == (not (learned and bias)), "torch's fused CPU kernel gives its mask no gradient"


def test_a_backend_with_kernels_of_its_own_names_none() -> None:
    assert BACKENDS["mask"].kernel(problem_of(CASE, needs_grad=False)) == ""


def test_sdpa_gives_the_same_in_chunks_of_windows_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("chunks", windows=5)
    whole = SDPA.load()(*case.inputs(), case.kept(), **case.options())
    module = importlib.import_module(SDPA.module)
    monkeypatch.setattr(module, "MASK_ELEMENTS", {"cpu": 2 * case.heads * 64 * 64})
    torch.testing.assert_close(SDPA.load()(*case.inputs(), case.kept(), **case.options()), whole)


def test_an_empty_batch_with_a_bias_gives_an_empty_result() -> None:
    case = Case("empty", windows=0)
    q, k, v = case.inputs()
    assert SDPA.load()(q, k, v, case.kept(), **case.options()).shape == q.shape
