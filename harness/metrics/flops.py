"""Operations of one forward pass three ways: by formula (spent, useful, dense) and by torch's dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading
from harness.record import Measurement
from semanir.attention.problem import dense_flops

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    parts = trial.model.flops(trial.request)
    elsewhere = sum(parts.values())
    backend, problems = trial.backend, trial.problems
    counts = [backend.flops(problem) for problem in problems] if backend else []
    spent = elsewhere + sum(count.spent for count in counts)
    figures = {
        "flops.spent": spent,
        "flops.useful": elsewhere + sum(count.useful for count in counts),
        "flops.dense": elsewhere + sum(dense_flops(problem).spent for problem in problems),
        "flops.attention": sum(count.spent for count in counts),
    }
    figures |= {f"flops.{part}": count for part, count in parts.items()}
    notes: tuple[str, ...] = ()
    if backend is None or trial.cell.device in backend.speed_on:
        counted = _dispatched(trial)
        figures["flops.dispatcher"] = counted
        if counted != spent:
            notes = (f"torch's dispatcher counts {counted:,}, the formula {spent:,}: fused attention may count 0",)
    measurements = (Measurement(name=name, unit="FLOP", samples=(float(count),)) for name, count in figures.items())
    return Reading(measurements=tuple(measurements), notes=notes)


def _dispatched(trial: Trial) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        trial.run()
    return int(counter.get_total_flops())


METRIC = Metric(
    summary="operations of one forward pass (a multiply-add is two): spent, useful and dense by formula",
    unit="FLOP",
    better="lower",
    measure=_measure,
)
