from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.catalogs import BACKENDS
from harness.contest import entrants, truth
from harness.contest.entrants import Entrant, OutOfTheContest
from harness.contest.names import QUANTITIES, Quantity
from harness.contest.workload import Workload
from semanir.attention.problem import Problem

FORWARD, BACKWARD = QUANTITIES["plain"]
PROBLEM = Problem(
    device="cpu",
    dtype="float32",
    windows=100,
    heads=6,
    tokens=64,
    top_k=16,
    kept_pairs=100 * 64 * 16,
    head_dim=32,
    has_bias=False,
)


def attend(*arguments: Any, **options: Any) -> torch.Tensor:
    return BACKENDS["mask"].load()(*arguments, **options)


@pytest.mark.parametrize("quantity", [FORWARD, BACKWARD])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_parts_do_all_windows(make_workload: Callable[..., Workload], quantity: Quantity, at_once: int) -> None:
    workload = make_workload()
    entrant = Entrant("mask", attend, quantity, workload, at_once)
    assert len(entrant.parts) == math.ceil(3 / at_once)
    errors, repeatable = entrants.check(entrant, truth.expected(workload))
    assert set(errors) == set(quantity.gradients or ("out",))
    assert max(errors.values()) < 1e-6
    assert repeatable
    assert entrants.objection(errors, "float32") is None


@pytest.mark.parametrize("at_once", [2, 3])
def test_the_gradient_of_the_table_adds_up_over_parts(make_workload: Callable[..., Workload], at_once: int) -> None:
    workload = make_workload("bias")
    quantity = QUANTITIES["bias"][-1]
    errors, _ = entrants.check(Entrant("mask", attend, quantity, workload, at_once), truth.expected(workload))
    assert set(errors) == {"q", "k", "v", "table"}
    assert max(errors.values()) < 1e-6


def test_one_wrong_window_of_many_keeps_a_contender_from_being_timed(make_workload: Callable[..., Workload]) -> None:
    def wrong(q: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        return attend(q, *arguments, **options) * torch.tensor([1.0, 1.0, 1.01]).view(-1, 1, 1, 1)

    workload = make_workload()
    errors, _ = entrants.check(Entrant("wrong", wrong, FORWARD, workload, 3), truth.expected(workload))
    assert errors["out"] == pytest.approx(0.01, rel=1e-3)
    reason = entrants.objection(errors, "float32")
    assert reason == "the output is off by 1.0e-02 relative to float64; float32 allows 1e-05: not timed"


def test_what_is_not_written_and_what_does_not_repeat_shows(make_workload: Callable[..., Workload]) -> None:
    calls = iter(range(9))

    def restless(q: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        out = attend(q, *arguments, **options)
        out[0, 0, 0, 0] = math.nan if next(calls) else 0.0
        return out

    workload = make_workload()
    errors, repeatable = entrants.check(Entrant("restless", restless, FORWARD, workload, 3), truth.expected(workload))
    assert not repeatable
    assert entrants.objection({"out": math.nan}, "float32") is not None
    assert entrants.objection(errors, "float32") is not None


def test_windows_are_done_in_even_parts_that_fit() -> None:
    backend = BACKENDS["gather"]
    whole = backend.extra_bytes(PROBLEM)
    assert entrants.windows_that_fit(backend, PROBLEM, whole) == 100
    assert entrants.windows_that_fit(backend, PROBLEM, whole // 2) == 50
    assert entrants.windows_that_fit(backend, PROBLEM, whole // 3) == 25
    training = replace(PROBLEM, needs_grad=True)
    assert entrants.windows_that_fit(backend, training, whole) == 25
    with pytest.raises(OutOfTheContest, match="a single window needs"):
        entrants.windows_that_fit(backend, PROBLEM, 1)


def test_a_refusal_is_told_in_the_words_of_the_backend(make_workload: Callable[..., Workload]) -> None:
    problem = replace(PROBLEM, weighting="sparse")
    with pytest.raises(OutOfTheContest, match="softmax alone"):
        entrants.enter("sdpa", BACKENDS["sdpa"], FORWARD, make_workload(), problem, rivals=4)
