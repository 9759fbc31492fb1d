from __future__ import annotations

from typing import Any

import pytest

from harness.metrics import flops, operations
from harness.record import Cell, Timing
from harness.trial import Trial, prepare

CELL = Cell(
    model="semanir/nano",
    task="denoise",
    dataset="bundled",
    setting="sigma=25",
    backend="gather",
    top_k=16,
    window=8,
    image_size=32,
    images=1,
)
TOTALS = {"flops.spent", "flops.useful", "flops.dense", "flops.dispatcher"}


def numbers(metric: Any, trial: Trial) -> dict[str, float]:
    return {each.name: each.samples[0] for each in metric.METRIC.measure(trial).measurements}


def test_it_counts_what_flops_counts_without_building_the_network() -> None:
    trial = prepare(CELL, Timing())
    counted = numbers(operations, trial)
    assert "network" not in vars(trial)
    assert "input" not in vars(trial)
    with_dispatcher = numbers(flops, trial)
    assert with_dispatcher.pop("flops.dispatcher") > 0
    assert counted == with_dispatcher


@pytest.mark.parametrize("backend", ["gather", "mask"])
@pytest.mark.parametrize("top_k", [16, None])
def test_the_parts_add_up_to_what_is_spent(backend: str, top_k: int | None) -> None:
    counted = numbers(operations, prepare(CELL.model_copy(update={"backend": backend, "top_k": top_k}), Timing()))
    parts = {name: count for name, count in counted.items() if name not in TOTALS}
    assert sum(parts.values()) == counted["flops.spent"]
    assert (parts["flops.dictionary"] > 0) == (top_k is not None)
    assert parts["flops.mlp"] == parts["flops.projections"]
