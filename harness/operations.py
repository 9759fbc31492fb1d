"""What one forward pass of a trial computes, by formula: nothing is built and nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.record import Measurement
from semanir.attention.problem import dense_flops

if TYPE_CHECKING:
    from harness.trial import Trial


def count(trial: Trial) -> dict[str, int]:
    """Return the operations of the whole network and of each part; a multiply-add is two.

    `spent` is what it computes with its backend, `useful` with the kept pairs alone, `dense` with all pairs of a
    window. The parts, `attention` and those that the model names, add up to `spent`.
    """
    parts = trial.model.flops(trial.request)
    elsewhere = sum(parts.values())
    backend, problems = trial.backend, trial.problems
    counts = [backend.flops(problem) for problem in problems] if backend else []
    attention = sum(each.spent for each in counts)
    return {
        "spent": elsewhere + attention,
        "useful": elsewhere + sum(each.useful for each in counts),
        "dense": elsewhere + sum(dense_flops(problem).spent for problem in problems),
        "attention": attention,
        **parts,
    }


def measurements(counts: Mapping[str, int]) -> tuple[Measurement, ...]:
    """Return counts as they are recorded, as in `flops.spent`."""
    return tuple(
        Measurement(name=f"flops.{name}", unit="FLOP", samples=(float(value),)) for name, value in counts.items()
    )
