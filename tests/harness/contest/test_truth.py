from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from harness.contest import truth
from harness.contest.workload import Workload
from semanir.attention import reference


@pytest.mark.parametrize("variant", ["plain", "bias", "sparse"])
def test_the_dense_formula_is_the_reference_forward_and_backward(
    make_workload: Callable[..., Workload], variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = make_workload(variant)
    monkeypatch.setattr(truth, "ELEMENTS", 2 * 2 * 16**2)  # two windows at a time, so that parts are joined
    leaves = {name: getattr(workload, name).double().requires_grad_() for name in ("q", "k", "v")}
    bias = workload.bias
    if bias is not None:
        leaves["table"] = bias.table.double().requires_grad_()
        bias = replace(bias, table=leaves["table"])
    out = reference.attend(
        leaves["q"],
        leaves["k"],
        leaves["v"],
        workload.kept,
        bias=bias,
        scale=workload.scale,
        weighting=workload.weighting,
    )
    gradients = torch.autograd.grad(out, list(leaves.values()), workload.grad_out.double())
    found = truth.expected(workload)
    assert found.keys() == {"out", *leaves}
    for name, true in zip(found, (out.detach(), *gradients), strict=True):
        torch.testing.assert_close(found[name], true, rtol=1e-12, atol=1e-12)


def test_the_error_is_that_of_the_worst_window() -> None:
    true = torch.ones(4, 2, 3, 5)
    found = true.clone()
    found[2] *= 1.25
    assert truth.error(found, true, shared=False) == pytest.approx(0.25)
    assert truth.error(found, true, shared=True) == pytest.approx(0.125)
    found[1, 0, 0, 0] = float("nan")
    assert not truth.error(found, true, shared=False) <= 1
