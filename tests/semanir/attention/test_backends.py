from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.catalogs import BACKENDS
from semanir.attention import reference
from semanir.attention.backends.triton import launch
from semanir.attention.problem import Problem
from semanir.attention.signature import Attend, Bias, Weighting
from tests.semanir.attention.cases import CASES, DEVICE, Case

# Made for large windows alone; test_union.py holds it to the same cases.
FOR_ALL = [name for name in BACKENDS.names() if name != "triton_union"]
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def problem_of(case: Case, *, dtype: str = "float32", needs_grad: bool = False) -> Problem:
    kept = case.kept()
    tokens = case.window**2
    return Problem(
        device=DEVICE.type,
        dtype=dtype,
        windows=case.windows,
        heads=case.heads,
        tokens=tokens,
        top_k=case.top_k or tokens,
        kept_pairs=case.windows * tokens**2 if kept is None else int(kept.counts.sum()),
        head_dim=case.head_dim,
        has_bias=case.bias,
        weighting=case.weighting.kind,
        needs_grad=needs_grad,
    )


def relative_error(out: Tensor, expected: Tensor) -> float:
    return float((out.double() - expected).norm() / expected.norm().clamp(min=1e-12))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("name", FOR_ALL)
def test_a_backend_agrees_with_the_reference_or_says_why_not(name: str, case: Case, dtype: torch.dtype) -> None:
    reason = BACKENDS[name].unsupported(problem_of(case, dtype=str(dtype).removeprefix("torch.")))
    if reason is not None:
        assert case.weighting.kind == "sparse", f"{name} refuses an ordinary problem: {reason}"
        return
    q, k, v = (x.to(dtype) for x in case.inputs())
    kept, options = case.kept(), case.options()
    out = BACKENDS[name].load()(q, k, v, kept, **options)
    expected = reference.attend(q, k, v, kept, **options)
    assert out.dtype == dtype
    assert relative_error(out, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("name", [name for name in FOR_ALL if BACKENDS[name].differentiable])
def test_the_gradients_of_a_backend_are_those_of_the_reference(name: str, case: Case) -> None:
    # In float64, where it is known, sums of many terms lose nothing and the comparison can be tight.
    backend = BACKENDS[name]
    dtype, tolerance = torch.float64, 1e-11
    if backend.unsupported(problem_of(case, dtype="float64", needs_grad=True)) is not None:
        dtype, tolerance = torch.float32, 1e-5
        if backend.unsupported(problem_of(case, needs_grad=True)) is not None:
            assert case.weighting.kind == "sparse" or name == "flex"
            return
    found = gradients(backend.load(), case, dtype)
    expected = gradients(reference.attend, case, torch.float64)
    assert found.keys() == expected.keys()
    for argument, gradient in expected.items():
        # With one key a row the weights are constant and the true gradient of q is zero: compare absolutely. The
        # scale's is a sum over all rows, and so are its rounding errors.
        least = math.sqrt(case.windows) * case.window if argument == "scale" else 1.0
        error = (found[argument].double() - gradient).norm()
        assert error <= tolerance * max(least, float(gradient.norm())), argument


def gradients(attend: Attend, case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the gradient of everything that a network learns."""
    q, k, v = (x.detach().to(dtype).requires_grad_() for x in case.inputs())
    options = case.options()
    options["scale"] = options["scale"].to(dtype).requires_grad_()
    learned = {"q": q, "k": k, "v": v, "scale": options["scale"]}
    if options["bias"] is not None:
        learned["table"] = options["bias"].table.to(dtype).requires_grad_()
        options["bias"] = Bias(learned["table"], options["bias"].index)
    if case.weighting.relu_squared is not None:
        factors = torch.tensor(
            [case.weighting.softmax, case.weighting.relu_squared], dtype=dtype, device=DEVICE, requires_grad=True
        )
        options["weighting"] = Weighting(factors[0], factors[1])
        learned["factors"] = factors
    out = attend(q, k, v, case.kept(), **options)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    (out * weights).sum().backward()
    return {name: leaf.grad for name, leaf in learned.items() if leaf.grad is not None}


def test_the_reference_passes_gradcheck() -> None:
    case = Case("gradcheck", window=3, top_k=4, windows=1, heads=2, head_dim=4)
    q, k, v = (x.double().requires_grad_() for x in case.inputs())
    options = case.options()
    table, index = options["bias"].table.double().requires_grad_(), options["bias"].index
    scale = options["scale"].double().requires_grad_()

    def attend(*leaves: Tensor) -> Tensor:
        return reference.attend(*leaves[:3], case.kept(), bias=Bias(leaves[3], index), scale=leaves[4])

    assert torch.autograd.gradcheck(attend, (q, k, v, table, scale))


@pytest.mark.parametrize("name", BACKENDS.names())
def test_the_interface_of_a_backend_is_complete(name: str) -> None:
    backend = BACKENDS[name]
    flops = backend.flops(problem_of(CASES[0]))
    assert flops.spent >= flops.useful > 0
    assert backend.extra_bytes(problem_of(CASES[0])) >= 0
    assert isinstance(backend.load(), Attend)
    assert backend.summary


@pytest.mark.parametrize("name", BACKENDS.names())
def test_the_useful_operations_are_those_of_the_kept_pairs(name: str) -> None:
    case = Case("shifted", windows=4, shifted=True, top_k=40)
    kept = case.kept()
    assert kept is not None
    pairs = int(kept.counts.sum())
    assert pairs < 4 * 64 * 40
    assert BACKENDS[name].flops(problem_of(case)).useful == 4 * case.heads * pairs * case.head_dim


def test_triton_on_a_cpu_without_the_interpreter_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "interpreted", lambda: False)
    q, k, v = (x.cpu() for x in CASES[0].inputs())
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1"):
        BACKENDS["triton"].load()(q, k, v, None)


def test_an_empty_batch_gives_an_empty_result() -> None:
    for name in ("mask", "gather", "sdpa", "triton"):
        q = torch.zeros(0, 2, 64, 16, device=DEVICE)
        assert BACKENDS[name].load()(q, q, q, None).shape == q.shape
