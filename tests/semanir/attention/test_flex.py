from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.catalogs import BACKENDS
from semanir.attention import reference
from semanir.attention.problem import Problem
from semanir.attention.signature import Attend, Bias
from tests.semanir.attention.cases import CASES, Case

FLEX = BACKENDS["flex"]
PROBLEM = Problem(
    device="cpu", dtype="float32", windows=3, heads=2, tokens=64, top_k=16, kept_pairs=3072, head_dim=16, has_bias=True
)

COMPILED = """\
import json, sys
from dataclasses import replace
import torch
from torch._dynamo.utils import counters
from semanir.attention import reference
from semanir.attention.backends.flex.attend import attend
from tests.semanir.attention.cases import CASES

torch.set_num_threads(1)
cases = {case.name: case for case in CASES}
plain = replace(cases["packed_qkv"], name="first")
calls = [
    (plain, torch.float32),
    (replace(plain, top_k=5), torch.float32),
    (replace(plain, windows=4, shifted=True), torch.float32),
    (replace(plain, windows=7, ties=True), torch.float32),
    (cases["tokens_no_power_of_two"], torch.bfloat16),
]
found = []
for case, dtype in calls:
    q, k, v = (x.to(dtype) for x in case.inputs())
    with torch.inference_mode():
        out = attend(q, k, v, case.kept(), **case.options())
    expected = reference.attend(q, k, v, case.kept(), **case.options())
    error = (out.double() - expected).norm() / expected.norm()
    found.append([str(out.dtype), float(error), counters["stats"]["unique_graphs"]])
print(json.dumps(found))
"""


@pytest.mark.skipif(BACKENDS["flex"].unsupported(PROBLEM) is not None, reason="no C++ compiler")
def test_one_compilation_serves_every_dictionary_and_number_of_windows_of_a_shape() -> None:
    root = Path(__file__).parents[3]
    # A process without the shape checker, whose wrappers torch's compiler cannot read.
    environment = {**os.environ, "PYTHONPATH": os.fspath(root), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    *first, other = found
    assert [graphs for _, _, graphs in first] == [1] * len(first)
    assert all(dtype == "torch.float32" and error <= 1e-6 for dtype, error, _ in first)
    dtype, error, graphs = other
    assert (dtype, graphs) == ("torch.bfloat16", 2)
    assert error <= 8e-3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"needs_grad": True}, "no backward pass on a CPU"),
        ({"weighting": "sparse"}, r"relu\(s\)\^2"),
        ({"dtype": "float64"}, "float32, float16 and bfloat16"),
        ({"device": "cuda", "head_dim": 8}, "at least 16 channels, not 8"),
    ],
)
def test_flex_says_what_it_cannot_do(change: dict[str, object], reason: str) -> None:
    assert FLEX.unsupported(PROBLEM) is None
    assert FLEX.unsupported(replace(PROBLEM, device="cuda", needs_grad=True)) is None
    assert re.search(reason, FLEX.unsupported(replace(PROBLEM, **change)) or "")


def test_flex_without_a_compiler_names_it_in_the_plan_and_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no 'no-such-compiler' here; install it or set CXX" in (FLEX.unsupported(PROBLEM) or "")
    assert FLEX.unsupported(replace(PROBLEM, device="cuda")) is None
    case = CASES[0]
    with pytest.raises(RuntimeError, match="no 'no-such-compiler' here"):
        FLEX.load()(*case.inputs(), case.kept(), **case.options())


def test_flex_refuses_gradients_on_a_cpu_and_the_sparse_weighting() -> None:
    case = CASES[0]
    q, k, v = case.inputs()
    with pytest.raises(RuntimeError, match="no backward pass on a CPU"):
        FLEX.load()(q.requires_grad_(), k, v, case.kept(), **case.options())
    sparse = next(case for case in CASES if case.weighting.kind == "sparse")
    with pytest.raises(ValueError, match="softmax alone"):
        FLEX.load()(*sparse.inputs(), sparse.kept(), **sparse.options())


def test_flex_takes_one_scale_for_all_heads_and_an_empty_batch() -> None:
    case = Case("one_scale", bias=False)
    q, k, v = case.inputs()
    out = FLEX.load()(q, k, v, case.kept(), scale=0.3)
    expected = reference.attend(q, k, v, case.kept(), scale=0.3)
    torch.testing.assert_close(out.double(), expected, atol=1e-6, rtol=1e-6)
    assert FLEX.load()(q[:0], k[:0], v[:0], None).shape == (0, *q.shape[1:])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["packed_qkv", "tokens_no_power_of_two", "shifted_rows_admit_fewer_than_k"])
def test_compiled_on_cuda_output_and_gradients_are_those_of_the_reference(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    found, expected = (on_cuda(attend, case) for attend in (FLEX.load(), reference.attend))
    for what, tensor in expected.items():
        error = (found[what].double() - tensor.double()).norm() / tensor.double().norm()
        assert error <= 1e-3, what  # TF32 products, if the machine allows them


def on_cuda(attend: Attend, case: Case) -> dict[str, Tensor]:
    """Attend on the device, and return the output and the gradients of what a network learns."""
    q, k, v = (x.detach().cuda().requires_grad_() for x in case.inputs())
    kept, options = case.kept(), case.options()
    assert kept is not None
    kept = replace(kept, counts=kept.counts.cuda(), boolean=kept.form("boolean").cuda())
    table = options["bias"].table.cuda().requires_grad_()
    out = attend(q, k, v, kept, bias=Bias(table, options["bias"].index.cuda()), scale=options["scale"].cuda())
    out.square().sum().backward()
    return {"out": out.detach()} | {name: x.grad for name, x in zip("qkvt", (q, k, v, table), strict=True)}
